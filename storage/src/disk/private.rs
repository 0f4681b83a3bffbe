//! Access to files by other users of the machine: they have none.
//!
//! Telemetry holds secrets. New files and folders are made so (`real`); what an earlier program or
//! a copy left open to others is closed when the store opens, and said. Does not own access over
//! the network, nor tables in an object store.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// How files are made.
pub(super) const FILE_MODE: u32 = 0o600;
/// How folders are made.
pub(super) const FOLDER_MODE: u32 = 0o700;
/// The permissions of the group and of others.
const OTHERS: u32 = 0o077;

/// Files and folders that others could read or change.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct OpenToOthers {
    /// Number of those that others no longer can.
    pub(crate) closed: u64,
    /// Number of those that others still can: files that belong to somebody else, a folder that has
    /// other things too.
    pub(crate) left: u64,
    /// One of the latter.
    pub(crate) example: Option<PathBuf>,
}

/// Removes access for other users from the named files in a folder, and from the folder if it has
/// no other files. Targets of links and folders that are mount points are left unchanged.
///
/// # Errors
/// When a folder cannot be listed.
pub(crate) fn make_private(root: &Path, ours: &[&str]) -> io::Result<OpenToOthers> {
    let mut found = OpenToOthers::default();
    // A link to the folder has a mode and a device of its own.
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
                // Another disk is not ours.
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

/// Closes one file or folder to others, if it is open.
fn close(path: &Path, mode: u32, found: &mut OpenToOthers) -> io::Result<()> {
    let metadata = match fs::symlink_metadata(path) {
        // It was removed meanwhile.
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
