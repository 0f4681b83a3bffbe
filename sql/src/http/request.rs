//! A query as it arrives.

use std::{sync::Arc, time::Duration};

use ::http::{HeaderMap, Uri, header};
use axum::body::Body;
use http_body_util::BodyExt;
use serde::Deserialize;
use tidings_storage::Clock;
use utoipa::ToSchema;

use crate::{Form, QUERY_BYTES_MAX, SqlError};

/// A query of the largest size whose every sign JSON escapes, and what is around it.
pub(super) const BODY_BYTES_MAX: usize = 6 * QUERY_BYTES_MAX + 1024;
/// Of a larger one so much is read before its connection is closed.
const DISCARDED_BYTES_MAX: usize = 4 << 20;
/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

const CSV: &str = "text/csv";
const ARROW: &str = "application/vnd.apache.arrow.stream";
const JSON: &str = "application/json";

/// A query and how much of its answer is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Ask {
    /// The query, of 8 KiB at most.
    #[schema(min_length = 1, max_length = 8192, example = "SELECT 1")]
    pub(super) query: String,
    /// At most so many rows: 1 to 100,000, and so many when not given.
    #[schema(minimum = 1, maximum = 100_000)]
    limit: Option<u64>,
}

impl Ask {
    /// That of an address.
    pub(super) fn of_uri(uri: &Uri) -> Result<Self, SqlError> {
        let (mut query, mut limit) = (None, None);
        for (name, value) in url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes())
        {
            let twice = match name.as_ref() {
                "query" => query.replace(value.into_owned()).is_some(),
                "limit" => limit.replace(number(&value)?).is_some(),
                other => {
                    let name: String = other.chars().take(100).collect();
                    let reason = format!("there is no parameter `{name}`; query and limit are");
                    return Err(SqlError::Parameter { name, reason });
                }
            };
            if twice {
                return Err(SqlError::parameter(&name, format!("`{name}` is given twice")));
            }
        }
        let query = query.ok_or_else(|| SqlError::parameter("query", "`query` is missing"))?;
        Ok(Self { query, limit })
    }

    /// That of a body.
    pub(super) async fn of_body(
        headers: &HeaderMap,
        uri: &Uri,
        body: Body,
        clock: &Arc<dyn Clock>,
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
            return serde_json::from_slice(&bytes)
                .map_err(|error| SqlError::parameter("body", error.to_string()));
        }
        let query = String::from_utf8(bytes)
            .map_err(|error| SqlError::parameter("body", error.to_string()))?;
        Ok(Self { query, limit: None })
    }

    /// How many rows are wanted.
    pub(super) fn rows_max(&self, most: usize) -> Result<Option<usize>, SqlError> {
        let wanted = self.limit.map(usize::try_from);
        match wanted {
            None => Ok(None),
            Some(Ok(wanted)) if (1..=most).contains(&wanted) => Ok(Some(wanted)),
            Some(_) => Err(SqlError::parameter("limit", format!("`limit` is 1 to {most}"))),
        }
    }
}

/// The body, as long as it may be. What is longer is read on for a while without being kept: a
/// client that still sends does not look for an answer.
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

fn number(text: &str) -> Result<u64, SqlError> {
    text.parse().map_err(|_| SqlError::parameter("limit", "`limit` is not a whole number"))
}

/// The first form that the client accepts of those there are.
pub(super) fn form(headers: &HeaderMap) -> Form {
    let accepted = headers.get_all(header::ACCEPT).into_iter();
    let ranges = accepted.filter_map(|value| value.to_str().ok()).flat_map(|list| list.split(','));
    let mut types = ranges.map(|range| range.split(';').next().unwrap_or_default().trim());
    let forms = [
        (JSON, Form::Json),
        ("application/*", Form::Json),
        ("*/*", Form::Json),
        (CSV, Form::Csv),
        ("text/*", Form::Csv),
        (ARROW, Form::Arrow),
    ];
    let known = types.find_map(|given| {
        forms.into_iter().find(|(media_type, _)| given.eq_ignore_ascii_case(media_type))
    });
    known.map_or(Form::Json, |(_, form)| form)
}

/// What an answer of this form is.
pub(super) fn media_type(form: Form) -> &'static str {
    match form {
        Form::Json => JSON,
        Form::Csv => "text/csv; charset=utf-8; header=present",
        Form::Arrow => ARROW,
    }
}
