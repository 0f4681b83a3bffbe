//! Entry points for fuzz targets: parsers of credentials, tokens and an issuer's answers.
//!
//! No code of the product calls them.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tidings_proto::UnixNanos;

use crate::{
    IssuerError, IssuerUrl, KeyFile, RoleMapping, SignInAnswer, TenantName,
    credential::{key_of, sessions_of, ticket_of},
    oidc::{Description, ExpectedClaims, IssuedTokens, Jws, KeySet, is_token},
};

/// Reads headers, one in each line.
///
/// Returns true when they have a key.
#[must_use]
pub fn read_headers(lines: &[u8]) -> bool {
    let mut headers = HeaderMap::new();
    for line in lines.split(|byte| *byte == b'\n').take(16) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let name = HeaderName::from_bytes(&line[..colon]);
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(&line[colon + 1..])) {
            headers.append(name, value);
        }
    }
    let _ = (sessions_of(&headers).count(), ticket_of(&headers).is_some());
    matches!(key_of(&headers), Ok(Some(_)))
}

/// Parses a text as a token with claims, and as the query string of a sign-in. Returns true when it
/// is a token.
#[must_use]
pub fn read_token(text: &str) -> bool {
    let _ = (is_token(text), text.parse::<TenantName>().is_ok(), SignInAnswer::read(text));
    let Ok(token) = Jws::read(text) else { return false };
    let audiences = ["tidings".to_owned()];
    let expected = ExpectedClaims { issuer: "https://i", audiences: &audiences, now: UnixNanos(1) };
    let _ = token.claims.check(expected);
    let _ = token.claims.check_sign_in("tidings", Some("nonce"));
    if let Ok(roles) = RoleMapping::read("realm_access.roles", "a=read,b=admin") {
        let _ = token.claims.identity(&roles, Some("org"));
    }
    true
}

/// Parses an issuer's set of keys, and verifies a token with it. Returns true when it is a set.
#[must_use]
pub fn read_key_set(json: &[u8], token: &str) -> bool {
    let Ok(keys) = KeySet::read(json) else { return false };
    if let Ok(token) = Jws::read(token) {
        let _ = keys.verify(&token);
    }
    true
}

/// Parses bytes as an issuer's description of itself, and as an answer of its token endpoint.
/// Returns true when it is one of them.
#[must_use]
pub fn read_issuer_answer(json: &[u8]) -> bool {
    let issuers = ["https://i", "http://localhost:1"].map(IssuerUrl::read);
    let is_description =
        issuers.iter().flatten().any(|issuer| Description::read(json, issuer).is_ok());
    let statuses = [StatusCode::OK, StatusCode::BAD_REQUEST, StatusCode::BAD_GATEWAY];
    let mut answers = statuses.map(|status| IssuedTokens::read(status, json)).into_iter();
    is_description || answers.any(|answer| matches!(answer, Ok(_) | Err(IssuerError::Refused(_))))
}

/// Parses a file of keys. Returns the number of keys; `None` when it is not a file of keys.
#[must_use]
pub fn read_key_file(json: &[u8]) -> Option<usize> {
    KeyFile::new("keys.json").parse(json).ok().map(|keys| keys.len())
}
