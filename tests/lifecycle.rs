//! Tests start, shutdown, and the output of the command line.

use std::{
    fs,
    io::Read,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
};

use prost::Message;
use tidings_proto::DurationNanos;

use crate::harness::{
    FREE_PORT, PROGRAM_PATIENCE, PrintingProgram, Server,
    http::{self, post},
    listeners_at, output_of,
    spans::{TRACE_EXPORT, span, traces},
};

fn send_one(server: &Server, trace: u128) {
    let request = traces("shop", vec![span(trace, 1, 0, "GET /")]);
    let answer =
        post(&server.otlp_http, "/v1/traces", "application/x-protobuf", request.encode_to_vec());
    assert_eq!(answer.status, 200);
    assert!(answer.body.is_empty());
}

#[test]
fn sigterm_flushes_and_exits_with_0() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start_in(folder.path(), &[]);
    assert_eq!(http::get(&server.http, "/live").status, 200);
    assert_eq!(http::get(&server.http, "/ready").status, 200);
    send_one(&server, 77);
    assert_eq!(server.terminate().code(), Some(0));
    let table = folder.path().join("tables/spans");
    assert!(table.join("_delta_log/00000000000000000000.json").is_file());
    let again = Server::start_in(folder.path(), &[]);
    assert_eq!(again.get(&format!("/api/v1/traces/{:032x}", 77)).1["spanCount"], 1);
    assert!(again.data_dir().join("tables/logs/_delta_log").is_dir());
}

/// Starts a server on a folder, kills it once it has printed an address, and returns what it logged.
fn logged_at_start(folder: &Path) -> String {
    let mut serve = Command::new(Server::binary());
    serve.args(["serve", "--data-dir"]).arg(folder).args(listeners_at(FREE_PORT));
    let mut program = PrintingProgram::start(serve.stderr(Stdio::piped()));
    program.lines.recv_timeout(PROGRAM_PATIENCE).expect("an address is printed in time");
    program.child.kill().unwrap();
    let mut log = String::new();
    program.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    log
}

