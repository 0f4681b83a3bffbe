//! Tests real clients: each SDK, and the Collector, delivers a trace that the API shows unchanged.
//!
//! The programs in `clients/` all make the same trace, export it with their own exporters and print
//! the trace's id. [`known_trace`] has the answers that the API must give about it. A client is
//! left out when its language is not installed. The libraries come from the language's own package
//! manager. They are kept under cargo's target directory, so that only the first run downloads and
//! compiles them.

pub(crate) mod known_trace;
pub(crate) mod program;

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
};

use self::{
    known_trace::{Sender, check_otlp, check_zipkin},
    program::{Running, Tool, make, prepared, run, source},
};
use crate::harness::{Server, http};

pub(crate) const GO: Tool = Tool { program: "go", version: "version", least: (1, 25) };
pub(crate) const JAVA: Tool = Tool { program: "javac", version: "--version", least: (11, 0) };
pub(crate) const MAVEN: Tool = Tool { program: "mvn", version: "--version", least: (3, 6) };
pub(crate) const NODE: Tool = Tool { program: "node", version: "--version", least: (18, 19) };
pub(crate) const NPM: Tool = Tool { program: "npm", version: "--version", least: (7, 0) };
pub(crate) const PYTHON: Tool = Tool { program: "python3", version: "--version", least: (3, 10) };

#[test]
fn the_sdk_for_rust_is_drawn() {
    let rust = prepared("rust", "", |folder| {
        let manifest = source("rust/Cargo.toml");
        make(
            Command::new(env!("CARGO"))
                .args(["build", "--quiet", "--locked", "--manifest-path"])
                .arg(manifest)
                .arg("--target-dir")
                .arg(folder),
        );
    });
    let server = Server::start();
    let sent =
        run(Command::new(rust.join("debug/client")).args([&server.otlp_grpc, &server.otlp_http]));
    let ways = [
        "grpc none",
        "grpc gzip",
        "grpc zstd",
        "http/protobuf none",
        "http/protobuf gzip",
        "http/protobuf zstd",
        "http/json none",
        "http/json gzip",
        "http/json zstd",
    ];
    // This SDK does not record the type of an exception.
    check_otlp(
        &server,
        &sent,
        &ways,
        &Sender { language: "rust", sdk_language: "rust", exception_type: None },
    );
}

#[test]
fn the_sdk_for_python_is_drawn() {
    if !PYTHON.is_installed("Python client") {
        return;
    }
    let python = python_program("python");
    let server = Server::start();
    let sent = run(Command::new(python)
        .arg(source("python/client.py"))
        .args([&server.otlp_grpc, &server.otlp_http]));
    let ways =
        ["grpc NoCompression", "grpc Gzip", "http/protobuf NoCompression", "http/protobuf Gzip"];
    let exception_type = Some("__main__.CardRefused");
    check_otlp(
        &server,
        &sent,
        &ways,
        &Sender { language: "python", sdk_language: "python", exception_type },
    );
}

#[test]
fn the_zipkin_exporters_for_python_are_drawn() {
    if !PYTHON.is_installed("Python's Zipkin client") {
        return;
    }
    let python = python_program("python-zipkin");
    let server = Server::start();
    let sent = run(Command::new(python).arg(source("python-zipkin/client.py")).arg(&server.zipkin));
    check_zipkin(&server, &sent, &["zipkin/protobuf", "zipkin/json"], "python");
}

/// Returns an interpreter with the libraries that one of the folders in `clients` requires.
pub(crate) fn python_program(name: &str) -> PathBuf {
    let requirements = source(&format!("{name}/requirements.txt"));
    let folder = prepared(name, &read(&requirements), |folder| {
        make(Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder));
        make(
            Command::new(folder.join("bin/python"))
                .args([
                    "-m",
                    "pip",
                    "install",
                    "--quiet",
                    "--disable-pip-version-check",
                    "--requirement",
                ])
                .arg(&requirements),
        );
    });
    folder.join("bin/python")
}

