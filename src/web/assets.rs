//! The files of the UI, embedded and compressed when the server was built.

use std::{
    io::{self, Write},
    sync::OnceLock,
};

use axum::{
    Router,
    http::{
        HeaderMap, HeaderValue, Method, StatusCode, Uri,
        header::{
            ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, IF_NONE_MATCH,
            VARY,
        },
    },
    response::{IntoResponse, Response},
    routing::get,
};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use tidings_apis::{ETag, rpc_status};
use tidings_grpc::is_grpc;
use tokio::{sync::Semaphore, task::spawn_blocking};
use tonic::Code;

use super::status::wrong_method;

/// One file, compressed with Brotli. Browsers ask for Brotli on loopback and over TLS, and for gzip
/// elsewhere.
struct Asset {
    path: &'static str,
    br: &'static [u8],
    /// The same file, compressed with gzip when a client first asks for it.
    gz: OnceLock<Bytes>,
}

include!(concat!(env!("OUT_DIR"), "/assets.rs"));

/// Permits to decompress a file into memory. Clients need no key for files, so that many could ask
/// at once.
static DECOMPRESSIONS: Semaphore = Semaphore::const_new(2);

/// Page that is served when the program was built without the UI.
const HOW_TO_BUILD: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Tidings</title>\
<h1>Tidings is running</h1>\
<p>This server was built without its web interface. To build both, run</p>\
<pre>cargo xtask run</pre>\
<p>or <code>cargo xtask ui</code> and then <code>cargo run --release</code>. \
The API is at <a href=\"/api/v1/openapi.json\">/api/v1</a>, and receiving works.</p>";

/// Licences of the crates that the program and its UI are built from.
const NOTICES: &str = "assets/third-party-notices.txt";

/// Returns the licences and notices of the crates that the program and its UI are built from;
/// `None` when it was built without them.
///
/// # Errors
/// When the embedded text cannot be decompressed.
pub(crate) fn third_party_notices() -> io::Result<Option<String>> {
    let text = find(NOTICES).map(plain).transpose()?;
    Ok(text.map(|text| String::from_utf8_lossy(&text).into_owned()))
}

pub(super) fn routes() -> Router {
    Router::new()
        .route("/assets/{file}", get(asset))
        .method_not_allowed_fallback(wrong_method)
        .fallback(page)
}

/// Serves the one page; the browser draws the view that belongs to the path.
async fn page(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    if is_grpc(&headers) {
        let message = format!("unknown service or method {}", uri.path());
        return rpc_status(Code::Unimplemented, message).into_http();
    }
    let is_page = !uri.path().starts_with("/api/") && !uri.path().contains('.');
    if !(is_page && matches!(method, Method::GET | Method::HEAD)) {
        return not_found();
    }
    match find("index.html") {
        Some(page) => answer(page, &headers).await,
        None => ([(CONTENT_TYPE, "text/html; charset=utf-8")], HOW_TO_BUILD).into_response(),
    }
}

