//! The files of the UI, embedded and compressed when the server was built.

use std::io::Read;

use axum::{
    Router,
    http::{
        HeaderMap, Method, StatusCode, Uri,
        header::{
            ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, IF_NONE_MATCH,
            VARY,
        },
    },
    response::{IntoResponse, Response},
    routing::get,
};
use flate2::read::GzDecoder;

/// One file, in the two encodings every browser knows.
struct Asset {
    path: &'static str,
    br: &'static [u8],
    gz: &'static [u8],
}

include!(concat!(env!("OUT_DIR"), "/assets.rs"));

/// What is shown when the UI was not built.
const HOW_TO_BUILD: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Tidings</title>\
<h1>Tidings is running</h1>\
<p>This server was built without its web interface. To build both, run</p>\
<pre>cargo xtask run</pre>\
<p>or <code>cargo xtask ui</code> and then <code>cargo run --release</code>. \
The API is at <a href=\"/api/v1/openapi.json\">/api/v1</a>, and receiving works.</p>";

pub(super) fn routes() -> Router {
    Router::new().route("/assets/{file}", get(asset)).fallback(page)
}

/// The page; which one is drawn is decided in the browser from the path.
async fn page(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let is_page = !uri.path().starts_with("/api/") && !uri.path().contains('.');
    if !(is_page && matches!(method, Method::GET | Method::HEAD)) {
        return not_found();
    }
    match find("index.html") {
        Some(page) => answer(page, &headers),
        None => ([(CONTENT_TYPE, "text/html; charset=utf-8")], HOW_TO_BUILD).into_response(),
    }
}

async fn asset(uri: Uri, headers: HeaderMap) -> Response {
    match find(uri.path().trim_start_matches('/')) {
        Some(asset) => answer(asset, &headers),
        None => not_found(),
    }
}

fn not_found() -> Response {
    let text = "There is no such page. The UI starts at /, the API is described at /api/v1/openapi.json.\n";
    (StatusCode::NOT_FOUND, [(CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()
}

fn find(path: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.path == path)
}

fn answer(asset: &'static Asset, request: &HeaderMap) -> Response {
    let tag = format!("\"{:016x}\"", hash(asset.gz));
    let common = [
        (CONTENT_TYPE, content_type(asset.path).to_owned()),
        (CACHE_CONTROL, "no-cache".to_owned()),
        (VARY, "accept-encoding".to_owned()),
        (ETAG, tag.clone()),
    ];
    if request.get(IF_NONE_MATCH).is_some_and(|value| value.as_bytes() == tag.as_bytes()) {
        return (StatusCode::NOT_MODIFIED, common).into_response();
    }
    let accepted = request.get(ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or("");
    let accepts =
        |name: &str| accepted.split(',').any(|item| item.trim().split(';').next() == Some(name));
    if accepts("br") {
        (common, [(CONTENT_ENCODING, "br")], asset.br).into_response()
    } else if accepts("gzip") {
        (common, [(CONTENT_ENCODING, "gzip")], asset.gz).into_response()
    } else {
        let mut plain = Vec::new();
        match GzDecoder::new(asset.gz).read_to_end(&mut plain) {
            Ok(_) => (common, plain).into_response(),
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
        }
    }
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("wasm") => "application/wasm",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

/// FNV-1a: names a version of a file.
fn hash(content: &[u8]) -> u64 {
    content.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
