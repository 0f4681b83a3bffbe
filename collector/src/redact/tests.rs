use bytes::Bytes;
use proptest::{prelude::*, sample::select};
use prost::Message;
use tidings_proto::otlp::{
    AnyValue, ArrayValue, Event, ExportLogsServiceRequest, ExportTraceServiceRequest,
    InstrumentationScope, KeyValue, KeyValueList, Link, LogRecord, Resource, ResourceLogs,
    ResourceSpans, ScopeLogs, ScopeSpans, Span, Status, Value,
};
use tidings_storage::TelemetryBatch;

use super::{KeyRule, MARKER, RedactionSettings, Redactor, key_rules::KeyRules, replace, secrets};
use crate::normalise::{Signal, accept_in_place};

const SECRET: &str = "hunter2";

/// The text after redaction by this rule.
fn redact(rule: KeyRule, text: &str) -> String {
    replace(text, secrets(rule, text.as_bytes(), &KeyRules::new(&[])))
}

/// Checks pairs of texts before and after. What needs no redaction is there once.
fn check(rule: KeyRule, table: &[(&str, &str)]) {
    for (text, expected) in table {
        assert_eq!(redact(rule, text), *expected, "{text}");
        assert_eq!(redact(rule, expected), *expected, "again: {text}");
    }
}

