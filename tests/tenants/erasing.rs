//! Erasure on a running server: erased data is gone from every API and from the disk, and other
//! data is untouched.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value as Json, json};

use super::{
    TwoTenants, ask_as,
    requests::{HTTP, RPC, ZIPKIN},
    text,
};
use crate::harness::{
    Server,
    http::{Answer, send},
    wait_until,
};

const ERASURES: &str = "/api/v1/erasures";

fn json_of(answer: &Answer) -> Json {
    serde_json::from_slice(&answer.body).unwrap_or(Json::Null)
}

/// Erases and waits until the erasure is done.
fn erased(both: &TwoTenants, key: &str, body: &Json) -> Json {
    let address = &both.server.http;
    let begun = ask_as("POST", address, ERASURES, key, None, Some(body));
    assert_eq!(begun.status, 202, "{}", text(&begun));
    let at = begun.headers["location"].to_str().unwrap().to_owned();
    assert_eq!(at, format!("{ERASURES}/{}", json_of(&begun)["id"].as_str().unwrap()));
    let mut now = Json::Null;
    wait_until("the erasure is done", || {
        let answer = both.ask(&at, key);
        assert_eq!(answer.status, 200, "{}", text(&answer));
        now = json_of(&answer);
        now["state"] != "running"
    });
    now
}

/// Returns phrases that occur only in a tenant's telemetry and in no request.
fn phrases(word: &str) -> [String; 4] {
    [format!("call {word}"), format!("said {word}"), format!("GET /{word}"), format!("{word}-zip")]
}

/// Returns the requests of every API whose answers contain a tenant's telemetry.
fn telling(both: &TwoTenants, of_alfa: bool) -> Vec<String> {
    let tenant = both.tenant(of_alfa);
    let (story, key) = (&tenant.story, tenant.reader());
    let tells = |said: &[u8]| {
        let said = String::from_utf8_lossy(said).into_owned();
        phrases(story.word).iter().any(|phrase| said.contains(phrase))
    };
    let mut found = Vec::new();
    for path in HTTP.iter().map(|path| story.tell(path)) {
        if tells(&both.ask(&path, key).body) {
            found.push(path);
        }
    }
    for path in ZIPKIN.iter().map(|path| story.tell(path)) {
        if tells(&ask_as("GET", &both.server.zipkin, &path, key, None, None).body) {
            found.push(path);
        }
    }
    for (method, fields) in RPC {
        let said = both.rpc((method, fields), story, key);
        if tells(&said.body) {
            found.push((*method).to_owned());
        }
    }
    found
}

/// Returns the files below the data directory that contain one of these byte strings, except the
/// records of erasures.
fn files_with(root: &Path, needles: &[Vec<u8>]) -> Vec<PathBuf> {
    let (mut folders, mut found) = (vec![root.to_owned()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                let is_record = path.ends_with("erasures") || path.ends_with("audit");
                folders.extend((!is_record).then_some(path));
                continue;
            }
            // Files may disappear meanwhile.
            let bytes = fs::read(&path).unwrap_or_default();
            let has = |needle: &Vec<u8>| bytes.windows(needle.len()).any(|part| part == needle);
            found.extend(needles.iter().any(has).then_some(path));
        }
    }
    found
}

