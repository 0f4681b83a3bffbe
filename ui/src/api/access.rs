//! Keys, this browser's session, and the resources that need the role `admin`.

use std::marker::PhantomData;

use tidings_proto::api::{
    AuditEventList, CreatedKey, EndedSessions, ErasureList, ErasureRequest, ErasureView, KeyList,
    KeyRequest, SessionView, SignIn, SignInOptions, SignedOut,
};

use super::Request;
use crate::url::UrlQuery;

/// Returns the request for the session's key. The answer is a 401 error when a key is required.
#[must_use]
pub fn session() -> Request<SessionView> {
    Request::get("/session", &UrlQuery::default())
}

/// Begins a session of this key.
#[must_use]
pub fn sign_in(key: &str) -> Request<SessionView> {
    Request::post("/session", &SignIn { key: key.to_owned() })
}

/// Returns the ways to sign in.
#[must_use]
pub fn sign_in_options() -> Request<SignInOptions> {
    Request::get("/sign-in", &UrlQuery::default())
}

/// Ends the session. The answer may have the address at which the session ends at the issuer.
#[must_use]
pub fn sign_out() -> Request<Option<SignedOut>> {
    delete("/api/v1/session".to_owned())
}

/// Every key, without its secret.
#[must_use]
pub fn keys() -> Request<KeyList> {
    Request::get("/keys", &UrlQuery::default())
}

/// The newest events of the audit log.
#[must_use]
pub fn audit() -> Request<AuditEventList> {
    let mut query = UrlQuery::default();
    query.push("limit", 20);
    Request::get("/audit", &query)
}

/// The erasures, newest first.
#[must_use]
pub fn erasures() -> Request<ErasureList> {
    Request::get("/erasures", &UrlQuery::default())
}

/// One erasure.
#[must_use]
pub fn erasure(id: &str) -> Request<ErasureView> {
    Request::get(&format!("/erasures/{id}"), &UrlQuery::default())
}

/// Begins an erasure.
#[must_use]
pub fn erase(request: &ErasureRequest) -> Request<ErasureView> {
    Request::post("/erasures", request)
}

/// Makes a key.
#[must_use]
pub fn create_key(request: &KeyRequest) -> Request<CreatedKey> {
    Request::post("/keys", request)
}

/// Revokes a key.
#[must_use]
pub fn revoke_key(id: &str) -> Request<()> {
    delete(format!("/api/v1/keys/{id}"))
}

/// Ends the sessions of browsers that a key began.
#[must_use]
pub fn end_sessions(id: &str) -> Request<EndedSessions> {
    delete(format!("/api/v1/keys/{id}/sessions"))
}

fn delete<T>(address: String) -> Request<T> {
    Request { method: "DELETE", address, body: None, answer: PhantomData }
}