#[test]
fn a_start_warns_of_a_directory_that_others_could_read_unless_it_was_empty() {
    const WARNING: &str = "other users of this machine could read in the data directory";
    let home = tempfile::tempdir().unwrap();
    let data = fs::canonicalize(home.path()).unwrap().join("data");
    let open_to_others = || fs::set_permissions(&data, fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(&data).unwrap();
    open_to_others();
    let log = logged_at_start(&data);
    assert!(!log.contains(WARNING), "{log}");
    assert_eq!(fs::metadata(&data).unwrap().permissions().mode() & 0o777, 0o700);
    // Everything is closed now, so there is no example of what is still open.
    open_to_others();
    let log = logged_at_start(&data);
    assert!(log.contains(WARNING) && !log.contains("\"example\""), "{log}");
    fs::write(data.join("notes.txt"), "not the server's").unwrap();
    open_to_others();
    let log = logged_at_start(&data);
    let example = format!("\"example\":\"{}\"", data.display());
    assert!(log.contains(WARNING) && log.contains(&example), "{log}");
}

#[test]
fn the_status_has_the_last_arrival_of_each_signal() {
    let server = Server::start();
    let last = |signal: &str| {
        let status = server.get("/api/v1/status").1;
        let time = status[signal]["lastReceivedUnixNano"].as_str()?.parse::<u64>();
        Some(time.unwrap())
    };
    assert_eq!((last("spans"), last("logs")), (None, None));
    send_one(&server, 79);
    let first = last("spans").unwrap();
    send_one(&server, 80);
    assert!(last("spans").unwrap() > first);
    assert_eq!(last("logs"), None);
}

#[test]
fn a_second_process_on_the_directory_is_refused() {
    let server = Server::start();
    let (code, _, error) = Server::refused(server.data_dir(), &[]);
    assert_eq!(code, Some(73), "{error}");
    assert!(error.contains("in use by another process"), "{error}");
}

#[test]
fn a_taken_address_is_named() {
    let server = Server::start();
    let folder = tempfile::tempdir().unwrap();
    let mut listeners = listeners_at(FREE_PORT);
    let name = listeners.iter().position(|flag| flag == "--otlp-http").unwrap();
    listeners[name + 1].clone_from(&server.otlp_http);
    let mut serve = Command::new(Server::binary());
    serve.args(["serve", "--data-dir"]).arg(folder.path()).args(listeners);
    let ended = output_of(&mut serve, "");
    let (code, error) = (ended.status.code(), String::from_utf8(ended.stderr).unwrap());
    assert_eq!(code, Some(1), "{error}");
    assert!(error.contains(&server.otlp_http), "{error}");
}

#[test]
fn wrong_settings_end_with_78_and_say_what_to_do() {
    for (args, says) in [
        (&["serve", "--http", "0.0.0.0:8434"][..], "insecure"),
        (&["config", "--zipkin", "nowhere"][..], "zipkin"),
        (&["config", "--config", "/does/not/exist.toml"][..], "/does/not/exist.toml"),
    ] {
        let (code, _, error) = Server::command(args);
        assert_eq!(code, Some(78), "{error}");
        assert!(error.contains(says), "{error}");
    }
    let (code, _, error) = Server::command(&["serve", "--no-such-flag", "1"]);
    assert_eq!(code, Some(2));
    assert!(error.contains("--no-such-flag"), "{error}");
}

/// Variables that Kubernetes sets in every container beside a service called `tidings`.
const OF_KUBERNETES: [(&str, &str); 2] =
    [("TIDINGS_PORT", "tcp://10.43.0.7:8434"), ("TIDINGS_SERVICE_HOST", "10.43.0.7")];

#[test]
fn variables_that_kubernetes_sets_are_warned_of_and_no_settings() {
    let mut config = Command::new(Server::binary());
    config.arg("config").envs(OF_KUBERNETES).env("TIDINGS_OTLP_GRCP", "127.0.0.1:1");
    let output = output_of(&mut config, "");
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    for part in
        ["TIDINGS_PORT, TIDINGS_SERVICE_HOST", "Kubernetes", "did you mean `TIDINGS_OTLP_GRPC`?"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(printed.contains("http = \"127.0.0.1:8434\"  # default"), "{printed}");
}

/// Runs commands in an environment of Kubernetes and checks that each succeeds.
fn run_in_kubernetes(commands: &[&[&str]]) {
    for args in commands {
        let mut command = Command::new(Server::binary());
        let output = output_of(command.args(*args).envs(OF_KUBERNETES), "");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{args:?}: {said}");
    }
}

#[test]
fn variables_that_kubernetes_sets_end_no_command() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let [data, copy, restored, export] = ["data", "copy", "restored", "export.json"].map(path);
    let mut server = Server::start_as(Path::new(&data), &[], &OF_KUBERNETES);
    assert_eq!(http::get(&server.http, "/ready").status, 200);
    send_one(&server, 77);
    let id = format!("{:032x}", 77);
    let otlp = http::get(&server.http, &format!("/api/v1/traces/{id}/otlp"));
    fs::write(&export, &otlp.body).unwrap();
    let demo = ["demo", "--rate", "2", "--duration", "1"];
    let receivers = [("--otlp-grpc", &server.otlp_grpc), ("--otlp-http", &server.otlp_http)];
    let receivers = receivers.into_iter().chain([("--zipkin", &server.zipkin)]);
    let receivers = receivers.flat_map(|(flag, address)| [flag, address.as_str()]);
    let demo: Vec<&str> = demo.into_iter().chain(receivers).collect();
    run_in_kubernetes(&[
        &["--version"],
        &["man"],
        &["completions", "bash"],
        &["keys", "create", "--data-dir", &data, "--name", "reader", "--role", "read"],
        &["keys", "list", "--data-dir", &data],
        &["keys", "revoke", "--data-dir", &data, "reader"],
        &demo,
        &["import", &export, "--otlp-http", &server.otlp_http],
        &["trace", &id, "--http", &server.http],
        &["sql", "SELECT count(*) FROM spans", "--http", &server.http],
        &["backup", "--data-dir", &data, "--to", &copy],
        &["backup", "list", "--from", &copy],
        &["restore", "--from", &copy, "--verify"],
        &["restore", "--from", &copy, "--data-dir", &restored],
    ]);
    assert_eq!(server.terminate().code(), Some(0));
    run_in_kubernetes(&[
        &["check", &data],
        &["compact", "--data-dir", &data],
        &["erase", "--data-dir", &data, "--trace", &id],
    ]);
}

#[test]
fn config_prints_every_setting_with_its_origin() {
    let (code, out, _) = Server::command(&["config", "--http", "127.0.0.1:1"]);
    assert_eq!(code, Some(0));
    assert!(out.contains("http = \"127.0.0.1:1\"  # command line"), "{out}");
    assert!(out.contains("otlp_grpc = \"127.0.0.1:4317\"  # default"), "{out}");
}

#[test]
fn demo_import_and_trace_work_from_a_terminal() {
    let server = Server::start();
    let (code, out, error) = Server::command(&[
        "demo",
        "--rate",
        "50",
        "--duration",
        "1",
        "--seed",
        "11",
        "--otlp-grpc",
        &server.otlp_grpc,
        "--otlp-http",
        &server.otlp_http,
        "--zipkin",
        &server.zipkin,
    ]);
    assert_eq!(code, Some(0), "{error}");
    assert!(out.contains("sent 50 transactions"), "{out}");
    let found = server.wait_for("/api/v1/traces?service=checkout&limit=5", |json| {
        json["traces"].as_array().is_some_and(|traces| !traces.is_empty())
    });
    let id = found["traces"][0]["traceId"].as_str().unwrap();
    let (code, out, error) = Server::command(&["trace", id, "--http", &server.http]);
    assert_eq!(code, Some(0), "{error}");
    assert!(out.contains("web-gateway POST /checkout") && out.contains("█"), "{out}");
    let duration = &found["traces"][0]["durationNano"];
    let duration = DurationNanos(duration.as_str().unwrap().parse().unwrap());
    assert!(out.contains(&duration.to_string()), "as the UI writes {duration}: {out}");

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("export.json");
    let otlp = http::get(&server.http, &format!("/api/v1/traces/{id}/otlp"));
    fs::write(&file, &otlp.body).unwrap();
    let other = Server::start();
    let (code, out, error) =
        Server::command(&["import", file.to_str().unwrap(), "--otlp-http", &other.otlp_http]);
    assert_eq!(code, Some(0), "{error}");
    assert!(out.contains("spans, 0 log records sent"), "{out}");
    assert_eq!(http::get(&other.http, &format!("/api/v1/traces/{id}/otlp")).body, otlp.body);
    let broken = folder.path().join("broken.json");
    fs::write(&broken, "{").unwrap();
    let [broken, file] = [&broken, &file].map(|path| path.to_str().unwrap());
    let (code, out, error) =
        Server::command(&["import", broken, file, "--otlp-http", &other.otlp_http]);
    assert_eq!(code, Some(1));
    assert!(out.contains("broken.json: not sent: ") && out.contains("log records sent"), "{out}");
    assert!(error.contains("1 of 2 files could not be imported"), "{error}");
    let (code, _, error) = Server::command(&["trace", "ffff", "--http", &server.http]);
    assert_eq!(code, Some(1));
    assert!(error.contains("nothing stored matches"), "{error}");
}

#[test]
fn clients_find_the_server_in_the_settings_file() {
    let server = Server::start();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tidings.toml");
    let text = format!(
        "http = \"{}\"\notlp_grpc = \"{}\"\notlp_http = \"{}\"\nzipkin = \"{}\"\n",
        server.http, server.otlp_grpc, server.otlp_http, server.zipkin
    );
    #[expect(clippy::disallowed_methods, reason = "a fixture")]
    fs::write(&file, text).unwrap();
    let config = file.to_str().unwrap();
    let demo = ["demo", "--rate", "2", "--duration", "1", "--config", config];
    let (code, out, error) = Server::command(&demo);
    assert_eq!(code, Some(0), "{error}");
    assert!(out.contains("sent 2 transactions"), "{out}");
    let found = server.wait_for("/api/v1/traces?limit=1", |json| {
        json["traces"].as_array().is_some_and(|traces| !traces.is_empty())
    });
    let id = found["traces"][0]["traceId"].as_str().unwrap();
    let (code, _, error) = Server::command(&["trace", id, "--config", config]);
    assert_eq!(code, Some(0), "{error}");
    // The command line takes precedence over the file.
    let (code, _, error) =
        Server::command(&["trace", id, "--config", config, "--http", "127.0.0.1:1"]);
    assert_eq!(code, Some(1));
    assert!(error.contains("nothing answers at 127.0.0.1:1"), "{error}");
}

#[test]
fn a_foreign_host_or_origin_is_refused() {
    let server = Server::start();
    let answer = http::send("GET", &server.http, "/api/v1/status", &[("host", "evil.example")], "");
    assert_eq!(answer.status, 421);
    let headers = [("origin", "http://evil.example"), ("content-type", "application/json")];
    let answer = http::send("POST", &server.http, "/api/v1/demo", &headers, "{}");
    assert_eq!(answer.status, 403);
    let page = http::get(&server.http, "/");
    assert_eq!(page.status, 200);
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'; script-src 'self' 'wasm-unsafe-eval'"));
}

#[test]
fn the_name_of_this_machine_is_a_host_where_others_reach_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let (data, log) = (folder.path().join("data"), folder.path().join("log"));
    let mut serve = Command::new(Server::binary());
    serve.args(["serve", "--insecure", "true", "--log", "warn", "--data-dir"]).arg(data);
    serve.args(listeners_at("0.0.0.0:0"));
    let serve = PrintingProgram::start(serve.stderr(fs::File::create(&log).unwrap()));
    let line = serve.lines.recv_timeout(PROGRAM_PATIENCE).expect("it prints its address");
    let (_, port) = line.rsplit_once(':').unwrap();
    let address = format!("127.0.0.1:{port}");
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let asked =
        |host: &str| http::send("GET", &address, "/api/v1/status", &[("host", host)], "").status;
    let answered = [name.trim(), "localhost", "evil.example"].map(asked);
    drop(serve);
    let said = fs::read_to_string(&log).unwrap();
    assert_eq!(answered, [200, 200, 421], "{said}");
    assert!(said.contains("nothing checks who sends and who reads"), "{said}");
}

