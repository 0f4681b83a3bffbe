//! The description of the API: the OpenAPI document of `docs/openapi.json`, which the build script
//! compresses and the program embeds.
//!
//! Owns the document as it is served, and how it is built from the code: from the handlers, their
//! types and the refusals of the process. Only the test builds it, and compares it with the file.
//! The schemas of all types are more than a megabyte of code, which the program leaves out, because
//! nothing else calls it.

use std::{
    collections::BTreeMap,
    io::Read,
    sync::{Arc, LazyLock},
};

use axum::http::StatusCode;
use bytes::Bytes;
use flate2::read::GzDecoder;
use serde::{Deserialize, de::IgnoredAny};
use tidings_apis::ProblemResponse;
use tidings_collector::HEAD_STATUSES;
use utoipa::{
    OpenApi,
    openapi::{OpenApi as OpenApiDocument, RefOr},
};

use super::{
    access, erasures::ErasuresApi, keys::KeysApi, pins::PinsApi, sign_in::SignInApi,
    site_guard::REFUSALS, status::StatusApi, storage::LimitsApi,
};

/// The document as it is served.
static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| {
    let compressed: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/openapi.json.gz"));
    let mut document = Vec::new();
    let read = GzDecoder::new(compressed).read_to_end(&mut document);
    read.expect("invariant: the build script compressed the document");
    Bytes::from(document)
});

/// Returns the description of the API, an OpenAPI document in JSON.
pub(crate) fn description() -> Bytes {
    Bytes::clone(&DOCUMENT)
}

/// The part of the document that the program reads.
#[derive(Deserialize)]
struct DescribedPaths {
    paths: BTreeMap<String, IgnoredAny>,
}

/// The paths of the document, read once for all tenants.
static PATHS: LazyLock<Arc<Vec<String>>> = LazyLock::new(|| {
    let document: DescribedPaths = serde_json::from_slice(&DOCUMENT)
        .expect("invariant: the test compares the document with the code");
    Arc::new(document.paths.into_keys().collect())
});

/// Returns the paths of the document in the order of their texts, with `{name}` for each variable
/// part.
pub(super) fn described_paths() -> Arc<Vec<String>> {
    Arc::clone(&PATHS)
}

/// Builds the description from the code: the routes of queries, of SQL and of the process, and the
/// refusals that the process may send in place of any route.
#[cfg_attr(not(test), allow(dead_code, reason = "a test compares it with `docs/openapi.json`"))]
fn build_document() -> OpenApiDocument {
    let mut document = tidings_apis::document();
    document.merge(tidings_sql::document());
    document.merge(StatusApi::openapi());
    document.merge(PinsApi::openapi());
    document.merge(ErasuresApi::openapi());
    document.merge(KeysApi::openapi());
    document.merge(LimitsApi::openapi());
    document.merge(SignInApi::openapi());
    for item in document.paths.paths.values_mut() {
        let operations = [&mut item.get, &mut item.post, &mut item.put, &mut item.delete];
        for operation in operations.into_iter().flatten() {
            let heads = HEAD_STATUSES.map(|status| (status, "what was sent is not read"));
            let refused = access::REFUSALS.into_iter().chain(REFUSALS);
            for (status, reason) in heads.into_iter().chain(refused).chain(EVERYWHERE) {
                let responses = &mut operation.responses.responses;
                let described = || RefOr::T(ProblemResponse::described(reason));
                responses.entry(status.as_str().to_owned()).or_insert_with(described);
            }
        }
    }
    tidings_apis::complete_document(document)
}

/// Responses of every route to a wrong method, to a slow body, and while the server starts.
const EVERYWHERE: [(StatusCode, &str); 3] = [
    (StatusCode::METHOD_NOT_ALLOWED, "method not allowed"),
    (StatusCode::REQUEST_TIMEOUT, "a body took too long"),
    (
        StatusCode::SERVICE_UNAVAILABLE,
        "the server is starting, its receivers are not running, or bodies take too much memory",
    ),
];

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use serde_json::Value as Json;

    use super::{build_document, described_paths, description};

    /// The committed document.
    const FILE: &str = "docs/openapi.json";
    /// Environment variable with which the test writes the file. The next compilation embeds it.
    const WRITE: &str = "TIDINGS_WRITE_OPENAPI";

    /// Returns the places at which two values differ.
    fn differences(committed: &Json, built: &Json) -> BTreeSet<String> {
        let mut rest = vec![(String::new(), committed, built)];
        let mut found = BTreeSet::new();
        while let Some((place, committed, built)) = rest.pop() {
            match (committed, built) {
                (Json::Object(left), Json::Object(right)) if left != right => {
                    let names: BTreeSet<&String> = left.keys().chain(right.keys()).collect();
                    for name in names {
                        rest.push((format!("{place}/{name}"), &committed[name], &built[name]));
                    }
                }
                _ if committed != built => {
                    found.insert(place);
                }
                _ => {}
            }
        }
        found
    }

    #[test]
    fn the_embedded_description_is_that_of_the_code() {
        let text = build_document().to_pretty_json().unwrap() + "\n";
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
        let is_written = std::env::var_os(WRITE).is_some();
        if is_written {
            #[expect(clippy::disallowed_methods, reason = "a file of the sources, not of a store")]
            fs::write(&path, &text).unwrap();
        }
        let built: Json = serde_json::from_str(&text).unwrap();
        let committed: Json = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        assert!(
            committed == built,
            "the code differs from {FILE} at {:#?}\n{WRITE}=1 cargo test --bin tidings \
             embedded_description writes the file",
            differences(&committed, &built)
        );
        if !is_written {
            let embedded: Json = serde_json::from_slice(&description()).unwrap();
            assert!(embedded == built, "the program embeds {FILE}");
            assert_eq!(described_paths().len(), built["paths"].as_object().unwrap().len());
        }
    }
}
