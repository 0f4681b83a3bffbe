//! Names for the completion of filters.

use insta::assert_json_snapshot;
use serde_json::json;
use tidings_proto::otlp::{KeyValue, SpanKind};
use tidings_query::QueryLimits;
use tidings_storage::{AttributeFilter, Erasure};

use crate::harness::{Harness, checkout, record, span};

const DAY: u64 = 24 * 60 * 60 * 1_000;

#[tokio::test]
async fn names_come_with_their_counts_most_frequent_first() {
    let harness = Harness::new().await;
    harness.send(checkout(1)).await;
    assert_json_snapshot!("services", harness.get("/services").await);
    assert_json_snapshot!("operations", harness.get("/operations?service=payment").await);
    assert_json_snapshot!("attribute_keys", harness.get("/attributes/keys").await);
    assert_json_snapshot!(
        "attribute_values",
        harness.get("/attributes/values?key=host.name").await
    );
}

#[tokio::test]
async fn names_are_narrowed_by_prefix_service_and_limit() {
    let harness = Harness::new().await;
    harness.send(checkout(1)).await;
    let names = |json: serde_json::Value, list: &str, field: &str| -> Vec<String> {
        let names = json[list].as_array().unwrap().iter();
        names.map(|name| name[field].as_str().unwrap().to_owned()).collect()
    };
    let keys = names(harness.get("/attributes/keys?prefix=HTTP.").await, "keys", "key");
    assert_eq!(keys, ["http.request.method", "http.response.status_code"]);
    let keys = names(harness.get("/attributes/keys?service=payment").await, "keys", "key");
    assert_eq!(keys, ["host.name", "service.name"]);
    let values = harness.get("/attributes/values?key=http.response.status_code&prefix=5").await;
    assert_eq!(values, json!({"names": [{"name": "502", "count": 1}], "truncated": false}));
    let services = harness.get("/services?limit=1").await;
    assert_eq!(services, json!({"names": [{"name": "payment", "count": 3}], "truncated": true}));
    let operations = names(harness.get("/operations?prefix=select").await, "names", "name");
    assert_eq!(operations, ["SELECT account"]);
}

#[tokio::test]
async fn names_come_from_the_last_day_that_has_data() {
    let harness = Harness::new().await;
    harness.send([span(1, 1, "old", "work").at(0, 1)]).await;
    let harness_services = async || {
        let list = harness.get("/services").await;
        let names = list["names"].as_array().unwrap().clone();
        names.iter().map(|name| name["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(harness_services().await, ["old"]);
    // A clock that is a year ahead does not hide the other spans.
    harness.send([span(2, 1, "ahead", "work").at(365 * DAY, 365 * DAY + 1)]).await;
    assert_eq!(harness_services().await, ["ahead", "old"]);
}

#[tokio::test]
async fn old_names_are_found_when_asked_for() {
    let harness = Harness::new().await;
    let mut old = span(1, 1, "old", "work");
    old.span.start_time_unix_nano -= 2 * DAY * 1_000_000;
    harness.send([old, span(2, 1, "new", "work")]).await;
    let names =
        async |query: &str| harness.get(&format!("/services{query}")).await["names"].clone();
    assert_eq!(names("").await, json!([{"name": "new", "count": 1}]));
    let all = json!([{"name": "new", "count": 1}, {"name": "old", "count": 1}]);
    assert_eq!(names("?start=2026-11-01T00:00:00Z").await, all);
}

#[tokio::test]
async fn words_find_operations_versions_exceptions_and_peers() {
    let harness = Harness::new().await;
    harness
        .send([
            span(1, 1, "web-gateway", "POST /checkout").at(0, 100).kind(SpanKind::Server),
            span(1, 2, "payment", "Charge")
                .parent(1)
                .at(10, 90)
                .kind(SpanKind::Server)
                .attribute("service.version", "2.14.0")
                .exception("CurrencyMissing", "no"),
            span(1, 3, "payment", "POST northpay")
                .parent(2)
                .at(20, 80)
                .kind(SpanKind::Client)
                .attribute("peer.service", "northpay"),
            span(1, 4, "payment", "SELECT")
                .parent(2)
                .at(81, 85)
                .kind(SpanKind::Client)
                .attribute("db.system.name", "postgresql")
                .attribute("db.namespace", "rules-db"),
        ])
        .await;
    let mut logged = record(None, 30, 17, "failed");
    logged.attributes.push(KeyValue::new("exception.type", "LedgerClosed"));
    harness.log([("payment", logged)]).await;
    let names =
        async |text: &str| harness.get(&format!("/names?text={text}")).await["names"].clone();
    let of_payment = |kind: &str, name: &str| json!({"kind": kind, "name": name, "service": "payment", "count": 1});
    let peer = |kind: &str, name: &str| json!({"kind": "peer", "name": name, "peerKind": kind, "count": 1});
    let checkout = json!({"kind": "operation", "name": "POST /checkout", "service": "web-gateway", "count": 1});
    let mut database = peer("database", "rules-db");
    database["system"] = json!("postgresql");
    for (text, expected) in [
        ("web-gateway%20POST%20/checkout", json!([checkout])),
        ("Checkout%20GATEWAY", json!([checkout])),
        ("payment%202.14.0", json!([of_payment("version", "2.14.0")])),
        ("2.14", json!([of_payment("version", "2.14.0")])),
        ("currencymissing", json!([of_payment("exception", "CurrencyMissing")])),
        ("ledgerclosed", json!([of_payment("exception", "LedgerClosed")])),
        (
            "northpay",
            json!([peer("external", "northpay"), of_payment("operation", "POST northpay")]),
        ),
        ("postgresql", json!([database])),
        // A service alone is not a name of these kinds.
        ("payment", json!([])),
        ("payment%20checkout", json!([])),
        ("%20", json!([])),
    ] {
        assert_eq!(names(text).await, expected, "{text}");
    }
    let too_long = harness.get(&format!("/names?text={}2.14.0", "payment%20".repeat(64))).await;
    assert_eq!(too_long, json!({"names": [], "truncated": true}));
}

#[tokio::test]
async fn erased_names_are_not_found_though_as_many_rows_have_come() {
    let harness = Harness::new().await;
    let failed = |trace: u64, user: &str, kind: &str| {
        let span = span(trace, 1, "payment", "Charge").attribute("user.id", user);
        span.exception(kind, "no")
    };
    harness.send([failed(1, "jane", "JaneRoeMissing"), failed(2, "john", "Declined")]).await;
    let count = async |text: &str| {
        let found = harness.get(&format!("/names?text={text}")).await;
        found["names"].as_array().unwrap().len()
    };
    assert_eq!(count("janeroe").await, 1);
    let of_jane = AttributeFilter::new("user.id", Some("jane".to_owned()));
    harness.store.erase(&Erasure::Attribute(of_jane)).await.unwrap();
    harness.send([failed(3, "john", "Declined")]).await;
    assert_eq!((count("janeroe").await, count("declined").await), (0, 1));
}

#[tokio::test]
async fn a_list_that_hit_a_bound_says_so() {
    let limits = QueryLimits { names_counted_max: 2, ..QueryLimits::default() };
    let harness = Harness::with_limits(limits).await;
    harness.send((1..=4).map(|n| span(n, 1, &format!("s{n}"), "work"))).await;
    assert_eq!(harness.get("/services").await["truncated"], true);
    let harness = Harness::with(QueryLimits::default(), 3).await;
    for n in 1..=4 {
        harness.send([span(n, 1, "shop", "work")]).await;
    }
    assert_eq!(harness.get("/services").await["truncated"], true);
}
