use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
    time::Duration,
};

use ::http::{HeaderMap, HeaderValue, Request, header::ACCEPT};
use axum::{Extension, Router, body::Body, routing::get};
use http_body_util::BodyExt;
use serde::{Serialize, Serializer};
use tidings_query::{QueryError, QueryLimits, QueryService, QuerySettings};
use tidings_storage::{Clock, Store, StoreSettings, SystemClock};
use tower::ServiceExt;
use utoipa::openapi::{RefOr, path::Operation};

use super::{
    BodyMemory, document, encoding, endpoints, searching, unread_budget::UnreadBudget,
    with_unread_budget,
};
use crate::error_status::query_status;

fn operations() -> BTreeMap<String, Operation> {
    let paths = document().paths.paths.into_iter();
    paths.map(|(path, item)| (path, item.get.expect("every endpoint is a GET"))).collect()
}

#[test]
fn every_route_is_documented_and_every_documented_path_is_a_route() {
    let routes: BTreeSet<String> = endpoints().into_iter().map(|endpoint| endpoint.path).collect();
    let documented: BTreeSet<String> = operations().into_keys().collect();
    assert_eq!(routes, documented);
}

#[test]
fn every_endpoint_says_what_it_takes_and_gives() {
    for (path, operation) in operations() {
        assert!(operation.summary.is_some(), "{path} has a summary");
        let given: Vec<&String> = operation.responses.responses.keys().collect();
        assert_eq!(given, ["200", "400", "404", "405", "422", "500", "503", "504"], "{path}");
        let mut in_path = 0;
        for parameter in operation.parameters.unwrap_or_default() {
            let RefOr::T(parameter) = parameter else { panic!("{path} has its parameters inline") };
            assert!(parameter.description.is_some(), "{path}: {} is described", parameter.name);
            in_path += usize::from(path.contains(&format!("{{{}}}", parameter.name)));
        }
        assert_eq!(in_path, path.matches('{').count(), "{path} describes its path");
    }
}

#[test]
fn every_schema_that_is_referred_to_is_in_the_document() {
    let json = document().to_json().unwrap();
    let (mut rest, mut met) = (json.as_str(), 0);
    let document: serde_json::Value = serde_json::from_str(&json).unwrap();
    const PREFIX: &str = "\"#/components/schemas/";
    while let Some(at) = rest.find(PREFIX) {
        rest = &rest[at + PREFIX.len()..];
        let name = &rest[..rest.find('"').unwrap()];
        assert!(document["components"]["schemas"].get(name).is_some(), "{name}");
        met += 1;
    }
    assert!(met > 40, "only {met} references");
}

/// Value that is serialised as true when another query can run meanwhile.
struct OtherQueryProbe(QueryService);

impl Serialize for OtherQueryProbe {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let runtime = tokio::runtime::Handle::current();
        let asked = runtime.block_on(self.0.ask(|_| Ok(())));
        serializer.serialize_bool(asked.is_ok())
    }
}

/// A service that runs one query at a time.
pub(super) async fn single_permit_service(folder: &Path) -> QueryService {
    let settings = StoreSettings { disk_reserve_bytes: 0, ..StoreSettings::new(folder) };
    let (store, _) = Store::open(settings, Arc::new(SystemClock)).await.unwrap();
    let settings = QuerySettings { search_rows_max: 1_000, ..QuerySettings::default() };
    let limits = QueryLimits { running_max: 1, waiting_max: 0, ..QueryLimits::default() };
    QueryService::with_limits(store, settings, limits, Arc::new(SystemClock))
}

#[test]
fn a_defect_is_described_in_the_log_and_not_to_a_client() {
    let status = query_status(QueryError::Defect { reason: "a panic".to_owned() });
    assert_eq!(status.code(), tonic::Code::Internal);
    assert_eq!(status.message(), "the server has a fault, which its log describes");
}

#[tokio::test]
async fn answers_of_other_routes_are_counted_with_those_of_the_service() {
    let folder = tempfile::tempdir().unwrap();
    let service = single_permit_service(folder.path()).await;
    let half = service.limits().answer_bytes_max() / 2 + 1;
    let routes = Router::new().route("/", get(move || async move { Extension(BodyMemory(half)) }));
    let routes = with_unread_budget(routes, &service);
    let ask = || routes.clone().oneshot(Request::get("/").body(Body::empty()).unwrap());
    let unread = ask().await.unwrap();
    assert_eq!(unread.status(), 200);
    assert!(UnreadBudget::shared(&service).try_reserve(half).is_err());
    assert_eq!(ask().await.unwrap().status(), 503);
    drop(unread);
    assert_eq!(ask().await.unwrap().status(), 200);
}

#[tokio::test]
async fn an_answer_is_encoded_under_the_permits_of_its_query() {
    let folder = tempfile::tempdir().unwrap();
    let service = single_permit_service(folder.path()).await;
    let (asking, admission) = service.holding_permits();
    let others = service.clone();
    let value = asking.ask(move |_| Ok(OtherQueryProbe(others))).await.unwrap();
    assert_eq!(encoding::encode_json_blocking(admission, value).await.unwrap(), b"false");
    assert!(service.ask(|_| Ok(())).await.is_ok(), "the permits were released");
}

#[tokio::test]
async fn a_search_releases_its_permits_though_its_events_are_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let service = single_permit_service(folder.path()).await;
    let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("text/event-stream"))]);
    let (end, ended) = tokio::sync::oneshot::channel();
    let ask = |asking: QueryService| async move {
        asking.ask(move |_| Ok(ended.blocking_recv().unwrap_or(0))).await
    };
    let room = UnreadBudget::new(1 << 20);
    let answer = searching::answer(service.clone(), room, &headers, ask).await.unwrap();
    let mut news = answer.into_body();
    let first = news.frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(first.starts_with(b"event: progress"), "{first:?}");
    assert!(service.ask(|_| Ok(())).await.is_err(), "the search holds the permits");
    end.send(7).unwrap();
    let others = async {
        while service.ask(|_| Ok(())).await.is_err() {
            SystemClock.sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), others)
        .await
        .expect("the permits are still held");
    let rest = news.collect().await.unwrap().to_bytes().to_vec();
    assert!(String::from_utf8(rest).unwrap().contains("event: result\ndata: 7"));
}
