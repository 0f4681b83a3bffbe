//! Parses requests with a query.

use std::{fmt, sync::Arc, time::Duration};

use ::http::{HeaderMap, Uri, header};
use axum::body::Body;
use http_body_util::BodyExt;
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::Value as Json;
use tidings_apis::{EVENT_STREAM, well_encoded};
use tidings_query::QueryError;
use tidings_storage::Clock;
use utoipa::ToSchema;

use crate::{AnswerFormat, QUERY_BYTES_MAX, SqlError};

/// Maximum bytes of a body: a query of the largest size in which JSON escapes every character, and
/// the fields around it.
pub(super) const BODY_BYTES_MAX: usize = 6 * QUERY_BYTES_MAX + 1024;
/// Maximum bytes of a larger body that are read before its connection is closed.
const DISCARDED_BYTES_MAX: usize = 4 << 20;
/// Maximum time for a body to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

const CSV: &str = "text/csv";
const ARROW: &str = "application/vnd.apache.arrow.stream";
const JSON: &str = "application/json";

/// Form in which an answer is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AnswerForm {
    /// In this format, when it is complete.
    Whole(AnswerFormat),
    /// As events: progress, and finally the answer as JSON.
    Events,
}

/// A query and how much of its answer is wanted.
#[derive(Debug, Clone, PartialEq, Eq, ToSchema)]
pub(super) struct SqlRequest {
    /// The query, of 8 KiB at most.
    #[schema(min_length = 1, max_length = 8192, example = "SELECT 1")]
    pub(super) query: String,
    /// Maximum number of rows, from 1 to 100,000, which is also the default.
    #[schema(value_type = Option<u64>, minimum = 1, maximum = 100_000)]
    pub(super) limit: Option<usize>,
}

impl SqlRequest {
    /// Reads the query of a URL.
    pub(super) fn of_uri(uri: &Uri, rows_max: usize) -> Result<Self, SqlError> {
        let encoded = uri.query().unwrap_or_default();
        well_encoded(encoded).map_err(|error| match error {
            QueryError::Parameter { name, reason } => SqlError::Parameter { name, reason },
            other => SqlError::parameter("query", other.to_string()),
        })?;
        let mut given = RequestParameters { rows_max, ..RequestParameters::default() };
        for (name, value) in url::form_urlencoded::parse(encoded.as_bytes()) {
            match name.as_ref() {
                "query" => given.query(value.into_owned())?,
                "limit" => given.limit(value.parse().ok())?,
                other => return Err(unknown(other)),
            }
        }
        given.ask()
    }

    /// Reads the query of a body.
    pub(super) async fn of_body(
        headers: &HeaderMap,
        uri: &Uri,
        body: Body,
        clock: &Arc<dyn Clock>,
        rows_max: usize,
    ) -> Result<Self, SqlError> {
        if let Some(parameters) = uri.query().filter(|query| !query.is_empty()) {
            let name: String =
                parameters.chars().take_while(|sign| *sign != '=').take(100).collect();
            let reason = "a query that is posted has all in its body".to_owned();
            return Err(SqlError::Parameter { name, reason });
        }
        let given = headers.get(header::CONTENT_TYPE).and_then(|given| given.to_str().ok());
        let given = given.unwrap_or_default().split(';').next().unwrap_or_default().trim();
        let known = [JSON, "application/sql", "text/plain"];
        let Some(known) = known.into_iter().find(|known| given.eq_ignore_ascii_case(known)) else {
            return Err(SqlError::MediaType { given: given.chars().take(100).collect() });
        };
        let bytes = tokio::select! {
            bytes = read(body) => bytes?,
            () = clock.sleep(BODY_TIMEOUT) => {
                return Err(SqlError::Deadline { limit: BODY_TIMEOUT });
            }
        };
        if known == JSON {
            return Self::of_json(&bytes, rows_max);
        }
        let query = String::from_utf8(bytes)
            .map_err(|error| SqlError::parameter("body", error.to_string()))?;
        Ok(Self { query, limit: None })
    }

    pub(super) fn of_json(bytes: &[u8], rows_max: usize) -> Result<Self, SqlError> {
        let Fields(fields) = serde_json::from_slice(bytes)
            .map_err(|error| SqlError::parameter("body", error.to_string()))?;
        let mut given = RequestParameters { rows_max, ..RequestParameters::default() };
        for (name, value) in fields {
            match (name.as_str(), value) {
                ("query" | "limit", Json::Null) => {}
                ("query", Json::String(query)) => given.query(query)?,
                ("query", _) => return Err(SqlError::parameter("query", "`query` is a text")),
                ("limit", value) => given.limit(value.as_u64())?,
                (other, _) => return Err(unknown(other)),
            }
        }
        given.ask()
    }
}

/// Parameters parsed so far.
#[derive(Debug, Default)]
struct RequestParameters {
    query: Option<String>,
    limit: Option<usize>,
    rows_max: usize,
}

