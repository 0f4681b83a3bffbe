//! The audit log of the process: that of a server, and single events of commands.

use std::{ffi::OsStr, os::unix::fs::MetadataExt, sync::Arc};

use anyhow::{Context, Result};
use tidings_audit::{
    AuditActor, AuditActorKind, AuditEvent, AuditLog, AuditOutcome, AuditSettings, append_once,
};
use tidings_proto::UnixNanos;
use tidings_storage::{Clock, Erasure, Supervision, SystemClock};
use tokio::task::spawn_blocking;

use crate::{health::run_for_ever, settings::Settings};

/// Opens the audit log of a server, which from now on writes counted events.
pub(crate) async fn open(
    settings: &Settings,
    clock: &Arc<dyn Clock>,
    tasks: &Supervision,
) -> Result<Arc<AuditLog>> {
    let (place, time) = (audit_settings(settings), Arc::clone(clock));
    let opened = spawn_blocking(move || AuditLog::open(place, time)).await?;
    let log = Arc::new(opened.context("the audit log cannot be opened")?);
    let followed = Arc::clone(&log);
    run_for_ever(tasks, "audit", clock, move || Arc::clone(&followed).follow());
    Ok(log)
}

fn audit_settings(settings: &Settings) -> AuditSettings {
    AuditSettings {
        folder: settings.audit_folder(),
        age: settings.audit_age,
        has_reads: settings.audit_reads,
    }
}

/// Describes an action of the server itself.
pub(crate) fn server_event(time: UnixNanos, action: &str, detail: String) -> AuditEvent {
    AuditEvent {
        time_unix_nano: time,
        action: action.to_owned(),
        outcome: AuditOutcome::Success,
        actor: AuditActor::SERVER,
        tenant: None,
        source_address: None,
        object: None,
        status: None,
        detail: Some(detail),
        count: 1,
    }
}

/// Names the target of an erasure. The value of an attribute must not stay in the audit log.
pub(crate) fn describe_erasure(what: &Erasure) -> String {
    match what {
        Erasure::Trace(id) => format!("trace {id}"),
        Erasure::Attribute(attribute) => format!("attribute {:?}", attribute.key),
    }
}

/// Records a command in the audit log, with words for its result. The command has run already, so a
/// fault here is printed and fails nothing.
pub(crate) fn record_command<T>(
    settings: &Settings,
    action: &str,
    result: &Result<T>,
    describe: impl FnOnce(&T) -> String,
) {
    // A command that failed in a folder without a store leaves the folder as it was.
    let is_data_dir = settings.store.data_dir.join("format").is_file();
    if result.is_err() && !is_data_dir && settings.audit_dir.is_none() {
        return;
    }
    // Without this folder the user is not known.
    let user = std::fs::metadata("/proc/self").ok().map(|own| own.uid().to_string());
    let (outcome, detail) = match result {
        Ok(done) => (AuditOutcome::Success, describe(done)),
        Err(error) => (AuditOutcome::Failure, format!("{error:#}")),
    };
    let text = |name: &OsStr| name.to_str().map(str::to_owned);
    let event = AuditEvent {
        outcome,
        // The folder of a tenant's store has its name.
        tenant: settings.audit_dir.as_ref().and(settings.store.data_dir.file_name()).and_then(text),
        actor: AuditActor { kind: AuditActorKind::Command, id: user, name: None },
        ..server_event(SystemClock.now(), action, detail)
    };
    if let Err(error) = append_once(&settings.audit_folder(), event) {
        eprintln!("tidings: warning: the audit log does not have this: {error}");
    }
}
