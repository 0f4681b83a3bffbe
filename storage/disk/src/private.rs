//! Denies other users of the machine access to the store's files.
//!
//! Telemetry holds secrets. New files and folders are created without access for others (`real`).
//! Access that an earlier program or a copy left open is removed when the store opens, and
//! reported. Does not own access over the network, nor tables in an object store.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// Mode of new files.
pub(super) const FILE_MODE: u32 = 0o600;
/// Mode of new folders.
pub(super) const FOLDER_MODE: u32 = 0o700;
/// Permission bits of the group and of others.
const OTHERS: u32 = 0o077;

/// Files and folders that others could read or change.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExposedFiles {
    /// Number of these that were closed to others.
    pub closed: u64,
    /// Number of these that are still open to others: files of another owner, or a folder that also
    /// contains other things.
    pub left: u64,
    /// An example of those still open.
    pub example: Option<PathBuf>,
}

/// Removes access for other users from the named files in a folder, and from the folder if it has
/// no other files. Targets of links and folders that are mount points are left unchanged.
///
/// # Errors
/// When a folder cannot be listed.
pub fn make_private(root: &Path, ours: &[&str]) -> io::Result<ExposedFiles> {
    let mut found = ExposedFiles::default();
    // A link to the folder has its own mode and device.
    let root = &fs::canonicalize(root)?;
    let whole = fs::symlink_metadata(root)?;
    let (device, mut folders, mut is_shared) = (whole.dev(), Vec::new(), false);
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if !ours.iter().any(|name| entry.file_name() == *name) {
            is_shared = true;
        } else if kind.is_dir() {
            folders.push(entry.path());
        } else if kind.is_file() {
            close(&entry.path(), FILE_MODE, &mut found)?;
        }
    }
    match is_shared {
        false => close(root, FOLDER_MODE, &mut found)?,
        true if whole.mode() & OTHERS != 0 => {
            found.left += 1;
            found.example = Some(root.to_path_buf());
        }
        true => {}
    }
    while let Some(folder) = folders.pop() {
        close(&folder, FOLDER_MODE, &mut found)?;
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                // A folder on another device is a mount point, and is left unchanged.
                if entry.metadata()?.dev() == device {
                    folders.push(entry.path());
                }
            } else if kind.is_file() {
                close(&entry.path(), FILE_MODE, &mut found)?;
            }
        }
    }
    Ok(found)
}

/// Removes others' access to one file or folder, if there is any.
fn close(path: &Path, mode: u32, found: &mut ExposedFiles) -> io::Result<()> {
    let metadata = match fs::symlink_metadata(path) {
        // The file was removed meanwhile.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        read => read?,
    };
    if metadata.mode() & OTHERS == 0 {
        return Ok(());
    }
    let kept = metadata.mode() & mode;
    match fs::set_permissions(path, fs::Permissions::from_mode(kept)) {
        Ok(()) => found.closed += 1,
        Err(_) => {
            found.left += 1;
            found.example.get_or_insert_with(|| path.to_path_buf());
        }
    }
    Ok(())
}