#[test]
fn passwords_and_parameters_of_urls_are_replaced_in_any_text() {
    check(
        KeyRule::Text,
        &[
            ("postgres://app:hunter2@db:5432/shop", "postgres://app:[REDACTED]@db:5432/shop"),
            (
                "cannot reach amqp://u:p@q1, retrying",
                "cannot reach amqp://u:[REDACTED]@q1, retrying",
            ),
            ("a://u:p@ss:w@h/x b://v:q@i", "a://u:[REDACTED]@h/x b://v:[REDACTED]@i"),
            ("redis://:pw@cache:6379/0", "redis://:[REDACTED]@cache:6379/0"),
            ("ftp://u:pässwörd@h", "ftp://u:[REDACTED]@h"),
            (
                "GET https://x/y?page=2&access_token=abc&z=1 200",
                "GET https://x/y?page=2&access_token=[REDACTED]&z=1 200",
            ),
            (
                "https://b.blob/c?sv=2022&sig=a%2Fb%3D&se=1",
                "https://b.blob/c?sv=2022&sig=[REDACTED]&se=1",
            ),
            (
                "https://s3/b/k?X-Amz-Credential=AKIA&X-Amz-Signature=0a1b&X-Amz-Date=1",
                "https://s3/b/k?X-Amz-Credential=AKIA&X-Amz-Signature=[REDACTED]&X-Amz-Date=1",
            ),
            ("https://x/cb#id_token=e.y.j&state=1", "https://x/cb#id_token=[REDACTED]&state=1"),
            (
                "jdbc:sqlserver://h:1433;user=sa;password=x;encrypt=true",
                "jdbc:sqlserver://h:1433;user=sa;password=[REDACTED];encrypt=true",
            ),
            (
                "http://a/?next=http://u:p@h/x?token=t",
                "http://a/?next=http://u:[REDACTED]@h/x?token=[REDACTED]",
            ),
            (r#"{"url":"http://u:p@h"}"#, r#"{"url":"http://u:[REDACTED]@h"}"#),
        ],
    );
}

#[test]
fn texts_without_secrets_stay() {
    for text in [
        "",
        "://",
        "password=hunter2 in a text without a URL",
        "http://localhost:8080/a@b:c",
        "http://[::1]:8080/x",
        "ssh://git@github.com:22/x",
        "https://user@host:443/",
        "http://u:@h/",
        "http://u:[REDACTED]@h/?token=[REDACTED]",
        "https://REDACTED:REDACTED@h/",
        "https://u:****@h/?sig=REDACTED",
        "https://x/y?page=2&next_token=abc&key=k&q=password",
        "https://x/password=1/y",
        "mail someone@example.com, see http://x:80/",
        "'http://a:80','x@y'",
    ] {
        assert_eq!(redact(KeyRule::Text, text), text);
    }
}

#[test]
fn texts_that_are_parameters_need_no_scheme() {
    check(
        KeyRule::Parameters,
        &[
            ("/login?user=a&password=b", "/login?user=a&password=[REDACTED]"),
            ("token=abc&x=1", "token=[REDACTED]&x=1"),
            ("?q=1&api_key=k#frag", "?q=1&api_key=[REDACTED]#frag"),
            (
                "Server=db;User Id=sa;Password=p;App=x",
                "Server=db;User Id=sa;Password=[REDACTED];App=x",
            ),
            ("host=db password=p user=u", "host=db password=[REDACTED] user=u"),
            ("http://u:p&x@h/a?b=1", "http://u:[REDACTED]@h/a?b=1"),
            ("/login?user=a", "/login?user=a"),
            ("/a=b/c", "/a=b/c"),
            ("page=2;next_token=x", "page=2;next_token=x"),
        ],
    );
}

#[test]
fn passwords_in_statements_are_replaced() {
    check(
        KeyRule::Statement,
        &[
            ("CREATE USER a IDENTIFIED BY 'p'", "CREATE USER a IDENTIFIED BY '[REDACTED]'"),
            (
                "alter user a identified with 'caching_sha2' by 'p' require ssl",
                "alter user a identified with 'caching_sha2' by '[REDACTED]' require ssl",
            ),
            (
                "CREATE USER a IDENTIFIED WITH sha256 AS 'h'",
                "CREATE USER a IDENTIFIED WITH sha256 AS '[REDACTED]'",
            ),
            ("ALTER USER a IDENTIFIED BY tiger;", "ALTER USER a IDENTIFIED BY [REDACTED];"),
            (
                "alter user a identified by values 'S:1'",
                "alter user a identified by values '[REDACTED]'",
            ),
            (
                "CREATE ROLE r LOGIN ENCRYPTED PASSWORD 'p' VALID UNTIL '2030-01-01'",
                "CREATE ROLE r LOGIN ENCRYPTED PASSWORD '[REDACTED]' VALID UNTIL '2030-01-01'",
            ),
            ("SET PASSWORD FOR 'u'@'h' = 'p'", "SET PASSWORD FOR 'u'@'h' = '[REDACTED]'"),
            ("SET PASSWORD = PASSWORD('p')", "SET PASSWORD = PASSWORD('[REDACTED]')"),
            (
                "SELECT 1 FROM u WHERE name = 'bob' AND password = 'it''s' AND x = 'y'",
                "SELECT 1 FROM u WHERE name = 'bob' AND password = '[REDACTED]' AND x = 'y'",
            ),
            (
                r"SELECT 'C:\', 1 FROM u WHERE u.password='a\'b' AND x = 'y'",
                r"SELECT 'C:\', 1 FROM u WHERE u.password='[REDACTED]' AND x = 'y'",
            ),
            (
                r#"UPDATE u SET "password" = N'p', a = 'b'"#,
                r#"UPDATE u SET "password" = N'[REDACTED]', a = 'b'"#,
            ),
            ("UPDATE u SET [api_key] = 'k'", "UPDATE u SET [api_key] = '[REDACTED]'"),
            ("CREATE LOGIN l WITH PASSWORD = 'p'", "CREATE LOGIN l WITH PASSWORD = '[REDACTED]'"),
            (
                r#"{"find": "users", "filter": {"password": "p", "name": "bob"}}"#,
                r#"{"find": "users", "filter": {"password": "[REDACTED]", "name": "bob"}}"#,
            ),
            ("UPDATE u SET password = 'cut off he", "UPDATE u SET password = '[REDACTED]"),
            ("AUTH default p", "AUTH [REDACTED]"),
        ],
    );
}

#[test]
fn statements_without_passwords_stay() {
    for text in [
        "SELECT password FROM users WHERE id = 7",
        r#"SELECT "password" FROM "users" WHERE "name" = 'bob'"#,
        "SELECT * FROM t WHERE kind = 'password' AND x = 'y'",
        "UPDATE u SET password = $1, name = 'bob'",
        "UPDATE u SET password = '?' WHERE id = '7'",
        "ALTER USER a IDENTIFIED BY ?",
        "CREATE USER a IDENTIFIED EXTERNALLY",
        "CREATE TABLE t (password text, name text DEFAULT 'x')",
        "SELECT next_token FROM t WHERE next_token = 'x'",
        "GET user:1",
        "AUTH ?",
        "",
    ] {
        assert_eq!(redact(KeyRule::Statement, text), text);
    }
}

fn map(entries: &[(&str, AnyValue)]) -> AnyValue {
    let values = entries.iter().map(|(key, value)| KeyValue::new(*key, value.clone())).collect();
    Value::Kvlist(KeyValueList { values }).into()
}

fn list(values: &[&str]) -> AnyValue {
    Value::Array(ArrayValue { values: values.iter().map(|&text| text.into()).collect() }).into()
}

/// Attributes with the secret in each way, and one that stays.
fn attributes() -> Vec<KeyValue> {
    vec![
        KeyValue::new("http.request.header.authorization", list(&[SECRET, "Basic hunter2"])),
        KeyValue::new("password", SECRET),
        KeyValue::new("url.full", "https://x/?sig=hunter2"),
        KeyValue::new("url.query", "access_token=hunter2"),
        KeyValue::new("db.query.text", "CREATE ROLE r PASSWORD 'hunter2'"),
        KeyValue::new("config", map(&[("api_key", SECRET.into()), ("name", "kept".into())])),
        KeyValue::new("secret", AnyValue::from(Value::Bytes(SECRET.into()))),
        KeyValue::new("note", "kept"),
    ]
}

fn traces() -> ExportTraceServiceRequest {
    let attributes = attributes();
    let event = Event { attributes: attributes.clone(), ..Event::default() };
    let link = Link { attributes: attributes.clone(), ..Link::default() };
    let message = "no route to amqp://u:hunter2@q".to_owned();
    let span = Span {
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        name: "GET http://u:hunter2@h/".to_owned(),
        attributes: attributes.clone(),
        events: vec![event],
        links: vec![link],
        status: Some(Status { message, code: 2 }),
        ..Span::default()
    };
    let scope =
        InstrumentationScope { attributes: attributes.clone(), ..InstrumentationScope::default() };
    let scope_spans =
        vec![ScopeSpans { scope: Some(scope), spans: vec![span], ..ScopeSpans::default() }];
    let resource = Some(Resource { attributes, ..Resource::default() });
    let resource_spans = vec![ResourceSpans { resource, scope_spans, ..ResourceSpans::default() }];
    ExportTraceServiceRequest { resource_spans }
}

fn logs(body: AnyValue, attributes: Vec<KeyValue>) -> ExportLogsServiceRequest {
    let record = LogRecord { body: Some(body), attributes, ..LogRecord::default() };
    let scope_logs = vec![ScopeLogs { log_records: vec![record], ..ScopeLogs::default() }];
    let resource_logs = vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }];
    ExportLogsServiceRequest { resource_logs }
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[test]
fn secrets_are_replaced_in_every_place_of_spans() {
    let (redactor, request) = (Redactor::default(), traces());
    let bytes = Bytes::from(request.encode_to_vec());
    let mut batch = TelemetryBatch::Traces { request, bytes: Some(bytes) };
    redactor.redact(&mut batch);
    let TelemetryBatch::Traces { request, bytes: None } = &batch else { panic!("{batch:?}") };
    let encoded = request.encode_to_vec();
    assert!(!contains(&encoded, SECRET));
    assert!(contains(&encoded, "kept"));
    // Eight values in each of five lists of attributes, the name and the message.
    assert_eq!(redactor.redacted_values(), 5 * 8 + 2);
    redactor.redact(&mut batch);
    assert_eq!(redactor.redacted_values(), 5 * 8 + 2);
}

