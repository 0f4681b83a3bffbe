//! Refused senders: which receiver refused what, why, and the line that mends it.

use leptos::prelude::*;
use serde_json::Value;
use tidings_proto::{UnixNanos, api::ReceiverStatus};

use super::{Badge, CopyButton, Tone, change::short, mend::mend_of};
use crate::{api::status::StatusDocument, browser, format};

/// Refusals of one kind at one receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusals {
    /// The receiver's name.
    pub receiver: String,
    /// The reason's name; empty where the server does not say.
    pub reason: String,
    /// Number of them.
    pub count: u64,
    /// The last one in the server's words.
    pub message: String,
    /// The sender of the last one; empty where the server does not say.
    pub sender: String,
    /// When the last one was.
    pub last: Option<UnixNanos>,
}

/// The name of a receiver in words.
#[must_use]
pub fn receiver_words(name: &str) -> String {
    match name {
        "otlp/grpc" => "OTLP over gRPC".to_owned(),
        "otlp/http" => "OTLP over HTTP".to_owned(),
        "zipkin" => "Zipkin".to_owned(),
        _ => name.to_owned(),
    }
}

/// The refusals of a status, most first. A server that lists them by reason is read so; of one that
/// does not, each receiver's last refusal stands for all.
#[must_use]
pub fn refusals(document: &StatusDocument) -> Vec<Refusals> {
    let listed = document.field(&["receivers"]).and_then(Value::as_array);
    let mut all: Vec<Refusals> = Vec::new();
    for (index, receiver) in document.status.receivers.iter().enumerate() {
        let by_reason = listed
            .and_then(|all| all.get(index))
            .and_then(|receiver| receiver.get("refusals"))
            .and_then(Value::as_array);
        match by_reason {
            Some(reasons) => all.extend(reasons.iter().filter_map(|one| read(receiver, one))),
            None if receiver.refused_requests > 0 => all.push(Refusals {
                receiver: receiver.name.clone(),
                reason: String::new(),
                count: receiver.refused_requests,
                message: receiver.last_refusal.clone(),
                sender: String::new(),
                last: None,
            }),
            None => {}
        }
    }
    all.sort_by_key(|one| std::cmp::Reverse(one.count));
    all
}

fn read(receiver: &ReceiverStatus, one: &Value) -> Option<Refusals> {
    let text = |names: &[&str]| {
        let found = names.iter().find_map(|name| one.get(name).and_then(Value::as_str));
        found.unwrap_or_default().to_owned()
    };
    let count = one.get("count").and_then(Value::as_u64)?;
    (count > 0).then(|| Refusals {
        receiver: receiver.name.clone(),
        reason: text(&["reason"]),
        count,
        message: text(&["message", "lastMessage"]),
        sender: text(&["sender", "lastSender", "peer"]),
        last: text(&["lastUnixNano"]).parse().ok().map(UnixNanos),
    })
}

/// One kind of refusals with its mend.
#[component]
pub fn RefusalCard(
    /// The refusals.
    refusals: Refusals,
) -> impl IntoView {
    let Refusals { receiver, reason, count, message, sender, last } = refusals;
    let mend = mend_of(&reason, &message);
    let when = last.map(|last| format::ago(last, browser::now()));
    let facts = [Some(short(&sender)).filter(|sender| !sender.is_empty()), when];
    let facts = facts.into_iter().flatten().collect::<Vec<_>>().join(", ");
    let message = if message.is_empty() { reason } else { message };
    let mend = mend.map(|mend| {
        view! {
            <div class="mend">
                <code>{mend.line}</code>
                <CopyButton text=mend.line.to_owned() label="Copy the line" />
            </div>
            <p class="mute mend-words">{mend.words}</p>
        }
    });
    view! {
        <article class="refusal">
            <div class="refusal-head">
                <Badge tone=Tone::Warning>{format::count(count)} " refused"</Badge>
                <b>{receiver_words(&receiver)}</b>
                <span class="mute">{facts}</span>
            </div>
            <p class="refusal-message">{message}</p>
            {mend}
        </article>
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{StatusDocument, refusals};

    fn document(receivers: serde_json::Value) -> StatusDocument {
        let counts = json!({ "received": 1, "rejected": 0, "stored": 1 });
        serde_json::from_value(json!({
            "version": "0.1.0", "startedUnixNano": "1", "receivers": receivers, "spans": counts,
            "logs": counts, "hasData": true, "demoRunning": false, "insecure": false, "tasks": [],
        }))
        .unwrap()
    }

    #[test]
    fn refusals_are_read_by_reason_or_as_the_last_one() {
        let receiver = |name: &str, refused: u64| {
            json!({
                "name": name, "address": "127.0.0.1:1", "acceptedRequests": 1,
                "refusedRequests": refused, "lastRefusal": "larger than the limit",
            })
        };
        let mut detailed = receiver("otlp/http", 5);
        detailed["refusals"] = json!([
            { "reason": "busy", "count": 1, "message": "busy", "lastUnixNano": "7" },
            { "reason": "media_type", "count": 4, "message": "content type", "sender": "10.0.0.4" },
            { "reason": "panic", "count": 0 },
            "odd",
        ]);
        let all =
            refusals(&document(json!([receiver("zipkin", 2), receiver("otlp/grpc", 0), detailed])));
        let seen: Vec<_> = all.iter().map(|one| (one.receiver.as_str(), one.count)).collect();
        assert_eq!(seen, [("otlp/http", 4), ("zipkin", 2), ("otlp/http", 1)]);
        assert_eq!((all[0].sender.as_str(), all[2].last.map(|last| last.0)), ("10.0.0.4", Some(7)));
        assert_eq!(all[1].message, "larger than the limit");
    }
}