impl RequestParameters {
    fn query(&mut self, query: String) -> Result<(), SqlError> {
        match self.query.replace(query) {
            None => Ok(()),
            Some(_) => Err(SqlError::parameter("query", "`query` is given twice")),
        }
    }

    /// Sets the limit; `None` is a value that is not a whole number.
    fn limit(&mut self, limit: Option<u64>) -> Result<(), SqlError> {
        let limit = limit.and_then(|limit| usize::try_from(limit).ok());
        let limit = limit.filter(|limit| (1..=self.rows_max).contains(limit)).ok_or_else(|| {
            let reason = format!("`limit` is a whole number from 1 to {}", self.rows_max);
            SqlError::parameter("limit", reason)
        })?;
        match self.limit.replace(limit) {
            None => Ok(()),
            Some(_) => Err(SqlError::parameter("limit", "`limit` is given twice")),
        }
    }

    fn ask(self) -> Result<SqlRequest, SqlError> {
        let missing = || SqlError::parameter("query", "`query` is missing");
        Ok(SqlRequest { query: self.query.ok_or_else(missing)?, limit: self.limit })
    }
}

fn unknown(name: &str) -> SqlError {
    let name: String = name.chars().take(100).collect();
    let reason = format!("there is no parameter `{name}`; query and limit are");
    SqlError::Parameter { name, reason }
}

/// The fields of an object in their order, repeated ones included.
struct Fields(Vec<(String, Json)>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Fields(Vec::new()))
    }
}

impl<'de> Visitor<'de> for Fields {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with `query` and, when it is wanted, `limit`")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut fields: A) -> Result<Self, A::Error> {
        while let Some(field) = fields.next_entry()? {
            self.0.push(field);
        }
        Ok(self)
    }
}

/// Reads a body up to its maximum. A longer body is read on for a while and discarded, because a
/// client that still sends does not read an answer.
async fn read(mut body: Body) -> Result<Vec<u8>, SqlError> {
    let (mut kept, mut len) = (Vec::new(), 0_usize);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| SqlError::parameter("body", error.to_string()))?;
        let Ok(data) = frame.into_data() else { continue };
        len += data.len();
        if len <= BODY_BYTES_MAX {
            kept.extend_from_slice(&data);
        } else if len > DISCARDED_BYTES_MAX {
            break;
        }
    }
    if len <= BODY_BYTES_MAX { Ok(kept) } else { Err(SqlError::Body { max: BODY_BYTES_MAX }) }
}

/// Returns the form that the client prefers of those there are. Of equally preferred forms, the one
/// that it names first counts ([RFC 9110,
/// 12.5.1](https://www.rfc-editor.org/rfc/rfc9110#section-12.5.1)).
pub(super) fn form(headers: &HeaderMap) -> AnswerForm {
    let accepted = headers.get_all(header::ACCEPT).into_iter();
    let ranges = accepted.filter_map(|value| value.to_str().ok()).flat_map(|list| list.split(','));
    let ranges: Vec<(&str, f32)> = ranges.map(range).collect();
    // The weight of a form, by the closest media type that names it, and that type's position.
    let wanted = |[exact, family]: [&str; 2]| {
        [exact, family, "*/*"].into_iter().find_map(|known| {
            let place = ranges.iter().position(|(given, _)| given.eq_ignore_ascii_case(known))?;
            Some((ranges[place].1, place))
        })
    };
    let forms = [
        (AnswerForm::Whole(AnswerFormat::Json), [JSON, "application/*"]),
        (AnswerForm::Whole(AnswerFormat::Csv), [CSV, "text/*"]),
        (AnswerForm::Whole(AnswerFormat::Arrow), [ARROW, "application/*"]),
        (AnswerForm::Events, [EVENT_STREAM, EVENT_STREAM]),
    ];
    let mut best: Option<(AnswerForm, f32, usize)> = None;
    for (form, names) in forms {
        let Some((weight, place)) = wanted(names).filter(|(weight, _)| *weight > 0.0) else {
            continue;
        };
        let is_better = best.is_none_or(|(_, most, first)| {
            weight > most || (weight.total_cmp(&most).is_eq() && place < first)
        });
        if is_better {
            best = Some((form, weight, place));
        }
    }
    best.map_or(AnswerForm::Whole(AnswerFormat::Json), |(form, ..)| form)
}

/// Returns a media type and its weight.
fn range(text: &str) -> (&str, f32) {
    let mut parts = text.split(';').map(str::trim);
    let media_type = parts.next().unwrap_or_default();
    let weight = parts.find_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then(|| value.trim().parse::<f32>().ok())?
    });
    (media_type, weight.filter(|weight| (0.0..=1.0).contains(weight)).unwrap_or(1.0))
}

/// Returns the content type of an answer in this format.
pub(super) fn media_type(form: AnswerFormat) -> &'static str {
    match form {
        AnswerFormat::Json => JSON,
        AnswerFormat::Csv => "text/csv; charset=utf-8; header=present",
        AnswerFormat::Arrow => ARROW,
        AnswerFormat::Flight => "application/grpc",
    }
}
