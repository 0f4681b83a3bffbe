//! Clients that read their answers slowly or not at all. They occupy only their share, and other
//! keys of the same tenant or of another one get answers.

use std::{
    io::{Read, Write},
    net::TcpStream,
    thread,
};

use prost::Message;
use tidings_proto::otlp::{KeyValue, Span};

use crate::{
    harness::{
        PATIENCE, Server,
        http::send,
        spans::{log, logs, span, traces},
    },
    keys::{REQUIRED, key, until},
};

/// Flags that leave room for 64 MiB of unread answers, and less for each of two tenants.
const ANSWER_FLAGS: [&str; 4] = ["--memory", "512MiB", "--http-body-bytes-max", "4MiB"];
/// Flags that leave room for four SQL queries.
const SQL_FLAGS: [&str; 4] = ["--memory", "1GiB", "--sql", "on"];
/// Maximum number of large answers after which one client has used up its share.
const ANSWERS_MAX: usize = 10;
/// The large trace of 7 MiB, which exceeds the buffers of sockets.
const TRACE: &str = "/api/v1/traces/00000000000000000000000000000007";
const SPANS: u64 = 140;
const VALUE_BYTES: usize = 50 << 10;
const TRACE_BYTES_MIN: usize = 6 << 20;
const RECORDS: u64 = 200;
const TEXT_BYTES: usize = 8 << 10;
/// A query whose answer is cut off at 16 MiB.
const LARGE_SQL: &str = "/api/v1/sql?query=SELECT+a.text+FROM+logs+a,+logs+b";
const SMALL_SQL: &str = "/api/v1/sql?query=SELECT+count(*)+FROM+logs";

/// An answer whose body has not been read yet, with its status.
struct SlowAnswer(TcpStream, u16);

impl SlowAnswer {
    /// Sends a request on a connection of its own and waits for the first bytes of the answer.
    fn begin(server: &Server, path: &str, key: &str) -> Self {
        let mut connection = TcpStream::connect(&server.http).unwrap();
        connection.set_read_timeout(Some(PATIENCE)).unwrap();
        let head = format!(
            "GET {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\n\
             connection: close\r\n\r\n"
        );
        connection.write_all(head.as_bytes()).unwrap();
        let mut begun = [0; "HTTP/1.1 200".len()];
        connection.read_exact(&mut begun).unwrap();
        let status = str::from_utf8(&begun).unwrap().rsplit(' ').next().unwrap().parse();
        Self(connection, status.unwrap())
    }

    /// Reads the rest of the answer.
    fn read(mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).unwrap();
        rest
    }
}

fn status(server: &Server, path: &str, key: &str) -> u16 {
    let bearer = format!("Bearer {key}");
    send("GET", &server.http, path, &[("authorization", bearer.as_str())], "").status
}

/// Returns the keys of readers of these two tenants. Each tenant has the trace and log records.
fn readers(server: &Server, [slow, quick]: [&str; 2]) -> [String; 2] {
    send_telemetry(server, slow);
    if slow != quick {
        send_telemetry(server, quick);
    }
    let reader = |name, tenant| key(server, name, "read", &["--tenant", tenant]);
    [reader("slow", slow), reader("quick", quick)]
}

fn send_telemetry(server: &Server, tenant: &str) {
    let sender = key(server, &format!("sender-of-{tenant}"), "ingest", &["--tenant", tenant]);
    let bearer = format!("Bearer {sender}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/x-protobuf")];
    let post = |path: &str, body: Vec<u8>| {
        assert_eq!(send("POST", &server.otlp_http, path, &headers, body).status, 200);
    };
    let value = "x".repeat(VALUE_BYTES);
    for first in (0..SPANS).step_by(20) {
        let large = |id| Span {
            attributes: vec![KeyValue::new("prompt", value.as_str())],
            ..span(7, id + 1, 0, "large")
        };
        let spans = (first..first + 20).map(large).collect();
        post("/v1/traces", traces("shop", spans).encode_to_vec());
    }
    let text = "x".repeat(TEXT_BYTES);
    let records = (0..RECORDS).map(|id| log(1, id + 1, &text)).collect();
    post("/v1/logs", logs("shop", records).encode_to_vec());
}

const TENANTS: [[&str; 2]; 2] = [["default", "default"], ["alfa", "beta"]];

#[test]
fn answers_that_one_key_does_not_read_leave_room_for_another() {
    for tenants in TENANTS {
        let server = Server::start_with(&[&REQUIRED[..], &ANSWER_FLAGS].concat());
        let [slow, quick] = readers(&server, tenants);
        let mut unread = Vec::new();
        let refused = loop {
            let answer = SlowAnswer::begin(&server, TRACE, &slow);
            if answer.1 != 200 {
                break answer;
            }
            unread.push(answer);
            assert!(unread.len() < ANSWERS_MAX, "{tenants:?}: one key has all room");
        };
        assert_eq!(refused.1, 503, "{tenants:?}");
        assert!(unread.len() > 1, "{tenants:?}: {} answers", unread.len());
        // The client that used up its share is refused, and another one gets the same answer.
        assert_eq!(status(&server, TRACE, &quick), 200, "{tenants:?}");
        assert_eq!(status(&server, TRACE, &slow), 503, "{tenants:?}");
        assert_eq!(status(&server, TRACE, &quick), 200, "{tenants:?}");
        // The started answers are complete, and then free their room.
        for answer in unread {
            let rest = answer.read();
            let is_whole = rest.len() > TRACE_BYTES_MIN && rest.ends_with(b"}");
            assert!(is_whole, "{tenants:?}: an answer broke off after {} bytes", rest.len());
        }
        until(|| status(&server, TRACE, &slow) == 200);
    }
}

#[test]
fn places_of_sql_that_one_key_has_leave_one_for_another() {
    // One client may use three of four places. Where there are several tenants, one tenant may use
    // half.
    for (tenants, places) in TENANTS.into_iter().zip([3, 2]) {
        let server = Server::start_with(&[&REQUIRED[..], &SQL_FLAGS].concat());
        let [slow, quick] = readers(&server, tenants);
        let begin = |_| SlowAnswer::begin(&server, LARGE_SQL, &slow);
        let unread: Vec<_> = (0..places).map(begin).collect();
        let refused = thread::scope(|scope| {
            let next = scope.spawn(|| status(&server, SMALL_SQL, &slow));
            for _ in 0..3 {
                assert_eq!(status(&server, SMALL_SQL, &quick), 200, "{tenants:?}");
            }
            next.join().unwrap()
        });
        assert_eq!(refused, 429, "{tenants:?}: it waits for a place of its own key");
        for answer in unread {
            assert_eq!(answer.1, 200, "{tenants:?}");
            let rest = answer.read();
            let is_whole = rest.len() > 8 << 20 && rest.ends_with(b"0\r\n\r\n");
            assert!(is_whole, "{tenants:?}: an answer broke off after {} bytes", rest.len());
        }
        until(|| status(&server, SMALL_SQL, &slow) == 200);
    }
}
