//! Tests answers whose bodies look like HTTP responses. A client receives the body unchanged, and
//! the next answer on its connection is the server's.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::Arc,
};

use prost::Message;
use rustls::{ClientConnection, StreamOwned, pki_types::ServerName};
use tidings_proto::otlp::{KeyValue, Link, Span};

use crate::{
    harness::{
        PATIENCE, Server,
        certificates::{AUTHORITY, client_config},
        http::post,
        spans::{span, traces},
    },
    tls::Files,
};

/// First line of a refusal, as hyper writes it. It is repeated so that a write ends within one of
/// the lines.
const REFUSAL_LINE: &str = "HTTP/1.1 400";
const REFUSAL_LINES: usize = 750_000;
/// Number of offsets to try. Writes end at multiples of four bytes, so one of the offsets hits the
/// end of a write.
const PLACES: usize = 4;
/// Bytes of each read. The server writes faster, so its socket fills up.
const READ_BYTES: usize = 1 << 10;

trait Duplex: Read + Write {}
impl<S: Read + Write> Duplex for S {}

/// Connects, over TLS if the address begins with `https://`.
fn connect(address: &str) -> Box<dyn Duplex> {
    let socket = address.strip_prefix("https://").unwrap_or(address);
    let stream = TcpStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    if socket == address {
        return Box::new(stream);
    }
    let config = Arc::new(client_config(&AUTHORITY, None));
    let name = ServerName::try_from("localhost").unwrap();
    Box::new(StreamOwned::new(ClientConnection::new(config, name).unwrap(), stream))
}

/// Makes a text that ends like a refusal of hyper and contains an HTTP response of the sender.
fn forged(place: usize) -> String {
    let first = ".".repeat(place);
    let lines = REFUSAL_LINE.repeat(REFUSAL_LINES);
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 132\r\nx-evil: AAAA\r\n\r\n";
    format!("{first}{lines}content-length: 0\r\n{answer}")
}

/// Requests a path, and returns the answer's head and body.
fn ask(connection: &mut dyn Duplex, path: &str) -> (String, Vec<u8>) {
    let head =
        format!("GET {path} HTTP/1.1\r\nhost: localhost\r\naccept: application/protobuf\r\n\r\n");
    connection.write_all(head.as_bytes()).unwrap();
    connection.flush().unwrap();
    let mut head = Vec::new();
    let mut one = [0];
    while !head.ends_with(b"\r\n\r\n") {
        connection.read_exact(&mut one).unwrap();
        head.push(one[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let mut fields = head.lines().filter_map(|line| line.split_once(": "));
    let length = fields.find(|(name, _)| *name == "content-length");
    let length: usize = length.unwrap_or_else(|| panic!("{head}")).1.parse().unwrap();
    let mut body = vec![0; length];
    body.chunks_mut(READ_BYTES).for_each(|part| connection.read_exact(part).unwrap());
    (head, body)
}

#[test]
fn a_body_that_looks_like_a_refusal_leaves_the_next_answer_alone() {
    let files = Files::new();
    for server in [Server::start(), files.start(&[])] {
        for place in 0..PLACES {
            let trace = 1 + place as u128;
            let message = forged(place);
            let attributes = vec![KeyValue::new("of.link", message.as_str())];
            let (trace_id, span_id) = (vec![1; 16], vec![2; 8]);
            // The links are the last field that the server writes for a span without a status.
            let links = vec![Link { trace_id, span_id, attributes, ..Link::default() }];
            let looks_like_refusals = Span { links, status: None, ..span(trace, 1, 0, "work") };
            let body = traces("shop", vec![looks_like_refusals]).encode_to_vec();
            let sent = post(&server.otlp_http, "/v1/traces", "application/x-protobuf", body);
            assert_eq!(sent.status, 200);
            let mut connection = connect(&server.http);
            let path = format!("/tempo/api/traces/{trace:032x}");
            let (head, body) = ask(&mut *connection, &path);
            assert!(head.starts_with("HTTP/1.1 200"), "{head}");
            assert!(body.ends_with(message.as_bytes()), "{place}: the body is another");
            // The next answer follows the body directly, and no part of the body is read as an
            // answer.
            let (head, body) = ask(&mut *connection, "/live");
            assert!(head.starts_with("HTTP/1.1 200") && !head.contains("x-evil"), "{head}");
            assert!(body.len() < READ_BYTES, "{place}");
        }
    }
}
