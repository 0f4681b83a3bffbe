//! The newest events of the audit log: changes and denied requests, with author and address.
//!
//! Drawn for keys with the role `admin`.

use std::sync::Arc;

use leptos::prelude::*;
use tidings_proto::api::{AuditActorKind, AuditEvent, AuditEventList, AuditOutcome};

use crate::{
    api::access,
    browser,
    components::{Badge, Panel, PlainHead, PlainTable, Tone},
    format,
    request_state::RequestState,
};

/// Draws the panel.
pub(super) fn audit_panel() -> impl IntoView {
    let list = RequestState::new(|| Some(access::audit()));
    let draw = |list: Arc<AuditEventList>| table(&list);
    view! {
        <Panel
            title="Audit log"
            note="changes and denied requests, the newest first"
            state=list
            is_empty=|list| list.events.is_empty()
            empty="No changes and no denied requests."
            rows=3
            draw=draw
        />
    }
}

fn table(list: &AuditEventList) -> impl IntoView + use<> {
    let heads = ["When", "Action", "Outcome", "Who", "From", "Details"].map(PlainHead::Words);
    let rows = list.events.iter().map(row).collect_view();
    view! {
        <PlainTable label="Audit log" heads>
            {rows}
        </PlainTable>
    }
}

fn row(event: &AuditEvent) -> impl IntoView + use<> {
    let tone = match event.outcome {
        AuditOutcome::Success => Tone::Plain,
        AuditOutcome::Denied => Tone::Warning,
        AuditOutcome::Failure => Tone::Error,
    };
    let outcome = match event.outcome {
        AuditOutcome::Success => "done",
        AuditOutcome::Denied => "denied",
        AuditOutcome::Failure => "failed",
    };
    let times = if event.count > 1 {
        format!("{outcome} ×{}", format::count(event.count))
    } else {
        outcome.to_owned()
    };
    let actor = &event.actor;
    let id = actor.id.clone().unwrap_or_default();
    let who = match actor.kind {
        AuditActorKind::Key => actor.name.clone().unwrap_or(id),
        AuditActorKind::Command => format!("command of user {id}"),
        AuditActorKind::Server => "the server".to_owned(),
        AuditActorKind::Anonymous => "unknown".to_owned(),
    };
    let since = browser::now().since(event.time_unix_nano);
    let detail = event.detail.clone().unwrap_or_default();
    view! {
        <tr>
            <td class="mute">{format!("{} ago", format::duration(since))}</td>
            <td class="mono">{event.action.clone()}</td>
            <td>
                <Badge tone=tone>{times}</Badge>
            </td>
            <td>{who}</td>
            <td class="mono mute">{event.source_address.clone()}</td>
            <td title=event.object.clone()>{detail}</td>
        </tr>
    }
}
