//! Folders and memory of tenants: the parts that each has for itself, and those that all divide.
//!
//! Each has its own folder, with the log, the tables or their place in a bucket, indexes, pins and
//! quarantine. The memory of stores is divided in equal parts, and its total stays that of the
//! settings. Bounds of the disk (the log, the cache, retention) hold for each tenant. The memory
//! for decoded metadata of data files is shared by the process.

use std::path::{Path, PathBuf};

use tidings_access::TenantName;
use tidings_storage::{StorageError, StoreSettings, TablesAt};

use crate::settings::Settings;

/// The folder in the data directory, and the prefix in a bucket, below which tenants are.
const FOLDER: &str = "tenants";

/// Returns the data directory of a tenant.
fn folder_of(data_dir: &Path, name: &TenantName) -> PathBuf {
    if name.is_default() { data_dir.to_owned() } else { data_dir.join(FOLDER).join(name.as_str()) }
}

/// Returns the settings of a tenant's store: those of the process, with the tenant's places.
pub(crate) fn settings_of(
    settings: &Settings,
    name: &TenantName,
) -> Result<Settings, StorageError> {
    if name.is_default() {
        return Ok(settings.clone());
    }
    let mut own = Settings {
        keys_file: Some(settings.key_file()),
        audit_dir: Some(settings.audit_folder()),
        ..settings.clone()
    };
    own.store.data_dir = folder_of(&settings.store.data_dir, name);
    if let TablesAt::ObjectStore(tables) = &mut own.store.tables {
        let below = format!("{FOLDER}/{name}");
        tables.address = (tables.address.below(&below))
            .map_err(|reason| StorageError::Refused { at: below, reason })?;
    }
    Ok(own)
}

/// Returns the names of the tenants that have a folder. Other entries are left alone.
pub(crate) fn folders(data_dir: &Path) -> Result<Vec<TenantName>, StorageError> {
    let folder = data_dir.join(FOLDER);
    let failed = |source| StorageError::Io { action: "list", path: folder.clone(), source };
    let listed = match std::fs::read_dir(&folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        listed => listed.map_err(failed)?,
    };
    let mut names = Vec::new();
    for entry in listed {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_str().and_then(|name| name.parse::<TenantName>().ok());
        let is_tenant = entry.path().is_dir() && name.as_ref().is_some_and(|of| !of.is_default());
        match name {
            Some(name) if is_tenant => names.push(name),
            _ => tracing::warn!(path = %entry.path().display(), "it is no tenant's folder"),
        }
    }
    Ok(names)
}

/// Returns the number of tenants that there may be, including `default`: each has room for the
/// largest request.
pub(crate) fn possible(settings: &Settings) -> usize {
    let receivers = &settings.collector.limits;
    let request = receivers.http_body_bytes_max.max(receivers.grpc_message_bytes_max).max(1);
    let room = settings.store.memory_bytes_max / request as u64;
    usize::try_from(settings.tenants_max.min(room)).unwrap_or(usize::MAX).max(1)
}

/// Divides the memory of stores among this many.
pub(super) fn divided(settings: StoreSettings, count: usize) -> StoreSettings {
    let count = u64::try_from(count).unwrap_or(u64::MAX).max(1);
    StoreSettings {
        memory_flush_bytes: settings.memory_flush_bytes / count,
        memory_bytes_max: settings.memory_bytes_max / count,
        index_memory_bytes_max: settings.index_memory_bytes_max / count,
        ..settings
    }
}

#[cfg(test)]
mod tests {
    use tidings_storage::{StoreSettings, TablesAt};

    use super::{divided, folder_of, folders, possible, settings_of};
    use crate::settings::{MemoryFiles, Sources};

    fn settings(flags: &[(&'static str, &str)]) -> crate::settings::Settings {
        let flags = flags.iter().map(|(name, value)| (*name, (*value).to_owned()));
        let mut sources = Sources::read(None, std::iter::empty(), flags).unwrap();
        sources.divide_memory(MemoryFiles::default().limit());
        sources.settings().unwrap()
    }

    #[test]
    fn the_shares_of_memory_are_the_whole_together() {
        let whole = StoreSettings::new("d");
        for count in 1..40 {
            let share = divided(whole.clone(), count).memory();
            let count = u64::try_from(count).unwrap();
            assert!(share.bytes_max * count <= whole.memory_bytes_max);
            assert!(share.bytes_max * count > whole.memory_bytes_max - count);
            assert!(share.flush_bytes <= share.bytes_max);
            assert!(share.index_bytes_max * count <= whole.index_memory_bytes_max);
        }
    }

    #[test]
    fn each_tenant_has_room_for_the_largest_request() {
        for (flags, tenants) in [
            (&[("memory-bytes-max", "560MiB")][..], 16),
            (&[("memory-bytes-max", "560MiB"), ("tenants-max", "2")], 2),
            (&[("memory-bytes-max", "60MiB"), ("memory-flush-bytes", "20MiB")], 3),
            (&[("memory-bytes-max", "10MiB"), ("memory-flush-bytes", "10MiB")], 1),
        ] {
            assert_eq!(possible(&settings(flags)), tenants, "{flags:?}");
        }
    }

    #[test]
    fn a_tenant_has_a_folder_and_a_place_in_the_bucket_of_its_own() {
        let flags = [("data-dir", "/d"), ("tables", "s3://bucket/a")];
        let (all, name) = (settings(&flags), "team-b".parse().unwrap());
        let own = settings_of(&all, &name).unwrap();
        assert_eq!(own.store.data_dir, std::path::Path::new("/d/tenants/team-b"));
        let TablesAt::ObjectStore(tables) = own.store.tables else { panic!() };
        assert_eq!(tables.address.to_string(), "s3://bucket/a/tenants/team-b");
        assert_eq!(own.keys_file.as_deref(), Some(std::path::Path::new("/d/keys.json")));
        let default = settings_of(&all, &Default::default()).unwrap();
        assert_eq!(default.store, all.store);
    }

    #[test]
    fn only_folders_with_a_tenants_name_are_tenants() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(folders(root.path()).unwrap(), []);
        for name in ["a", "B", "default", ".hidden"] {
            std::fs::create_dir_all(root.path().join("tenants").join(name)).unwrap();
        }
        let names = folders(root.path()).unwrap();
        assert_eq!(names, ["a".parse().unwrap()]);
        assert!(folder_of(root.path(), &names[0]).is_dir());
    }
}
