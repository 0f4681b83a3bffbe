//! Encodes answers. Large ones take milliseconds and memory, so encoding runs on a blocking thread
//! and holds the query's permits.

use std::io;

use ::http::{HeaderMap, header};
use axum::{
    Extension,
    body::Bytes,
    response::{IntoResponse, Response},
};
use serde::{Serialize, Serializer};
use tidings_query::{Admission, QueryError, TraceExport};

use super::{
    export_body::{ExportFormat, export_body},
    unread_budget::BodyMemory,
};

pub(super) const JSON: &str = "application/json";
pub(super) const PROTOBUF: &str = "application/x-protobuf";

/// Encodes the value as JSON while holding the query's permits.
pub(super) async fn json<T: Serialize + Send + 'static>(
    admission: Admission,
    value: T,
) -> Result<Response, QueryError> {
    Ok(json_response(encode_json_blocking(admission, value).await?))
}

/// Response with a body that is already JSON.
pub(super) fn json_response(bytes: Vec<u8>) -> Response {
    ([(header::CONTENT_TYPE, JSON)], Bytes::from(bytes)).into_response()
}

/// Encodes the value as JSON of at most this many bytes. For callers on a blocking thread.
pub(super) fn encode_json<T: Serialize>(value: &T, bytes_max: u64) -> Result<Vec<u8>, QueryError> {
    text(bytes_max, |text| serde_json::to_writer(text, value))
}

/// Returns the bytes that `write` produces; fails when there are more than these.
pub(super) fn text(
    bytes_max: u64,
    write: impl FnOnce(&mut Text) -> serde_json::Result<()>,
) -> Result<Vec<u8>, QueryError> {
    let room = usize::try_from(bytes_max).unwrap_or(usize::MAX);
    let mut text = Text { bytes: Vec::new(), room, is_full: false };
    match write(&mut text) {
        Ok(()) => Ok(text.bytes),
        Err(_) if text.is_full => Err(QueryError::LongAnswer { bytes_max }),
        Err(error) => Err(QueryError::Defect { reason: error.to_string() }),
    }
}

/// A text with a maximum length. A value that is short in memory can be long as text, such as a
/// name that many lines share.
#[derive(Debug)]
pub(super) struct Text {
    bytes: Vec<u8>,
    /// Number of bytes that may still be written.
    room: usize,
    is_full: bool,
}

impl io::Write for Text {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes).map(|()| bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(room) = self.room.checked_sub(bytes.len()) else {
            self.is_full = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        };
        self.room = room;
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Encodes the value as JSON.
pub(super) async fn encode_json_blocking<T: Serialize + Send + 'static>(
    admission: Admission,
    value: T,
) -> Result<Vec<u8>, QueryError> {
    let bytes_max = admission.answer_bytes_max;
    blocking(admission, move || encode_json(&value, bytes_max)).await
}

/// Runs `write` on a blocking thread and releases the query's permits afterwards.
pub(super) async fn blocking<T: Send + 'static>(
    admission: Admission,
    write: impl FnOnce() -> Result<T, QueryError> + Send + 'static,
) -> Result<T, QueryError> {
    let work = move || {
        let result = write();
        drop(admission);
        result
    };
    // Boxed so that a task of the runtime is compiled once for each type of result.
    let work: Box<dyn FnOnce() -> Result<T, QueryError> + Send> = Box::new(work);
    let ended = tokio::task::spawn_blocking(work).await;
    ended.map_err(|lost| QueryError::Defect { reason: lost.to_string() })?
}

/// A list whose elements are created while it is written.
pub(super) struct LazyList<F>(pub(super) F);

impl<F: Fn() -> I, I: Iterator<Item: Serialize>> Serialize for LazyList<F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq((self.0)())
    }
}

/// The trace in the encoding that the client prefers: JSON, or protobuf on request. The first part
/// is read before the answer begins, so that most errors have a status.
pub(super) async fn otlp(
    mut export: TraceExport,
    headers: &HeaderMap,
) -> Result<Response, QueryError> {
    let form = if prefers_protobuf(headers) { ExportFormat::Protobuf } else { ExportFormat::Json };
    let holds = BodyMemory(export.bytes_held());
    let first = export.next().await?.unwrap_or_default();
    let body = export_body(export, form, first);
    let content_type = [(header::CONTENT_TYPE, form.content_type())];
    Ok((content_type, Extension(holds), body).into_response())
}

/// Reports whether protobuf is the first acceptable type that the server can give.
fn prefers_protobuf(headers: &HeaderMap) -> bool {
    const OTHER_NAME: &str = "application/protobuf";
    let known = [PROTOBUF, OTHER_NAME, JSON, "application/*", "*/*"];
    matches!(preferred(headers, &known), Some(PROTOBUF | OTHER_NAME))
}

/// Returns the first of these types that the client accepts, in the order of their listing by the
/// client.
pub(super) fn preferred<'a>(headers: &HeaderMap, known: &[&'a str]) -> Option<&'a str> {
    let accepted = headers.get_all(header::ACCEPT).into_iter();
    let ranges = accepted.filter_map(|value| value.to_str().ok()).flat_map(|list| list.split(','));
    let mut types = ranges.map(|range| range.split(';').next().unwrap_or_default().trim());
    types.find_map(|given| known.iter().copied().find(|known| given.eq_ignore_ascii_case(known)))
}

#[cfg(test)]
mod tests {
    use super::text;
    use tidings_query::{ErrorKind, QueryError};

    #[test]
    fn an_answer_that_is_too_long_is_an_error_and_one_that_just_fits_is_not() {
        let written =
            |bytes_max| text(bytes_max, |text| serde_json::to_writer(text, &vec!["ab"; 100]));
        assert_eq!(written(501).unwrap().len(), 501);
        let error = written(500).unwrap_err();
        assert!(matches!(error, QueryError::LongAnswer { bytes_max: 500 }), "{error:?}");
        assert_eq!(error.kind(), ErrorKind::TooLarge);
    }
}
