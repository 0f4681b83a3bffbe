//! A trace of 100,000 spans.

use tidings_proto::otlp::{ExportTraceServiceRequest, SpanKind};
use tidings_storage::{Clock, SystemClock};

use crate::harness::{Harness, SpanBuilder, request, span, trace_id};

const SPANS: u64 = 100_000;

/// Ten children each, so five levels deep, of twenty services.
fn large(ids: std::ops::Range<u64>) -> ExportTraceServiceRequest {
    let spans = ids.map(|n| {
        let (service, name) = (format!("service-{}", n % 20), format!("operation {}", n % 200));
        let made = span(1, n + 1, &service, &name).at(n / 100, 2_000 - n / 100);
        let made: SpanBuilder =
            made.kind(SpanKind::Server).attribute("n", i64::try_from(n).unwrap());
        if n == 0 { made } else { made.parent((n - 1) / 10 + 1) }
    });
    request(spans)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_spans_are_given_in_seconds() {
    let harness = Harness::new().await;
    for start in (0..SPANS).step_by(10_000) {
        harness.send_request(large(start..start + 10_000)).await;
    }
    let id = trace_id(1);
    let (_, _, view) = harness.bytes(&format!("/traces/{id}")).await;
    assert!(String::from_utf8_lossy(&view).contains("skeleton"));
    for path in ["/skeleton", "/spans/00000000000186a0"] {
        let begin = SystemClock.instant();
        let (status, _, body) = harness.bytes(&format!("/traces/{id}{path}")).await;
        let took = begin.elapsed();
        assert_eq!(status, 200);
        eprintln!("{path}: {took:?}, {} bytes", body.len());
        // An unoptimised build on a busy machine; the benchmark has the real figure.
        assert!(took.as_secs() < 20, "{path} took {took:?}");
    }
    let skeleton = harness.get(&format!("/traces/{id}/skeleton")).await;
    assert_eq!(skeleton["spans"]["spanId"].as_array().unwrap().len() as u64, SPANS);
    assert_eq!(skeleton["services"].as_array().unwrap().len(), 20);
    assert_eq!(skeleton["summary"]["state"], "completed");
}
