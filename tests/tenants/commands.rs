//! Tenants at the start of the server, in their folders and with commands.

use std::path::Path;

use prost::Message;
use serde_json::json;

use crate::{
    harness::{
        Server,
        http::{call, frame, send},
        spans::{TRACE_EXPORT, span, traces},
        wait_until,
    },
    keys::{REQUIRED, key, until},
};

fn create(folder: &Path, name: &str, tenant: &str, flags: &[&str]) -> (Option<i32>, String) {
    let folder = folder.to_str().unwrap();
    let args = ["keys", "create", "--data-dir", folder, "--role", "admin", "--name", name];
    let (code, out, error) = Server::command(&[&args[..], &["--tenant", tenant], flags].concat());
    (code, if code == Some(0) { out.trim().to_owned() } else { error })
}

#[test]
fn a_server_that_asks_for_no_key_has_one_tenant() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("tenants/alfa")).unwrap();
    let server = Server::start_in(folder.path(), &[]);
    assert!(!folder.path().join("tenants/alfa/wal").exists(), "it is not opened");
    let body = || traces("x", vec![span(7, 1, 0, "x")]).encode_to_vec();
    for (tenant, status) in [("alfa", 403), ("", 403), ("default", 200)] {
        let headers = [("content-type", "application/x-protobuf"), ("x-scope-orgid", tenant)];
        let sent = send("POST", &server.otlp_http, "/v1/traces", &headers, body());
        assert_eq!(sent.status, status, "{tenant}");
        let read = send("GET", &server.http, "/api/v1/services", &headers[1..], "");
        assert_eq!(read.status, status, "{tenant}");
        if status == 403 {
            assert!(String::from_utf8_lossy(&read.body).contains("require-keys"));
        }
    }
}

#[test]
fn no_more_tenants_than_the_settings_and_the_memory_allow() {
    let folder = tempfile::tempdir().unwrap();
    let two = ["--tenants-max", "2"];
    assert_eq!(create(folder.path(), "a", "alfa", &two).0, Some(0));
    let (code, error) = create(folder.path(), "b", "beta", &two);
    assert_eq!(code, Some(78));
    assert!(error.contains("tenants-max"), "{error}");
    assert_eq!(create(folder.path(), "a", "alfa", &two).0, Some(78), "the name is taken");
    assert_eq!(create(folder.path(), "b", "beta", &[]).0, Some(0));
    for name in ["../x", "A", "a.b", "", "a/b"] {
        assert_eq!(create(folder.path(), "x", name, &[]).0, Some(2), "{name}");
    }
}

#[test]
fn a_server_with_more_tenants_than_it_has_room_for_serves_those_with_records_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let body = || traces("x", vec![span(7, 1, 0, "x")]).encode_to_vec();
    let sent = |server: &Server, key: &str| {
        let bearer = format!("Bearer {key}");
        let headers =
            [("content-type", "application/x-protobuf"), ("authorization", bearer.as_str())];
        send("POST", &server.otlp_http, "/v1/traces", &headers, body())
    };
    let (_, beta) = create(folder.path(), "b", "beta", &[]);
    let server = Server::start_in(folder.path(), &REQUIRED);
    assert_eq!(sent(&server, &beta).status, 200);
    drop(server);
    let (code, alfa) = create(folder.path(), "a", "alfa", &[]);
    assert_eq!(code, Some(0), "{alfa}");
    let (_, operator) = create(folder.path(), "o", "default", &[]);
    let bearer = format!("Bearer {operator}");
    let ready = |server: &Server| {
        let answer = send("GET", &server.http, "/ready", &[("authorization", &bearer)], "");
        (answer.status, String::from_utf8(answer.body.to_vec()).unwrap())
    };
    let small = ["--memory-bytes-max", "40MiB", "--memory-flush-bytes", "20MiB"];
    for flags in [&["--tenants-max", "2"][..], &small] {
        let server = Server::start_in(folder.path(), &[&REQUIRED[..], flags].concat());
        assert_eq!(sent(&server, &beta).status, 200, "it has records");
        let refused = sent(&server, &alfa);
        assert_eq!(refused.status, 503, "they are sent again");
        let (status, text) = ready(&server);
        assert_eq!(status, 200);
        assert!(text.contains("tenants-max") && text.contains("(tenants: "), "{text}");
        // A command that does not know the server's limits makes a third tenant while the server
        // runs.
        let (code, gamma) = create(folder.path(), flags[1], "gamma", &[]);
        assert_eq!(code, Some(0), "{gamma}");
        wait_until("the key is known", || sent(&server, &gamma).status != 401);
        assert_eq!(sent(&server, &gamma).status, 503);
        let (_, text) = ready(&server);
        assert!(text.contains("(tenants: 2;") && !text.contains("gamma"), "{text}");
    }
    let server = Server::start_in(folder.path(), &REQUIRED);
    assert_eq!(sent(&server, &alfa).status, 200);
    assert_eq!(ready(&server).1, "ready\n");
}

