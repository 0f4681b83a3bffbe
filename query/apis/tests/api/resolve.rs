//! Resolution of pasted texts.

use insta::assert_json_snapshot;

use crate::harness::{Harness, checkout, record, span, text, trace_id};

#[tokio::test]
async fn a_pasted_text_finds_the_stored_traces_it_may_mean() {
    let harness = Harness::new().await;
    harness.send(checkout(1)).await;
    harness.log([("van", record(Some(7), 10, 9, "only logs"))]).await;
    let matches = async |text: &str| {
        let found = harness.get(&format!("/resolve?text={text}")).await;
        let matches = found["matches"].as_array().unwrap().clone();
        matches
            .iter()
            .map(|found| found["traceId"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let id = trace_id(1);
    let only = vec![id.clone()];
    assert_eq!(matches(&id).await, only);
    assert_eq!(matches(&format!("%20{}%0A", id.to_uppercase())).await, only);
    assert_eq!(matches(&id[16..]).await, only);
    assert_eq!(matches("A-17").await, only);
    assert_eq!(matches(&trace_id(7)).await, [trace_id(7)]);
    assert_eq!(matches(&trace_id(8)).await, Vec::<String>::new());
    assert_eq!(matches("hello%20world").await, Vec::<String>::new());
    // The text of a log record is not exact.
    assert_eq!(matches("only%20logs").await, [trace_id(7)]);
    assert_eq!(matches("only%20logs&exact=true").await, Vec::<String>::new());
    assert_eq!(matches("A-17&exact=true").await, only);
    assert_json_snapshot!("resolve", harness.get("/resolve?text=A-17").await);
}

#[tokio::test]
async fn a_transaction_key_is_found_in_a_header_a_line_and_an_address() {
    const UUID: &str = "9b2f4f5c-0a1b-4c2d-8e3f-a0b1c2d3e4f5";
    let harness = Harness::new().await;
    let keyed = span(1, 1, "shop", "work").attribute("x-request-id", UUID);
    harness.send([keyed.attribute("order.id", "ORD/42 ü?")]).await;
    harness.send([span(2, 1, "shop", "work").attribute("order.id", "A-17")]).await;
    let upper = UUID.to_uppercase();
    let encoded =
        |text: &str| -> String { text.bytes().map(|byte| format!("%{byte:02X}")).collect() };
    for (pasted, trace, key) in [
        (format!("x-request-id: {UUID}"), 1, "x-request-id"),
        (format!("X-Request-ID: {upper}"), 1, "x-request-id"),
        (upper.clone(), 1, "x-request-id"),
        (format!("10:11:12 INFO GET /cart \"{upper}\" 200"), 1, "x-request-id"),
        ("order.id=ORD/42 ü?".to_owned(), 1, "order.id"),
        ("https://shop.example/?order.id=ORD%2F42%20%C3%BC%3F&x=1".to_owned(), 1, "order.id"),
        ("10:11:12 INFO paid order.id=A-17, shipping next".to_owned(), 2, "order.id"),
    ] {
        let text = encoded(&pasted);
        let found = harness.get(&format!("/resolve?text={text}")).await;
        assert_eq!(found["matches"][0]["traceId"], trace_id(trace), "{pasted}: {found}");
        assert_eq!(found["matches"][0]["reason"], format!("attribute {key}"), "{pasted}");
        let found = harness.get(&format!("/transactions/{text}")).await;
        assert_eq!(found["traces"][0]["traceId"], trace_id(trace), "{pasted}");
        assert_eq!(found["matched"]["key"], key, "{pasted}");
    }
}

#[tokio::test]
async fn the_id_of_a_span_alone_finds_its_trace() {
    let harness = Harness::new().await;
    harness.send(checkout(1)).await;
    harness.send([span(2, 0xb7ad_6b71_6920_3332, "shop", "work")]).await;
    harness.store.flush().await.unwrap();
    let found = harness.get("/resolve?text=b7ad6b7169203332").await;
    assert_eq!(found["matches"][0]["traceId"], trace_id(2), "{found}");
    assert_eq!(found["matches"][0]["spanId"], "b7ad6b7169203332");
    let found = harness.get("/transactions/B7AD6B7169203332").await;
    assert_eq!(found["matched"], serde_json::json!({"by": "spanId"}));
    assert_eq!(found["traces"][0]["traceId"], trace_id(2));
    let (status, problem) = harness.problem("/transactions/b7ad6b7169203333").await;
    assert!(
        status == 404 && text(&problem["detail"]).contains("newest 2000000 spans"),
        "{problem}"
    );
}