#[test]
fn erased_records_are_in_no_api_and_no_file_and_the_other_tenant_keeps_its_own() {
    let both = TwoTenants::start(&["--sql", "on"]);
    let folder = both.server.data_dir().join("tenants/alfa");
    let (alfa, admin) = (&both.alfa.story, both.alfa.admin());
    let told = telling(&both, true);
    let of_beta = telling(&both, false);
    assert!(told.len() > 20, "{told:?}");
    let id = u128::from_str_radix(&alfa.trace, 16).unwrap().to_be_bytes().to_vec();
    let mut needles: Vec<_> = phrases(alfa.word).into_iter().map(String::into_bytes).collect();
    needles.extend([id, alfa.trace.clone().into_bytes()]);
    assert!(!files_with(&folder, &needles).is_empty());

    let done = erased(&both, admin, &json!({"traceId": alfa.trace}));
    assert_eq!(
        (&done["state"], &done["spans"], &done["logRecords"], &done["leftFiles"]),
        (&json!("done"), &json!(4), &json!(4), &json!(0)),
        "{done}"
    );
    assert_eq!(telling(&both, true), Vec::<String>::new());
    assert_eq!(files_with(&folder, &needles), Vec::<PathBuf>::new());
    assert_eq!(telling(&both, false), of_beta);

    // The records of an erasure do not contain the erased value.
    let value = "order-beta";
    let attribute = json!({"attribute": {"key": "order.id", "value": value}});
    let done = erased(&both, both.beta.admin(), &attribute);
    assert_eq!((&done["spans"], &done["attributeKey"]), (&json!(2), &json!("order.id")), "{done}");
    let listed = json_of(&both.ask(ERASURES, both.beta.admin()));
    assert_eq!(listed["erasures"].as_array().unwrap().len(), 1, "{listed}");
    for record in ["audit", "tenants/beta/erasures"] {
        for entry in fs::read_dir(both.server.data_dir().join(record)).unwrap() {
            let said = fs::read_to_string(entry.unwrap().path()).unwrap();
            assert!(said.contains("order.id") && !said.contains(value), "{said}");
        }
    }
    let events = json_of(&both.ask("/api/v1/audit?action=data.erase", admin));
    let event = &events["events"][0];
    assert_eq!((&event["status"], &event["outcome"]), (&json!(202), &json!("success")), "{events}");
    assert!(event["detail"].as_str().unwrap().contains(&alfa.trace), "{events}");
    // A tenant's erasure does not exist for other tenants.
    let other = format!("{ERASURES}/{}", done["id"].as_str().unwrap());
    assert_eq!(both.ask(&other, admin).status, 404);
}

#[test]
fn erasures_are_asked_for_in_words_that_say_what_is_wrong() {
    let server = Server::start();
    let as_json = [("content-type", "application/json")];
    let both =
        r#"{"traceId":"aaaa0000000000000000000000000001","attribute":{"key":"a","value":"b"}}"#;
    for (body, words) in [
        ("", "one of `traceId` and `attribute`"),
        ("{}", "one of `traceId` and `attribute`"),
        (both, "one of `traceId` and `attribute`"),
        (r#"{"attribute":{"key":"","value":"b"}}"#, "needs the key"),
        (r#"{"attribute":{"key":"a"}}"#, "missing field `value`"),
        (r#"{"trace":"aaaa0000000000000000000000000001"}"#, "unknown field"),
        (r#"{"traceId":"12"}"#, ""),
    ] {
        let answer = send("POST", &server.http, ERASURES, &as_json, body.to_owned());
        let problem = json_of(&answer);
        assert_eq!((answer.status, &problem["parameter"]), (400, &json!("body")), "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(words), "{problem}");
    }
    for (path, status) in [("x", 400), ("-1", 400), ("12", 404), ("99999999999999999999", 404)] {
        assert_eq!(server.get(&format!("{ERASURES}/{path}")).0, status, "{path}");
    }
    let form = send("POST", &server.http, ERASURES, &[("content-type", "text/plain")], "{}");
    assert_eq!(form.status, 415);
    let foreign = [as_json[0], ("origin", "http://evil.example")];
    let foreign = send("POST", &server.http, ERASURES, &foreign, "{}");
    assert_eq!(foreign.status, 403);
    assert_eq!(server.get(ERASURES).1, json!({"erasures": []}));
}

#[test]
fn the_command_says_which_request_erases_on_a_running_server() {
    let server = Server::start();
    let folder = server.data_dir().to_str().unwrap();
    let erase = ["erase", "--data-dir", folder, "--attribute", "user.id"];
    let (code, _, error) = Server::command_with_input(&erase, "ada\n");
    assert_eq!(code, Some(73), "{error}");
    assert!(error.contains("POST /api/v1/erasures") && !error.contains("ada"), "{error}");
}
