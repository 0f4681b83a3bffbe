//! Pasted texts.

use insta::assert_json_snapshot;

use crate::harness::{Harness, checkout, record, trace_id};

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
    assert_json_snapshot!("resolve", harness.get("/resolve?text=A-17").await);
}
