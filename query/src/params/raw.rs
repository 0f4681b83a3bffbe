//! Query parameters as the clients of other systems send them: unknown ones are ignored, and of one
//! given twice the first counts unless all do.

use ::http::{HeaderMap, Uri, header};
use axum::extract::Query;

use crate::QueryError;

/// The longest query, in bytes.
const QUERY_BYTES_MAX: usize = 32 << 10;
/// The most parameters of one request.
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
    /// The parameters of a request.
    ///
    /// # Errors
    /// When there are too many.
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

    /// The first value of this name; an empty one is as good as none.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        let first = self.0.iter().find(|(given, _)| given == name);
        first.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// The first of these names that has a value, and the value.
    pub(crate) fn either<'a>(&self, names: &[&'a str]) -> Option<(&'a str, &str)> {
        names.iter().find_map(|name| Some((*name, self.text(name)?)))
    }

    /// Every value of this name.
    pub(crate) fn texts<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let values = self.0.iter().filter(move |(given, _)| given == name);
        values.map(|(_, value)| value.as_str())
    }
}
