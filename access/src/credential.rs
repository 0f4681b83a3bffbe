//! Credentials in request headers: the forms of a key, and the cookies of a session.
//!
//! `Authorization: Bearer KEY`, `Authorization: Basic` with the key as password (or as user name
//! with no password), and `x-api-key: KEY`; as metadata of gRPC the same. Senders made for Splunk
//! write `Authorization: Splunk KEY`, and those made for Elasticsearch `Authorization: ApiKey` with
//! the base64 of `ID:KEY`, or with the key itself. A key in a URL is never read, because URLs are
//! logged.

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::error::AccessError;

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// The cookies of a session, with TLS and without. Browsers accept the first from this host alone.
pub const SESSION_COOKIES: [&str; 2] = ["__Host-tidings-session", "tidings-session"];

/// The cookies of a sign-in in progress, with TLS and without.
pub const TICKET_COOKIES: [&str; 2] = ["__Host-tidings-sign-in", "tidings-sign-in"];

/// Returns the key of a request; `None` when the request has none.
///
/// # Errors
/// When the request has two different keys, or a header that is not a key in any of the forms.
pub(crate) fn key_of(headers: &HeaderMap) -> Result<Option<String>, AccessError> {
    let given = headers.get_all(header::AUTHORIZATION).iter().map(authorization);
    let given = given.chain(headers.get_all(API_KEY).iter().map(plain));
    let mut found: Option<String> = None;
    for key in given {
        let key = key.ok_or(AccessError::Unknown)?;
        match &found {
            Some(other) if *other != key => return Err(AccessError::Ambiguous),
            _ => found = Some(key),
        }
    }
    Ok(found)
}

/// Returns the names and values of a browser's session cookies. There may be one of each name.
pub(crate) fn sessions_of(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    cookies(headers, &SESSION_COOKIES)
}

/// Returns the ticket of the browser's sign-in in progress.
#[must_use]
pub fn ticket_of(headers: &HeaderMap) -> Option<&str> {
    cookies(headers, &TICKET_COOKIES).map(|(_, ticket)| ticket).next()
}

fn cookies<'a>(
    headers: &'a HeaderMap,
    names: &'a [&str],
) -> impl Iterator<Item = (&'a str, &'a str)> {
    let texts = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = texts.flat_map(|text| text.split(';')).filter_map(|pair| pair.split_once('='));
    let pairs = pairs.map(|(name, value)| (name.trim(), value.trim()));
    pairs.filter(|(name, _)| names.contains(name))
}

fn plain(value: &HeaderValue) -> Option<String> {
    value.to_str().ok().map(|text| text.trim().to_owned())
}

/// Reads an `Authorization` header. Case does not matter in its scheme.
fn authorization(value: &HeaderValue) -> Option<String> {
    let (scheme, rest) = value.to_str().ok()?.trim().split_once(' ')?;
    let rest = rest.trim();
    match scheme.to_ascii_lowercase().as_str() {
        "bearer" | "splunk" => Some(rest.to_owned()),
        "basic" => key_of_pair(rest),
        // Elasticsearch's clients encode a pair themselves, and send a text unchanged that is
        // encoded already.
        "apikey" => key_of_pair(rest).or_else(|| Some(rest.to_owned())),
        _ => None,
    }
}

/// Reads the key of a base64 pair: the part after the colon, or the part before it if that is
/// empty.
fn key_of_pair(encoded: &str) -> Option<String> {
    let pair = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
    let (user, password) = pair.split_once(':')?;
    Some(if password.is_empty() { user } else { password }.to_owned())
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::STANDARD};
    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::{SESSION_COOKIES, key_of, sessions_of};
    use crate::error::AccessError;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&str, &str)| {
            (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap())
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn a_key_is_read_in_every_form() {
        let basic = |pair: &str| format!("Basic {}", STANDARD.encode(pair));
        let api_key = |pair: &str| format!("ApiKey {}", STANDARD.encode(pair));
        for (name, value) in [
            ("authorization", "Bearer tk_1"),
            ("authorization", "bearer  tk_1 "),
            ("authorization", &basic("anybody:tk_1")),
            ("authorization", &basic(":tk_1")),
            ("authorization", &basic("tk_1:")),
            ("authorization", &api_key("anybody:tk_1")),
            ("authorization", &api_key(":tk_1")),
            ("authorization", &api_key("tk_1:")),
            ("authorization", "ApiKey tk_1"),
            ("authorization", "apikey tk_1"),
            ("authorization", "Splunk tk_1"),
            ("authorization", "splunk  tk_1 "),
            ("x-api-key", "tk_1"),
        ] {
            let found = key_of(&headers(&[(name, value)]));
            assert_eq!(found, Ok(Some("tk_1".to_owned())), "{name}: {value}");
        }
        assert_eq!(key_of(&headers(&[("x-other", "tk_1")])), Ok(None));
        let same = headers(&[("authorization", "Bearer tk_1"), ("x-api-key", "tk_1")]);
        assert_eq!(key_of(&same), Ok(Some("tk_1".to_owned())));
    }

    #[test]
    fn an_apikey_that_is_not_a_base64_pair_is_the_key_itself() {
        let no_pair = STANDARD.encode("tk_1");
        let no_text = STANDARD.encode([b':', 0xff, b'k']);
        for text in [no_pair.as_str(), &no_text, "dGtfMQ", "a:tk_1", "!!!"] {
            let found = key_of(&headers(&[("authorization", &format!("ApiKey {text}"))]));
            assert_eq!(found, Ok(Some(text.to_owned())));
        }
    }

    #[test]
    fn malformed_keys_and_two_different_keys_are_refused() {
        for value in [
            "tk_1",
            "",
            "Digest tk_1",
            "Basic !!!",
            "Basic dGtfMQ",
            "Bearer",
            "ApiKey",
            "Splunk",
            "ApiKeys tk_1",
        ] {
            let found = key_of(&headers(&[("authorization", value)]));
            assert_eq!(found, Err(AccessError::Unknown), "{value}");
        }
        let two = headers(&[("authorization", "Bearer tk_1"), ("x-api-key", "tk_2")]);
        assert_eq!(key_of(&two), Err(AccessError::Ambiguous));
    }

    #[test]
    fn cookies_of_other_names_are_not_sessions() {
        let cookies = headers(&[
            ("cookie", "a=b; tidings-session=one ;c"),
            ("cookie", "__Host-tidings-session=two; xtidings-session=three"),
        ]);
        let sessions: Vec<_> = sessions_of(&cookies).collect();
        let [over_tls, plain] = SESSION_COOKIES;
        assert_eq!(sessions, [(plain, "one"), (over_tls, "two")]);
    }
}