#[test]
fn the_description_has_every_route_of_the_process() {
    let server = Server::start();
    let (status, document) = server.get("/api/v1/openapi.json");
    assert_eq!(status, 200);
    for path in ["/api/v1/status", "/api/v1/demo", "/api/v1/traces", "/api/v1/transactions/{tid}"] {
        assert!(document["paths"][path].is_object(), "{path}");
    }
    let status = server.get("/api/v1/status").1;
    let schema = &document["components"]["schemas"]["ServerStatus"]["properties"];
    for field in status.as_object().unwrap().keys() {
        assert!(schema[field].is_object(), "{field} is not described");
    }
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            for status in ["400", "403", "405", "414", "421", "431", "503"] {
                let answer = &operation["responses"][status]["content"]["application/problem+json"];
                assert!(answer.is_object(), "{method} {path} {status}");
            }
        }
    }
    // OpenAPI 3.1 has requirements that the types of the document do not enforce.
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            for (code, response) in operation["responses"].as_object().unwrap() {
                let described = response["description"].as_str();
                assert!(described.is_some_and(|text| !text.is_empty()), "{method} {path} {code}");
            }
        }
    }
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        for (property, schema) in schema["properties"].as_object().into_iter().flatten() {
            assert!(schema.get("default").is_none(), "{name}.{property}: {schema}");
        }
    }
}