#[test]
fn the_sdk_for_node_is_drawn_from_otlp_and_zipkin() {
    if !(NODE.is_installed("Node client") && NPM.is_installed("Node client")) {
        return;
    }
    check_node(&Server::start(), &[]);
}

/// Sends with the SDK for Node, with these environment variables, and checks the result.
pub(crate) fn check_node(server: &Server, environment: &[(&str, &str)]) {
    let package = read(&source("node/package.json"));
    let node = prepared("node", &package, |folder| {
        std::fs::write(folder.join("package.json"), &package).unwrap();
        make(
            Command::new("npm")
                .args([
                    "install",
                    "--no-package-lock",
                    "--ignore-scripts",
                    "--no-audit",
                    "--no-fund",
                ])
                .current_dir(folder),
        );
    });
    let sent = run(Command::new("node")
        .envs(environment.iter().copied())
        .env("NODE_PATH", node.join("node_modules"))
        .arg(source("node/client.js"))
        .args([&server.otlp_grpc, &server.otlp_http, &server.zipkin]));
    let ways = [
        "grpc none",
        "grpc gzip",
        "http/protobuf none",
        "http/protobuf gzip",
        "http/json none",
        "http/json gzip",
    ];
    let exception_type = Some("CardRefused");
    let sender = Sender { language: "node", sdk_language: "nodejs", exception_type };
    check_otlp(server, &sent, &ways, &sender);
    check_zipkin(server, &sent, &["zipkin"], "node");
}

#[test]
fn the_sdk_for_java_and_brave_are_drawn() {
    if !(JAVA.is_installed("Java client") && MAVEN.is_installed("Java client")) {
        return;
    }
    check_java(&Server::start(), &[]);
}

/// Sends with the SDK for Java and with Brave, with these options of the JVM, and checks the
/// result.
pub(crate) fn check_java(server: &Server, options: &[String]) {
    let java = java_libraries("java");
    let sent = run(Command::new("java")
        .args(options)
        .arg("--class-path")
        .arg(java.join("*"))
        .arg(source("java/Client.java"))
        .args([&server.otlp_grpc, &server.otlp_http, &server.zipkin]));
    let ways = ["grpc none", "grpc gzip", "http/protobuf none", "http/protobuf gzip"];
    let exception_type = Some("Client.CardRefused");
    let sender = Sender { language: "java", sdk_language: "java", exception_type };
    check_otlp(server, &sent, &ways, &sender);
    check_zipkin(server, &sent, &["zipkin"], "brave");
}

/// Returns the folder of the libraries that one of the folders in `clients` requires.
pub(crate) fn java_libraries(name: &str) -> PathBuf {
    let pom = source(&format!("{name}/pom.xml"));
    prepared(name, &read(&pom), |folder| {
        make(
            Command::new("mvn")
                .args(["--quiet", "--batch-mode", "dependency:copy-dependencies", "--file"])
                .arg(&pom)
                .arg(format!("-DoutputDirectory={}", folder.display())),
        );
    })
}

pub(crate) const GO_WAYS: [&str; 4] =
    ["grpc none", "grpc gzip", "http/protobuf none", "http/protobuf gzip"];
pub(crate) const GO_SENDER: Sender =
    Sender { language: "go", sdk_language: "go", exception_type: Some("*errors.errorString") };

#[test]
fn the_sdk_for_go_is_drawn() {
    if !GO.is_installed("Go client") {
        return;
    }
    let server = Server::start();
    check_otlp(&server, &send_with_go(&server, &[]), &GO_WAYS, &GO_SENDER);
}

/// Sends with the SDK for Go. The environment variables name the authorities and certificates.
pub(crate) fn send_with_go(server: &Server, environment: &[(&str, &str)]) -> String {
    let mut sdk = Command::new(go_program("sdk"));
    run(sdk.envs(environment.iter().copied()).args([&server.otlp_grpc, &server.otlp_http]))
}

