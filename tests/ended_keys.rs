//! Tests revoked keys. A command revokes a key and ends its sessions at once. A request with such a
//! key is refused and has no effect, whenever its last byte arrives and however long its answer
//! would take.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use prost::Message;
use serde_json::Value as Json;

use crate::{
    harness::{
        PATIENCE, Server,
        http::send,
        spans::{span, traces},
    },
    keys::{REQUIRED, key, until},
};

/// Maximum time until a running server refuses a key that a command has revoked.
const REVOKED_WITHIN: Duration = Duration::from_secs(3);
const TRACE: &str = "/api/v1/traces/00000000000000000000000000000007";

/// A request whose last byte is missing.
struct UnfinishedRequest {
    connection: TcpStream,
    last: u8,
}

impl UnfinishedRequest {
    /// Sends the head, waits until the server asks for the body, and sends all but its last byte.
    fn send(address: &str, path: &str, key: &str, kind: &str, body: &[u8]) -> Self {
        let mut connection = TcpStream::connect(address).unwrap();
        connection.set_read_timeout(Some(PATIENCE)).unwrap();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\n\
             content-type: {kind}\r\ncontent-length: {}\r\ntidings-request: 1\r\n\
             expect: 100-continue\r\nconnection: close\r\n\r\n",
            body.len()
        );
        connection.write_all(head.as_bytes()).unwrap();
        let mut continued = [0; b"HTTP/1.1 100 Continue\r\n\r\n".len()];
        connection.read_exact(&mut continued).unwrap();
        assert!(continued.starts_with(b"HTTP/1.1 100"), "{path}: {continued:?}");
        let (last, first) = body.split_last().unwrap();
        connection.write_all(first).unwrap();
        Self { connection, last: *last }
    }

    /// Sends the last byte and reads the answer.
    fn finish(mut self) -> String {
        // The write may fail, because a server that has answered need not read on.
        let _ = self.connection.write_all(&[self.last]);
        let mut answer = Vec::new();
        let _ = self.connection.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }
}

fn status(server: &Server, path: &str, key: &str) -> u16 {
    let bearer = format!("Bearer {key}");
    send("GET", &server.http, path, &[("authorization", bearer.as_str())], "").status
}

fn revoke(server: &Server, name: &str, key: &str) {
    let folder = server.data_dir().to_str().unwrap();
    assert_eq!(Server::command(&["keys", "revoke", "--data-dir", folder, name]).0, Some(0));
    until(|| status(server, "/api/v1/status", key) == 401);
}

#[test]
fn a_request_that_is_not_whole_when_its_key_is_revoked_changes_nothing() {
    let server = Server::start_with(&REQUIRED);
    let [admin, thief] = ["admin", "thief"].map(|name| key(&server, name, "admin", &[]));
    let sender = key(&server, "sender", "ingest", &[]);
    let body = traces("shop", vec![span(7, 1, 0, "kept")]).encode_to_vec();
    let bearer = format!("Bearer {sender}");
    let protobuf = "application/x-protobuf";
    let headers = [("content-type", protobuf), ("authorization", bearer.as_str())];
    assert_eq!(send("POST", &server.otlp_http, "/v1/traces", &headers, body).status, 200);

    let json = "application/json";
    let erase = br#"{"traceId": "00000000000000000000000000000007"}"#;
    let make = br#"{"name": "back-door", "role": "admin"}"#;
    let later = traces("shop", vec![span(8, 1, 0, "late")]).encode_to_vec();
    let begun = [
        UnfinishedRequest::send(&server.http, "/api/v1/erasures", &thief, json, erase),
        UnfinishedRequest::send(&server.http, "/api/v1/keys", &thief, json, make),
        UnfinishedRequest::send(&server.otlp_http, "/v1/traces", &sender, protobuf, &later),
    ];
    revoke(&server, "thief", &thief);
    revoke(&server, "sender", &sender);
    for answer in begun.map(UnfinishedRequest::finish) {
        assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    }
    assert_eq!(status(&server, TRACE, &admin), 200, "it is erased");
    assert_eq!(status(&server, &TRACE.replace('7', "8"), &admin), 404, "it is stored");
    let bearer = format!("Bearer {admin}");
    let headers = [("authorization", bearer.as_str())];
    let keys = send("GET", &server.http, "/api/v1/keys", &headers, "");
    let keys = String::from_utf8_lossy(&keys.body).into_owned();
    assert!(keys.contains("\"admin\"") && !keys.contains("back-door"), "{keys}");
}

