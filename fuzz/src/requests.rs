//! Requests of senders: OTLP, Zipkin, files that are imported, and small bodies of JSON.

use std::{fmt::Debug, sync::LazyLock};

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use tidings_access::TenantName;
use tidings_collector::{
    Prepared, Redactor, Signal, accept_in_place, prepare_logs, prepare_traces,
};
use tidings_proto::{
    api::{ErasureRequest, KeyRequest, PinRequest, SignIn},
    import,
    otlp::{
        ExportLogsServiceRequest, ExportTraceServiceRequest, LogRecord, ResourceLogs, ScopeLogs,
        Wire, decode_json, decode_protobuf, encode_json,
    },
    zipkin,
};
use tidings_sql::fuzzed_messages::read_query_body;
use tidings_storage::TelemetryBatch;

use crate::FuzzTarget;

/// The targets of this module.
pub(crate) const TARGETS: &[FuzzTarget] = &[
    FuzzTarget { name: "otlp_traces_protobuf", run: otlp_traces_protobuf },
    FuzzTarget { name: "otlp_logs_protobuf", run: otlp_logs_protobuf },
    FuzzTarget { name: "otlp_json", run: otlp_json },
    FuzzTarget { name: "zipkin_json", run: zipkin_json },
    FuzzTarget { name: "zipkin_protobuf", run: zipkin_protobuf },
    FuzzTarget { name: "redaction", run: redaction },
    FuzzTarget { name: "import", run: import },
    FuzzTarget { name: "json_requests", run: json_requests },
];

static REDACTOR: LazyLock<Redactor> = LazyLock::new(Redactor::default);

/// The answer to a request: spans or records that were taken, those that were not, and why.
type Verdict = (u64, u64, String);

fn verdict(prepared: Prepared) -> Verdict {
    (prepared.accepted, prepared.rejected, prepared.message)
}

/// Reads a request in place and by its messages. Both must give the same verdict.
fn compare<T: Wire>(input: &[u8], signal: Signal, prepare: impl Fn(T, Option<Bytes>) -> Prepared) {
    let bytes = Bytes::copy_from_slice(input);
    let in_place = accept_in_place(signal, &bytes, &REDACTOR);
    let decoded = decode_protobuf::<T>(input);
    if let Some(in_place) = in_place {
        let decoded = decoded.expect("what is read in place can be decoded");
        let message = verdict(prepare(decoded, Some(bytes)));
        assert_eq!(verdict(in_place.prepared), message);
    } else if let Ok(decoded) = decoded {
        verdict(prepare(decoded, None));
    }
}

/// Checks that a message survives protobuf and JSON.
fn check_round_trip<T: Wire>(message: &T) {
    let protobuf = message.encode_to_vec();
    let again: T = decode_protobuf(&protobuf).expect("what was encoded can be decoded");
    assert_eq!(again.encode_to_vec(), protobuf);
    let json = encode_json(message);
    let again: T = decode_json(&json).expect("what was written as JSON can be read");
    assert_eq!(encode_json(&again), json);
}

fn otlp_traces_protobuf(input: &[u8]) {
    compare::<ExportTraceServiceRequest>(input, Signal::Traces, prepare_traces);
}

fn otlp_logs_protobuf(input: &[u8]) {
    compare::<ExportLogsServiceRequest>(input, Signal::Logs, prepare_logs);
}

fn otlp_json(input: &[u8]) {
    if let Ok(traces) = decode_json::<ExportTraceServiceRequest>(input) {
        check_round_trip(&traces);
        verdict(prepare_traces(traces, None));
    }
    if let Ok(logs) = decode_json::<ExportLogsServiceRequest>(input) {
        check_round_trip(&logs);
        verdict(prepare_logs(logs, None));
    }
}

fn zipkin_json(input: &[u8]) {
    if let Ok(spans) = zipkin::decode_json(input) {
        let (request, _) = zipkin::to_otlp(spans);
        zipkin::from_otlp(&request).for_each(drop);
        verdict(prepare_traces(request, None));
    }
}

fn zipkin_protobuf(input: &[u8]) {
    if let Ok(spans) = zipkin::decode_protobuf(input) {
        verdict(prepare_traces(zipkin::to_otlp(spans).0, None));
    }
}

fn encoded<T: Wire>(message: &T) -> Vec<u8> {
    message.encode_to_vec()
}

/// Redacts a text as the body of a log record. Redacting the result again must change nothing, and
/// a record that is accepted in place must have nothing to redact.
fn redaction(input: &[u8]) {
    let text = String::from_utf8_lossy(input).into_owned();
    let record = LogRecord { body: Some(text.as_str().into()), ..LogRecord::default() };
    let scope_logs = vec![ScopeLogs { log_records: vec![record], ..ScopeLogs::default() }];
    let resource_logs = vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }];
    let request = ExportLogsServiceRequest { resource_logs };
    let bytes = Bytes::from(encoded(&request));
    let is_accepted = accept_in_place(Signal::Logs, &bytes, &REDACTOR).is_some();
    let mut batch = TelemetryBatch::Logs { request, bytes: None };
    let redacted_values = REDACTOR.redact(&mut batch);
    assert_eq!(is_accepted, redacted_values == 0, "{text:?}");
    let once = batch.clone();
    assert_eq!(REDACTOR.redact(&mut batch), 0, "{text:?}");
    assert_eq!(batch, once);
}

fn import(input: &[u8]) {
    let _ = import::detect(input);
}

/// Reads bodies of requests that change something, and of a query in SQL. A body that is accepted
/// can be written, and reads back the same.
fn json_requests(input: &[u8]) {
    check_json::<KeyRequest>(input);
    check_json::<SignIn>(input);
    check_json::<PinRequest>(input);
    check_json::<ErasureRequest>(input);
    if let Some((query, limit)) = read_query_body(input) {
        let again = serde_json::json!({"query": query, "limit": limit}).to_string();
        assert_eq!(read_query_body(again.as_bytes()), Some((query, limit)));
    }
    if let Ok(text) = str::from_utf8(input)
        && let Ok(name) = text.parse::<TenantName>()
    {
        assert_eq!(name.to_string(), text);
    }
}

fn check_json<T: Debug + PartialEq + Serialize + DeserializeOwned>(input: &[u8]) {
    let Ok(request) = serde_json::from_slice::<T>(input) else { return };
    let written = serde_json::to_vec(&request).expect("a request can be written");
    let again = serde_json::from_slice::<T>(&written).expect("what was written can be read");
    assert_eq!(again, request);
}
