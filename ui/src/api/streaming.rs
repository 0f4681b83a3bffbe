//! Requests with slow answers, whose progress the server or the download reports meanwhile.

use js_sys::Uint8Array;
use serde::de::DeserializeOwned;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{AbortSignal, ReadableStreamDefaultReader};

use super::{
    ApiError, Request,
    event_stream::{Event, EventReader},
    failure, read, read_json,
};
use crate::browser;

const EVENTS: &str = "text/event-stream";
/// Size of an answer from which parsing is slow enough to be announced first.
const LARGE_BYTES: usize = 4 << 20;

impl<T: DeserializeOwned> Request<T> {
    /// Sends the request and parses the answer. `on_event` gets the name and the data of each
    /// earlier event. `signal` aborts it. The answer is returned when no pointer button is pressed.
    pub async fn send_streaming(
        &self,
        signal: Option<&AbortSignal>,
        on_event: impl Fn(&str, &str),
    ) -> Result<T, ApiError> {
        let failed = |error: JsValue| failure(&error);
        let response = self.fetch("text/event-stream, application/json;q=0.5", signal).await?;
        let kind = response.headers().get("content-type").ok().flatten();
        let is_event_stream = kind.is_some_and(|kind| kind.starts_with(EVENTS));
        let Some(body) = response.body().filter(|_| is_event_stream && response.ok()) else {
            let text = JsFuture::from(response.text().map_err(failed)?).await.map_err(failed)?;
            browser::pointer_released().await;
            return read(response.status(), &text.as_string().unwrap_or_default());
        };
        let bytes: ReadableStreamDefaultReader = body.get_reader().unchecked_into();
        let mut events = EventReader::default();
        while let Some(part) = next(&bytes).await? {
            for Event { name, data } in events.push(&part) {
                match name.as_str() {
                    "result" => {
                        browser::pointer_released().await;
                        return read_json(&data);
                    }
                    "problem" => return Err(ApiError::Problem(read_json(&data)?)),
                    _ => on_event(&name, &data),
                }
            }
        }
        Err(ApiError::Unreachable)
    }

    /// Sends the request for a large answer and parses it. `on_event` gets the number of bytes so
    /// far. It is called once more before the bytes are parsed, after a frame in which that can be
    /// drawn.
    pub async fn download(
        &self,
        signal: Option<&AbortSignal>,
        on_event: impl Fn(usize),
    ) -> Result<T, ApiError> {
        let failed = |error: JsValue| failure(&error);
        let response = self.fetch("application/json", signal).await?;
        let Some(body) = response.body().filter(|_| response.ok()) else {
            let text = JsFuture::from(response.text().map_err(failed)?).await.map_err(failed)?;
            return read(response.status(), &text.as_string().unwrap_or_default());
        };
        let parts: ReadableStreamDefaultReader = body.get_reader().unchecked_into();
        let mut bytes = Vec::new();
        while let Some(part) = next(&parts).await? {
            bytes.extend_from_slice(&part);
            on_event(bytes.len());
        }
        if bytes.len() > LARGE_BYTES {
            on_event(bytes.len());
            browser::next_frame().await;
        }
        browser::pointer_released().await;
        serde_json::from_slice(&bytes).map_err(|error| ApiError::Unreadable(error.to_string()))
    }
}

/// Returns the next bytes, or `None` at the end.
async fn next(bytes: &ReadableStreamDefaultReader) -> Result<Option<Vec<u8>>, ApiError> {
    let part = JsFuture::from(bytes.read()).await.map_err(|error| failure(&error))?;
    let get = |name| js_sys::Reflect::get(&part, &JsValue::from_str(name));
    let is_over = get("done").is_ok_and(|done| done.is_truthy());
    let value = get("value").ok().filter(|_| !is_over);
    Ok(value.and_then(|value| value.dyn_into::<Uint8Array>().ok()).map(|part| part.to_vec()))
}