async fn asset(uri: Uri, headers: HeaderMap) -> Response {
    match find(uri.path().trim_start_matches('/')) {
        Some(asset) => answer(asset, &headers).await,
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

async fn answer(asset: &'static Asset, request: &HeaderMap) -> Response {
    let tag = ETag::from_content(asset.br);
    let is_known = tag.is_among(request.get_all(IF_NONE_MATCH));
    let common = [
        (CONTENT_TYPE, HeaderValue::from_static(content_type(asset.path))),
        (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (VARY, HeaderValue::from_static("accept-encoding")),
        (ETAG, tag.into_header()),
    ];
    if is_known {
        return (StatusCode::NOT_MODIFIED, common).into_response();
    }
    let accepted = request.get(ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or("");
    let accepts =
        |name: &str| accepted.split(',').any(|item| item.trim().split(';').next() == Some(name));
    if accepts("br") {
        return (common, [(CONTENT_ENCODING, "br")], asset.br).into_response();
    }
    let is_gzip = accepts("gzip");
    if is_gzip && let Some(cached) = asset.gz.get() {
        return (common, [(CONTENT_ENCODING, "gzip")], cached.clone()).into_response();
    }
    let permit = DECOMPRESSIONS.acquire().await;
    // The permit is held until the work ends, even if the client has gone.
    let content = spawn_blocking(move || {
        let content = if is_gzip { gzip(asset) } else { plain(asset).map(Bytes::from) };
        drop(permit);
        content
    });
    match content.await.map_err(io::Error::other).flatten() {
        Ok(content) if is_gzip => (common, [(CONTENT_ENCODING, "gzip")], content).into_response(),
        Ok(content) => (common, content).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// Returns a file compressed with gzip, and caches it.
fn gzip(asset: &Asset) -> io::Result<Bytes> {
    if let Some(cached) = asset.gz.get() {
        return Ok(cached.clone());
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(&plain(asset)?)?;
    let compressed = Bytes::from(encoder.finish()?);
    Ok(asset.gz.get_or_init(|| compressed).clone())
}

/// Decompresses the content of a file.
fn plain(asset: &Asset) -> io::Result<Vec<u8>> {
    let mut plain = Vec::new();
    brotli_decompressor::BrotliDecompress(&mut &asset.br[..], &mut plain)?;
    Ok(plain)
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("wasm") => "application/wasm",
        Some("svg") => "image/svg+xml",
        Some("woff2") => "font/woff2",
        Some("txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use axum::http::Request;
    use flate2::read::GzDecoder;

    use super::*;

    #[tokio::test]
    async fn a_client_that_has_a_file_gets_304_and_no_body() {
        static PAGE: Asset = Asset { path: "index.html", br: b"br", gz: OnceLock::new() };
        let ask = async |known: &[&str]| {
            let request = known
                .iter()
                .fold(Request::get("/"), |request, known| request.header(IF_NONE_MATCH, *known));
            let request = request.header(ACCEPT_ENCODING, "br").body(()).unwrap();
            let answer = answer(&PAGE, request.headers()).await;
            let tag = answer.headers()[ETAG].to_str().unwrap().to_owned();
            (answer.status(), tag)
        };
        let (status, tag) = ask(&[]).await;
        assert_eq!(status, StatusCode::OK);
        let strong = tag.strip_prefix("W/").unwrap();
        let list = format!("\"other\", {tag}");
        for known in [&[tag.as_str()][..], &[strong], &[&list], &["\"other\"", &tag], &["*"]] {
            assert_eq!(ask(known).await, (StatusCode::NOT_MODIFIED, tag.clone()), "{known:?}");
        }
        for known in ["\"other\"", "", &tag[..20]] {
            assert_eq!(ask(&[known]).await, (StatusCode::OK, tag.clone()), "{known:?}");
        }
    }

    #[tokio::test]
    async fn a_file_is_the_same_in_every_encoding() {
        // Brotli's form of "page", uncompressed in one block and with an empty last one.
        static PAGE: Asset =
            Asset { path: "index.html", br: b"\x8b\x01\x80page\x03", gz: OnceLock::new() };
        let ask = async |encoding: &'static str| {
            let request = Request::get("/").header(ACCEPT_ENCODING, encoding).body(()).unwrap();
            let answer = answer(&PAGE, request.headers()).await;
            let encoding = answer.headers().get(CONTENT_ENCODING).cloned();
            let content = axum::body::to_bytes(answer.into_body(), 1 << 10).await.unwrap();
            (encoding, content)
        };
        let (encoding, content) = ask("identity").await;
        assert_eq!((encoding, &content[..]), (None, &b"page"[..]));
        for _ in 0..2 {
            let (encoding, content) = ask("deflate, gzip;q=0.5").await;
            assert_eq!(encoding.unwrap(), "gzip");
            let mut plain = String::new();
            GzDecoder::new(&content[..]).read_to_string(&mut plain).unwrap();
            assert_eq!(plain, "page");
        }
        let (encoding, content) = ask("gzip, br").await;
        assert_eq!((encoding.unwrap().to_str().unwrap(), &content[..]), ("br", PAGE.br));
    }
}