#[test]
fn a_directory_is_compacted_and_things_erased_while_no_server_works_on_it() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().to_str().unwrap().to_owned();
    for trace in [1, 2, 3] {
        let mut server = Server::start_in(folder.path(), &[]);
        send_one(&server, trace);
        let (code, _, error) = Server::command(&["compact", "--data-dir", &dir]);
        assert_eq!(code, Some(73), "{error}");
        assert_eq!(server.terminate().code(), Some(0));
    }
    let (code, out, error) = Server::command(&["compact", "--data-dir", &dir]);
    assert_eq!(code, Some(0), "{error}");
    assert!(out.contains("merged   3 files") && out.contains("3 spans"), "{out}");
    let id = format!("{:032x}", 2);
    let (code, out, error) = Server::command(&["erase", "--data-dir", &dir, "--trace", &id]);
    assert_eq!(code, Some(0), "{error}");
    assert!(out.contains("erased   1 spans, 0 log records from 1 files"), "{out}");
    let server = Server::start_in(folder.path(), &[]);
    assert_eq!(server.get(&format!("/api/v1/traces/{id}")).0, 404);
    assert_eq!(server.get(&format!("/api/v1/traces/{:032x}", 3)).1["spanCount"], 1);
    // The command names no telemetry to erase.
    assert_eq!(Server::command(&["erase", "--data-dir", &dir]).0, Some(2));
    let empty = tempfile::tempdir().unwrap();
    let dir = empty.path().to_str().unwrap();
    for wrong in [
        &["compact", "--data-dir", dir][..],
        &["erase", "--data-dir", dir, "--trace", &id],
        &["keys", "revoke", "--data-dir", dir, "nobody"],
        &["restore", "--data-dir", dir, "--from", "/nowhere/at/all"],
    ] {
        let (code, _, error) = Server::command(wrong);
        assert!(code.is_some_and(|code| code > 0), "{wrong:?}: {error}");
        assert_eq!(fs::read_dir(empty.path()).unwrap().count(), 0, "{wrong:?}");
    }
}

