//! A network between the server and the object store that tests can make unreliable.
//!
//! Passes HTTP/1.1 requests on, one to a connection. While the network is bad, each request gets
//! the next fate of a fixed sequence: most go through, some are told to slow down, and for some the
//! answer is late, lost or cut off. While the network is down, no request comes through.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// The fate of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Passed,
    /// The store is too busy and has done nothing.
    Refused,
    /// The store executes the request. The answer waits until other requests have overtaken it.
    Late,
    /// The store executes the request. The connection ends before the answer.
    Lost,
    /// The client receives half of the answer.
    CutOff,
}

/// Sequence of fates while the network is bad. Two in ten requests are refused, and three in ten
/// have a bad answer.
const TURNS: [Fate; 10] = [
    Fate::Passed,
    Fate::Refused,
    Fate::Passed,
    Fate::Lost,
    Fate::Passed,
    Fate::Late,
    Fate::Passed,
    Fate::Refused,
    Fate::Passed,
    Fate::CutOff,
];
/// Number of requests that overtake a late answer.
const OVERTAKEN_BY: usize = 3;
/// Longest delay of a late answer when fewer requests follow.
const LATE_MAX: Duration = Duration::from_millis(1500);
const SLOW_DOWN: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
     <Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>";
/// Maximum size of a request. The largest part of an upload is smaller.
const REQUEST_BYTES_MAX: usize = 64 << 20;
const SILENCE: Duration = Duration::from_secs(30);

#[derive(Debug)]
struct Shared {
    store: String,
    down: AtomicBool,
    /// Connections that were refused while the network was down.
    refused: AtomicUsize,
    bad: Mutex<BadTime>,
    /// Notified when `bad` changes.
    changed: Condvar,
    over: AtomicBool,
}

/// The period in which the network is bad.
#[derive(Debug, Default)]
struct BadTime {
    is_now: bool,
    /// Requests in this period.
    requests: usize,
}

/// A running network. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Network {
    pub(super) address: String,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

impl Network {
    /// Starts a good network to the store at this address.
    pub(super) fn to(store: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let shared = Arc::new(Shared {
            store: store.to_owned(),
            down: AtomicBool::new(false),
            refused: AtomicUsize::new(0),
            bad: Mutex::default(),
            changed: Condvar::new(),
            over: AtomicBool::new(false),
        });
        let of_all = Arc::clone(&shared);
        let accepting = thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if of_all.over.load(SeqCst) {
                    break;
                }
                let shared = Arc::clone(&of_all);
                // Broken connections are part of the test.
                thread::spawn(move || drop(shared.serve(client)));
            }
        });
        Self { address, shared, accepting: Some(accepting) }
    }

    pub(super) fn set_bad(&self, bad: bool) {
        self.shared.bad.lock().unwrap().is_now = bad;
        self.shared.changed.notify_all();
    }

    pub(super) fn set_down(&self, down: bool) {
        self.shared.down.store(down, SeqCst);
    }

    /// Returns the number of requests during the bad period. Ten requests include every fate.
    pub(super) fn bad_requests(&self) -> usize {
        self.shared.bad.lock().unwrap().requests
    }

    /// Returns the number of connections that were refused while the network was down.
    pub(super) fn refused(&self) -> usize {
        self.shared.refused.load(SeqCst)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.shared.over.store(true, SeqCst);
        // A connection wakes the accepting thread.
        drop(TcpStream::connect(&self.address));
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

impl Shared {
    fn serve(&self, mut client: TcpStream) -> io::Result<()> {
        if self.down.load(SeqCst) {
            self.refused.fetch_add(1, SeqCst);
            return client.shutdown(Shutdown::Both);
        }
        client.set_read_timeout(Some(SILENCE))?;
        let Some(request) = request(&mut client)? else { return Ok(()) };
        let fate = self.fate();
        if fate == Fate::Refused {
            let length = SLOW_DOWN.len();
            return write!(
                client,
                "HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\n\
                 Content-Length: {length}\r\nConnection: close\r\n\r\n{SLOW_DOWN}",
            );
        }
        let mut store = TcpStream::connect(&self.store)?;
        store.set_read_timeout(Some(SILENCE))?;
        store.write_all(&request)?;
        let mut answer = Vec::new();
        store.read_to_end(&mut answer)?;
        match fate {
            Fate::Lost => return client.shutdown(Shutdown::Both),
            Fate::CutOff => answer.truncate(answer.len() / 2),
            Fate::Late => self.wait_to_be_overtaken(),
            Fate::Passed | Fate::Refused => {}
        }
        client.write_all(&answer)
    }

    fn fate(&self) -> Fate {
        let mut bad = self.bad.lock().unwrap();
        if !bad.is_now {
            return Fate::Passed;
        }
        let turn = bad.requests % TURNS.len();
        bad.requests += 1;
        self.changed.notify_all();
        TURNS[turn]
    }

    /// Waits until enough other requests came, the network is good again, or the delay is over.
    fn wait_to_be_overtaken(&self) {
        let bad = self.bad.lock().unwrap();
        let enough = bad.requests + OVERTAKEN_BY;
        let waits = |bad: &mut BadTime| bad.is_now && bad.requests < enough;
        drop(self.changed.wait_timeout_while(bad, LATE_MAX, waits).unwrap());
    }
}

/// Reads a whole request and asks for the connection to end with the answer. Returns `None` when
/// the client closed the connection before the end of the request.
fn request(client: &mut TcpStream) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    let mut piece = [0; 16 << 10];
    let (head, length) = loop {
        if let Some(head) = bytes.windows(4).position(|end| end == b"\r\n\r\n") {
            break (head + 4, content_length(&bytes[..head]));
        }
        match client.read(&mut piece)? {
            0 => return Ok(None),
            count => bytes.extend_from_slice(&piece[..count]),
        }
    };
    assert!(length <= REQUEST_BYTES_MAX, "a request of {length} bytes");
    while bytes.len() < head + length {
        match client.read(&mut piece)? {
            0 => return Ok(None),
            count => bytes.extend_from_slice(&piece[..count]),
        }
    }
    let line = bytes.windows(2).position(|end| end == b"\r\n").unwrap_or(0) + 2;
    bytes.splice(line..line, b"Connection: close\r\n".iter().copied());
    Ok(Some(bytes))
}

fn content_length(head: &[u8]) -> usize {
    let head = String::from_utf8_lossy(head);
    let named = head.lines().filter_map(|line| line.split_once(':'));
    named
        .filter(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .find_map(|(_, value)| value.trim().parse().ok())
        .unwrap_or(0)
}
