//! Sends the known trace with OpenTelemetry's SDK for Rust.
//!
//! Usage: `client OTLP_GRPC OTLP_HTTP`, both addresses in the form `127.0.0.1:4317`. Prints one
//! line for each trace that was sent: the way of export and the trace's id.

use std::error::Error;

use opentelemetry::{
    Array, Context, KeyValue, Value,
    logs::{AnyValue, LogRecord, Logger, LoggerProvider, Severity},
    trace::{
        Link, Span, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceId,
        TraceState, Tracer, TracerProvider,
    },
};
use opentelemetry_otlp::{
    Compression, LogExporter, Protocol, SpanExporter, WithExportConfig, WithHttpConfig,
    WithTonicConfig,
};
use opentelemetry_sdk::{Resource, logs::SdkLoggerProvider, trace::SdkTracerProvider};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Makes the trace, exports it and returns its id.
fn send(spans: SpanExporter, records: LogExporter) -> Outcome<TraceId> {
    let resource = Resource::builder()
        .with_service_name("client-rust")
        .with_attribute(KeyValue::new("service.version", "1.2.3"))
        .build();
    let traces = SdkTracerProvider::builder()
        .with_resource(resource.clone())
        .with_batch_exporter(spans)
        .build();
    let logs =
        SdkLoggerProvider::builder().with_resource(resource).with_batch_exporter(records).build();
    let scope =
        opentelemetry::InstrumentationScope::builder("checkout").with_version("0.1.0").build();
    let tracer = traces.tracer_with_scope(scope.clone());
    let logger = logs.logger_with_scope(scope);

    let earlier = SpanContext::new(
        TraceId::from_hex("0af7651916cd43dd8448eb211c80319c")?,
        SpanId::from_hex("b7ad6b7169203331")?,
        TraceFlags::SAMPLED,
        true,
        TraceState::default(),
    );
    let mut root = tracer
        .span_builder("POST /checkout")
        .with_kind(SpanKind::Server)
        .with_links(vec![Link::new(earlier, vec![KeyValue::new("reason", "retry")], 0)])
        .with_attributes([
            KeyValue::new("text", "Grüße"),
            KeyValue::new("truth", true),
            KeyValue::new("number", 9_007_199_254_740_991_i64),
            KeyValue::new("ratio", 0.1),
            KeyValue::new("texts", Value::Array(Array::String(vec!["a".into(), "b".into()]))),
            KeyValue::new("numbers", Value::Array(Array::I64(vec![1, 2]))),
        ])
        .start_with_context(&tracer, &Context::new());
    root.add_event("cart loaded", vec![KeyValue::new("items", 3)]);
    let trace_id = root.span_context().trace_id();
    let in_root = Context::new().with_span(root);
    let mut child = tracer
        .span_builder("charge card")
        .with_kind(SpanKind::Client)
        .start_with_context(&tracer, &in_root);
    child.record_error(&std::io::Error::other("card refused"));
    child.set_status(Status::error("card refused"));
    let in_child = in_root.with_span(child);
    let attached = in_child.clone().attach();
    let mut record = logger.create_log_record();
    record.set_severity_number(Severity::Error);
    record.set_severity_text("ERROR");
    record.set_body(AnyValue::from("card refused"));
    record.add_attribute("attempt", 2);
    logger.emit(record);
    drop(attached);
    in_child.span().end();
    in_root.span().end();
    traces.shutdown()?;
    logs.shutdown()?;
    Ok(trace_id)
}

fn main() -> Outcome<()> {
    let addresses: Vec<String> = std::env::args().skip(1).collect();
    let (grpc, http) = (format!("http://{}", addresses[0]), format!("http://{}/v1", addresses[1]));
    // The gRPC exporters need this runtime.
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let compressions =
        [("none", None), ("gzip", Some(Compression::Gzip)), ("zstd", Some(Compression::Zstd))];
    for (name, compression) in compressions {
        let _inside = runtime.enter();
        let mut spans = SpanExporter::builder().with_tonic().with_endpoint(&grpc);
        let mut records = LogExporter::builder().with_tonic().with_endpoint(&grpc);
        if let Some(compression) = compression {
            (spans, records) =
                (spans.with_compression(compression), records.with_compression(compression));
        }
        println!("grpc {name} {}", send(spans.build()?, records.build()?)?);
    }
    for (protocol, kind) in
        [("http/protobuf", Protocol::HttpBinary), ("http/json", Protocol::HttpJson)]
    {
        for (name, compression) in compressions {
            let at = |path| format!("{http}/{path}");
            let mut spans =
                SpanExporter::builder().with_http().with_protocol(kind).with_endpoint(at("traces"));
            let mut records =
                LogExporter::builder().with_http().with_protocol(kind).with_endpoint(at("logs"));
            if let Some(compression) = compression {
                (spans, records) =
                    (spans.with_compression(compression), records.with_compression(compression));
            }
            println!("{protocol} {name} {}", send(spans.build()?, records.build()?)?);
        }
    }
    Ok(())
}
