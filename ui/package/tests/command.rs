//! The program as `xtask` calls it.
//!
//! `cargo xtask run` builds this test with the server: with a test, cargo gives dependencies the
//! features that all other tests have. So the test uses nothing beyond the program.

use std::{io, path::Path, process::Command};

/// Runs the program and returns its last words, which must be a refusal.
fn refusal(args: &[&Path]) -> io::Result<String> {
    let ended = Command::new(env!("CARGO_BIN_EXE_ui-package")).args(args).output()?;
    assert!(!ended.status.success());
    Ok(String::from_utf8_lossy(&ended.stderr).into_owned())
}

#[test]
fn missing_arguments_are_reported() {
    let usage = "usage: ui-package [--quick] MODULE FOLDER [NOTICES]";
    assert!(refusal(&[]).unwrap().contains(usage));
    assert!(refusal(&[Path::new("--quick"), Path::new("module.wasm")]).unwrap().contains(usage));
}

#[test]
fn a_file_that_is_no_module_is_refused() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let glue = Path::new(env!("CARGO_TARGET_TMPDIR")).join("glue");
    let refused = refusal(&[Path::new("--quick"), &manifest, &glue]).unwrap();
    assert!(refused.contains("wasm-bindgen"), "{refused}");
    assert!(!glue.exists());
}
