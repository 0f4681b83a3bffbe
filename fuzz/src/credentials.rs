//! Credentials of requests, tokens, and what an issuer answers.

use tidings_access::{
    IssuerUrl,
    fuzzed_credentials::{read_headers, read_key_set, read_token},
};
use tidings_audit::AuditPosition;

/// A signed token in form; no key of the input will have signed it.
const TOKEN: &str = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJzIn0.c2lnbmF0dXJl";

pub(crate) fn credentials(input: &[u8]) {
    let _ = (read_headers(input), read_key_set(input, TOKEN));
    if let Ok(text) = str::from_utf8(input) {
        let _ = (read_token(text), IssuerUrl::read(text).is_ok());
        let _ = AuditPosition::parse(text);
    }
}