/// The exporters of the Collector, with their settings.
const COLLECTOR_EXPORTERS: [(&str, &str); 6] = [
    ("otlp/default", "tls: { insecure: true }"),
    ("otlp/zstd", "compression: zstd, tls: { insecure: true }"),
    ("otlp/none", "compression: none, tls: { insecure: true }"),
    ("otlphttp/default", ""),
    ("otlphttp/json", "encoding: json"),
    ("otlphttp/zstd", "compression: zstd"),
];

#[test]
fn traces_from_the_collector_are_drawn() {
    if !GO.is_installed("OpenTelemetry Collector") {
        return;
    }
    let (sdk, collector) = (go_program("sdk"), go_program("collector"));
    let server = Server::start();
    let folder = tempfile::tempdir().unwrap();
    let configuration = folder.path().join("collector.yaml");
    let ports = free_ports(2 * COLLECTOR_EXPORTERS.len());
    std::fs::write(&configuration, collector_configuration(&server, &ports)).unwrap();
    let collector = Running::start(Command::new(collector).arg("--config").arg(&configuration));
    for ((exporter, _), receivers) in COLLECTOR_EXPORTERS.iter().zip(ports.chunks(2)) {
        collector.wait_until("it receives", || {
            http::try_send("GET", &receivers[1], "/", &[], "").is_ok()
        });
        let sent = run(Command::new(&sdk).args(receivers));
        for line in sent.lines() {
            let path = format!("/api/v1/traces/{}", line.split_whitespace().last().unwrap());
            collector.wait_until(&format!("{exporter} sent {line}"), || {
                let (status, view) = server.get(&path);
                status == 200 && view["spanCount"] == 2 && view["logCount"] == 1
            });
        }
        check_otlp(&server, &sent, &GO_WAYS, &GO_SENDER);
    }
}

/// Configures one pipeline for each exporter, each with its own receivers.
fn collector_configuration(server: &Server, ports: &[String]) -> String {
    let (mut receivers, mut exporters, mut pipelines) =
        (String::new(), String::new(), String::new());
    for ((name, settings), address) in COLLECTOR_EXPORTERS.iter().zip(ports.chunks(2)) {
        let (kind, variant) = name.split_once('/').unwrap();
        let endpoint = if kind == "otlp" {
            server.otlp_grpc.clone()
        } else {
            format!("http://{}", server.otlp_http)
        };
        let receiver = format!("otlp/{kind}-{variant}");
        let protocols = format!(
            "{{ grpc: {{ endpoint: '{}' }}, http: {{ endpoint: '{}' }} }}",
            address[0], address[1]
        );
        receivers += &format!("  {receiver}: {{ protocols: {protocols} }}\n");
        exporters += &format!("  {name}: {{ endpoint: '{endpoint}', {settings} }}\n");
        for signal in ["traces", "logs"] {
            pipelines += &format!(
                "    {signal}/{kind}-{variant}: {{ receivers: [{receiver}], exporters: [{name}] }}\n"
            );
        }
    }
    format!(
        "receivers:\n{receivers}exporters:\n{exporters}service:\n  telemetry: {{ metrics: {{ level: none }} }}\n  \
         pipelines:\n{pipelines}"
    )
}

/// Builds one of the programs in `clients/go`. Go's own cache decides what to compile again.
fn go_program(name: &str) -> PathBuf {
    let folder = prepared(&format!("go-{name}"), "", |folder| {
        // More than one compiler at a time would slow down the other tests.
        make(
            Command::new("go")
                .args(["build", "-p", "1", "-o"])
                .arg(folder)
                .arg(format!("./{name}"))
                .current_dir(source("go")),
        );
    });
    folder.join(name)
}

/// Returns addresses on which nothing listened a moment ago.
pub(crate) fn free_ports(count: usize) -> Vec<String> {
    let listeners: Vec<_> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    listeners.iter().map(|listener| listener.local_addr().unwrap().to_string()).collect()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}
