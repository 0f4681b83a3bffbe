//! Tests Flight SQL with the clients of data tools: the ADBC driver, pyarrow and JDBC.

use std::{fs, process::Command};

use serde_json::{Value as Json, json};

use crate::{
    clients::{
        JAVA, MAVEN, PYTHON, java_libraries,
        program::{Running, run, source},
        python_program,
    },
    harness::{Server, wait_until},
    sql::{fill, rests, ticks},
};

const VIEWS: [&str; 5] = ["edges", "logs", "red", "spans", "traces"];

fn client(server: &Server, what: &str) -> Command {
    let mut command = Command::new(python_program("flight"));
    command.arg(source("flight/client.py")).args([&server.http, what]);
    command
}

#[test]
fn adbc_reads_what_http_says() {
    if !PYTHON.is_installed("Flight SQL") {
        return;
    }
    let server = Server::start();
    fill(&server);
    let found: Json = serde_json::from_str(&run(&mut client(&server, "tour"))).unwrap();
    assert_eq!(found["rows"], json!([["shop", 20_000]]));
    assert_eq!(found["spans"], json!([20_000, 20_000]));
    let times = json!(["start_time", "timestamp[ns, tz=UTC]"]);
    assert_eq!(found["schema"][0], times);
    assert_eq!(found["bound"], json!([[20_000]]));
    assert_eq!(found["tree"].as_array().unwrap().len(), 2);
    assert_eq!(found["values"], json!([[null, true, -7, 0.5, "it's $1"]]));

    let objects = found["objects"]["tidings"].as_object().unwrap();
    assert_eq!(objects.keys().map(String::as_str).collect::<Vec<_>>(), VIEWS);
    assert_eq!(objects["logs"], found["logs"]);
    assert!(objects["spans"].as_array().unwrap().contains(&json!("duration_nanos")));
    assert_eq!(found["types"], json!(["VIEW"]));
    assert_eq!(found["info"], json!(["Tidings", env!("CARGO_PKG_VERSION")]));
    assert_eq!(found["actions"], json!(["CreatePreparedStatement", "ClosePreparedStatement"]));

    let refused = found["refused"].as_array().unwrap();
    for (refused, said) in refused.iter().zip([
        "DROP TABLE is not allowed",
        "there is no table `secret`",
        "there is no column `servce`: did you mean `service`? (line 1, column 8)",
    ]) {
        assert_eq!(refused["status"], "INVALID_ARGUMENT", "{refused}");
        assert!(refused["said"].as_str().unwrap().contains(said), "{refused}");
    }
    assert!(
        refused[3]["said"].as_str().unwrap().contains("more than 100000 rows"),
        "{}",
        refused[3]
    );
    assert!(found["several"]["said"].as_str().is_some(), "{}", found["several"]);
}

#[test]
fn jdbc_reads_what_http_says() {
    if !(JAVA.is_installed("Flight SQL for JDBC") && MAVEN.is_installed("Flight SQL for JDBC")) {
        return;
    }
    let libraries = java_libraries("flight-jdbc");
    let server = Server::start();
    fill(&server);
    let ask = |more: &str| {
        let address = format!("jdbc:arrow-flight-sql://{}?useEncryption=false{more}", server.http);
        run(Command::new("java")
            .arg("--add-opens=java.base/java.nio=ALL-UNNAMED")
            .arg("--class-path")
            .arg(libraries.join("*"))
            .arg(source("flight-jdbc/Client.java"))
            .arg(address))
    };
    let expected = "rows shop 20000\nbound 20000\ntables edges logs red spans traces\n\
                    column duration_nanos\nserver Tidings\n\
                    refused there is no column `servce`: did you mean `service`? (line 1, column 8)\n\
                    refused DELETE FROM is not allowed: ask one query that begins with SELECT, \
                    WITH, VALUES or EXPLAIN (line 1, column 1)\n";
    assert_eq!(ask(""), expected);
    assert_eq!(ask("&user=anyone&password=anything"), expected);
}

#[test]
fn a_query_over_flight_ends_when_its_client_leaves() {
    if !PYTHON.is_installed("Flight SQL") {
        return;
    }
    let server = Server::start_with(&["--sql-seconds-max", "600"]);
    fill(&server);
    let mut command = client(&server, "endless");
    assert!(rests(&server));
    let leaving = Running::start(&mut command);
    let before = ticks(&server);
    wait_until("the query runs", || ticks(&server) >= before + 100);
    drop(leaving);
    assert!(rests(&server), "the query goes on");
}

/// Runs the program from `docs/sql.md` unchanged.
#[test]
fn the_example_of_the_documentation_runs() {
    if !PYTHON.is_installed("Flight SQL") {
        return;
    }
    let page = include_str!("../docs/sql.md");
    let (_, program) = page.split_once("```python\n").unwrap();
    let (program, _) = program.split_once("```").unwrap();
    assert!(program.contains("grpc://localhost:8434"));
    let server = Server::start();
    fill(&server);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("example.py");
    fs::write(&path, program.replace("localhost:8434", &server.http)).unwrap();
    let said = run(Command::new(python_program("flight")).arg(path));
    assert!(said.contains("shop") && said.contains("20000"), "{said}");
}
