//! Tests large bodies that stall. The server answers small requests meanwhile. It gives the memory
//! of a stalled body to a body that does arrive.

use std::{
    io::Write,
    net::TcpStream,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use crate::harness::{
    PATIENCE, Server,
    http::{Answer, get, post, try_send},
};

const TRANSFORM: &str = "/jaeger/api/transform";
const BYTES: usize = 15 << 20;
const STALLED: usize = 5;
/// Maximum time until a large body is admitted, and until a small request is answered. A body
/// counts as stalled after a second without a byte, and the rest is a margin for slow machines.
const SOON: Duration = Duration::from_secs(5);
/// A memory budget with room for four of the bodies.
const MEMORY: [&str; 2] = ["--memory", "2GiB"];

/// Opens connections whose bodies lack their last bytes.
fn stall(server: &Server) -> Vec<TcpStream> {
    let head =
        format!("POST {TRANSFORM} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {BYTES}\r\n\r\n");
    let unfinished = [head.into_bytes(), vec![b' '; BYTES - 100]].concat();
    let begin = || {
        let mut connection = TcpStream::connect(&server.http).unwrap();
        connection.set_write_timeout(Some(PATIENCE)).unwrap();
        // The write may fail, because the server does not read the rest of a refused body.
        let _ = connection.write_all(&unfinished);
        connection
    };
    (0..STALLED).map(|_| begin()).collect()
}

/// Sends small requests until `done` is set. Returns the number of rounds and the slowest answer.
fn small_requests(server: &Server, done: &AtomicBool) -> (usize, Duration) {
    let (mut rounds, mut slowest) = (0, Duration::ZERO);
    while !done.load(Relaxed) {
        let query = r#"{"query": "SELECT 1"}"#;
        let answers: [&dyn Fn() -> Answer; 3] = [
            &|| post(&server.http, "/api/v1/sql", "application/json", query),
            &|| post(&server.http, TRANSFORM, "text/plain", r#"{"resourceSpans": []}"#),
            &|| get(&server.http, "/api/v1/services"),
        ];
        for ask in answers {
            let begin = Instant::now();
            let answer = ask();
            assert_eq!(answer.status, 200, "{:?}", answer.body);
            slowest = slowest.max(begin.elapsed());
        }
        rounds += 1;
    }
    (rounds, slowest)
}

#[test]
fn large_bodies_that_stall_are_passed_within_seconds() {
    let server = Server::start_with(&MEMORY);
    let begin = Instant::now();
    // The body is as large as the stalled ones, so it needs their memory.
    let mut whole = br#"{"resourceSpans": []}"#.to_vec();
    whole.resize(BYTES, b' ');
    let (stalled, done) = (stall(&server), AtomicBool::new(false));
    let stalled_at = Instant::now();
    let (passed, (rounds, slowest)) = thread::scope(|scope| {
        let small = scope.spawn(|| small_requests(&server, &done));
        let headers = [("content-type", "text/plain")];
        let passed = loop {
            let answer = try_send("POST", &server.http, TRANSFORM, &headers, whole.clone());
            // A refusal may arrive while the body is being sent, and then the connection ends.
            if answer.is_ok_and(|answer| answer.status == 200) || stalled_at.elapsed() > PATIENCE {
                break stalled_at.elapsed();
            }
        };
        done.store(true, Relaxed);
        (passed, small.join().unwrap())
    });
    println!(
        "{} bodies stalled in {:?}; one passed after {passed:?}; {rounds} rounds of small requests, \
         the slowest answer after {slowest:?}",
        stalled.len(),
        stalled_at - begin
    );
    assert!(passed < SOON, "they keep their memory for {passed:?}");
    assert!(rounds > 0 && slowest < SOON, "{rounds} rounds, {slowest:?}");
}