#[test]
fn a_value_to_erase_is_taken_from_standard_input_and_refused_as_an_argument() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().to_str().unwrap().to_owned();
    let mut server = Server::start_in(folder.path(), &[]);
    send_one(&server, 5);
    assert_eq!(server.terminate().code(), Some(0));
    for shown in ["--attribute=service.name=shop", "--attribute=service.name="] {
        let wrong = ["erase", "--data-dir", &dir, shown];
        let (code, out, error) = Server::command_with_input(&wrong, "shop\n");
        assert_eq!((code, out.as_str()), (Some(2), ""), "{error}");
        assert!(error.contains("standard input") && !error.contains("shop"), "{error}");
    }
    let erase = ["erase", "--data-dir", &dir, "--attribute", "service.name"];
    let (code, out, error) = Server::command_with_input(&erase, "shop\n");
    assert_eq!(code, Some(0), "{error}");
    assert!(out.contains("erased   1 spans"), "{out}");
}

/// Requests the metrics and returns their media type and text.
fn metrics(server: &Server, accept: &str) -> (String, String) {
    let answer = http::send("GET", &server.http, "/metrics", &[("accept", accept)], "");
    assert_eq!(answer.status, 200);
    let kind = answer.headers["content-type"].to_str().unwrap().to_owned();
    (kind, String::from_utf8(answer.body.to_vec()).unwrap())
}