/// Begins a browser session and returns its cookie.
fn session(server: &Server, key: &str) -> String {
    let body = format!(r#"{{"key": "{key}"}}"#);
    let headers = [("content-type", "application/json")];
    let begun = send("POST", &server.http, "/api/v1/session", &headers, body);
    assert_eq!(begun.status, 200);
    begun.headers["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned()
}

#[test]
fn the_end_of_the_own_sessions_is_answered_whole() {
    let server = Server::start_with(&REQUIRED);
    let admin = key(&server, "admin", "admin", &[]);
    let (own, other) = (session(&server, &admin), session(&server, &admin));
    let path = format!("/api/v1/keys/{}/sessions", admin.split('_').nth(1).unwrap());
    let headers = [("cookie", own.as_str()), ("tidings-request", "1")];
    let ended = send("DELETE", &server.http, &path, &headers, "");
    let said: Json = serde_json::from_slice(&ended.body).unwrap();
    assert_eq!((ended.status, &said["sessions"]), (200, &Json::from(2)), "{said}");
    for cookie in [own, other] {
        let headers = [("cookie", cookie.as_str())];
        assert_eq!(send("GET", &server.http, "/api/v1/services", &headers, "").status, 401);
    }
    assert_eq!(status(&server, "/api/v1/services", &admin), 200);
}

#[test]
fn a_command_ends_a_key_and_its_sessions_within_seconds() {
    let server = Server::start_with(&REQUIRED);
    let [leaver, other] = ["leaver", "other"].map(|name| key(&server, name, "read", &[]));
    let (of_leaver, of_other) = (session(&server, &leaver), session(&server, &other));
    let by_cookie = |cookie: &str| {
        send("GET", &server.http, "/api/v1/services", &[("cookie", cookie)], "").status
    };
    let by_key = |key: &str| status(&server, "/api/v1/services", key);
    assert_eq!([by_key(&leaver), by_cookie(&of_leaver)], [200; 2]);
    let folder = server.data_dir().to_str().unwrap();
    let revoke = ["keys", "revoke", "--data-dir", folder, "leaver"];
    assert_eq!(Server::command(&revoke).0, Some(0));
    let begin = Instant::now();
    until(|| [by_key(&leaver), by_cookie(&of_leaver)] == [401; 2]);
    assert!(begin.elapsed() < REVOKED_WITHIN, "{:?}", begin.elapsed());
    assert_eq!([by_key(&other), by_cookie(&of_other)], [200; 2]);
}

/// Returns the number of requests that were admitted with the key of this name.
fn requests_of(server: &Server, admin: &str, name: &str) -> u64 {
    let bearer = format!("Bearer {admin}");
    let listed = send("GET", &server.http, "/api/v1/keys", &[("authorization", &bearer)], "");
    let listed: Json = serde_json::from_slice(&listed.body).unwrap();
    let keys = listed["keys"].as_array().unwrap();
    keys.iter().find(|key| key["name"] == name).unwrap()["requests"].as_u64().unwrap()
}

#[test]
fn a_request_that_waits_when_its_key_is_revoked_is_refused_at_once() {
    let server = Server::start_with(&REQUIRED);
    let [admin, thief] =
        [("admin", "admin"), ("thief", "read")].map(|(name, role)| key(&server, name, role, &[]));
    let before = requests_of(&server, &admin, "thief");
    // The requests may wait longer than this test waits for an answer.
    assert!(PATIENCE < Duration::from_secs(60));
    let waiting = ["GET", "HEAD"].map(|method| {
        let mut connection = TcpStream::connect(&server.http).unwrap();
        connection.set_read_timeout(Some(PATIENCE)).unwrap();
        let request = format!(
            "{method} {TRACE}?wait=60s HTTP/1.1\r\nhost: localhost\r\n\
             authorization: Bearer {thief}\r\nconnection: close\r\n\r\n"
        );
        connection.write_all(request.as_bytes()).unwrap();
        connection
    });
    until(|| requests_of(&server, &admin, "thief") == before + waiting.len() as u64);
    revoke(&server, "thief", &thief);
    for mut connection in waiting {
        let mut answer = Vec::new();
        let _ = connection.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    }
}
