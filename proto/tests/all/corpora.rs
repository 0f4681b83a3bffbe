//! Other projects' documents. Each test skips itself, with a line, where the corpora are absent.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value as Json;
use tidings_proto::{
    import::{Imported, detect},
    jaeger,
    otlp::{
        AnyValue, ExportLogsServiceRequest, ExportTraceServiceRequest, KeyValue, Span, Value,
        decode_json, encode_json,
    },
    zipkin,
};

/// The JSON documents of a family, by name; `None` when the corpora are absent.
fn documents(family: &str) -> Option<Vec<(String, Vec<u8>)>> {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/corpora")).join(family);
    if !root.is_dir() {
        println!("skipped: no corpus {family}");
        return None;
    }
    let mut files: Vec<PathBuf> = Vec::new();
    let mut folders = vec![root];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.extension() {
                _ if path.is_dir() => folders.push(path),
                Some(extension) if extension == "json" => files.push(path),
                _ => {}
            }
        }
    }
    files.sort();
    assert!(!files.is_empty(), "the corpus {family} is there and has documents");
    let named = |path: &PathBuf| path.file_stem().unwrap().to_string_lossy().into_owned();
    Some(files.iter().map(|path| (named(path), fs::read(path).unwrap())).collect())
}

fn document(family: &str, name: &str) -> Option<Vec<u8>> {
    let found = documents(family)?.into_iter().find(|(stem, _)| stem == name);
    Some(found.unwrap_or_else(|| panic!("{family}/{name}")).1)
}

fn spans(request: &ExportTraceServiceRequest) -> Vec<&Span> {
    let scopes = request.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
    scopes.flat_map(|scope| &scope.spans).collect()
}

fn traces(json: &Json) -> ExportTraceServiceRequest {
    decode_json(json.to_string().as_bytes()).unwrap()
}

/// Without what means the default: how a document looks that leaves all defaults out.
fn without_defaults(json: Json) -> Json {
    let default = |field: &Json| match field {
        Json::Null => true,
        Json::Number(number) => number.as_u64() == Some(0),
        Json::String(text) => text.is_empty(),
        Json::Array(list) => list.is_empty(),
        _ => false,
    };
    match json {
        Json::Object(fields) => {
            let fields = fields.into_iter().map(|(key, field)| match field {
                // 64-bit integers are texts when written.
                Json::Number(number) if key == "intValue" => (key, number.to_string().into()),
                other => (key, without_defaults(other)),
            });
            fields.filter(|(key, field)| key.ends_with("Value") || !default(field)).collect()
        }
        Json::Array(list) => list.into_iter().map(without_defaults).collect(),
        other => other,
    }
}

#[test]
fn otlp_examples_are_read_and_written_alike() {
    let Some(examples) = documents("otlp-examples") else { return };
    for (name, bytes) in examples {
        let original: Json = serde_json::from_slice(&bytes).unwrap();
        let written = match name.as_str() {
            "trace" => encode_json(&decode_json::<ExportTraceServiceRequest>(&bytes).unwrap()),
            "logs" | "events" => {
                encode_json(&decode_json::<ExportLogsServiceRequest>(&bytes).unwrap())
            }
            _ => continue,
        };
        let text = String::from_utf8(written).unwrap();
        let expected = without_defaults(original).to_string();
        let lower = |text: &str| -> Json { serde_json::from_str(&text.to_lowercase()).unwrap() };
        // The examples write ids in capitals.
        assert_eq!(lower(&text), lower(&expected), "{name}");
    }
}

#[test]
fn rust_cases_decode_alike_in_both_forms_and_encode_canonically() {
    let Some(bytes) = document("otlp-json-otelrust", "serde-cases") else { return };
    let cases: Vec<Json> = serde_json::from_slice(&bytes).unwrap();
    let mut checked = 0;
    for case in cases {
        let name = case["case"].as_str().unwrap();
        let canonical = &case["canonical"];
        let forms = [Some(canonical), case.get("alternative")];
        for form in forms.into_iter().flatten() {
            let bytes = form.to_string().into_bytes();
            let written = if name.contains("trace_service") {
                encode_json(&decode_json::<ExportTraceServiceRequest>(&bytes).unwrap())
            } else if name.contains("log_field") {
                encode_json(&decode_json::<ExportLogsServiceRequest>(&bytes).unwrap())
            } else if name.contains("/value/") {
                serde_json::to_vec(&serde_json::from_slice::<AnyValue>(&bytes).unwrap()).unwrap()
            } else if name.contains("/key_value/") {
                serde_json::to_vec(&serde_json::from_slice::<KeyValue>(&bytes).unwrap()).unwrap()
            } else {
                continue;
            };
            let written: Json = serde_json::from_slice(&written).unwrap();
            assert_eq!(written, without_defaults(canonical.clone()), "{name}");
            checked += 1;
        }
    }
    assert!(checked >= 7, "{checked}");
}

