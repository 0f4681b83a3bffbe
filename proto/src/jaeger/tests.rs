use super::{WARNINGS, decode_json};
use crate::otlp::{ExportTraceServiceRequest, Span, Value};

const DOCUMENT: &str = r#"{"data":[{"traceID":"a1","spans":[
    {"traceID":"a1","spanID":"1","flags":1,"operationName":"GET /","references":[],
     "startTime":1700000000000001,"duration":1500,"processID":"p1","warnings":null,
     "tags":[{"key":"span.kind","type":"string","value":"server"},
             {"key":"http.status_code","type":"int64","value":500},
             {"key":"ratio","type":"float64","value":1},
             {"key":"error","type":"bool","value":true},
             {"key":"raw","type":"binary","value":"AQI="},
             {"key":"otel.scope.name","type":"string","value":"lib"}],
     "logs":[{"timestamp":1700000000000002,"fields":[
        {"key":"event","type":"string","value":"cache miss"},
        {"key":"size","type":"int64","value":"7"}]}]},
    {"traceID":"a1","spanID":"2","flags":0,"operationName":"db","processID":"p2",
     "references":[{"refType":"FOLLOWS_FROM","traceID":"b2","spanID":"9"},
                   {"refType":"CHILD_OF","traceID":"a1","spanID":"1"},
                   {"refType":"CHILD_OF","traceID":"a1","spanID":"3"}],
     "startTime":1700000000000010,"duration":0,"tags":[],"logs":[],"warnings":["clock skew"]}],
  "processes":{"p1":{"serviceName":"web","tags":[{"key":"hostname","type":"string","value":"h"}]},
               "p2":{"serviceName":"db","tags":[]}},"warnings":null}],
  "total":0,"limit":0,"offset":0,"errors":null}"#;

fn span_of(fields: &str) -> Result<Span, String> {
    let document = format!(
        r#"{{"traceID":"1","spans":[{{"spanID":"2","processID":"p",{fields}}}],
        "processes":{{"p":{{"serviceName":"s"}}}}}}"#
    );
    let mut request = decode_json(document.as_bytes()).map_err(|error| error.to_string())?;
    Ok(request.resource_spans.remove(0).scope_spans.remove(0).spans.remove(0))
}

#[test]
fn a_document_becomes_otlp() {
    let request = decode_json(DOCUMENT.as_bytes()).unwrap();
    insta::assert_snapshot!(serde_json::to_string_pretty(&request).unwrap());
}

