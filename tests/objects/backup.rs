//! Backups of tables from one bucket to another, and a restore into a folder.

use std::process::Command;

use super::{Gateway, TABLES, answer, send, wait};
use crate::harness::{Server, output_of};

const PLACE: &str = "s3://telemetry/backups/here";

fn command(gateway: &Gateway, args: &[&str]) -> (Option<i32>, String) {
    let endpoint = format!("http://{}", gateway.address);
    let mut program = Command::new(Server::binary());
    program.envs(Gateway::credentials()).args(args).args(["--tables-endpoint", &endpoint]);
    let output = output_of(&mut program, "");
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

#[test]
fn tables_in_a_bucket_are_backed_up_to_a_bucket_and_restored_to_a_folder() {
    let Some(gateway) = Gateway::start("backup to object storage") else { return };
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let server = gateway.serve(&data);
    send(&server, 1);
    let commit = gateway.object("spans/_delta_log/00000000000000000001.json");
    wait("a flush is committed", || commit.exists(), || {});
    send(&server, 2);
    let views = [answer(&server, 1), answer(&server, 2)];
    let from = data.to_str().unwrap();
    for _ in 0..2 {
        let args = ["backup", "--data-dir", from, "--tables", TABLES, "--to", PLACE];
        let (code, said) = command(&gateway, &args);
        assert_eq!(code, Some(0), "{said}");
    }
    drop(server);
    let (code, list) = command(&gateway, &["backup", "list", "--from", PLACE]);
    assert_eq!((code, list.lines().count()), (Some(0), 3), "{list}");
    let (code, said) = command(&gateway, &["restore", "--from", PLACE, "--verify"]);
    assert_eq!(code, Some(0), "{said}");
    let to = folder.path().join("restored");
    let args = ["restore", "--from", PLACE, "--data-dir", to.to_str().unwrap()];
    let (code, said) = command(&gateway, &args);
    assert_eq!(code, Some(0), "{said}");
    let restored = Server::start_in(&to, &[]);
    assert_eq!([answer(&restored, 1), answer(&restored, 2)], views);
    let wrong = ["restore", "--from", "s3://missing/here", "--verify"];
    let (code, said) = command(&gateway, &wrong);
    assert_eq!(code, Some(78), "{said}");
}
