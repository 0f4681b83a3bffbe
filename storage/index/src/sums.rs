//! Checksums of a data file, stored in its index. Parquet files have no checksums of pages or
//! metadata.

use std::io::{self, Read};

use tidings_rollup::index_bytes::Reader;

/// Length of the pieces that have a checksum each. A mismatch therefore locates the damage.
pub const PIECE_BYTES: usize = 1 << 20;

/// CRC-32C of every piece of a data file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sums {
    bytes: u64,
    pieces: Vec<u32>,
}

/// Computes checksums of bytes in the order of writing.
#[derive(Debug, Default)]
pub struct ChecksumBuilder {
    sums: Sums,
    open: u32,
    open_bytes: usize,
}

impl ChecksumBuilder {
    /// Adds the bytes that were written next.
    pub fn push(&mut self, mut bytes: &[u8]) {
        self.sums.bytes += bytes.len() as u64;
        while !bytes.is_empty() {
            let (part, rest) = bytes.split_at(bytes.len().min(PIECE_BYTES - self.open_bytes));
            self.open = crc32c::crc32c_append(self.open, part);
            self.open_bytes += part.len();
            bytes = rest;
            if self.open_bytes == PIECE_BYTES {
                self.end_piece();
            }
        }
    }

    /// Returns the checksums of all added bytes.
    pub fn finish(mut self) -> Sums {
        if self.open_bytes > 0 {
            self.end_piece();
        }
        self.sums
    }

    fn end_piece(&mut self) {
        self.sums.pieces.push(std::mem::take(&mut self.open));
        self.open_bytes = 0;
    }
}

impl Sums {
    /// Returns the checksums of these bytes.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let mut checksum_builder = ChecksumBuilder::default();
        checksum_builder.push(bytes);
        checksum_builder.finish()
    }

    /// Returns the checksums of a file that is read from start to end.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn of_file(mut file: impl Read) -> io::Result<Self> {
        let mut checksum_builder = ChecksumBuilder::default();
        let mut buffer = vec![0; PIECE_BYTES];
        loop {
            match file.read(&mut buffer) {
                Ok(0) => return Ok(checksum_builder.finish()),
                Ok(read) => checksum_builder.push(buffer.get(..read).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Returns the size of the data file in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns true if the checksum of piece number `piece` matches these bytes.
    pub fn holds(&self, piece: usize, bytes: &[u8]) -> bool {
        let offset = piece as u64 * PIECE_BYTES as u64;
        let expected = self.bytes.saturating_sub(offset).min(PIECE_BYTES as u64);
        bytes.len() as u64 == expected && self.pieces.get(piece) == Some(&crc32c::crc32c(bytes))
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        self.pieces.iter().flat_map(|sum| sum.to_le_bytes()).collect()
    }

    /// Decodes the checksums of a file with this length.
    pub(super) fn decode(bytes: u64, section: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(section);
        let mut pieces = Vec::with_capacity(section.len() / 4);
        while !reader.is_empty() {
            pieces.push(reader.u32()?);
        }
        let fits = pieces.len() as u64 == bytes.div_ceil(PIECE_BYTES as u64);
        fits.then_some(Self { bytes, pieces })
    }
}

#[cfg(test)]
mod tests {
    use super::{ChecksumBuilder, PIECE_BYTES, Sums};

    #[test]
    fn sums_do_not_depend_on_how_bytes_come_and_say_where_they_changed() {
        let bytes: Vec<u8> = (0..=250).cycle().take(2 * PIECE_BYTES + 5).collect();
        let sums = Sums::from_bytes(&bytes);
        assert_eq!(sums.bytes(), bytes.len() as u64);
        let mut checksum_builder = ChecksumBuilder::default();
        bytes.chunks(70_001).for_each(|part| checksum_builder.push(part));
        assert_eq!(checksum_builder.finish(), sums);
        assert_eq!(Sums::of_file(&bytes[..]).unwrap(), sums);
        assert_eq!(Sums::decode(sums.bytes(), &sums.encode()).as_ref(), Some(&sums));
        assert_eq!(Sums::decode(sums.bytes() + PIECE_BYTES as u64, &sums.encode()), None);

        let mut changed = bytes.clone();
        changed[PIECE_BYTES + 7] ^= 0x10;
        for (content, sound) in [
            (&bytes[..], [true, true, true]),
            (&changed, [true, false, true]),
            (&bytes[..bytes.len() - 1], [true, true, false]),
        ] {
            let held = content.chunks(PIECE_BYTES).enumerate();
            assert!(held.map(|(piece, bytes)| sums.holds(piece, bytes)).eq(sound));
        }
        assert!(!sums.holds(3, &[]));
    }
}
