//! The server with its tables in an S3-compatible store. The store is a gateway that keeps objects
//! in a folder, checks signatures and honours conditional requests.

mod backup;
mod network;
mod outage;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use prost::Message;
use serde_json::Value as Json;

use self::network::Network;
use crate::{
    clients::{
        GO, free_ports,
        program::{Running, make, prepared},
    },
    harness::{
        FREE_PORT, PATIENCE, Server,
        http::{self, post},
        listeners_at, output_of, pause,
        spans::{log, logs, span, traces},
    },
};

/// The gateway's version is pinned, so that it is built only once.
const GATEWAY: &str = "github.com/versity/versitygw/cmd/versitygw@v1.8.0";
const KEY: &str = "the-key-of-tests";
const SECRET: &str = "the-secret-of-tests";
const TABLES: &str = "s3://telemetry/some/where";

/// A running gateway. Dropping it kills it.
struct Gateway {
    program: PathBuf,
    address: String,
    folder: tempfile::TempDir,
    running: Option<Running>,
}

impl Gateway {
    /// Starts a gateway with an empty bucket. Returns `None` when it cannot be built here.
    fn start(part: &str) -> Option<Self> {
        if !GO.is_installed(part) {
            return None;
        }
        let program = prepared("versitygw", GATEWAY, |folder| {
            // The build uses one compiler at a time, because more would slow the other tests down.
            make(Command::new("go").args(["install", "-p", "1", GATEWAY]).env("GOBIN", folder));
        });
        let folder = tempfile::tempdir().unwrap();
        for name in ["objects/telemetry", "notes"] {
            fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        let (program, address) = (program.join("versitygw"), free_ports(1).remove(0));
        let mut gateway = Self { program, address, folder, running: None };
        gateway.resume();
        Some(gateway)
    }

    fn resume(&mut self) {
        let running = Running::start(
            Command::new(&self.program)
                .args(["--port", &self.address, "--access", KEY, "--secret", SECRET, "--quiet"])
                .args(["posix", "--sidecar"])
                .arg(self.folder.path().join("notes"))
                .arg(self.folder.path().join("objects")),
        );
        running.wait_until("the gateway answers", || {
            http::try_send("GET", &self.address, "/", &[], "").is_ok()
        });
        self.running = Some(running);
    }

    fn stop(&mut self) {
        self.running = None;
    }

    fn object(&self, name: &str) -> PathBuf {
        self.folder.path().join("objects/telemetry/some/where").join(name)
    }

    fn serve(&self, folder: &Path) -> Server {
        Self::serve_at(&self.address, folder)
    }

    fn serve_at(address: &str, folder: &Path) -> Server {
        let endpoint = format!("http://{address}");
        let place = ["--tables", TABLES, "--tables-endpoint", &endpoint];
        let flags = [&place[..], &["--memory-flush-seconds", "1"]].concat();
        Server::start_as(folder, &flags, &Self::credentials())
    }

    fn credentials() -> [(&'static str, &'static str); 2] {
        [("AWS_ACCESS_KEY_ID", KEY), ("AWS_SECRET_ACCESS_KEY", SECRET)]
    }
}

/// Sends a trace of three spans with a log record. The server must accept both.
fn send(server: &Server, trace: u128) {
    let spans = (1..=3).map(|id| span(trace, id, id - 1, "work")).collect();
    let body = traces("shop", spans).encode_to_vec();
    let kind = "application/x-protobuf";
    assert_eq!(post(&server.otlp_http, "/v1/traces", kind, body).status, 200);
    let body = logs("shop", vec![log(trace, 1, "worked")]).encode_to_vec();
    assert_eq!(post(&server.otlp_http, "/v1/logs", kind, body).status, 200);
}

/// Returns the API's answer about a trace, without the fields that differ between equal answers.
fn answer(server: &Server, trace: u128) -> Json {
    let path = format!("/api/v1/traces/{trace:032x}");
    let mut view = server.wait_for(&path, |view| view["spanCount"] == 3 && view["logCount"] == 1);
    if let Some(view) = view.as_object_mut() {
        view.remove("version");
    }
    view
}

/// Repeats an action until a condition holds.
fn wait(what: &str, is_so: impl Fn() -> bool, meanwhile: impl FnMut()) {
    wait_within(PATIENCE, what, is_so, meanwhile);
}

fn wait_within(
    patience: Duration,
    what: &str,
    is_so: impl Fn() -> bool,
    mut meanwhile: impl FnMut(),
) {
    let deadline = Instant::now() + patience;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited until {what}");
        meanwhile();
        pause();
    }
}

