//! Audit events of requests to the HTTP address.
//!
//! A request to the native API that changes something is recorded before its answer leaves. A
//! request that is denied, or that no known caller made, is counted. A request that reads is
//! recorded where the setting `audit-reads` is on.
//!
//! The rule depends on method and status and not on the route, so a new route is never left out. A
//! route adds details in words to its answer ([`AuditDetail`]).

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{Method, StatusCode},
    middleware::Next,
    response::Response,
};
use tidings_access::Caller;
use tidings_audit::{AuditActor, AuditEvent, AuditLog, AuditOutcome};
use tidings_collector::{RequestHolder, ShareHolder};
use tidings_query::StatementRedaction;
use tidings_sql::SubmittedStatement;
use tidings_storage::Clock;

use super::{
    access::{is_change, is_read},
    request_words::RequestWords,
    sign_in::{CALLBACK, SIGN_IN},
};

/// Details in words, which a route adds to the extensions of its answer.
#[derive(Debug, Clone)]
pub(super) enum AuditDetail {
    /// The change that was made, or the reason why it failed.
    Change(String),
    /// The reason why the request is denied, whatever status its protocol has for it.
    Denial(String),
}

/// The audit log, its clock, and the filter that keeps secrets out of events.
#[derive(Debug, Clone)]
pub(crate) struct Auditing {
    pub(crate) log: Arc<AuditLog>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) words: Arc<RequestWords>,
}

/// Names of the actions of the native API. Other actions are named by their method.
const ACTIONS: [(&str, &str, &str, &str); 10] = [
    ("GET", CALLBACK, "", "session.begin"),
    ("POST", "/api/v1/keys", "", "key.create"),
    ("DELETE", "/api/v1/keys/", "/sessions", "session.end"),
    ("DELETE", "/api/v1/keys/", "", "key.revoke"),
    ("POST", "/api/v1/session", "", "session.begin"),
    ("DELETE", "/api/v1/session", "", "session.end"),
    ("PUT", "/api/v1/traces/", "/pin", "trace.pin"),
    ("DELETE", "/api/v1/traces/", "/pin", "trace.unpin"),
    ("POST", "/api/v1/erasures", "", "data.erase"),
    ("POST", "/api/v1/demo", "", "demo.send"),
];

/// Records a request when it changes something, is denied, or reads.
pub(super) async fn record(
    State(auditing): State<Auditing>,
    request: Request,
    next: Next,
) -> Response {
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let address = request.extensions().get::<Arc<RequestHolder>>().map(|holder| holder.peer());
    let mut response = next.run(request).await;
    let (status, path) = (response.status(), uri.path());
    let is_denied = is_denial(&response);
    // The issuer sends people back by a link, which is a GET that begins a session.
    let is_change = is_change(&method, path) || path == CALLBACK;
    let is_recorded_read = auditing.log.has_reads() && path != SIGN_IN;
    let is_read = !is_change && is_recorded_read && is_read(&method, path);
    if !(is_denied || is_change || is_read) {
        return response;
    }
    let caller = response.extensions_mut().remove::<Caller>();
    let action = if is_denied { "access" } else { action(&method, path) };
    if action == "session.end" && caller.is_none() {
        // There was no session to end.
        return response;
    }
    let is_known = caller.is_some();
    let detail = response.extensions_mut().remove::<AuditDetail>();
    let words = |(AuditDetail::Change(text) | AuditDetail::Denial(text))| text;
    // A query in a body is not part of the address.
    let asked = response.extensions_mut().remove::<SubmittedStatement>().filter(|_| is_read);
    let asked = asked.map(|SubmittedStatement(text)| auditing.words.redacted(&text));
    let event = AuditEvent {
        time_unix_nano: auditing.clock.now(),
        action: action.to_owned(),
        outcome: if is_denied { AuditOutcome::Denied } else { outcome(status) },
        tenant: caller.as_ref().and_then(Caller::named_tenant),
        actor: caller.map_or(AuditActor::ANONYMOUS, |caller| caller.actor()),
        source_address: address.map(|address| address.to_string()),
        object: Some(match is_read && !is_denied {
            true => auditing.words.of_address(&method, path, uri.query()),
            false => auditing.words.of_address(&method, path, None),
        }),
        status: Some(status.as_u16()),
        detail: detail.map(words).or(asked),
        count: 1,
    };
    match (is_denied, is_change, is_known) {
        // Events that strangers can cause are folded, because they need no key to cause many.
        (true, ..) | (false, true, false) => auditing.log.count(event),
        (false, true, true) => auditing.log.record(event).await,
        (false, false, _) => auditing.log.read(event),
    }
    response
}