#[test]
fn files_of_the_collector_are_read() {
    let Some(files) = documents("otlp-json-otelrust") else { return };
    for (name, bytes) in files.iter().filter(|(name, _)| name.contains("traces")) {
        let found = detect(bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(matches!(found[..], [Imported::Traces(_), ..]), "{name}");
    }
}

/// Ids are judged record by record, when the request is normalised.
fn must_be_refused(case: &Json) -> bool {
    let code = case["expected_error"]["code"].as_str();
    code.is_some_and(|code| !code.ends_with("_ID"))
}

#[test]
fn fluent_bit_cases_are_read_or_refused_as_the_specification_says() {
    let Some(bytes) = document("otlp-json-fluentbit", "traces") else { return };
    // What Fluent Bit demands and OTLP does not: fields that may be left out.
    let optional =
        ["resourceSpans_missing", "scopeSpans_missing", "span_name_missing", "event_missing_name"];
    let cases: serde_json::Map<String, Json> = serde_json::from_slice(&bytes).unwrap();
    for (name, case) in &cases {
        let input = case["input"].to_string();
        let result = decode_json::<ExportTraceServiceRequest>(input.as_bytes());
        let refused = must_be_refused(case) && !optional.contains(&&**name);
        assert_eq!(result.is_err(), refused, "{name}: {result:?}");
    }
    let Some(bytes) = document("otlp-json-fluentbit", "logs") else { return };
    let optional = ["resourceLogs_missing", "scopeLogs_missing", "resource_valid_scope_missing"];
    let cases: serde_json::Map<String, Json> = serde_json::from_slice(&bytes).unwrap();
    for (name, case) in &cases {
        let input = case["input"].to_string();
        let result = decode_json::<ExportLogsServiceRequest>(input.as_bytes());
        let refused = must_be_refused(case) && !optional.contains(&&**name);
        assert_eq!(result.is_err(), refused, "{name}: {result:?}");
    }
}

#[test]
fn snake_case_bodies_are_read_as_empty() {
    let Some(files) = documents("otlp-json-fluentbit") else { return };
    for (name, bytes) in files.iter().filter(|(name, _)| name.starts_with("test_traces")) {
        let request = decode_json::<ExportTraceServiceRequest>(bytes);
        assert_eq!(request, Ok(ExportTraceServiceRequest::default()), "{name}");
    }
}

#[test]
fn jaeger_storage_traces_are_read_in_full() {
    let Some(files) = documents("jaeger-storage") else { return };
    let mut checked = 0;
    for (name, bytes) in files {
        let json: Json = serde_json::from_slice(&bytes).unwrap();
        if json.get("resourceSpans").is_none() {
            continue;
        }
        let request = traces(&json);
        assert!(!spans(&request).is_empty(), "{name}");
        let again: Json = serde_json::from_slice(&encode_json(&request)).unwrap();
        assert_eq!(traces(&again), request, "{name}");
        checked += 1;
    }
    assert!(checked >= 10, "{checked}");
}

/// Translates a list and checks each span against its source.
fn check_zipkin(name: &str, list: &[Json]) {
    let bytes = serde_json::to_vec(list).unwrap();
    let decoded = zipkin::decode_json(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(decoded.len(), list.len(), "{name}");
    for (source, span) in list.iter().zip(decoded) {
        let (request, rejected) = zipkin::to_otlp(vec![span]);
        assert_eq!(rejected, [], "{name}: {source}");
        let span = spans(&request)[0];
        let padded = |key: &str, width: usize| {
            let id = source[key].as_str().unwrap_or_default().to_lowercase();
            if id.is_empty() { id } else { format!("{id:0>width$}") }
        };
        let hex = |id: &[u8]| id.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(hex(&span.trace_id), padded("traceId", 32), "{name}");
        assert_eq!(hex(&span.span_id), padded("id", 16), "{name}");
        assert_eq!(hex(&span.parent_span_id), padded("parentId", 16), "{name}");
        let micros = |key: &str| source[key].as_u64().unwrap_or_default();
        assert_eq!(span.start_time_unix_nano, micros("timestamp") * 1_000, "{name}");
        if micros("timestamp") > 0 && micros("duration") > 0 {
            let end = (micros("timestamp") + micros("duration")) * 1_000;
            assert_eq!(span.end_time_unix_nano, end, "{name}");
        }
        // Only servers share an id.
        let unsaid = if source["shared"] == true { 2 } else { 0 };
        let kind = source["kind"].as_str().map_or(unsaid, |kind| match kind {
            "SERVER" => 2,
            "CLIENT" => 3,
            "PRODUCER" => 4,
            _ => 5,
        });
        assert_eq!(span.kind, kind, "{name}");
        let events = source["annotations"].as_array().map_or(0, Vec::len);
        assert_eq!(span.events.len(), events, "{name}");
        let shared = span.attributes.contains(&KeyValue::new(zipkin::SHARED, true));
        assert_eq!(shared, source["shared"].as_bool().unwrap_or_default(), "{name}");
        for (key, tag) in source["tags"].as_object().into_iter().flatten() {
            let text = tag.as_str().map(|text| Value::String(text.to_owned()));
            let kept = span.attributes.iter().find(|attribute| attribute.key == *key);
            assert_eq!(kept.and_then(|kept| kept.value().cloned()), text, "{name}: {key}");
        }
        let service =
            source["localEndpoint"]["serviceName"].as_str().filter(|name| !name.is_empty());
        let resource = request.resource_spans[0].resource.as_ref().unwrap();
        let named = service.map(|service| KeyValue::new("service.name", service));
        assert_eq!(resource.attributes.first(), named.as_ref(), "{name}");
    }
}

#[test]
fn zipkin_traces_are_translated_span_by_span() {
    for family in ["zipkin-v2-traces", "zipkin-translator", "zipkin-jaeger-converter"] {
        for (name, bytes) in documents(family).unwrap_or_default() {
            let v1 = name.contains("v1") || ["sample1", "zipkin_01", "zipkin_03"].contains(&&*name);
            let Ok(Json::Array(list)) = serde_json::from_slice(&bytes) else { continue };
            if !v1 {
                check_zipkin(&name, &list);
            }
        }
    }
}

#[test]
fn zipkin_cases_are_translated_span_by_span() {
    for (family, field) in [
        ("zipkin-query", "spans"),
        ("zipkin-trace-merge", "input"),
        ("zipkin-span-tree", "input"),
        ("zipkin-dependency-linker", "spans"),
    ] {
        for (_, bytes) in documents(family).unwrap_or_default() {
            let Ok(Json::Array(cases)) = serde_json::from_slice(&bytes) else { continue };
            for case in cases {
                let list = case[field].as_array().cloned().unwrap_or_default();
                check_zipkin(&format!("{family}: {}", case["case"]), &list);
            }
        }
    }
}

#[test]
fn version_1_of_zipkin_is_named_as_such() {
    let Some(files) = documents("zipkin-translator") else { return };
    for (name, bytes) in files.iter().filter(|(name, _)| name.starts_with("zipkin_v1")) {
        let error = zipkin::decode_json(bytes).unwrap_err().to_string();
        assert!(error.starts_with("Expected a JSON_V2 encoded list"), "{name}: {error}");
    }
}

/// The spans of every trace in a Jaeger document.
fn jaeger_spans(document: &Json) -> Vec<&Json> {
    let traces = match &document["data"] {
        Json::Array(traces) => traces.iter().collect(),
        _ => vec![document],
    };
    traces.into_iter().flat_map(|trace| trace["spans"].as_array().into_iter().flatten()).collect()
}

#[test]
fn jaeger_documents_are_imported_or_refused_for_their_ids() {
    let families = [
        "jaeger-ui-traces",
        "jaeger-traces-deathstarbench",
        "critical-path-crisp",
        "trace-statistics-jaeger-ui",
    ];
    let mut imported = 0;
    for (name, bytes) in families.into_iter().filter_map(documents).flatten() {
        let json: Json = serde_json::from_slice(&bytes).unwrap();
        let sources = jaeger_spans(&json);
        if sources.is_empty() {
            continue;
        }
        let is_hex = |id: &Json| {
            let id = id.as_str().unwrap_or_default();
            u128::from_str_radix(id, 16).is_ok_and(|value| value != 0)
        };
        let valid = sources.iter().all(|span| {
            let references = span["references"].as_array().into_iter().flatten();
            let mut ids = references.map(|reference| &reference["spanID"]).chain([&span["spanID"]]);
            ids.all(is_hex) && span.get("traceID").is_none_or(is_hex)
        });
        let result = jaeger::decode_json(&bytes);
        assert_eq!(result.is_ok(), valid, "{name}: {:?}", result.err());
        let Ok(request) = result else { continue };
        assert_eq!(spans(&request).len(), sources.len(), "{name}");
        assert_eq!(detect(&bytes), Ok(vec![Imported::Traces(request)]), "{name}");
        imported += 1;
    }
    println!("imported {imported} Jaeger documents");
}

#[test]
fn real_traces_keep_every_edge() {
    let Some(bytes) = document("jaeger-traces-deathstarbench", "social-network-traces") else {
        return;
    };
    let json: Json = serde_json::from_slice(&bytes).unwrap();
    let id = |value: &Json| {
        let text = value.as_str().unwrap();
        format!("{text:0>16}")
    };
    let expected: BTreeSet<(String, String)> = jaeger_spans(&json)
        .into_iter()
        .filter_map(|span| Some((id(&span["references"].get(0)?["spanID"]), id(&span["spanID"]))))
        .collect();
    let request = jaeger::decode_json(&bytes).unwrap();
    let hex = |id: &[u8]| id.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let edges: BTreeSet<(String, String)> = spans(&request)
        .into_iter()
        .filter(|span| !span.parent_span_id.is_empty())
        .map(|span| (hex(&span.parent_span_id), hex(&span.span_id)))
        .collect();
    assert_eq!(edges, expected);
    assert!(expected.len() >= 20 * 32 / 2);
}
