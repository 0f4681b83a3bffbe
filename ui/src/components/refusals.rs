//! Refused requests by receiver and reason, with their number and a remedy.

use leptos::prelude::*;
use tidings_proto::api::{ReceiverStatus, RefusalStatus, ServerStatus, StandardReceiver};

use super::{Badge, CopyButton, Tone, change::truncate_name, remedy::remedy_for};
use crate::{browser, format};

/// Refusals with one reason at one receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusalGroup {
    /// The receiver's name.
    pub receiver: String,
    /// Their number, and the latest one.
    pub status: RefusalStatus,
}

/// Returns the name of a receiver in words.
#[must_use]
pub fn receiver_text(name: &str) -> String {
    let words = [
        (StandardReceiver::OTLP_GRPC, "OTLP over gRPC"),
        (StandardReceiver::OTLP_HTTP, "OTLP over HTTP"),
        (StandardReceiver::ZIPKIN, "Zipkin"),
    ];
    let known = words.into_iter().find(|(receiver, _)| receiver.name == name);
    known.map_or(name, |(_, words)| words).to_owned()
}

/// Returns the refusals of all receivers, most frequent first.
#[must_use]
pub fn ranked_refusals(status: &ServerStatus) -> Vec<RefusalGroup> {
    let of = |receiver: &ReceiverStatus| {
        let name = receiver.name.clone();
        let refusals = receiver.refusals.clone().into_iter();
        refusals.map(move |status| RefusalGroup { receiver: name.clone(), status })
    };
    let mut all: Vec<RefusalGroup> = status.receivers.iter().flat_map(of).collect();
    all.sort_by_key(|one| std::cmp::Reverse(one.status.count));
    all
}

/// One kind of refusals with its remedy.
#[component]
pub fn RefusalCard(
    /// The refusals.
    refusals: RefusalGroup,
) -> impl IntoView {
    let RefusalGroup { receiver, status } = refusals;
    let RefusalStatus { reason, count, message, sender, last_unix_nano } = status;
    let remedy = remedy_for(&reason, &message);
    let when = format::ago(last_unix_nano, browser::now());
    let facts = format!("{}, {when}", truncate_name(&sender));
    let remedy = remedy.map(|remedy| {
        view! {
            <div class="mend">
                <code>{remedy.line}</code>
                <CopyButton text=remedy.line.to_owned() label="Copy the line" />
            </div>
            <p class="mute mend-words">{remedy.words}</p>
        }
    });
    view! {
        <article class="refusal">
            <div class="refusal-head">
                <Badge tone=Tone::Warning>{format::count(count)} " refused"</Badge>
                <b>{receiver_text(&receiver)}</b>
                <span class="mute">{facts}</span>
            </div>
            <p class="refusal-message">{message}</p>
            {remedy}
        </article>
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tidings_proto::api::ServerStatus;

    use super::ranked_refusals;

    #[test]
    fn refusals_of_all_receivers_are_ranked_by_count() {
        let refusal = |reason: &str, count: u64| {
            json!({
                "reason": reason, "count": count, "message": "no", "sender": "10.0.0.4",
                "lastUnixNano": "7",
            })
        };
        let receiver = |name: &str, refusals: serde_json::Value| {
            json!({
                "name": name, "address": "127.0.0.1:1", "tls": false, "acceptedRequests": 1,
                "refusedRequests": 7, "refusals": refusals,
            })
        };
        let counts = json!({ "received": 1, "rejected": 0, "stored": 1 });
        let status: ServerStatus = serde_json::from_value(json!({
            "version": "0.1.0", "startedUnixNano": "1", "spans": counts, "logs": counts,
            "hasData": true, "demoRunning": false, "insecure": false, "tasks": [],
            "receivers": [
                receiver("zipkin", json!([refusal("media_type", 2)])),
                receiver("otlp/grpc", json!([])),
                receiver("otlp/http", json!([refusal("busy", 1), refusal("malformed", 4)])),
            ],
        }))
        .unwrap();
        let all = ranked_refusals(&status);
        let seen: Vec<_> = all
            .iter()
            .map(|one| (one.receiver.as_str(), one.status.reason.as_str(), one.status.count))
            .collect();
        assert_eq!(
            seen,
            [("otlp/http", "malformed", 4), ("zipkin", "media_type", 2), ("otlp/http", "busy", 1)]
        );
    }
}