#[test]
fn metrics_count_what_was_received_asked_and_written() {
    let server = Server::start();
    send_one(&server, 77);
    let refused = post(&server.otlp_http, "/v1/traces", "application/json", "{");
    assert_eq!(refused.status, 400);
    assert_eq!(server.get("/api/v1/traces").0, 200);
    assert_eq!(server.get("/api/v1/traces?limit=x").0, 400);
    let (kind, text) = metrics(&server, "*/*");
    assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{name} is not in:\n{text}")).parse::<f64>().unwrap()
    };
    for (name, expected) in [
        (r#"tidings_receiver_requests_total{receiver="otlp/http",outcome="accepted"}"#, 1.),
        (r#"tidings_receiver_refusals_total{receiver="otlp/http",reason="malformed"}"#, 1.),
        (r#"tidings_received_records_total{signal="spans",outcome="accepted"}"#, 1.),
        (r#"tidings_stored_records{signal="spans"}"#, 1.),
        ("tidings_log_records_total", 1.),
        (r#"tidings_queries_total{api="traces",outcome="answered"}"#, 1.),
        (r#"tidings_queries_total{api="traces",outcome="refused"}"#, 1.),
        (r#"tidings_query_seconds_count{api="traces"}"#, 2.),
        (r#"tidings_query_seconds_bucket{le="+Inf",api="traces"}"#, 2.),
        (r#"tidings_task_running{task="log writer"}"#, 1.),
        (r#"tidings_task_running{task="otlp/grpc"}"#, 1.),
        (r#"tidings_task_restarts_total{task="maintenance"}"#, 0.),
    ] {
        assert!((value(name) - expected).abs() < f64::EPSILON, "{name}: {}", value(name));
    }
    assert!(value("tidings_log_sync_seconds_count") >= 1.);
    assert!(value("tidings_log_bytes") > 0. && value("tidings_memtable_bytes") > 0.);
    // Prometheus requires that every sample belongs to the metric that was named last.
    let mut named = "";
    for line in text.lines() {
        match line.strip_prefix("# TYPE ") {
            Some(rest) => named = rest.split(' ').next().unwrap(),
            None if line.starts_with('#') => {}
            None => assert!(line.starts_with(named), "{line} after {named}"),
        }
    }
    let (kind, text) = metrics(&server, "application/openmetrics-text; version=1.0.0");
    assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
    assert!(text.ends_with("# EOF\n") && text.contains("# TYPE tidings_log_records counter"));
}

#[test]
fn body_bytes_are_counted_for_their_receiver_before_decompression() {
    let server = Server::start();
    let request = traces("shop", vec![span(78, 1, 0, &"GET /cart ".repeat(500))]);
    let request = request.encode_to_vec();
    let compressed = zstd::encode_all(request.as_slice(), 1).unwrap();
    assert!(compressed.len() * 2 < request.len());
    let (framed, length) = (http::frame(true, &compressed), compressed.len());
    let whole = framed.len();
    let exported =
        http::call(&server.otlp_grpc, TRACE_EXPORT, &[("grpc-encoding", "zstd")], framed);
    assert_eq!(exported.code, Some(0), "{}", exported.message);
    let kind = [("content-type", "application/x-protobuf"), ("content-encoding", "zstd")];
    assert_eq!(http::send("POST", &server.otlp_http, "/v1/traces", &kind, compressed).status, 200);
    let refused = post(&server.zipkin, "/api/v2/spans", "application/json", "{oops");
    assert_eq!(refused.status, 400);
    let (_, text) = metrics(&server, "*/*");
    let status = server.get("/api/v1/status").1;
    for (receiver, bytes) in [("otlp/grpc", whole), ("otlp/http", length), ("zipkin", 5)] {
        let sample = format!("tidings_receiver_bytes_total{{receiver=\"{receiver}\"}} {bytes}\n");
        assert!(text.contains(&sample), "{sample} is not in:\n{text}");
        let mut receivers = status["receivers"].as_array().unwrap().iter();
        let receiver = receivers.find(|said| said["name"] == receiver).unwrap();
        assert_eq!(receiver["receivedBytes"], bytes, "{receiver}");
        assert_eq!(receiver["bytesLastMinute"], bytes, "{receiver}");
    }
}

#[test]
fn the_status_lists_the_tasks_of_the_process() {
    let server = Server::start();
    let status = server.get("/api/v1/status").1;
    let tasks = status["tasks"].as_array().unwrap();
    let names: Vec<_> = tasks.iter().map(|task| task["name"].as_str().unwrap()).collect();
    let of_store =
        ["log writer", "flush", "memory merge", "reindexing", "maintenance", "scrubbing"];
    let others = ["otlp/grpc", "otlp/http", "zipkin", "http", "audit", "sql workers"];
    for name in of_store.into_iter().chain(others) {
        assert!(names.contains(&name), "{name}: {names:?}");
    }
    assert!(tasks.iter().all(|task| task["state"] == "running" && task["restarts"] == 0));
}

/// Checks the commit in the version. A build from a checkout knows it; one from an archive without
/// git may not.
#[test]
fn the_version_names_the_commit_on_the_command_line_and_in_the_status() {
    let (code, printed, _) = Server::command(&["--version"]);
    assert_eq!(code, Some(0));
    let server = Server::start();
    let status = server.get("/api/v1/status").1;
    assert_eq!(printed.trim(), format!("tidings {}", status["version"].as_str().unwrap()));
    let root = env!("CARGO_MANIFEST_DIR");
    if !Path::new(root).join(".git").exists() {
        return;
    }
    let head = Command::new("git").args(["-C", root, "rev-parse", "HEAD"]).output();
    let Some(head) = head.ok().filter(|output| output.status.success()) else { return };
    let head = String::from_utf8(head.stdout).unwrap();
    let expected = format!("tidings {} ({})\n", env!("CARGO_PKG_VERSION"), &head[..12]);
    assert_eq!(printed, expected);
}

/// Checks the third-party notices. A program that was built before the UI has none and says so.
#[test]
fn notices_name_the_crates_of_the_server_and_of_the_ui() {
    let (code, text, error) = Server::command(&["notices"]);
    if code == Some(0) {
        for name in ["\ntokio ", "\nleptos ", "Apache License"] {
            assert!(text.contains(name), "{name:?} is missing");
        }
        let server = Server::start();
        let served = http::get(&server.http, "/assets/third-party-notices.txt");
        assert!(String::from_utf8_lossy(&served.body) == text, "the link of the System page");
    } else {
        assert!(error.contains("built without them: `cargo xtask ui` makes them"), "{error}");
    }
}

#[test]
fn completions_and_the_manual_have_every_setting() {
    let (_, settings, _) = Server::command(&["config"]);
    let flags = settings.lines().filter_map(|line| line.split_once(" = "));
    let flags: Vec<String> = flags.map(|(key, _)| key.replace('_', "-")).collect();
    assert!(flags.len() > 30, "{settings}");
    for shell in ["bash", "zsh", "fish"] {
        let (code, text, error) = Server::command(&["completions", shell]);
        assert_eq!(code, Some(0), "{error}");
        let missing: Vec<&String> = flags.iter().filter(|flag| !text.contains(*flag)).collect();
        assert!(missing.is_empty(), "{shell} lacks {missing:?}");
    }
    let (code, manual, error) = Server::command(&["man"]);
    assert_eq!(code, Some(0), "{error}");
    assert!(manual.contains(".TH tidings 1"), "{manual}");
    let manual = manual.replace("\\-", "-");
    let missing: Vec<&String> = flags.iter().filter(|flag| !manual.contains(*flag)).collect();
    assert!(missing.is_empty(), "the manual lacks {missing:?}");
    for part in [
        ".SH \"TIDINGS DEMO\"",
        "\\fB--backfill\\fR",
        ".SH \"TIDINGS BACKUP\"",
        "\\fB--keep\\fR",
        ".SH \"TIDINGS BACKUP LIST\"",
    ] {
        assert!(manual.contains(part), "the manual lacks {part}");
    }
    assert!(!manual.contains("tidings-serve(1)"), "a page that does not exist");
    assert_eq!(Server::command(&["completions", "basic"]).0, Some(2));
}
