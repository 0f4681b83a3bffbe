//! TLS on every listener: trusted servers, accepted clients, and certificates that change.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    path::Path,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use prost::Message;
use rustls::{ClientConnection, StreamOwned, pki_types::ServerName};
use tempfile::TempDir;

use crate::{
    clients::{
        GO, GO_SENDER, GO_WAYS, JAVA, MAVEN, NODE, NPM, PYTHON, check_java, check_node,
        known_trace::check_otlp,
        program::{make, run, source},
        python_program, send_with_go,
    },
    harness::{
        PATIENCE, Server,
        certificates::{AUTHORITY, Authority, Identity, client_config, self_signed},
        http::{self, call, frame, post, send},
        spans::{TRACE_EXPORT, span, traces},
        wait_until,
    },
};

const JSON: &str = "application/json";
const PROTOBUF: &str = "application/x-protobuf";
const NEEDED: &str = "this port speaks TLS: use https://";

/// A folder with the certificate files of a server and of certificate authorities.
pub(crate) struct Files(TempDir);

impl Files {
    /// Creates the files of a server whose certificate is signed by the authority that the harness
    /// trusts.
    pub(crate) fn new() -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        AUTHORITY.identity().write(files.0.path(), "server");
        files.write("ca.pem", AUTHORITY.pem());
        files
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        std::fs::write(self.0.path().join(name), text).unwrap();
        self.path(name)
    }

    /// Returns the server's flags for these files.
    fn flags(&self) -> Vec<String> {
        let (certificate, key) = (self.path("server.pem"), self.path("server.key"));
        ["--tls-certificate", &certificate, "--tls-key", &key].map(str::to_owned).to_vec()
    }

    pub(crate) fn start(&self, more: &[&str]) -> Server {
        let flags = self.flags();
        let flags: Vec<_> = flags.iter().map(String::as_str).chain(more.iter().copied()).collect();
        Server::start_with(&flags)
    }
}

type TlsStream = StreamOwned<ClientConnection, TcpStream>;

/// Returns the host and port of an address.
fn port(address: &str) -> &str {
    address.trim_start_matches("https://")
}

