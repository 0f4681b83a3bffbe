//! Query parameters as the clients of other systems send them. Unknown parameters are ignored. Of a
//! repeated parameter the first value counts, unless all do. Percent-encoding stands for single
//! bytes, such as `%41`.

use ::http::{HeaderMap, Uri, header};
use axum::extract::Query;
use tidings_query::QueryError;

/// Maximum length of a query, in bytes.
const QUERY_BYTES_MAX: usize = 32 << 10;
/// Maximum number of parameters in a request.
const PARAMETERS_MAX: usize = 1_024;

/// Reports whether the body is a form with further parameters.
pub(crate) fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/x-www-form-urlencoded"))
}

/// The query parameters of one request.
#[derive(Debug)]
pub(crate) struct RawParameters(Vec<(String, String)>);

impl RawParameters {
    /// Parses the parameters of a request.
    ///
    /// # Errors
    /// When there are too many parameters.
    pub(crate) fn read(uri: &Uri) -> Result<Self, QueryError> {
        if uri.query().is_some_and(|query| query.len() > QUERY_BYTES_MAX) {
            let reason = format!("the query is longer than {QUERY_BYTES_MAX} bytes");
            return Err(QueryError::parameter("", reason));
        }
        let Query(given) = Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map_err(|broken| QueryError::parameter("", broken.body_text()))?;
        if given.len() > PARAMETERS_MAX {
            let reason = format!("there are more than {PARAMETERS_MAX} parameters");
            return Err(QueryError::parameter("", reason));
        }
        Ok(Self(given))
    }

    /// Returns the first value of this name; an empty value counts as missing.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        let first = self.0.iter().find(|(given, _)| given == name);
        first.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// Returns the first of these names that has a value, and the value.
    pub(crate) fn either<'a>(&self, names: &[&'a str]) -> Option<(&'a str, &str)> {
        names.iter().find_map(|name| Some((*name, self.text(name)?)))
    }

    /// Returns every value of this name.
    pub(crate) fn texts<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let values = self.0.iter().filter(move |(given, _)| given == name);
        values.map(|(_, value)| value.as_str())
    }
}

/// Decodes the escapes of the text to bytes. The flag is true when every `%` began an escape;
/// otherwise a `%` stands for itself.
pub(crate) fn unescaped(text: &str) -> (Vec<u8>, bool) {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    let mut all_escape = true;
    for part in parts {
        let hex = part.get(..2).filter(|hex| hex.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let rest = match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                &part[2..]
            }
            None => {
                all_escape = false;
                bytes.push(b'%');
                part
            }
        };
        bytes.extend_from_slice(rest.as_bytes());
    }
    (bytes, all_escape)
}

#[cfg(test)]
mod tests {
    use super::unescaped;

    #[test]
    fn escapes_are_decoded_and_other_percent_signs_stay() {
        for (text, bytes, all_escape) in [
            ("", b"".as_slice(), true),
            ("shop", b"shop", true),
            ("%41b%63", b"Abc", true),
            ("%2541", b"%41", true),
            ("%ff%C3%a9", b"\xff\xc3\xa9", true),
            ("100%", b"100%", false),
            ("%4", b"%4", false),
            ("%zz%41", b"%zzA", false),
            ("%+f", b"%+f", false),
            ("%\u{e9}a", "%\u{e9}a".as_bytes(), false),
            ("%%41", b"%A", false),
        ] {
            assert_eq!(unescaped(text), (bytes.to_vec(), all_escape), "{text}");
        }
    }
}
