//! Starts Chromium and speaks its debugging protocol.
//! <https://chromedevtools.github.io/devtools-protocol/>

use std::{
    io::{BufRead, BufReader},
    net::TcpStream,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError, Weak, mpsc::sync_channel},
    thread::spawn,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value as Json, json};
use tempfile::TempDir;
use tungstenite::{Message, WebSocket, stream::MaybeTlsStream};

use super::{children_of, is_installed};

/// Debian's programs that draw pages, the better one first. The shell has no windows of a user to
/// draw beside the pages.
const PROGRAMS: [&str; 2] = ["chromium-headless-shell", "chromium"];

const FLAGS: [&str; 13] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    // Windows that are not in front are drawn and have timers all the same.
    "--disable-renderer-backgrounding",
    "--disable-background-timer-throttling",
    // No process waits for the next site of a window.
    "--disable-features=SpareRendererForSitePerProcess",
    "--remote-debugging-port=0",
    "about:blank",
];

/// Flag of windows in which nothing moves by itself. Placeholders that pulse while a page waits for
/// a busy server would take a third of the processors.
const STILL: &str = "--force-prefers-reduced-motion";

/// Longest time that a script may take: one that takes longer never ends, or its page has crashed.
pub(super) const ANSWER_PATIENCE: Duration = Duration::from_secs(120);

/// A connection to the process or to a page, for commands and their answers.
pub(super) struct Session {
    socket: WebSocket<MaybeTlsStream<TcpStream>>,
    next_id: u64,
}

impl Session {
    /// Connects to an address of Chromium's sockets, without its scheme.
    pub(super) fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(host_of(address)).expect("Chromium accepts connections");
        // The time limit also holds for the handshake.
        stream.set_read_timeout(Some(ANSWER_PATIENCE)).expect("a time limit");
        stream.set_nodelay(true).expect("an option of the socket");
        let url = format!("ws://{address}");
        let connected = tungstenite::client(url, MaybeTlsStream::Plain(stream));
        Self { socket: connected.expect("Chromium's socket opens").0, next_id: 0 }
    }

    /// Sends a command and returns its number.
    pub(super) fn send(&mut self, method: &str, params: &Json) -> u64 {
        self.next_id += 1;
        let request = json!({ "id": self.next_id, "method": method, "params": params });
        self.socket.send(Message::text(request.to_string())).expect("Chromium reads commands");
        self.next_id
    }

    /// Returns the next message: an answer or an event.
    pub(super) fn read(&mut self) -> Json {
        loop {
            let message = self.socket.read().expect("Chromium answers in time");
            if let Message::Text(text) = message {
                return serde_json::from_str(&text).expect("Chromium sends JSON");
            }
        }
    }

    /// Sends a command and waits for its answer. Events are not looked at.
    pub(super) fn call(&mut self, method: &str, params: &Json) -> Result<Json, Json> {
        let id = self.send(method, params);
        loop {
            let message = self.read();
            if message["id"] == id {
                return result_of(&message);
            }
        }
    }

    /// Sends a command that creates something, and returns its id from this field of the answer.
    pub(super) fn create(&mut self, method: &str, field: &str, params: Json) -> String {
        let created =
            self.call(method, &params).unwrap_or_else(|error| panic!("{method}: {error}"));
        created[field].as_str().expect("an id").to_owned()
    }
}

/// Returns the result or the error of an answered command.
pub(super) fn result_of(answer: &Json) -> Result<Json, Json> {
    match &answer["error"] {
        Json::Null => Ok(answer["result"].clone()),
        error => Err(error.clone()),
    }
}

/// A running Chromium.
pub(super) struct Chromium {
    process: Process,
    /// Address of the socket of the process, without its scheme.
    pub(super) address: String,
    _profile: TempDir,
}

impl Chromium {
    /// Returns the process of the windows that are open now, or starts one if there is none that runs.
    pub(super) fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Chromium>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().filter(|chromium| chromium.runs()).unwrap_or_else(|| {
            let chromium = Arc::new(Self::start(&[STILL]));
            *shared = Arc::downgrade(&chromium);
            chromium
        })
    }

    /// Returns the name of the program, or `None` where no such program is installed.
    pub(super) fn program() -> Option<&'static str> {
        PROGRAMS.into_iter().find(|program| is_installed(program))
    }

    /// Starts a process with a new profile and these flags beside the usual ones.
    pub(super) fn start(flags: &[&str]) -> Self {
        let profile = tempfile::tempdir().expect("a folder for the profile");
        let mut process = Command::new(Self::program().expect("Chromium is installed"))
            .args(FLAGS)
            .args(flags)
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map(Process)
            .expect("Chromium starts");
        let lines = BufReader::new(process.0.stderr.take().expect("its output")).lines();
        let (give, addresses) = sync_channel(1);
        // Later output is not used, but it must be read so that the process does not block on a
        // full pipe.
        spawn(move || {
            for line in lines.map_while(Result::ok) {
                if let Some(address) = line.strip_prefix("DevTools listening on ws://") {
                    let _ = give.try_send(address.to_owned());
                }
            }
        });
        let address = addresses.recv_timeout(ANSWER_PATIENCE).expect("Chromium listens in time");
        Self { process, address, _profile: profile }
    }

    /// Reports whether the process has not crashed: it accepts connections.
    fn runs(&self) -> bool {
        TcpStream::connect(self.host()).is_ok()
    }

    /// Returns the process id.
    pub(super) fn pid(&self) -> u32 {
        self.process.0.id()
    }

    /// Returns the host and port of its sockets.
    pub(super) fn host(&self) -> &str {
        host_of(&self.address)
    }
}

fn host_of(address: &str) -> &str {
    address.split('/').next().unwrap_or_default()
}

/// The process of a browser. It ends when it is dropped, even if the check of the errors fails.
struct Process(Child);

impl Process {
    /// Kills the processes that this one has started. Debian's shell of Chromium is a script that
    /// waits for the program, which would go on without it.
    fn kill_children(&self) {
        for child in children_of(self.0.id()) {
            if let Some(pid) = i32::try_from(child).ok().and_then(Pid::from_raw) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill_children();
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
