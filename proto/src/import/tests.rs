use prost::Message;

use super::{Imported, detect};
use crate::{
    DecodeError,
    otlp::{ExportLogsServiceRequest, ExportTraceServiceRequest, decode_json},
};

const TRACES: &str = r#"{"resourceSpans":[{"scopeSpans":[{"spans":[
    {"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174","name":"a"}]}]}]}"#;
const LOGS: &str = r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[
    {"timeUnixNano":"1","body":{"stringValue":"x"}}]}]}]}"#;
const ZIPKIN_SPAN: &str = r#"{"traceId":"1","id":"2","name":"z"}"#;
const JAEGER: &str = r#"{"data":[{"traceID":"1","spans":[{"spanID":"2","processID":"p"}],
    "processes":{"p":{}}}]}"#;

/// Describes each request as a letter and its number of resources.
fn shown(bytes: &[u8]) -> Result<String, DecodeError> {
    let shown = detect(bytes)?.into_iter().map(|request| match request {
        Imported::Traces(request) => format!("T{}", request.resource_spans.len()),
        Imported::Logs(request) => format!("L{}", request.resource_logs.len()),
    });
    Ok(shown.collect::<Vec<_>>().join(" "))
}

#[test]
fn every_json_form_is_recognised() {
    let one_line = |text: &str| text.replace('\n', " ");
    let both = format!("{},{}", TRACES.strip_suffix('}').unwrap(), LOGS.strip_prefix('{').unwrap());
    for (text, expected) in [
        (String::new(), ""),
        (" \n".to_owned(), ""),
        ("[]".to_owned(), ""),
        ("{}".to_owned(), ""),
        (r#"{"resourceSpans":[]}"#.to_owned(), ""),
        (TRACES.to_owned(), "T1"),
        (format!("\u{feff}{TRACES}"), "T1"),
        (LOGS.to_owned(), "L1"),
        (both, "T1 L1"),
        (format!("[{TRACES},{TRACES}]"), "T1 T1"),
        (format!("[{LOGS}]"), "L1"),
        (format!("[{ZIPKIN_SPAN},{ZIPKIN_SPAN}]"), "T1"),
        (format!("[[{ZIPKIN_SPAN}],[{ZIPKIN_SPAN}]]"), "T1"),
        (format!("{ZIPKIN_SPAN}\n{ZIPKIN_SPAN}\n"), "T1 T1"),
        (JAEGER.to_owned(), "T1"),
        (format!("{}\n{}\r\n\n{}", one_line(TRACES), one_line(LOGS), one_line(TRACES)), "T1 L1 T1"),
        (format!("{TRACES}{LOGS}{JAEGER}[{ZIPKIN_SPAN}]"), "T1 L1 T1 T1"),
    ] {
        assert_eq!(shown(text.as_bytes()).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn every_protobuf_form_is_recognised() {
    let traces: ExportTraceServiceRequest = decode_json(TRACES.as_bytes()).unwrap();
    let logs: ExportLogsServiceRequest = decode_json(LOGS.as_bytes()).unwrap();
    let (traces, logs) = (traces.encode_to_vec(), logs.encode_to_vec());
    let zipkin = [0x0a, 28, 0x0a, 16]
        .into_iter()
        .chain([1; 16])
        .chain([0x1a, 8])
        .chain([2; 8])
        .collect::<Vec<u8>>();
    let framed = |message: &[u8]| {
        let length = u32::try_from(message.len()).unwrap();
        [&length.to_be_bytes(), message].concat()
    };
    assert_eq!(shown(&traces).as_deref(), Ok("T1"));
    assert_eq!(shown(&logs).as_deref(), Ok("L1"));
    assert_eq!(shown(&zipkin).as_deref(), Ok("T1"));
    assert_eq!(shown(&[framed(&traces), framed(&logs)].concat()).as_deref(), Ok("T1 L1"));
    // A length of 91 or 123 looks like a bracket after a line feed.
    for length in [91_usize, 123] {
        let mut request: ExportTraceServiceRequest = decode_json(TRACES.as_bytes()).unwrap();
        let missing = length - request.resource_spans[0].encoded_len();
        request.resource_spans[0].schema_url = "x".repeat(missing - 2);
        assert_eq!(request.resource_spans[0].encoded_len(), length);
        assert_eq!(shown(&request.encode_to_vec()).as_deref(), Ok("T1"), "{length}");
    }
}

#[test]
fn broken_and_unknown_files_are_named() {
    for (text, because) in [
        ("hello", "neither OTLP"),
        (r#"{"hello":1}"#, "without a known key"),
        ("[1,2]", "not a JSON object"),
        (r#"{"resourceMetrics":[]}"#, "metrics are not stored"),
        (r#"{"resourceSpans":[{"scopeSpans":1}]}"#, "`resourceSpans[0].scopeSpans`"),
        ("{\"resourceSpans\":[]}\n{\"resourceSpans\":[1]}", "`document 2: resourceSpans[0]`"),
        ("{\"resourceSpans\":[]}\n{\"resourceSpans\":", "document 2 is not valid JSON"),
        (r#"[{"traceId":"x","id":"2"}]"#, "`[0].traceId`"),
        (r#"[{"traceId":"0","id":"2"}]"#, "traceId is zero"),
        (r#"[[{"traceId":"1","id":"2","binaryAnnotations":[]}]]"#, "JSON_V1"),
        (
            r#"{"data":[{"traceID":"z","spans":[{"spanID":"1","processID":"p"}],"processes":{"p":{}}}]}"#,
            "`data[0].spans[0].traceID`",
        ),
    ] {
        let error = detect(text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(because), "{text}: {error}");
    }
}
