//! Kept inputs stay small: everybody who clones the project has them.
//!
//! This test uses nothing of the crate, so that `cargo xtask fuzz decoders` can build it beside
//! libFuzzer: with a test, cargo gives dependencies the features that all other tests have.

use std::{fs, path::Path};

/// The longest input, in bytes.
const INPUT_BYTES_MAX: u64 = 16 << 10;
/// The most bytes of all inputs.
const ALL_BYTES_MAX: u64 = 4 << 20;

#[test]
fn kept_inputs_are_small() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let mut all = 0;
    for folder in fs::read_dir(corpus).unwrap() {
        for input in fs::read_dir(folder.unwrap().path()).unwrap() {
            let input = input.unwrap();
            let bytes = input.metadata().unwrap().len();
            assert!(bytes <= INPUT_BYTES_MAX, "{} has {bytes}", input.path().display());
            all += bytes;
        }
    }
    assert!((1..=ALL_BYTES_MAX).contains(&all), "{all} bytes");
}