#[test]
fn secrets_are_replaced_in_bodies_and_attributes_of_log_records() {
    let body = map(&[
        ("headers", map(&[("Cookie", "hunter2".into()), ("Accept", "text/html".into())])),
        ("credentials", map(&[("password", map(&[("inner", SECRET.into())]))])),
        ("password", 1234.into()),
        ("has_password", true.into()),
    ]);
    let mut batch = TelemetryBatch::Logs { request: logs(body, attributes()), bytes: None };
    Redactor::default().redact(&mut batch);
    let TelemetryBatch::Logs { request, .. } = batch else { panic!("{batch:?}") };
    let record = &request.resource_logs[0].scope_logs[0].log_records[0];
    let marker = || AnyValue::from(MARKER);
    let expected = map(&[
        ("headers", map(&[("Cookie", marker()), ("Accept", "text/html".into())])),
        ("credentials", map(&[("password", map(&[("inner", marker())]))])),
        ("password", marker()),
        ("has_password", MARKER.into()),
    ]);
    let Some(Value::Kvlist(expected)) = expected.value else { panic!("not a map") };
    let Some(Value::Kvlist(body)) = record.body.as_ref().unwrap().value.clone() else {
        panic!("not a map")
    };
    assert_eq!(body.values[..3], expected.values[..3]);
    assert_eq!(body.values[3], KeyValue::new("has_password", true));
    assert!(!contains(&request.encode_to_vec(), SECRET));
}

