//! A file of the machine's disk that is written in blocks and bypasses the page cache.
//!
//! These files are written once and rarely read. Copying them into the page cache costs more
//! processor time than all other work of writing
//! (`docs/decisions/0029-copy-encode-and-compress-a-span-once.md`). A file system without direct
//! writes of such blocks gets buffered writes, with the same bytes at the same offsets. Owns
//! neither the source memory nor the content of the blocks.

use std::{fs::File, io, os::unix::fs::FileExt};

use super::BlockFile;

/// A file and its mode of writing.
pub(super) struct RealBlocks {
    file: File,
    direct: bool,
}

impl RealBlocks {
    pub(super) fn new(file: File) -> Self {
        let direct = set_direct(&file, true).is_ok();
        Self { file, direct }
    }
}

impl BlockFile for RealBlocks {
    fn write_at(&mut self, offset: u64, blocks: &[u8]) -> io::Result<()> {
        let mut written = 0;
        while let Some(rest) = blocks.get(written..).filter(|rest| !rest.is_empty()) {
            match self.file.write_at(rest, offset + written as u64) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(more) => written += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The device needs larger blocks, or has no direct writes. Nothing of this call was
                // written.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput && self.direct => {
                    set_direct(&self.file, false)?;
                    self.direct = false;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        // Even after direct writes, the blocks' locations, the file's length and the device's own
        // cache are not durable before this.
        self.file.sync_data()
    }
}

/// Switches direct writes on or off. The mode is not set on opening, because some file systems
/// create the file then and refuse to open it.
#[cfg(target_os = "linux")]
fn set_direct(file: &File, direct: bool) -> io::Result<()> {
    use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

    let mut flags = fcntl_getfl(file)?;
    flags.set(OFlags::DIRECT, direct);
    Ok(fcntl_setfl(file, flags)?)
}

#[cfg(not(target_os = "linux"))]
fn set_direct(_: &File, _: bool) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "the file is looked at behind the disk's back")]

    use std::fs;

    use super::*;
    use crate::BLOCK;

    fn file(folder: &tempfile::TempDir) -> RealBlocks {
        RealBlocks::new(File::create_new(folder.path().join("x")).unwrap())
    }

    #[test]
    fn unaligned_bytes_are_written_through_the_cache() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = file(&folder);
        let bytes: Vec<u8> = (0..=250).cycle().take(3 * BLOCK).collect();
        // Combines an odd address with an odd length and an odd offset. No device accepts all of
        // them.
        let odd = usize::from(bytes.as_ptr().align_offset(2) == 0);
        file.write_at(0, &bytes[odd..odd + BLOCK]).unwrap();
        file.write_at(77, &bytes[..1001]).unwrap();
        assert!(!file.direct);
        file.sync().unwrap();
        let mut expected = bytes[odd..odd + BLOCK].to_vec();
        expected[77..77 + 1001].copy_from_slice(&bytes[..1001]);
        assert_eq!(fs::read(folder.path().join("x")).unwrap(), expected);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_system_that_knows_no_direct_writes_is_written_through_its_cache() {
        assert!(!RealBlocks::new(File::open("/proc/self/status").unwrap()).direct);
    }

    #[test]
    fn errors_other_than_refusals_are_returned() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("x"), b"").unwrap();
        let mut unwritable = RealBlocks::new(File::open(folder.path().join("x")).unwrap());
        assert!(unwritable.write_at(0, &[0; BLOCK]).is_err());
    }
}