/// Connects and completes the handshake, offering these protocols.
fn connect(
    address: &str,
    authority: &Authority,
    identity: Option<&Identity>,
    protocols: &[&str],
) -> Result<TlsStream, String> {
    let mut config = client_config(authority, identity);
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    let name = ServerName::try_from("localhost").unwrap();
    let mut session = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut socket = TcpStream::connect(port(address)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    while session.is_handshaking() {
        session.complete_io(&mut socket).map_err(|error| error.to_string())?;
    }
    Ok(StreamOwned::new(session, socket))
}

/// Requests `/live` and returns its status, or the error.
fn ask(stream: &mut TlsStream) -> Result<u16, String> {
    let request = b"GET /live HTTP/1.1\r\nhost: localhost\r\n\r\n";
    stream.write_all(request).map_err(|error| error.to_string())?;
    let mut answer = Vec::new();
    let mut part = [0; 1024];
    loop {
        let count = stream.read(&mut part).map_err(|error| error.to_string())?;
        answer.extend_from_slice(&part[..count]);
        let text = String::from_utf8_lossy(&answer);
        let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
        let body = text.split_once("\r\n\r\n").map(|(_, body)| body.len());
        if body.is_some() && body == length.map(|length| length.parse().unwrap()) {
            return Ok(text.split(' ').nth(1).unwrap().parse().unwrap());
        }
        assert!(count > 0, "it ended after {text:?}");
    }
}

fn request(trace: u128) -> Vec<u8> {
    traces("shop", vec![span(trace, 1, 0, "GET /")]).encode_to_vec()
}

fn is_stored(server: &Server, trace: u128) -> bool {
    server.get(&format!("/api/v1/traces/{trace:032x}")).0 == 200
}

#[test]
fn every_listener_speaks_tls_with_both_versions_of_http() {
    let files = Files::new();
    let server = files.start(&[]);
    for (_, address) in server.listeners() {
        assert!(address.starts_with("https://"), "{address}");
        for (offered, chosen) in [
            (&["h2", "http/1.1"][..], Some(&b"h2"[..])),
            (&["http/1.1"], Some(b"http/1.1")),
            (&[], None),
        ] {
            let stream = connect(address, &AUTHORITY, None, offered).unwrap();
            assert_eq!(stream.conn.alpn_protocol(), chosen, "{address}");
        }
        let none = connect(address, &AUTHORITY, None, &["spdy/3"]).unwrap_err();
        assert!(none.contains("NoApplicationProtocol"), "{none}");
    }
    assert_eq!(call(&server.otlp_grpc, TRACE_EXPORT, &[], frame(false, &request(1))).code, Some(0));
    assert_eq!(post(&server.otlp_http, "/v1/traces", PROTOBUF, request(2)).status, 200);
    let zipkin = format!(r#"[{{"traceId":"{:032x}","id":"1","name":"get","timestamp":1}}]"#, 3);
    assert_eq!(post(&server.zipkin, "/api/v2/spans", JSON, zipkin).status, 202);
    for trace in 1..=3 {
        assert!(is_stored(&server, trace), "{trace}");
    }
    let health = call(&server.http, "/grpc.health.v1.Health/Check", &[], frame(false, b""));
    assert_eq!(health.code, Some(0), "gRPC on the HTTP address: {health:?}");
    assert_eq!(http::get(&server.http, "/").status, 200);
    let status = server.get("/api/v1/status").1;
    for receiver in status["receivers"].as_array().unwrap() {
        assert_eq!(receiver["tls"], true, "{receiver}");
    }
}

#[test]
fn a_server_of_another_authority_is_not_believed() {
    let files = Files::new();
    let server = files.start(&[]);
    let other = Authority::new("other");
    for (_, address) in server.listeners() {
        let refused = connect(address, &other, None, &[]).unwrap_err();
        assert!(refused.contains("UnknownIssuer"), "{refused}");
    }
    // The server counts failed handshakes among the refusals of each receiver, with the reason.
    let status = server.wait_for("/api/v1/status", |status| {
        let receivers = status["receivers"].as_array().unwrap();
        receivers.iter().all(|receiver| receiver["refusedRequests"] == 1)
    });
    let said = status["receivers"][0]["refusals"][0]["message"].as_str().unwrap();
    assert!(said.starts_with("the TLS handshake failed: received fatal alert"), "{said}");
    let metrics = http::get(&server.http, "/metrics").body;
    let metrics = String::from_utf8(metrics.to_vec()).unwrap();
    for (listener, _) in server.listeners() {
        let ended =
            format!(r#"connections_ended_total{{listener="{listener}",reason="handshake"}} 1"#);
        assert!(metrics.contains(&ended), "{ended} is not in:\n{metrics}");
    }
}

#[test]
fn where_clients_need_a_certificate_only_those_with_the_right_one_get_in() {
    let files = Files::new();
    let (clients, other) = (Authority::new("clients"), Authority::new("other"));
    let roots = files.write("clients.pem", clients.pem());
    let server = files.start(&["--tls-client-ca", &roots]);
    let (right, wrong) = (clients.identity(), other.identity());
    let answer = |address: &str, identity: Option<&Identity>| {
        // With TLS 1.3 a client learns of its refusal only when it reads.
        connect(address, &AUTHORITY, identity, &[]).and_then(|mut stream| ask(&mut stream))
    };
    for (address, status) in [
        (&server.http, 200),
        (&server.otlp_grpc, 415),
        (&server.otlp_http, 404),
        (&server.zipkin, 404),
    ] {
        assert_eq!(answer(address, Some(&right)), Ok(status), "{address}");
        let absent = answer(address, None).unwrap_err();
        assert!(absent.contains("CertificateRequired"), "{absent}");
        let refused = answer(address, Some(&wrong)).unwrap_err();
        assert!(refused.contains("fatal alert"), "{refused}");
    }
    // The server would need a client certificate of its own to send the demo to itself.
    let mut stream = connect(&server.http, &AUTHORITY, Some(&right), &[]).unwrap();
    let demo = "POST /api/v1/demo HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(demo.as_bytes()).unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    assert!(said.starts_with("HTTP/1.1 409") && said.contains("--client-certificate"), "{said}");
}

#[test]
fn a_renewed_certificate_is_used_and_old_connections_live_on() {
    let files = Files::new();
    let log = files.path("log");
    let mut logged = Command::new("sh");
    logged.args(["-c", &format!("exec \"$0\" \"$@\" 2>>'{log}'")]);
    let data = tempfile::tempdir().unwrap();
    let flags = files.flags();
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    let server = Server::start_under(logged, data.path(), &flags);
    let renewed = Authority::new("renewed");
    let is_used = |authority: &Authority| connect(&server.otlp_http, authority, None, &[]).is_ok();
    let mut old = connect(&server.otlp_http, &AUTHORITY, None, &[]).unwrap();
    assert_eq!(ask(&mut old), Ok(404));

    renewed.identity().write(Path::new(&files.path("")), "server");
    wait_until("the new certificate is used", || is_used(&renewed));
    assert!(!is_used(&AUTHORITY));
    assert_eq!(ask(&mut old), Ok(404), "the old connection");

    // A failed renewal keeps the previous certificate and is logged.
    let other_key = AUTHORITY.identity().key;
    for (name, text, reason) in [
        ("server.pem", "", "has no certificate in it"),
        ("server.key", &*other_key, "is not the key of"),
    ] {
        let path = files.path(name);
        let good = std::fs::read(&path).unwrap();
        std::fs::write(&path, text).unwrap();
        wait_until(reason, || std::fs::read_to_string(&log).unwrap().contains(reason));
        assert!(is_used(&renewed), "{reason}");
        let warns = || ready(&server.http, &renewed).contains(reason);
        wait_until("/ready warns", warns);
        std::fs::write(&path, good).unwrap();
        wait_until("/ready warns no longer", || !warns());
    }
    AUTHORITY.identity().write(Path::new(&files.path("")), "server");
    wait_until("the first authority's is used again", || is_used(&AUTHORITY));
    assert_eq!(ask(&mut old), Ok(404), "the old connection, still");
}

/// Returns the text of `/ready`.
fn ready(address: &str, authority: &Authority) -> String {
    let mut stream = connect(address, authority, None, &[]).unwrap();
    let request = "GET /ready HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Sends bytes without TLS and returns the answer until the server closes the connection.
fn plain_answer(address: &str, sent: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(port(address)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(sent).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    answer
}

#[test]
fn client_without_tls_is_asked_to_use_it() {
    let files = Files::new();
    let server = files.start(&[]);
    let body = vec![b' '; 1 << 20];
    let head = "POST /v1/traces HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1048576\r\n\r\n";
    let posted = [head.as_bytes(), &body].concat();
    for (_, address) in server.listeners() {
        let answer = String::from_utf8(plain_answer(address, &posted)).unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains(NEEDED), "{answer}");
        // A gRPC exporter with the option `insecure` sends this preface.
        let mut preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        preface.extend([0, 0, 0, 4, 0, 0, 0, 0, 0]);
        let frames = plain_answer(address, &preface);
        let goaway = &frames[9..];
        assert_eq!((frames[3], goaway[3]), (4, 7), "settings, then GOAWAY: {frames:?}");
        assert!(goaway.ends_with(NEEDED.as_bytes()), "{goaway:?}");
    }
    let status = server.get("/api/v1/status").1;
    for receiver in status["receivers"].as_array().unwrap() {
        assert_eq!(receiver["refusals"][0]["message"], NEEDED);
        assert_eq!(receiver["refusedRequests"], 2);
    }
}

#[test]
fn tls_does_not_confuse_a_port_without_it() {
    let server = Server::start();
    for (_, address) in server.listeners() {
        let refused = connect(address, &AUTHORITY, None, &["h2"]).unwrap_err();
        assert!(refused.contains("InvalidContentType"), "{refused}");
    }
    assert_eq!(post(&server.otlp_http, "/v1/traces", PROTOBUF, request(1)).status, 200);
    for receiver in server.get("/api/v1/status").1["receivers"].as_array().unwrap() {
        let said = receiver["refusals"][0]["message"].as_str().unwrap();
        assert!(said.starts_with("TLS was sent, which this port does not speak"), "{said}");
        assert_eq!(receiver["tls"], false);
    }
}

#[test]
fn silent_and_slow_handshakes_keep_nobody_out_and_end() {
    let files = Files::new();
    let server = files.start(&["--connections-max", "50"]);
    // The connections send nothing, a handshake that announces 512 bytes, or a request head without
    // TLS.
    let beginnings = [&b""[..], &[22, 3, 1, 2, 0, 1], b"P"];
    let mut silent = Vec::new();
    for address in [&server.otlp_http, &server.http] {
        for said in beginnings.into_iter().cycle().take(51) {
            let mut stream = TcpStream::connect(port(address)).unwrap();
            stream.write_all(said).unwrap();
            silent.push(stream);
        }
        let begin = Instant::now();
        let mut stream = connect(address, &AUTHORITY, None, &[]).unwrap();
        assert!(ask(&mut stream).is_ok());
        // Waiting for the end of the others would take as long as the time limit of a handshake.
        assert!(begin.elapsed() < Duration::from_secs(8), "{:?}", begin.elapsed());
    }
    for mut stream in silent {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // The server closes the connection, or resets it to make room.
        if let Err(error) = stream.read(&mut [0]) {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        }
    }
}

#[test]
fn mistakes_in_the_files_end_the_start_with_78_and_name_file_and_reason() {
    let files = Files::new();
    let other = AUTHORITY.identity();
    let flags = |changed: &str, path: &str| {
        let mut flags = files.flags();
        match flags.iter().position(|flag| flag == changed) {
            Some(at) => path.clone_into(&mut flags[at + 1]),
            None => flags.extend([changed.to_owned(), path.to_owned()]),
        }
        flags
    };
    let empty = files.write("empty.pem", "");
    let garbage =
        files.write("garbage.pem", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n");
    let no_certificate =
        files.write("no.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let large = files.write("large.pem", vec![b'\n'; 2 << 20]);
    let other_key = files.write("other.key", &other.key);
    let encrypted = other.key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    let encrypted = files.write("encrypted.key", encrypted);
    let missing = files.path("missing.pem");
    let folder = files.path("");
    for (flag, path, reason) in [
        ("--tls-certificate", &missing, "No such file"),
        ("--tls-key", &missing, "No such file"),
        ("--tls-client-ca", &missing, "No such file"),
        ("--tls-certificate", &folder, "cannot read"),
        ("--tls-certificate", &empty, "has no certificate in it"),
        ("--tls-key", &empty, "has no key"),
        ("--tls-key", &encrypted, "not encrypted"),
        ("--tls-client-ca", &empty, "has no certificate in it"),
        ("--tls-certificate", &garbage, "is not PEM"),
        ("--tls-certificate", &no_certificate, "cannot be used"),
        ("--tls-client-ca", &no_certificate, "cannot be used"),
        ("--tls-certificate", &large, "more than 1048576 bytes"),
        ("--tls-key", &other_key, "is not the key of"),
    ] {
        let data = tempfile::tempdir().unwrap();
        let flags = flags(flag, path);
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let (code, _, error) =
            Server::refused(data.path(), &[&["--log", "error"][..], &flags].concat());
        assert_eq!(code, Some(78), "{flag} {path}: {error}");
        assert!(error.contains(path.as_str()) && error.contains(reason), "{reason}: {error}");
        assert_eq!(error.trim_end().lines().count(), 1, "{error}");
    }
    let (code, _, error) = Server::command(&["serve", "--tls-key", &other_key]);
    assert_eq!(code, Some(78), "{error}");
    assert!(error.contains("tls-certificate is not"), "{error}");
}

#[test]
fn commands_that_are_clients_speak_tls() {
    let files = Files::new();
    let server = files.start(&[]);
    let (ca, other) = (files.path("ca.pem"), files.write("other.pem", Authority::new("x").pem()));
    let id = format!("{:032x}", 7);
    let export = files.write("export.pb", request(7));
    // The address may lack the scheme, because `--ca` implies TLS.
    for otlp_http in [&*server.otlp_http, port(&server.otlp_http)] {
        let import = ["import", &export, "--otlp-http", otlp_http, "--ca", &ca];
        let (code, out, error) = Server::command(&import);
        assert_eq!(code, Some(0), "{error}");
        assert!(out.contains("1 spans, 0 log records sent"), "{out}");
    }
    let (code, _, error) = Server::command(&["trace", &id, "--http", &server.http, "--ca", &ca]);
    assert_eq!(code, Some(0), "{error}");
    let query = "SELECT count(*) AS n FROM spans";
    let (code, out, error) = Server::command(&["sql", query, "--http", &server.http, "--ca", &ca]);
    assert_eq!((code, out.as_str()), (Some(0), "n\n1\n"), "{error}");
    let receivers = [
        "--otlp-grpc",
        &*server.otlp_grpc,
        "--otlp-http",
        &*server.otlp_http,
        "--zipkin",
        &*server.zipkin,
    ];
    let demo = [&["demo", "--rate", "2", "--duration", "1", "--ca", &ca][..], &receivers].concat();
    let (code, out, error) = Server::command(&demo);
    assert_eq!(code, Some(0), "{error}");
    assert!(out.contains("sent 2 transactions"), "{out}");
    for (args, says) in [
        (&["trace", &id, "--http", &server.http, "--ca", &other][..], "UnknownIssuer"),
        (&["tail", "--http", &server.http, "--ca", &other], "UnknownIssuer"),
        (&["trace", &id, "--http", &server.http], "--ca FILE is needed"),
        (&["trace", &id, "--http", port(&server.http)], NEEDED),
        (&["import", &export, "--otlp-http", port(&server.otlp_http)], NEEDED),
        (&["trace", &id, "--http", &server.http, "--ca", &export], "no certificate in it"),
    ] {
        let (code, _, error) = Server::command(args);
        assert_eq!(code, Some(1), "{args:?}: {error}");
        assert!(error.contains(says), "{args:?}: {error}");
    }
}

#[test]
fn commands_trust_the_certificate_in_the_servers_settings_and_show_their_own() {
    let files = Files::new();
    let (clients, server_identity) = (Authority::new("clients"), self_signed());
    server_identity.write(Path::new(&files.path("")), "server");
    let roots = files.write("clients.pem", clients.pem());
    let server = files.start(&["--tls-client-ca", &roots]);
    let [certificate, key] = clients.identity().write(Path::new(&files.path("")), "client");
    let settings = format!(
        "http = \"{}\"\ntls_certificate = \"{}\"\ntls_key = \"{}\"\n",
        port(&server.http),
        files.path("server.pem"),
        files.path("server.key")
    );
    let settings = files.write("tidings.toml", settings);
    let sql = ["sql", "SELECT 1 AS one", "--config", &settings];
    let own = [
        "--client-certificate",
        certificate.to_str().unwrap(),
        "--client-key",
        key.to_str().unwrap(),
    ];
    let (code, out, error) = Server::command(&[&sql[..], &own].concat());
    assert_eq!((code, out.as_str()), (Some(0), "one\n1\n"), "{error}");
    let (code, _, error) = Server::command(&sql);
    assert_eq!(code, Some(1));
    assert!(error.contains("CertificateRequired"), "{error}");
}

#[test]
fn protection_from_other_pages_holds_over_tls() {
    let files = Files::new();
    let server = files.start(&[]);
    let own = server.http.clone();
    let plain = own.replace("https://", "http://");
    let status = |method: &str, headers: &[(&str, &str)]| {
        let path = if method == "GET" { "/api/v1/status" } else { "/api/v1/demo" };
        send(method, &server.http, path, headers, "").status
    };
    assert_eq!(status("GET", &[("host", "evil.example")]), 421);
    assert_eq!(status("GET", &[("origin", "https://evil.example")]), 403);
    assert_eq!(status("GET", &[("sec-fetch-site", "cross-site")]), 403);
    assert_eq!(status("GET", &[("origin", &own)]), 200);
    let marked = ("tidings-request", "1");
    // An attacker between a browser and the server can make pages of its name without TLS.
    assert_eq!(status("POST", &[("origin", &plain), marked]), 403);
    assert_eq!(status("POST", &[("origin", &own)]), 403, "not marked");
    // The server sends the demo to its own receivers over TLS.
    assert_eq!(status("POST", &[("origin", &own), marked]), 202);
    server.wait_for("/api/v1/traces?limit=1", |json| {
        json["traces"].as_array().is_some_and(|traces| !traces.is_empty())
    });
    for (address, path) in [(&server.otlp_http, "/v1/traces"), (&server.zipkin, "/api/v2/spans")] {
        let headers = [("origin", "https://evil.example"), ("content-type", JSON)];
        assert_eq!(send("POST", address, path, &headers, "[]").status, 403, "{address}");
    }
    assert_eq!(server.get("/api/v1/status").1["insecure"], false);
}

#[test]
fn the_sdk_for_python_sends_over_tls() {
    if !PYTHON.is_installed("Python client over TLS") {
        return;
    }
    let files = Files::new();
    let ca = files.path("ca.pem");
    let [certificate, key] = AUTHORITY.identity().write(Path::new(&files.path("")), "client");
    let server = files.start(&[]);
    let checking = files.start(&["--tls-client-ca", &ca]);
    let otlp = python_program("python");
    let identity = [key.to_str().unwrap(), certificate.to_str().unwrap()];
    let identity_path = |at: usize| identity[at];
    for (server, identity) in [(&server, &[][..]), (&checking, &identity)] {
        let sent = run(Command::new(&otlp)
            .arg(source("python/client.py"))
            // The Python library would prefer the authorities of these variables.
            .env_remove("REQUESTS_CA_BUNDLE")
            .env_remove("CURL_CA_BUNDLE")
            .args([port(&server.otlp_grpc), port(&server.otlp_http), &ca])
            .args(identity));
        assert_eq!(sent.lines().count(), 4, "{sent}");
        let count = ["sql", "SELECT count(*) AS n FROM spans", "--http", &server.http, "--ca", &ca];
        let own = ["--client-key", identity_path(0), "--client-certificate", identity_path(1)];
        let (code, out, error) = Server::command(&[&count[..], &own].concat());
        assert_eq!((code, out.as_str()), (Some(0), "n\n8\n"), "{error}");
    }
    let sent = run(Command::new(python_program("python-zipkin"))
        .arg(source("python-zipkin/client.py"))
        .env("REQUESTS_CA_BUNDLE", &ca)
        .arg(&server.zipkin));
    assert_eq!(sent.lines().count(), 2, "{sent}");
    for line in sent.lines() {
        let (_, trace) = line.rsplit_once(' ').unwrap();
        server.wait_for(&format!("/api/v1/traces/{trace}"), |json| json["spanCount"] == 2);
    }
}

#[test]
fn the_sdk_for_go_sends_over_tls_and_shows_its_certificate() {
    if !GO.is_installed("Go client over TLS") {
        return;
    }
    let files = Files::new();
    let ca = files.path("ca.pem");
    let clients = Authority::new("clients");
    let [certificate, key] = clients.identity().write(Path::new(&files.path("")), "client");
    let roots = files.write("clients.pem", clients.pem());
    let server = files.start(&[]);
    let trusting = ("OTEL_EXPORTER_OTLP_CERTIFICATE", ca.as_str());
    check_otlp(&server, &send_with_go(&server, &[trusting]), &GO_WAYS, &GO_SENDER);
    let checking = files.start(&["--tls-client-ca", &roots]);
    let [certificate, key] = [&certificate, &key].map(|path| path.to_str().unwrap());
    let own = [
        trusting,
        ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", certificate),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", key),
    ];
    assert_eq!(send_with_go(&checking, &own).lines().count(), GO_WAYS.len());
    let count = ["sql", "SELECT count(*) AS n FROM spans", "--http", &checking.http, "--ca", &ca];
    let own = ["--client-key", key, "--client-certificate", certificate];
    let (code, out, error) = Server::command(&[&count[..], &own].concat());
    assert_eq!((code, out.as_str()), (Some(0), "n\n8\n"), "{error}");
}

#[test]
fn the_sdk_and_the_zipkin_exporter_for_node_send_over_tls() {
    if !(NODE.is_installed("Node client over TLS") && NPM.is_installed("Node client over TLS")) {
        return;
    }
    let files = Files::new();
    let ca = files.path("ca.pem");
    let variables = [("NODE_EXTRA_CA_CERTS", &*ca), ("OTEL_EXPORTER_OTLP_CERTIFICATE", &*ca)];
    check_node(&files.start(&[]), &variables);
}

#[test]
fn the_sdk_for_java_and_brave_send_over_tls() {
    if !(JAVA.is_installed("Java client over TLS") && MAVEN.is_installed("Java client over TLS")) {
        return;
    }
    let files = Files::new();
    let store = files.path("trust.p12");
    make(
        Command::new("keytool")
            .args(["-importcert", "-noprompt", "-storetype", "PKCS12", "-storepass", "changeit"])
            .args(["-alias", "tidings", "-file", &files.path("ca.pem"), "-keystore", &store]),
    );
    let options = [
        format!("-Djavax.net.ssl.trustStore={store}"),
        "-Djavax.net.ssl.trustStorePassword=changeit".to_owned(),
    ];
    check_java(&files.start(&[]), &options);
}
