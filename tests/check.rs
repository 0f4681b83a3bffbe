//! Tests `tidings check`, and directories that a server must refuse to open.

use std::{
    fs,
    path::{Path, PathBuf},
};

use prost::Message;

use crate::harness::{
    Server,
    http::{call, frame, get, post},
    spans::{span, traces},
};

fn check(dir: &Path) -> (Option<i32>, String, String) {
    Server::command(&["check", dir.to_str().unwrap()])
}

fn serve(dir: &Path) -> (Option<i32>, String, String) {
    Server::command(&["serve", "--data-dir", dir.to_str().unwrap(), "--http", "127.0.0.1:0"])
}

/// Makes a data directory with one span in its table.
fn filled() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start_in(folder.path(), &[]);
    let request = traces("shop", vec![span(78, 1, 0, "GET /")]).encode_to_vec();
    let answer = post(&server.otlp_http, "/v1/traces", "application/x-protobuf", request);
    assert_eq!(answer.status, 200);
    let (code, _, error) = check(folder.path());
    assert_eq!(code, Some(73), "{error}");
    assert_eq!(server.terminate().code(), Some(0));
    folder
}

fn data_file(root: &Path) -> PathBuf {
    let mut folders = vec![root.join("tables/spans")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "parquet") {
                return path;
            }
        }
    }
    panic!("no data file");
}

#[test]
fn check_tells_a_sound_directory_from_a_damaged_one() {
    let folder = filled();
    let (code, out, error) = check(folder.path());
    assert_eq!(code, Some(0), "{out}{error}");
    assert!(out.contains("1 data files with 1 rows: all is well"), "{out}");
    let victim = data_file(folder.path());
    let bytes = fs::read(&victim).unwrap();
    fs::write(&victim, &bytes[..bytes.len() - 9]).unwrap();
    let (code, out, error) = check(folder.path());
    assert_eq!(code, Some(1), "{out}{error}");
    assert_eq!(out.lines().count(), 1, "{out}");
    assert!(out.starts_with(victim.to_str().unwrap()), "{out}");
    assert!(error.contains("1 findings"), "{error}");
}

#[test]
fn a_question_that_meets_damage_names_no_path_and_is_an_alarm_at_once() {
    for damage in ["missing", "overwritten"] {
        let folder = filled();
        let victim = data_file(folder.path());
        match damage {
            "missing" => fs::remove_file(&victim).unwrap(),
            _ => fs::write(&victim, vec![7; fs::read(&victim).unwrap().len()]).unwrap(),
        }
        let server = Server::start_in(folder.path(), &[]);
        let said = |path: &str| {
            let answer = get(&server.http, path);
            (answer.status, String::from_utf8(answer.body.to_vec()).unwrap())
        };
        assert_eq!(said("/ready").1, "ready\n", "{damage}: it is not known yet");
        let id = format!("{:032x}", 78);
        let path = folder.path().to_str().unwrap();
        for question in [
            format!("/api/v1/traces/{id}"),
            format!("/jaeger/api/traces/{id}"),
            format!("/jaeger/api/v3/traces/{id}"),
            format!("/tempo/api/v2/traces/{id}"),
            "/tempo/api/search?q=%7B%7D".to_owned(),
            "/tempo/api/v2/search/tags".to_owned(),
            "/tempo/api/metrics/query_range?q=%7B%7D%7Crate()".to_owned(),
            "/api/v1/sql?query=SELECT%20operation%20FROM%20spans".to_owned(),
        ] {
            let (status, text) = said(&question);
            assert_eq!(status, 500, "{damage}: {question}: {text}");
            assert!(text.contains("damaged or missing"), "{damage}: {question}: {text}");
            assert!(!text.contains(path), "{damage}: {question}: {text}");
        }
        let answer = get(&server.zipkin, &format!("/api/v2/trace/{id}"));
        let text = String::from_utf8_lossy(&answer.body);
        assert!(answer.status == 500 && !text.contains(path), "{damage}: {text}");
        let mut search = Vec::new();
        prost::encoding::string::encode(8, &"{}".to_owned(), &mut search);
        let search = frame(false, &search);
        let answer = call(&server.http, "/tempopb.StreamingQuerier/Search", &[], search);
        let text = &answer.message;
        assert!(text.contains("damaged or missing") && !text.contains(path), "{damage}: {text}");
        let (status, ready) = said("/ready");
        assert_eq!(status, 200, "records are still taken");
        assert!(ready.contains(victim.to_str().unwrap()), "{damage}: {ready}");
        let metrics = said("/metrics").1;
        for line in ["tidings_damaged_files 1\n", "tidings_alarms 1\n"] {
            assert!(metrics.contains(line), "{damage}: {line}");
        }
    }
}

#[test]
fn check_of_nothing_ends_with_2() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(check(&folder.path().join("no")).0, Some(2));
    assert_eq!(Server::command(&["check"]).0, Some(2));
}

#[test]
fn a_directory_of_a_newer_format_is_refused_with_78() {
    let folder = filled();
    fs::write(folder.path().join("format"), "tidings data directory, format 7\n").unwrap();
    for (code, _, error) in [serve(folder.path()), check(folder.path())] {
        assert_eq!(code, Some(78), "{error}");
        assert!(error.contains("format 7, this program reads up to 2"), "{error}");
    }
}

#[test]
fn a_damaged_format_ends_with_74_and_the_line_that_mends_it() {
    let folder = filled();
    let path = folder.path().join("format");
    let line = fs::read_to_string(&path).unwrap();
    fs::write(&path, "").unwrap();
    for (code, _, error) in [serve(folder.path()), check(folder.path())] {
        assert_eq!(code, Some(74), "{error}");
        assert!(error.contains(path.to_str().unwrap()), "{error}");
        assert!(error.contains(line.trim_end()), "{error}");
    }
}

#[test]
fn a_data_directory_that_is_a_file_is_refused_with_78() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("data");
    fs::write(&file, b"").unwrap();
    let (code, _, error) = serve(&file.join("inside"));
    assert_eq!(code, Some(78), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
}
