mod secret_forms;

use bytes::Bytes;
use proptest::{prelude::*, sample::select};
use prost::Message;
use tidings_proto::otlp::{
    AnyValue, ArrayValue, Event, ExportLogsServiceRequest, ExportTraceServiceRequest,
    InstrumentationScope, KeyValue, KeyValueList, Link, LogRecord, Resource, ResourceLogs,
    ResourceSpans, ScopeLogs, ScopeSpans, Span, Status, Value,
};
use tidings_storage::TelemetryBatch;

use super::{
    KeyRule, MARKER, RedactionSettings, Redactor, key_rules::KeyRules, replace, replaced, secrets,
};
use crate::normalise::{Signal, accept_in_place};

const SECRET: &str = "hunter2";

/// Returns a text after redaction by this rule.
fn redact(rule: KeyRule, text: &str) -> String {
    replaced(rule, text, &KeyRules::new(&[])).unwrap_or_else(|| text.to_owned())
}

/// Checks pairs of texts before and after redaction. A text without secrets is listed once.
fn check(rule: KeyRule, table: &[(&str, &str)]) {
    for (text, expected) in table {
        assert_eq!(redact(rule, text), *expected, "{text}");
        assert_eq!(redact(rule, expected), *expected, "again: {text}");
    }
}

#[test]
fn a_key_of_three_letters_is_a_key() {
    check(
        KeyRule::Text,
        &[
            ("jwt=a1b2c3d4e5", "jwt=[REDACTED]"),
            (r#"{"jwt":"a1b2c3d4e5"}"#, r#"{"jwt":"[REDACTED]"}"#),
        ],
    );
}

#[test]
fn a_secret_that_a_marker_completes_is_replaced_too() {
    check(
        KeyRule::Text,
        &[("authorization=>://password:http://://", "authorization=>[REDACTED]]")],
    );
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
        "http://localhost:8080/a@b:c",
        "http://[::1]:8080/x",
        "ssh://git@github.com:22/x",
        "https://user@host:443/",
        "http://u:@h/",
        "http://u:[REDACTED]@h/?token=[REDACTED]",
        "https://REDACTED:REDACTED@h/",
        "https://u:****@h/?sig=REDACTED",
        "https://x/y?page=2&next_token=abc&key=k&q=password",
        "mail someone@example.com, see http://x:80/",
        "'http://a:80','x@y'",
    ] {
        assert_eq!(redact(KeyRule::Text, text), text);
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn secrets_after_their_names_are_replaced_in_any_text() {
    check(
        KeyRule::Text,
        &[
            // Headers.
            ("Authorization: Bearer eyJh.eyJz.c2ln", "Authorization: [REDACTED]"),
            (
                "> authorization: basic dXNlcjpwYXNz\r\n> Accept: */*",
                "> authorization: [REDACTED]\r\n> Accept: */*",
            ),
            ("Proxy-Authorization=Token 9944b09199c62bcf", "Proxy-Authorization=[REDACTED]"),
            (
                "Authorization: Digest username=\"Mufasa\", realm=\"a\", response=\"66\"\nHost: x",
                "Authorization: [REDACTED]\nHost: x",
            ),
            (
                "Authorization: AWS4-HMAC-SHA256 Credential=AKIA/s3, Signature=fe5f",
                "Authorization: [REDACTED]",
            ),
            ("authorization: s3cr3t-t0ken by hand", "authorization: [REDACTED] by hand"),
            ("authorization=\"Bearer abc\" path=/x", "authorization=\"[REDACTED]\" path=/x"),
            (
                "map[Authorization:[Bearer abc] Accept:[*/*]]",
                "map[Authorization:[[REDACTED]] Accept:[*/*]]",
            ),
            (
                "{Authorization=Basic dXNlcjpwYXNz, Accept=*/*}",
                "{Authorization=[REDACTED], Accept=*/*}",
            ),
            (
                "curl -H 'Authorization: Bearer abc' https://x/",
                "curl -H 'Authorization: [REDACTED]' https://x/",
            ),
            ("Cookie: sid=abc; theme=dark", "Cookie: [REDACTED]"),
            ("GET / cookie: sid=abc; a=\"b c\" status=200", "GET / cookie: [REDACTED] status=200"),
            (
                "Set-Cookie: sid=a; Expires=Wed, 21 Oct 2015 07:28:00 GMT; Path=/\nServer: x",
                "Set-Cookie: [REDACTED]\nServer: x",
            ),
            ("map[Cookie:[a=b; c=d] Host:[x]]", "map[Cookie:[[REDACTED]] Host:[x]]"),
            ("x-api-key: abcd1234efgh", "x-api-key: [REDACTED]"),
            ("X-Api-Key=k", "X-Api-Key=[REDACTED]"),
            // Keys and values.
            ("login failed password=hunter2 user=bob", "login failed password=[REDACTED] user=bob"),
            ("wrong password: hunter2", "wrong password: [REDACTED]"),
            ("password = 'it''s' x", "password = '[REDACTED]' x"),
            ("password: \"a \\\" b\", x", "password: \"[REDACTED]\", x"),
            ("User(name=bob, password=hunter2)", "User(name=bob, password=[REDACTED])"),
            ("{Name:bob Password:hunter2}", "{Name:bob Password:[REDACTED]}"),
            (
                "run --password=hunter2 --token=t -v",
                "run --password=[REDACTED] --token=[REDACTED] -v",
            ),
            ("API key: sk-live-1234abcd", "API key: [REDACTED]"),
            ("access token: 5f4dcc3b5aa7 expired", "access token: [REDACTED] expired"),
            ("client_secret: hunter", "client_secret: [REDACTED]"),
            ("config['api_key'] = 'k'", "config['api_key'] = '[REDACTED]'"),
            ("user[password]=hunter2&x=1", "user[password]=[REDACTED]&x=1"),
            ("\"password\"=>\"hunter2\"", "\"password\"=>\"[REDACTED]\""),
            ("Server=db;Uid=sa;Pwd=p;App=x", "Server=db;Uid=sa;Pwd=[REDACTED];App=x"),
            ("password=md5('hunter2'), x=1", "password=[REDACTED]), x=1"),
            ("a\\ntoken: 5f4dcc3b5aa7\\nb", "a\\ntoken: [REDACTED]\\nb"),
            ("Passwort, password=pässwörd é", "Passwort, password=[REDACTED] é"),
            // JSON.
            (
                r#"{"headers":{"authorization":"Bearer x"},"password": "hunter2","a":1}"#,
                r#"{"headers":{"authorization":"[REDACTED]"},"password": "[REDACTED]","a":1}"#,
            ),
            (r#"{"password":"a\"b","x":"y"}"#, r#"{"password":"[REDACTED]","x":"y"}"#),
            (r#"{"password":"a\\","x":"y"}"#, r#"{"password":"[REDACTED]","x":"y"}"#),
            (r#"{"password":1234,"x":"y"}"#, r#"{"password":"[REDACTED]","x":"y"}"#),
            (
                r#"{"Cookie":["a=b","c=]d"],"secret":{"k":["}"]},"x":[1]}"#,
                r#"{"Cookie":"[REDACTED]","secret":"[REDACTED]","x":[1]}"#,
            ),
            (
                r#"{"m":"{\"password\":\"hun\\\"ter\",\"x\":1}"}"#,
                r#"{"m":"{\"password\":\"[REDACTED]\",\"x\":1}"}"#,
            ),
            (r#"{"m":"{\"token\":12}"}"#, r#"{"m":"{\"token\":[REDACTED]}"}"#),
            ("{'password': 'hunter2', 'x': 'y'}", "{'password': '[REDACTED]', 'x': 'y'}"),
            (r#"{"password":"cut off he"#, r#"{"password":"[REDACTED]"#),
            // Schemes.
            ("sent Bearer eyJhbGciOi to x", "sent Bearer [REDACTED] to x"),
            ("BEARER 0123abcd", "BEARER [REDACTED]"),
            ("got basic dXNlcjpwYXNz, bad", "got basic [REDACTED], bad"),
            ("Splunk 12345678-1234-1234-1234-1234567890AB", "Splunk [REDACTED]"),
            ("Splunk 0123456789abcdef0123456789abcdef", "Splunk [REDACTED]"),
            ("ApiKey VnVhQ2ZHY0JDZGJrOnVpMmxwMmF4", "ApiKey [REDACTED]"),
            // Statements.
            ("ALTER USER app IDENTIFIED BY tiger", "ALTER USER app IDENTIFIED BY [REDACTED]"),
            ("create role r login password 'p w'", "create role r login password '[REDACTED]'"),
            ("SET PASSWORD FOR 'u'@'h' = 'p'", "SET PASSWORD FOR 'u'@'h' = '[REDACTED]'"),
            (
                "LOG:  statement: ALTER ROLE app PASSWORD 'p'",
                "LOG:  statement: ALTER ROLE app PASSWORD '[REDACTED]'",
            ),
            (
                "failed: GRANT ALL ON *.* TO 'u'@'h' IDENTIFIED BY 'p w'",
                "failed: GRANT ALL ON *.* TO 'u'@'h' IDENTIFIED BY '[REDACTED]'",
            ),
            ("WHERE u.password = 'p' AND x = 'y'", "WHERE u.password = '[REDACTED]' AND x = 'y'"),
        ],
    );
}

#[test]
fn ordinary_words_stay() {
    for text in [
        "the authorization failed",
        "authorization: failed for user bob",
        "Authorization: basic authentication required",
        "authorization=granted",
        "Authorization: Bearer token missing",
        "token expired",
        "token: expired",
        "session token: refreshed",
        "Unexpected token: }",
        "Unexpected token: 'foo'",
        "unexpected token: IDENTIFIER at 3:7",
        "my_app::auth::token: rotated20251124",
        "arn:aws:secretsmanager:eu-1:12:secret:Db-a1b2c3",
        "Token::new(12345678ab)",
        "tokens: 512, max_tokens=2048",
        "next_token=abc123def456",
        "basic plan",
        "basic plan: 12 EUR",
        "basic authentication, basic authorization, basic functionality, basic information",
        "Basic understanding of configuration management",
        "bearer of news",
        "Bearer authentication",
        "EPS bearer 12345678 released",
        "Splunk Enterprise 9.1.2, Splunk forwarder-12",
        "api key: rotated",
        "primary key: id, partition_key=abc",
        "password must be longer",
        "password: must be longer",
        "Password: Please enter it",
        "Access denied for user 'root'@'localhost' (using password: YES)",
        "FATAL: password authentication failed for user \"app\"",
        "Field 'password' doesn't have a default value",
        "the password 'must be longer'",
        "password=null token=None secret=undefined password=",
        "password=$1, password=$PASSWORD, password=${db.password}, token=%s, secret={}",
        "password=:password AND token = b.token",
        "password=****, \"password\":\"\", \"password\": null, \"has_password\":true",
        "if (token == expected) password != other",
        "mutation Login($password: String!, $token: String) { login(password: $password) { id } }",
        "PWD=/home/app",
        "Cookie: not found",
        "cookie: expired",
        "Cookie::parse failed",
        "secret: not found",
        "Secret: default/tls",
        "Create users that are identified by 'name'",
        "Set a password for the account",
        "SELECT password FROM users WHERE id = 7",
        "WWW-Authenticate: Bearer error=\"invalid_token\"",
        "12:30:45.123 a=b c=d",
        "Authorization: [REDACTED]; password=[REDACTED], \"secret\":\"[REDACTED]\"",
        "Authorization: Bearer [REDACTED]",
        "Authorization: Bearer ****",
    ] {
        assert_eq!(redact(KeyRule::Text, text), text);
    }
}

#[test]
fn added_keys_count_in_texts() {
    let keys = KeyRules::new(&["x-internal-pin".to_owned()]);
    let text = "X-Internal-Pin: 1234, pin: 1";
    let found = secrets(KeyRule::Text, text.as_bytes(), &keys);
    assert_eq!(replace(text, found), "X-Internal-Pin: [REDACTED], pin: 1");
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
                "WHERE attributes['password'] = 'p' AND m[\"api_key\"]='k' AND [pwd] = 'q'",
                "WHERE attributes['password'] = '[REDACTED]' AND m[\"api_key\"]='[REDACTED]' AND [pwd] = '[REDACTED]'",
            ),
            ("SELECT data ->> 'password' = 'p'", "SELECT data ->> 'password' = '[REDACTED]'"),
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

/// Returns attributes with the secret in each form, and one without.
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
    let trace_state = || "vendor=https://u:hunter2@h".to_owned();
    let link =
        Link { attributes: attributes.clone(), trace_state: trace_state(), ..Link::default() };
    let message = "no route to amqp://u:hunter2@q".to_owned();
    let span = Span {
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        name: "GET http://u:hunter2@h/".to_owned(),
        trace_state: trace_state(),
        attributes: attributes.clone(),
        events: vec![event],
        links: vec![link],
        status: Some(Status { message, code: 2 }),
        ..Span::default()
    };
    let scope = InstrumentationScope {
        name: "client of redis://u:hunter2@h".to_owned(),
        version: "password=hunter2".to_owned(),
        attributes: attributes.clone(),
        ..InstrumentationScope::default()
    };
    let schema_url = || "https://u:hunter2@h/1.2".to_owned();
    let scope_spans =
        vec![ScopeSpans { scope: Some(scope), spans: vec![span], schema_url: schema_url() }];
    let key = KeyValue::new("https://u:hunter2@h", "kept");
    let resource = Some(Resource {
        attributes: attributes.into_iter().chain([key]).collect(),
        ..Resource::default()
    });
    let resource_spans = vec![ResourceSpans { resource, scope_spans, schema_url: schema_url() }];
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
fn secrets_are_replaced_in_every_text_of_spans() {
    let (redactor, request) = (Redactor::default(), traces());
    let bytes = Bytes::from(request.encode_to_vec());
    let mut batch = TelemetryBatch::Traces { request, bytes: Some(bytes) };
    redactor.redact(&mut batch);
    let TelemetryBatch::Traces { request, bytes: None } = &batch else { panic!("{batch:?}") };
    let encoded = request.encode_to_vec();
    assert!(!contains(&encoded, SECRET));
    assert!(contains(&encoded, "kept"));
    // Eight values in each of five lists of attributes, a key of one, the name and the message, two
    // states of traces, the scope's name and version, and two addresses of schemas.
    assert_eq!(redactor.redacted_values(), 5 * 8 + 9);
    redactor.redact(&mut batch);
    assert_eq!(redactor.redacted_values(), 5 * 8 + 9);
}

/// Returns a request with one log record, into which `put` writes a text.
fn log_with(text: &str, put: fn(&mut LogRecord, String)) -> ExportLogsServiceRequest {
    let mut request = logs("kept".into(), Vec::new());
    put(&mut request.resource_logs[0].scope_logs[0].log_records[0], text.to_owned());
    request
}

#[test]
fn secrets_are_replaced_in_every_text_of_log_records() {
    let places: [fn(&mut LogRecord, String); 4] = [
        |record, text| record.severity_text = text,
        |record, text| record.event_name = text,
        |record, text| record.attributes = vec![KeyValue::new(&text, 1)],
        // Some collectors send the lines of a file as bytes.
        |record, text| record.body = Some(AnyValue::from(Value::Bytes(text.into()))),
    ];
    for (number, put) in places.into_iter().enumerate() {
        let request = log_with("https://u:hunter2@h/", put);
        let bytes = Bytes::from(request.encode_to_vec());
        let redactor = Redactor::default();
        assert!(accept_in_place(Signal::Logs, &bytes, &redactor).is_none(), "{number}");
        let mut batch = TelemetryBatch::Logs { request, bytes: Some(bytes) };
        assert_eq!(redactor.redact(&mut batch), 1, "{number}");
        let TelemetryBatch::Logs { request, bytes: None } = batch else { panic!("{batch:?}") };
        assert!(!contains(&request.encode_to_vec(), SECRET), "{number}");
        let plain = Bytes::from(log_with("plain", put).encode_to_vec());
        assert!(accept_in_place(Signal::Logs, &plain, &redactor).is_some(), "{number}");
    }
}

#[test]
fn secrets_in_unknown_fields_are_not_kept() {
    let plain = logs("kept".into(), Vec::new()).encode_to_vec();
    let unknown = |text: &str| {
        let mut bytes = plain.clone();
        prost::encoding::string::encode(900, &text.to_owned(), &mut bytes);
        Bytes::from(bytes)
    };
    let redactor = Redactor::default();
    let accepted = |text: &str| accept_in_place(Signal::Logs, &unknown(text), &redactor).is_some();
    assert!(accepted("of a later version"));
    assert!(!accepted("https://u:hunter2@h/"));
    let bytes = unknown("https://u:hunter2@h/");
    let request = ExportLogsServiceRequest::decode(bytes.clone()).unwrap();
    let mut batch = TelemetryBatch::Logs { request, bytes: Some(bytes) };
    redactor.redact(&mut batch);
    let TelemetryBatch::Logs { bytes: None, .. } = batch else { panic!("{batch:?}") };
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
fn a_request_with_a_secret_is_not_accepted_unchanged() {
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
        of.schema_url.clear();
        of.scope_spans[0].schema_url.clear();
        of.scope_spans[0].scope = None;
        of.scope_spans[0].spans =
            vec![Span { trace_id: vec![1; 16], span_id: vec![2; 8], ..Span::default() }];
        let bytes = Bytes::from(request.encode_to_vec());
        // The request is checked twice, because an accepted resource is cached.
        for _ in 0..2 {
            let accepted = accept_in_place(Signal::Traces, &bytes, &redactor).is_some();
            assert_eq!(accepted, !is_secret, "{attribute:?} of a resource");
        }
    }
}

#[test]
fn a_secret_is_found_however_many_keys_were_accepted_before_it() {
    let redactor = Redactor::default();
    let plain: Vec<KeyValue> =
        (0..500).map(|number| KeyValue::new(format!("key.{number}.word"), "x")).collect();
    let accepted = |attributes: Vec<KeyValue>| {
        let bytes = Bytes::from(logs("kept".into(), attributes).encode_to_vec());
        accept_in_place(Signal::Logs, &bytes, &redactor).is_some()
    };
    assert!(accepted([plain.clone(), plain.clone()].concat()));
    for secret in ["password", "key.7.password", "authorization", "key.jwt"] {
        let secret = vec![KeyValue::new(secret, SECRET)];
        assert!(!accepted([plain.clone(), secret].concat()));
    }
}

#[test]
fn disabled_redaction_changes_nothing() {
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
        (KeyRule::Text, "token:"),
        (KeyRule::Text, "token: a"),
        (KeyRule::Text, "password=:"),
        (KeyRule::Text, "password=\""),
        (KeyRule::Text, "\"secret\":["),
        (KeyRule::Text, "\"secret\": "),
        (KeyRule::Text, "password:\\"),
        (KeyRule::Text, "password:'?\\'"),
        (KeyRule::Text, "Authorization: digest a=b "),
        (KeyRule::Text, "Bearer aaaaaaaaa"),
        (KeyRule::Text, "Bearer "),
        (KeyRule::Text, "cookie:a=b;"),
        (KeyRule::Text, "password 'x y"),
        (KeyRule::Text, "create identified by '\\"),
        (KeyRule::Statement, "password = '"),
        (KeyRule::Statement, "CREATE identified by '\\"),
        (KeyRule::Statement, "SET identified  with  x  by  "),
        (KeyRule::Text, "password:\n"),
        (KeyRule::Text, "password:   "),
        (KeyRule::Text, r":\/\/a?token=\/"),
        (KeyRule::Parameters, "a%5D"),
        (KeyRule::Parameters, "&a%5D=[]"),
        (KeyRule::Statement, "INSERT (password) VALUES ('a',('"),
        (KeyRule::Statement, "(,' password in ("),
        (KeyRule::Statement, "password = $a$ $$ "),
        (KeyRule::Statement, "f(password) = 'a' || "),
        (KeyRule::Statement, "(((password))) = ' "),
    ] {
        let text = part.repeat((1 << 20) / part.len());
        // A quadratic search of a mebibyte would take minutes.
        assert_eq!(redact(rule, &redact(rule, &text)), redact(rule, &text), "{part}");
    }
}

/// Pieces of text that the rules search for.
const PIECES: &[&str] = &[
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
    "INSERT INTO t (a, password) VALUES (",
    " IN (",
    " LIKE ",
    "md5(",
    "||",
    "$$",
    ")",
    " AND ",
    "{\"$eq\":",
    "HELLO 3 AUTH ",
    ":\\/\\/",
    "%5B",
    "%70assword",
    "\t",
    "AUTH ",
    "[REDACTED]",
    "REDACTED",
    "*",
    "x",
    "N'",
    ",",
    "\n",
    "{",
    "}",
    "a1b2c3d4",
    "12",
    "null",
    "Bearer ",
    "basic ",
    "dXNlcjpwYXNz",
    "authorization",
    "Set-Cookie",
    "api key",
    "=>",
    ": ",
    "\":\"",
    "\\\"",
    "Expires=",
    ";Pwd",
];

/// Texts composed of the pieces.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::collection::vec(select(PIECES), 0..24).prop_map(|pieces| pieces.concat()),
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

    /// The parts of the text between secrets stay, in their order.
    #[test]
    fn texts_between_secrets_stay(rule in rule(), text in text()) {
        let keys = KeyRules::new(&[]);
        let mut found = secrets(rule, text.as_bytes(), &keys);
        found.iter_mut().for_each(|secret| secret.needs_quotes = false);
        let redacted = replace(&text, found.clone());
        let mut kept: Vec<Option<u8>> = text.bytes().map(Some).collect();
        for secret in &found {
            prop_assert!(text.get(secret.range.clone()).is_some(), "characters are whole");
            kept[secret.range.clone()].fill(None);
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

    /// A text without a mark, the name of a scheme or a statement has no secret.
    #[test]
    fn texts_without_marks_stay(text in "[^:=' ]{0,60}") {
        prop_assert_eq!(redact(KeyRule::Text, &text), text);
    }

    /// The walks over an encoded and over the decoded request find the same secrets.
    #[test]
    fn both_walks_over_a_request_find_the_same(texts in prop::collection::vec(text(), 1..4)) {
        let attributes = texts.iter().map(|text| KeyValue::new("k", text.as_str())).collect();
        let request = logs(texts[0].as_str().into(), attributes);
        let (redactor, bytes) = (Redactor::default(), Bytes::from(request.encode_to_vec()));
        let accepted = accept_in_place(Signal::Logs, &bytes, &redactor).is_some();
        let mut batch = TelemetryBatch::Logs { request, bytes: None };
        redactor.redact(&mut batch);
        prop_assert_eq!(accepted, redactor.redacted_values() == 0);

        let mut request = traces();
        let of = &mut request.resource_spans[0];
        (of.resource, of.scope_spans[0].scope) = (None, None);
        let span = Span { trace_id: vec![1; 16], span_id: vec![2; 8], ..Span::default() };
        let name = || texts.last().cloned().unwrap_or_default();
        of.scope_spans[0].spans = vec![
            Span { name: name(), ..span.clone() },
            Span { status: Some(Status { message: name(), code: 2 }), ..span.clone() },
            Span { events: vec![Event { name: name(), ..Event::default() }], ..span },
        ];
        let (redactor, bytes) = (Redactor::default(), Bytes::from(request.encode_to_vec()));
        let accepted = accept_in_place(Signal::Traces, &bytes, &redactor).is_some();
        let mut batch = TelemetryBatch::Traces { request, bytes: None };
        redactor.redact(&mut batch);
        prop_assert_eq!(accepted, redactor.redacted_values() == 0);
    }
}
