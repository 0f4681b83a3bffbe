//! Large bodies of which nothing more comes: small requests are answered meanwhile, and their memory
//! goes to a body that does come as soon as they count as stalled.

use std::{
    io::Write,
    net::TcpStream,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use crate::harness::{
    PATIENCE, Server,
    http::{get, post, try_send},
};

const TRANSFORM: &str = "/jaeger/api/transform";
const BYTES: usize = 15 << 20;
const STALLED: usize = 5;
/// A body counts as stalled after a second without a byte; the rest is for a slow machine.
const SOON: Duration = Duration::from_secs(5);
/// A budget with room for four of the bodies.
const MEMORY: [&str; 2] = ["--memory", "2GiB"];

/// Bodies that lack their last bytes, on connections that stay open.
fn stall(server: &Server) -> Vec<TcpStream> {
    let head =
        format!("POST {TRANSFORM} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {BYTES}\r\n\r\n");
    let unfinished = [head.into_bytes(), vec![b' '; BYTES - 100]].concat();
    let begin = || {
        let mut connection = TcpStream::connect(&server.http).unwrap();
        connection.set_write_timeout(Some(PATIENCE)).unwrap();
        // Of one that is refused the rest is not taken.
        let _ = connection.write_all(&unfinished);
        connection
    };
    (0..STALLED).map(|_| begin()).collect()
}

/// Asks and sends small things until `done`; the number of rounds, and the slowest answer.
fn small_requests(server: &Server, done: &AtomicBool) -> (usize, Duration) {
    let (mut rounds, mut slowest) = (0, Duration::ZERO);
    while !done.load(Relaxed) {
        let query = r#"{"query": "SELECT 1"}"#;
        let answers: [&dyn Fn() -> u16; 3] = [
            &|| post(&server.http, "/api/v1/sql", "application/json", query).status,
            &|| post(&server.http, TRANSFORM, "text/plain", r#"{"resourceSpans": []}"#).status,
            &|| get(&server.http, "/api/v1/services").status,
        ];
        for ask in answers {
            let begin = Instant::now();
            assert_eq!(ask(), 200);
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
    // As large as those, so that it needs what they have.
    let mut whole = br#"{"resourceSpans": []}"#.to_vec();
    whole.resize(BYTES, b' ');
    let (stalled, done) = (stall(&server), AtomicBool::new(false));
    let stalled_at = Instant::now();
    let (passed, (rounds, slowest)) = thread::scope(|scope| {
        let small = scope.spawn(|| small_requests(&server, &done));
        let headers = [("content-type", "text/plain")];
        let passed = loop {
            let answer = try_send("POST", &server.http, TRANSFORM, &headers, whole.clone());
            // A refusal may come while the body is still sent, and then the connection ends.
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