fn is_denial(response: &Response) -> bool {
    let denials =
        [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN, StatusCode::MISDIRECTED_REQUEST];
    let detail = response.extensions().get::<AuditDetail>();
    denials.contains(&response.status()) || matches!(detail, Some(AuditDetail::Denial(_)))
}

fn outcome(status: StatusCode) -> AuditOutcome {
    match status.is_client_error() || status.is_server_error() {
        true => AuditOutcome::Failure,
        false => AuditOutcome::Success,
    }
}

fn action(method: &Method, path: &str) -> &'static str {
    let is_of = |(wanted, begin, end, _): &&(&str, &str, &str, &str)| {
        let rest = path.strip_prefix(begin);
        let is_path = match end.is_empty() && !begin.ends_with('/') {
            true => rest == Some(""),
            false => rest.is_some_and(|rest| rest.ends_with(end)),
        };
        method.as_str() == *wanted && is_path
    };
    match ACTIONS.iter().find(is_of) {
        Some((.., action)) => action,
        None if is_change(method, path) => "change",
        None => "read",
    }
}

#[cfg(test)]
mod tests {
    use axum::{
        http::{Method, StatusCode},
        response::IntoResponse,
    };
    use tidings_audit::AuditOutcome;

    use super::{AuditDetail, action, is_denial, outcome};

    #[test]
    fn actions_have_names_and_those_of_the_future_are_changes() {
        for (method, path, expected) in [
            (Method::POST, "/api/v1/keys", "key.create"),
            (Method::DELETE, "/api/v1/keys/0123abcd", "key.revoke"),
            (Method::DELETE, "/api/v1/keys/0123abcd/sessions", "session.end"),
            (Method::PUT, "/api/v1/traces/12/pin", "trace.pin"),
            (Method::DELETE, "/api/v1/traces/12/pin", "trace.unpin"),
            (Method::POST, "/api/v1/erasures", "data.erase"),
            (Method::PUT, "/api/v1/traces/12", "change"),
            (Method::POST, "/api/v1/keys-of-the-future", "change"),
            (Method::POST, "/api/v1/sql", "read"),
            (Method::GET, "/api/v1/keys", "read"),
        ] {
            assert_eq!(action(&method, path), expected, "{method} {path}");
        }
    }

    #[test]
    fn a_denial_is_recognised_by_the_status_or_by_the_answer() {
        let answer = |status: StatusCode| status.into_response();
        assert!(is_denial(&answer(StatusCode::UNAUTHORIZED)));
        assert!(is_denial(&answer(StatusCode::FORBIDDEN)));
        assert!(!is_denial(&answer(StatusCode::CONFLICT)));
        // gRPC answers with status 200 and its own status.
        let mut response = answer(StatusCode::OK);
        response.extensions_mut().insert(AuditDetail::Change("made".to_owned()));
        assert!(!is_denial(&response));
        response.extensions_mut().insert(AuditDetail::Denial("no key".to_owned()));
        assert!(is_denial(&response));
        assert_eq!(outcome(StatusCode::CREATED), AuditOutcome::Success);
        assert_eq!(outcome(StatusCode::CONFLICT), AuditOutcome::Failure);
        assert_eq!(outcome(StatusCode::INTERNAL_SERVER_ERROR), AuditOutcome::Failure);
    }
}