#[test]
fn a_trace_and_a_list_of_traces_are_documents_too() {
    let expected = decode_json(DOCUMENT.as_bytes()).unwrap();
    let begin = DOCUMENT.find('[').unwrap();
    let end = DOCUMENT.rfind("],").unwrap();
    let list = &DOCUMENT[begin..=end];
    assert_eq!(decode_json(list.as_bytes()), Ok(expected.clone()));
    let trace = &DOCUMENT[begin + 1..end];
    assert_eq!(decode_json(trace.as_bytes()), Ok(expected));
    let empty = Ok(ExportTraceServiceRequest::default());
    assert_eq!(decode_json(br#"{"data":[]}"#), empty);
    assert_eq!(decode_json(br#"{"traceID":"1","spans":[]}"#), empty);
}

#[test]
fn references_are_the_parent_or_links() {
    let child = |id: &str| format!(r#"{{"refType":"CHILD_OF","traceID":"01","spanID":"{id}"}}"#);
    let parent_and_links = |references: &str| {
        let span = span_of(&format!(r#""references":{references}"#)).unwrap();
        let parent = span.parent_span_id.last().copied();
        (parent, span.links.iter().map(|link| link.span_id[7]).collect::<Vec<_>>())
    };
    assert_eq!(parent_and_links("null"), (None, vec![]));
    assert_eq!(parent_and_links(&format!("[{}]", child("7"))), (Some(7), vec![]));
    let two = format!("[{},{}]", child("7"), child("8"));
    assert_eq!(parent_and_links(&two), (Some(7), vec![8]));
    let other = r#"[{"refType":"CHILD_OF","traceID":"2","spanID":"7"}]"#;
    assert_eq!(parent_and_links(other), (None, vec![7]));
    let follows = r#"[{"refType":"FOLLOWS_FROM","traceID":"1","spanID":"7"}]"#;
    assert_eq!(parent_and_links(follows), (None, vec![7]));
    let own = format!("[{}]", child("2"));
    assert_eq!(parent_and_links(&own), (Some(2), vec![]), "judged by assembly");
    assert!(span_of(r#""parentSpanID":"0""#).unwrap().parent_span_id.is_empty());
    assert_eq!(span_of(r#""parentSpanID":"5""#).unwrap().parent_span_id[7], 5);
}

#[test]
fn tags_keep_their_types() {
    for (tag, expected) in [
        (r#""type":"string","value":"x""#, Value::String("x".into())),
        (r#""type":"string","value":5"#, Value::Int(5)),
        (r#""value":"x""#, Value::String("x".into())),
        (r#""type":"bool","value":true"#, Value::Bool(true)),
        (r#""type":"bool","value":"true""#, Value::Bool(true)),
        (r#""type":"bool","value":"perhaps""#, Value::String("perhaps".into())),
        (r#""type":"int64","value":-5"#, Value::Int(-5)),
        (r#""type":"int64","value":"9223372036854775807""#, Value::Int(i64::MAX)),
        (
            r#""type":"int64","value":9223372036854775808"#,
            Value::Double(9_223_372_036_854_775_808.0),
        ),
        (r#""type":"float64","value":2"#, Value::Double(2.0)),
        (r#""type":"binary","value":"AQI=""#, Value::Bytes(vec![1, 2])),
        (r#""type":"binary","value":"?""#, Value::String("?".into())),
        (r#""type":"string","value":{"a":[1]}"#, Value::String(r#"{"a":[1]}"#.into())),
        (r#""type":"string","value":null"#, Value::String(String::new())),
    ] {
        let span = span_of(&format!(r#""tags":[{{"key":"k",{tag}}}]"#)).unwrap();
        assert_eq!(span.attributes[0].value(), Some(&expected), "{tag}");
    }
}

#[test]
fn status_comes_from_the_tags() {
    let tag = |key: &str, value: &str| format!(r#"{{"key":"{key}","value":{value}}}"#);
    for (tags, expected) in [
        (vec![tag("error", "true")], Some((2, ""))),
        (vec![tag("error", r#""true""#)], Some((2, ""))),
        (vec![tag("error", "false")], None),
        (vec![tag("otel.status_code", r#""OK""#), tag("error", "true")], Some((1, ""))),
        (
            vec![tag("otel.status_code", "2"), tag("otel.status_description", r#""why""#)],
            Some((2, "why")),
        ),
        (vec![tag("otel.status_code", r#""ERROR""#)], Some((2, ""))),
        (vec![], None),
    ] {
        let status = span_of(&format!(r#""tags":[{}]"#, tags.join(","))).unwrap().status;
        let status = status.as_ref().map(|status| (status.code, status.message.as_str()));
        assert_eq!(status, expected, "{tags:?}");
    }
}

#[test]
fn warnings_are_kept() {
    let span = span_of(r#""warnings":["a","b"]"#).unwrap();
    assert_eq!(span.attributes[0].key, WARNINGS);
    let Some(Value::Array(list)) = span.attributes[0].value() else { panic!("{span:?}") };
    assert_eq!(list.values.len(), 2);
}

#[test]
fn a_process_may_stand_in_the_span() {
    let span = r#"{"traceID":"1","spanID":"2","process":{"serviceName":"es"}}"#;
    let document = format!(r#"{{"traceID":"1","spans":[{span},{span}]}}"#);
    let request = decode_json(document.as_bytes()).unwrap();
    assert_eq!(request.resource_spans.len(), 2);
}

#[test]
fn errors_have_the_path_of_the_wrong_value() {
    for (fields, because) in [
        (r#""traceID":"trace-123""#, "`spans[0].traceID`: \"trace-123\" is not a trace id"),
        (r#""spanID":"span-E""#, "duplicate field"),
        (
            r#""references":[{"refType":"CHILD_OF","spanID":"span-C"}]"#,
            "`spans[0].references[0].spanID`",
        ),
        (r#""references":[{"spanID":""}]"#, "`spans[0].references[0].spanID`"),
        (r#""startTime":-1"#, "`spans[0].startTime`"),
        (r#""startTime":18446744073709551615"#, "`spans[0].startTime`"),
        (r#""startTime":18446744073709551,"duration":18446744073709551615"#, "`spans[0].duration`"),
        (r#""tags":[{"key":5}]"#, "`spans[0].tags[0].key`"),
    ] {
        let error = span_of(fields).unwrap_err();
        assert!(error.contains(because), "{fields}: {error}");
    }
    let no_process = br#"{"data":[{"traceID":"1","spans":[{"spanID":"2","processID":"p9"}]}]}"#;
    let error = decode_json(no_process).unwrap_err().to_string();
    assert!(
        error.contains("`data[0].spans[0].processID`: the trace has no process \"p9\""),
        "{error}"
    );
    for document in ["{}", r#"{"data":null}"#, "[1]", "", "[", "null"] {
        assert!(decode_json(document.as_bytes()).is_err(), "{document}");
    }
}
