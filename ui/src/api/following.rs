//! Questions whose answer takes a while: asked so that the server tells meanwhile how far it is.

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
/// Reading more than this takes long enough to say so before.
const LARGE_BYTES: usize = 4 << 20;

impl<T: DeserializeOwned> Request<T> {
    /// Asks and reads the answer; `hear` gets the name and the data of everything that is told
    /// before. `signal` gives the question up. The answer comes when the reader presses nothing.
    pub async fn follow(
        &self,
        signal: Option<&AbortSignal>,
        hear: impl Fn(&str, &str),
    ) -> Result<T, ApiError> {
        let failed = |error: JsValue| failure(&error);
        let response = self.fetch("text/event-stream, application/json;q=0.5", signal).await?;
        let kind = response.headers().get("content-type").ok().flatten();
        let is_told = kind.is_some_and(|kind| kind.starts_with(EVENTS));
        let Some(body) = response.body().filter(|_| is_told && response.ok()) else {
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
                    _ => hear(&name, &data),
                }
            }
        }
        Err(ApiError::Unreachable)
    }

    /// Asks for a large answer and reads it; `hear` gets how many bytes have come, and is called
    /// once more, after a frame in which that can be drawn, before they are read.
    pub async fn download(
        &self,
        signal: Option<&AbortSignal>,
        hear: impl Fn(usize),
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
            hear(bytes.len());
        }
        if bytes.len() > LARGE_BYTES {
            hear(bytes.len());
            browser::next_frame().await;
        }
        browser::pointer_released().await;
        serde_json::from_slice(&bytes).map_err(|error| ApiError::Unreadable(error.to_string()))
    }
}

/// The next bytes; `None` at the end.
async fn next(bytes: &ReadableStreamDefaultReader) -> Result<Option<Vec<u8>>, ApiError> {
    let part = JsFuture::from(bytes.read()).await.map_err(|error| failure(&error))?;
    let get = |name| js_sys::Reflect::get(&part, &JsValue::from_str(name));
    let is_over = get("done").is_ok_and(|done| done.is_truthy());
    let value = get("value").ok().filter(|_| !is_over);
    Ok(value.and_then(|value| value.dyn_into::<Uint8Array>().ok()).map(|part| part.to_vec()))
}