#[test]
fn a_request_with_a_secret_is_not_taken_as_it_is() {
    let whole = traces();
    for attribute in attributes() {
        let is_secret = attribute.key != "note";
        let request = logs("x".into(), vec![attribute.clone()]);
        let bytes = Bytes::from(request.encode_to_vec());
        let redactor = Redactor::default();
        let accepted = accept_in_place(Signal::Logs, &bytes, &redactor).is_some();
        assert_eq!(accepted, !is_secret, "{attribute:?}");
        let off = Redactor::new(&RedactionSettings { enabled: false, keys: Vec::new() });
        assert!(accept_in_place(Signal::Logs, &bytes, &off).is_some());

        let mut request = whole.clone();
        let of = &mut request.resource_spans[0];
        of.resource = Some(Resource { attributes: vec![attribute.clone()], ..Resource::default() });
        of.scope_spans[0].scope = None;
        of.scope_spans[0].spans =
            vec![Span { trace_id: vec![1; 16], span_id: vec![2; 8], ..Span::default() }];
        let bytes = Bytes::from(request.encode_to_vec());
        // Twice: a resource that was found right is remembered.
        for _ in 0..2 {
            let accepted = accept_in_place(Signal::Traces, &bytes, &redactor).is_some();
            assert_eq!(accepted, !is_secret, "{attribute:?} of a resource");
        }
    }
}

#[test]
fn redaction_that_is_off_changes_nothing() {
    let off = Redactor::new(&RedactionSettings { enabled: false, keys: vec!["note".to_owned()] });
    let mut batch = TelemetryBatch::Traces { request: traces(), bytes: None };
    off.redact(&mut batch);
    assert_eq!(batch, TelemetryBatch::Traces { request: traces(), bytes: None });
    assert_eq!(off.redacted_values(), 0);
}

#[test]
fn long_hostile_texts_are_read_in_linear_time() {
    for (rule, part) in [
        (KeyRule::Text, "a://b:"),
        (KeyRule::Text, "://x?y=://u:p@"),
        (KeyRule::Text, "a://b?token=;token="),
        (KeyRule::Parameters, "&a=://b;c="),
        (KeyRule::Statement, "password = '"),
        (KeyRule::Statement, "CREATE identified by '\\"),
        (KeyRule::Statement, "SET identified  with  x  by  "),
    ] {
        let text = part.repeat((1 << 20) / part.len());
        // A quadratic search of a mebibyte would take minutes.
        assert_eq!(redact(rule, &redact(rule, &text)), redact(rule, &text), "{part}");
    }
}

/// Texts of the pieces that the rules look for.
fn text() -> impl Strategy<Value = String> {
    let pieces = [
        "://",
        "http://",
        "u",
        ":",
        "@",
        "/",
        "?",
        "&",
        ";",
        "#",
        "=",
        " ",
        "'",
        "\"",
        "\\",
        "`",
        "(",
        "]",
        "[",
        "é",
        "password",
        "token",
        "sig",
        "PASSWORD ",
        "IDENTIFIED BY ",
        "WITH ",
        "AS ",
        "CREATE USER ",
        "SET PASSWORD ",
        "AUTH ",
        "[REDACTED]",
        "REDACTED",
        "*",
        "x",
        "N'",
        ",",
    ];
    prop_oneof![
        prop::collection::vec(select(pieces.to_vec()), 0..24).prop_map(|pieces| pieces.concat()),
        ".{0,40}",
    ]
}

fn rule() -> impl Strategy<Value = KeyRule> {
    select(vec![KeyRule::Text, KeyRule::Secret, KeyRule::Parameters, KeyRule::Statement])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn redacting_is_idempotent(rule in rule(), text in text()) {
        let once = redact(rule, &text);
        prop_assert_eq!(redact(rule, &once), once);
    }

    /// Between the markers are the parts of the text, in their order.
    #[test]
    fn what_is_no_secret_stays(rule in rule(), text in text()) {
        let keys = KeyRules::new(&[]);
        let mut found = secrets(rule, text.as_bytes(), &keys);
        found.sort_unstable_by_key(|range| range.start);
        let redacted = replace(&text, found.clone());
        let mut kept: Vec<Option<u8>> = text.bytes().map(Some).collect();
        for range in &found {
            kept[range.clone()].fill(None);
        }
        let expected: Vec<u8> = kept
            .chunk_by(|a, b| a.is_none() == b.is_none())
            .flat_map(|run| match run.first() {
                Some(None) => MARKER.as_bytes().to_vec(),
                _ => run.iter().flatten().copied().collect(),
            })
            .collect();
        prop_assert_eq!(redacted.as_bytes(), expected);
    }

    /// The search over a whole request finds every URL that the search in its texts finds.
    #[test]
    fn no_secret_url_is_missed_in_a_request(texts in prop::collection::vec(text(), 1..4)) {
        let attributes = texts.iter().map(|text| KeyValue::new("k", text.as_str())).collect();
        let request = logs("x".into(), attributes);
        let (redactor, bytes) = (Redactor::default(), Bytes::from(request.encode_to_vec()));
        if accept_in_place(Signal::Logs, &bytes, &redactor).is_some() {
            let mut batch = TelemetryBatch::Logs { request, bytes: None };
            redactor.redact(&mut batch);
            prop_assert_eq!(redactor.redacted_values(), 0);
        }
    }
}
