//! `tidings tail`: prints records as they arrive, over connections that break.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    process::Command,
    time::Duration,
};

use prost::Message;

use crate::harness::{
    PATIENCE, PrintingProgram, Server, found_until,
    http::post,
    spans::{log, logs},
};

/// Starts `tidings tail`.
fn start(args: &[&str]) -> PrintingProgram {
    PrintingProgram::start(Command::new(Server::binary()).arg("tail").args(args))
}

/// Sends Ctrl-C and returns the exit code.
fn interrupted(mut tail: PrintingProgram) -> Option<i32> {
    let pid = tail.child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    found_until("it ends", || tail.child.try_wait().unwrap()).code()
}

/// Accepts the next request. Returns the stream for its answer, and the request.
fn accepted(listener: &TcpListener) -> (TcpStream, String) {
    listener.set_nonblocking(true).unwrap();
    let (mut stream, _) = found_until("a client connects", || listener.accept().ok());
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let (mut request, mut byte) = (Vec::new(), [0]);
    while !request.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        request.push(byte[0]);
    }
    (stream, String::from_utf8(request).unwrap().to_lowercase())
}

fn answer(stream: &mut TcpStream, events: &str) {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
    stream.write_all(format!("{head}{events}").as_bytes()).unwrap();
}

#[test]
fn records_that_match_are_printed_as_they_come() {
    let server = Server::start();
    let tail = start(&["paid", "--http", &server.http]);
    let mut number = 0;
    // Records that are stored before the tail begins are not printed, so the test sends until a
    // line appears.
    let line = loop {
        number += 1;
        assert!(number < 150, "nothing is printed");
        let texts = ["paid", "sent"].map(|what| format!("order {number} was {what}"));
        let records = texts.iter().map(|text| log(7, 1, text)).collect();
        let request = logs("shop", records).encode_to_vec();
        let sent = post(&server.otlp_http, "/v1/logs", "application/x-protobuf", request);
        assert_eq!(sent.status, 200);
        if let Ok(line) = tail.lines.recv_timeout(Duration::from_millis(200)) {
            break line;
        }
    };
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(words[1..4], ["info", "shop", "order"], "{line}");
    assert_eq!(words[5..], ["was", "paid"], "{line}");
    assert!(words[0].len() == 24 && words[0].ends_with('Z'), "{line}");
    assert_eq!(interrupted(tail), Some(0));
    for (args, says) in [
        (["a AND", "--http", &server.http], "invalid log query at character 6: "),
        (["a", "--http", "127.0.0.1:1"], "nothing answers at 127.0.0.1:1"),
    ] {
        let (code, out, error) = Server::command(&[&["tail"], &args[..]].concat());
        assert_eq!((code, out.as_str()), (Some(1), ""), "{error}");
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn a_tail_whose_connection_broke_goes_on_after_the_last_record() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let tail = start(&["severity:>=warn", "--json", "--http", &address]);
    let (mut stream, request) = accepted(&listener);
    let first = "get /api/v1/logs/tail?q=severity%3a%3e%3dwarn http/1.1\r\n";
    assert!(request.starts_with(first) && !request.contains("last-event-id"), "{request}");
    answer(&mut stream, ":\n\nid: one\nevent: log\ndata: {\"text\":\"a\\u001b\"}\n\n");
    assert_eq!(tail.line(), "{\"text\":\"a\\u001b\"}");
    stream.write_all(b"id: two\nevent: log\ndata: {\"text\":\"ha").unwrap();
    drop(stream);
    let (mut stream, request) = accepted(&listener);
    assert!(request.contains("\r\nlast-event-id: one\r\n"), "{request}");
    answer(
        &mut stream,
        "id: two\nevent: log\ndata: {\"text\":\"half\"}\n\nevent: end\ndata: {}\n\n",
    );
    assert_eq!(tail.line(), "{\"text\":\"half\"}");
    let (_stream, request) = accepted(&listener);
    assert!(request.contains("\r\nlast-event-id: two\r\n"), "{request}");
    assert_eq!(interrupted(tail), Some(0));
}
