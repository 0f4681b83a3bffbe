//! Door for a fuzz target: manifests of backups, whose digest the door makes. Nothing that ships
//! calls it.

use std::path::PathBuf;

use super::manifest::{Manifest, Sha256};

/// Content of a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestContent {
    /// The manifest, written again.
    pub encoded: Vec<u8>,
    /// Names of its files: those in a data directory, and those in the place of backups.
    pub paths: Vec<PathBuf>,
    /// Bytes of all files.
    pub bytes: u64,
    /// Bytes of the files that no earlier backup had.
    pub new_bytes: u64,
}

impl ManifestContent {
    /// Reads a manifest; `None` when it is another file.
    #[must_use]
    pub fn read(json: &[u8]) -> Option<Self> {
        let manifest = Manifest::decode(json, &Sha256::from_bytes(json), PathBuf::new()).ok()?;
        let mut paths = Vec::new();
        for file in &manifest.files {
            paths.extend([file.path.as_str(), &file.stored_name()].map(PathBuf::from));
            paths.extend(file.path.in_tables().map(PathBuf::from));
        }
        let (bytes, new_bytes) = (manifest.bytes(), manifest.new_bytes());
        Some(Self { encoded: manifest.encode().ok()?, paths, bytes, new_bytes })
    }
}