#[test]
fn tables_in_an_object_store_survive_kills_and_outages() {
    let Some(mut gateway) = Gateway::start("object storage") else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut server = gateway.serve(folder.path());
    send(&server, 1);
    let first = answer(&server, 1);
    for table in ["spans", "logs"] {
        let commit = gateway.object(table).join("_delta_log/00000000000000000001.json");
        wait("a flush is committed", || commit.exists(), || {});
    }
    send(&server, 2);
    let second = answer(&server, 2);
    server = server.restart();
    assert_eq!([answer(&server, 1), answer(&server, 2)], [first.clone(), second.clone()]);

    // A server with another data directory is refused, while this one runs and after it.
    let other = tempfile::tempdir().unwrap();
    refused(&gateway, other.path(), &Gateway::credentials(), "another data directory");

    gateway.stop();
    send(&server, 3);
    let third = answer(&server, 3);
    let is_noticed = || {
        let ready = http::get(&server.http, "/ready");
        let said = String::from_utf8(ready.body.to_vec()).unwrap();
        ready.status == 200 && said.contains("warning: the tables cannot be written to")
    };
    wait("the outage is noticed", is_noticed, || {});
    // The trace that was read before the outage is still readable.
    assert_eq!(answer(&server, 1), first);
    gateway.resume();
    wait("the outage is over", || http::get(&server.http, "/ready").body == "ready\n", || {});
    send(&server, 4);
    let fourth = answer(&server, 4);
    assert!(server.terminate().success());

    // The cache holds only copies, so the test deletes it. The write-ahead log is empty after a
    // clean shutdown.
    fs::remove_dir_all(folder.path().join("cache")).unwrap();
    let server = gateway.serve(folder.path());
    for (trace, view) in [(1, first), (2, second), (3, third), (4, fourth)] {
        assert_eq!(answer(&server, trace), view);
    }
}

#[test]
fn a_bad_network_to_the_object_store_loses_nothing() {
    let Some(gateway) = Gateway::start("object storage over a bad network") else { return };
    let network = Network::to(&gateway.address);
    let folder = tempfile::tempdir().unwrap();
    // The first requests test whether the store can be relied on, so the network is bad from the
    // start.
    network.set_bad(true);
    let mut server = Gateway::serve_at(&network.address, folder.path());
    let mut traces = 0;
    // The server accepts and returns everything, regardless of failed flushes.
    let mut sent = 0;
    let enough = || network.bad_requests() >= 30;
    wait("everything has happened to requests three times", enough, || {
        // Traces are sent no faster than requests to the store are made, or there would be
        // thousands.
        if sent < network.bad_requests() {
            sent = network.bad_requests();
            traces += 1;
            send(&server, traces);
        }
    });
    let views: Vec<Json> = (1..=traces).map(|trace| answer(&server, trace)).collect();

    // A restart also works over the bad network, and so does reading data that only the store has.
    server.kill();
    fs::remove_dir_all(folder.path().join("cache")).unwrap();
    let mut server = Gateway::serve_at(&network.address, folder.path());
    for (view, trace) in views.iter().zip(1..) {
        assert_eq!(answer(&server, trace), *view);
    }

    network.set_bad(false);
    wait("all is well", || http::get(&server.http, "/ready").body == "ready\n", || {});
    assert!(server.terminate().success());
    let server = gateway.serve(folder.path());
    assert_eq!(server.get("/api/v1/status").1["spans"]["stored"], 3 * views.len());
    for (view, trace) in views.iter().zip(1..) {
        assert_eq!(answer(&server, trace), *view);
    }
}

#[test]
fn wrong_credentials_and_missing_buckets_are_refused_without_telling_secrets() {
    let Some(gateway) = Gateway::start("object storage") else { return };
    let folder = tempfile::tempdir().unwrap();
    let wrong = [("AWS_ACCESS_KEY_ID", KEY), ("AWS_SECRET_ACCESS_KEY", "a-wrong-secret")];
    let said = refused(&gateway, folder.path(), &wrong, TABLES);
    assert!(!said.contains("a-wrong-secret"), "{said}");
    fs::remove_dir(gateway.folder.path().join("objects/telemetry")).unwrap();
    refused(&gateway, folder.path(), &Gateway::credentials(), "NoSuchBucket");
}

/// Starts a server that must refuse to start, with all log messages on, and returns its output.
fn refused(gateway: &Gateway, folder: &Path, variables: &[(&str, &str)], words: &str) -> String {
    let endpoint = format!("http://{}", gateway.address);
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
    command
        .envs(variables.iter().copied())
        .args(["serve", "--tables", TABLES, "--tables-endpoint", &endpoint, "--log", "trace"])
        .args(listeners_at(FREE_PORT))
        .arg("--data-dir")
        .arg(folder);
    let output = output_of(&mut command, "");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(said.contains(words) && !said.contains(SECRET), "{said}");
    said
}
