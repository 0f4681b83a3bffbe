//! Verifies that an object store can hold tables, and that the tables belong to this data
//! directory.
//!
//! Committing relies on a conditional put that creates an object and never replaces one. Some
//! stores ignore the condition. The position in each commit refers to one log. A second data
//! directory on the same tables would apply the first one's position to its own log. Each directory
//! therefore has an id, and the tables store the id of their directory:
//!
//! ```text
//! <data-dir>/tables.json       {"tables":"s3://bucket/prefix","id":"…"}, written first
//! s3://bucket/prefix/owner.json                             {"id":"…"}, created and never changed
//! s3://bucket/prefix/probe/<number>                         exists only while a process starts
//! ```

use std::{io, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::{
    Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions, Result, path::Path as ObjectPath,
};
use serde_json::{Value, json};
use tidings_disk::{Disk, SharedDisk, paths::Paths, read_all, write_durably};
use tidings_runtime::Clock;

use super::location::ObjectAddress;
use crate::{
    StorageError,
    blocking::{blocking, random},
    error::failed,
};

const WAIT: Duration = Duration::from_secs(1);
const WAIT_MAX: Duration = Duration::from_secs(30);

/// Id with which a data directory claims its tables.
struct ClaimRecord {
    tables: String,
    id: String,
}

/// Fails if the tables of a directory are not in the directory itself.
pub fn check_local(disk: &dyn Disk, paths: &Paths) -> std::result::Result<(), StorageError> {
    match recorded(disk, &paths.tables_record())? {
        None => Ok(()),
        Some(record) => Err(elsewhere(&paths.tables(), &record.tables)),
    }
}

/// Fails if the tables do not belong to a data directory. Claims nothing.
pub fn check_recorded(
    disk: &dyn Disk,
    paths: &Paths,
    address: &ObjectAddress,
) -> std::result::Result<(), StorageError> {
    match recorded(disk, &paths.tables_record())? {
        Some(record) if record.tables == address.to_string() => Ok(()),
        Some(record) => Err(elsewhere(paths.root(), &record.tables)),
        None => Err(StorageError::Refused {
            at: address.to_string(),
            reason: format!("they are not the tables of {}", paths.root().display()),
        }),
    }
}

fn elsewhere(at: &Path, tables: &str) -> StorageError {
    let reason = format!("the tables of this data directory are at {tables}: set `tables` to it");
    StorageError::Refused { at: at.display().to_string(), reason }
}

/// Verifies the store and claims the tables. Waits while the store does not answer.
pub(super) async fn claim(
    disk: &SharedDisk,
    paths: &Paths,
    store: &Arc<dyn ObjectStore>,
    address: &ObjectAddress,
    clock: &dyn Clock,
) -> std::result::Result<(), StorageError> {
    let at = address.to_string();
    let (of_it, paths, said) = (Arc::clone(disk), paths.clone(), at.clone());
    let id = blocking(move || id(of_it.as_ref(), &paths, &said)).await?;
    let mut wait = WAIT;
    loop {
        let error = match attempt(store.as_ref(), address, &id).await {
            Ok(None) => return Ok(()),
            Ok(Some(reason)) => return Err(StorageError::Refused { at, reason }),
            Err(error) if is_permanent(&error) => {
                return Err(StorageError::Refused { at, reason: error.to_string() });
            }
            Err(error) => error,
        };
        tracing::warn!(tables = at, %error, next_try_in = ?wait, "the tables cannot be reached");
        clock.sleep(wait).await;
        wait = (wait * 2).min(WAIT_MAX);
    }
}

/// Returns true if a retry cannot succeed: the bucket is missing, or the credentials are wrong.
pub fn is_permanent(error: &Error) -> bool {
    match error {
        Error::NotFound { .. }
        | Error::PermissionDenied { .. }
        | Error::Unauthenticated { .. }
        | Error::NotSupported { .. }
        | Error::NotImplemented { .. } => true,
        other => other.to_string().contains("501 Not Implemented"),
    }
}

/// Returns the id of a data directory with its tables at this address. Creates and records a
/// missing id.
fn id(disk: &dyn Disk, paths: &Paths, tables: &str) -> std::result::Result<String, StorageError> {
    let path = paths.tables_record();
    if let Some(record) = recorded(disk, &path)? {
        return match record.tables == tables {
            true => Ok(record.id),
            false => Err(elsewhere(paths.root(), &record.tables)),
        };
    }
    let local = paths.tables();
    if disk.is_folder(&local) {
        let reason = format!(
            "this data directory has tables in {}: copy what is in there to the new place and \
             rename the folder",
            local.display()
        );
        return Err(StorageError::Refused { at: tables.to_owned(), reason });
    }
    let id = format!("{:016x}{:016x}", random(), random());
    let text = json!({ "tables": tables, "id": id }).to_string();
    let unfinished = path.with_extension("new");
    let written = (|| {
        match disk.remove(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        write_durably(disk, &unfinished, &[text.as_bytes()])?;
        disk.rename(&unfinished, &path)?;
        disk.sync_folder(paths.root())
    })();
    written.map_err(failed("write", &path))?;
    Ok(id)
}

fn recorded(
    disk: &dyn Disk,
    path: &Path,
) -> std::result::Result<Option<ClaimRecord>, StorageError> {
    let bytes = match read_all(disk, path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read.map_err(failed("read", path))?,
    };
    let record = || {
        let said: Value = serde_json::from_slice(&bytes).ok()?;
        let text = |key: &str| said.get(key)?.as_str().map(str::to_owned);
        Some(ClaimRecord { tables: text("tables")?, id: text("id")? })
    };
    record().map(Some).ok_or_else(|| StorageError::Corrupt {
        path: path.to_owned(),
        reason: "it does not say where the tables are".to_owned(),
    })
}

/// Tests the store and claims the tables once. Returns the reason if they cannot be used.
async fn attempt(
    store: &dyn ObjectStore,
    address: &ObjectAddress,
    id: &str,
) -> Result<Option<String>> {
    if let Some(reason) = probe(store, address).await? {
        return Ok(Some(reason));
    }
    let owner = address.location("owner.json");
    if let Some(reason) = owned(store, &owner, id).await? {
        return Ok(reason);
    }
    let text = json!({ "id": id }).to_string();
    match create(store, &owner, text.into()).await {
        Ok(_) => Ok(None),
        // Another process was first, so the object shows the owner of the tables.
        Err(Error::AlreadyExists { .. }) => Ok(owned(store, &owner, id).await?.flatten()),
        Err(error) => Err(error),
    }
}

/// Checks for a claim on the tables. `Some(Some(reason))` is the claim of another directory.
async fn owned(
    store: &dyn ObjectStore,
    owner: &ObjectPath,
    id: &str,
) -> Result<Option<Option<String>>> {
    let bytes = match store.get(owner).await {
        Err(Error::NotFound { .. }) => return Ok(None),
        got => got?.bytes().await?,
    };
    let said: Option<Value> = serde_json::from_slice(&bytes).ok();
    let is_ours = said.is_some_and(|said| said.get("id").and_then(Value::as_str) == Some(id));
    let reason = "these are the tables of another data directory; when that one is gone for good, \
                  remove owner.json there and start again";
    Ok(Some((!is_ours).then(|| reason.to_owned())))
}

/// Tests that the store honours a conditional put, and that get and list see the object at once.
/// Returns the reason if not.
async fn probe(store: &dyn ObjectStore, address: &ObjectAddress) -> Result<Option<String>> {
    let name = format!("probe/{:016x}", random());
    let location = address.location(&name);
    let found = probe_store(store, &location).await;
    // A remaining probe is a few bytes of waste.
    let _ = store.delete(&location).await;
    found
}

async fn probe_store(store: &dyn ObjectStore, location: &ObjectPath) -> Result<Option<String>> {
    const FIRST: Bytes = Bytes::from_static(b"first");
    match create(store, location, FIRST).await {
        // The store may have retried a put whose answer was lost.
        Ok(_) | Err(Error::AlreadyExists { .. }) => {}
        Err(error) => return Err(error),
    }
    let refuses = match create(store, location, Bytes::from_static(b"second")).await {
        Ok(_) => false,
        Err(Error::AlreadyExists { .. }) => true,
        Err(error) => return Err(error),
    };
    if !refuses || store.get(location).await?.bytes().await? != FIRST {
        let reason = "no atomic create: the store ignores `If-None-Match: *` on a put, so that a \
                      commit could overwrite another; use a store that honours it, as Amazon S3 \
                      and current MinIO do, or keep the tables in the data directory";
        return Ok(Some(reason.to_owned()));
    }
    let folder = location.parts().count() - 1;
    let folder: ObjectPath = location.parts().take(folder).collect();
    let listed: Vec<_> = store.list(Some(&folder)).try_collect().await?;
    if listed.iter().any(|object| object.location == *location) {
        return Ok(None);
    }
    let reason = "the store does not list what was just put there, so that commits could be \
                  overlooked; use a store whose lists are consistent";
    Ok(Some(reason.to_owned()))
}

async fn create(
    store: &dyn ObjectStore,
    location: &ObjectPath,
    bytes: Bytes,
) -> Result<object_store::PutResult> {
    let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
    store.put_opts(location, bytes.into(), options).await
}