#[test]
fn a_tenant_whose_store_is_damaged_keeps_no_other_from_being_served() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start_in(folder.path(), &REQUIRED);
    let names = ["default", "alfa", "beta"];
    let keys = names.map(|tenant| key(&server, tenant, "admin", &["--tenant", tenant]));
    let [operator, alfa, _] = &keys;
    let body = |trace| traces("x", vec![span(trace, 1, 0, "x")]).encode_to_vec();
    let sent = |server: &Server, key: &str, trace| {
        let bearer = format!("Bearer {key}");
        let headers = [("content-type", "application/x-protobuf"), ("authorization", &*bearer)];
        send("POST", &server.otlp_http, "/v1/traces", &headers, body(trace))
    };
    let read = |server: &Server, key: &str| {
        let path = format!("/api/v1/traces/{:032x}", 7);
        send("GET", &server.http, &path, &[("authorization", &format!("Bearer {key}"))], "")
    };
    let ready = |server: &Server, headers: &[(&str, &str)]| {
        let answer = send("GET", &server.http, "/ready", headers, "");
        (answer.status, String::from_utf8(answer.body.to_vec()).unwrap())
    };
    for key in &keys {
        assert_eq!(sent(&server, key, 7).status, 200);
    }
    assert!(server.terminate().success());
    let log = folder.path().join("tenants/alfa/tables/spans/_delta_log");
    let aside = folder.path().join("aside");
    std::fs::rename(&log, &aside).unwrap();

    let server = Server::start_in(folder.path(), &[&REQUIRED[..], &["--log", "off"]].concat());
    for key in [&keys[0], &keys[2]] {
        assert_eq!((sent(&server, key, 8).status, read(&server, key).status), (200, 200));
    }
    for refused in [sent(&server, alfa, 9), read(&server, alfa)] {
        assert_eq!(refused.status, 503, "{refused:?}");
        assert!(refused.headers.contains_key("retry-after"), "{refused:?}");
    }
    let bearer = format!("Bearer {alfa}");
    let headers = [("authorization", &*bearer)];
    let exported = call(&server.otlp_grpc, TRACE_EXPORT, &headers, frame(false, &body(9)));
    assert_eq!(exported.code, Some(14), "{exported:?}");
    assert!(exported.retry_delay().is_some(), "{exported:?}");
    let bearer = format!("Bearer {operator}");
    let headers = [("authorization", &*bearer)];
    let (status, text) = ready(&server, &headers);
    assert!(status == 200 && text.contains("cannot be opened"), "{text}");
    assert!(text.contains("(tenants: 1;") && !text.contains("alfa"), "{text}");
    assert_eq!(ready(&server, &[]), (200, "ready\n1 warning; see the log\n".to_owned()));
    let metrics = send("GET", &server.http, "/metrics", &headers, "");
    let metrics = String::from_utf8(metrics.body.to_vec()).unwrap();
    assert!(metrics.contains("\ntidings_alarms 1\n"), "{metrics}");

    std::fs::remove_dir_all(&log).unwrap();
    std::fs::rename(&aside, &log).unwrap();
    until(|| sent(&server, alfa, 9).status == 200);
    assert_eq!(read(&server, alfa).status, 200);
    assert_eq!(ready(&server, &headers).1, "ready\n");
}

#[test]
fn commands_work_on_the_store_of_one_tenant() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let backups = tempfile::tempdir().unwrap();
    let mut server = Server::start_in(folder.path(), &REQUIRED);
    let keys = ["alfa", "beta"].map(|tenant| key(&server, tenant, "admin", &["--tenant", tenant]));
    for (key, trace) in keys.iter().zip([7, 8]) {
        let bearer = format!("Bearer {key}");
        let headers = [("content-type", "application/x-protobuf"), ("authorization", &*bearer)];
        let body = traces("x", vec![span(trace, 1, 0, "x")]).encode_to_vec();
        assert_eq!(send("POST", &server.otlp_http, "/v1/traces", &headers, body).status, 200);
    }
    let run = |command: &[&str], tenant: &str| {
        let args = [command, &["--data-dir", data, "--tenant", tenant]].concat();
        let (code, out, error) = Server::command(&args);
        assert_eq!(code, Some(0), "{command:?}: {error}");
        out
    };
    let to = backups.path().join("alfa");
    run(&["backup", "--to", to.to_str().unwrap()], "alfa");
    assert!(server.terminate().success());
    for (tenant, erased) in [("beta", "erased   0 spans"), ("alfa", "erased   1 spans")] {
        let said = run(&["erase", "--trace", &format!("{:032x}", 7)], tenant);
        assert!(said.contains(erased), "{tenant}: {said}");
        assert!(run(&["compact"], tenant).contains("left"));
        let of_tenant = folder.path().join("tenants").join(tenant);
        let (code, _, error) = Server::command(&["check", of_tenant.to_str().unwrap()]);
        assert_eq!(code, Some(0), "{error}");
    }
    std::fs::remove_dir_all(folder.path().join("tenants/alfa")).unwrap();
    run(&["restore", "--from", to.to_str().unwrap()], "alfa");
    let server = Server::start_in(folder.path(), &REQUIRED);
    for (key, stored) in keys.iter().zip([1, 1]) {
        let bearer = format!("Bearer {key}");
        let headers = [("authorization", &*bearer)];
        let status = send("GET", &server.http, "/api/v1/status", &headers, "");
        let status: serde_json::Value = serde_json::from_slice(&status.body).unwrap();
        assert_eq!(status["spans"]["stored"], json!(stored), "{status}");
    }
}
