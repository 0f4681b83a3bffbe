//! Every kept input of every fuzz target is read without a fault.

use std::{collections::BTreeSet, fs, path::Path};

use tidings_fuzz::TARGETS;

#[test]
fn kept_inputs_are_read_without_a_fault() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for target in TARGETS {
        let mut inputs = 0;
        for entry in fs::read_dir(corpus.join(target.name)).expect(target.name) {
            let path = entry.unwrap().path();
            (target.run)(&fs::read(path).unwrap());
            inputs += 1;
        }
        assert!(inputs > 0, "{} has no inputs", target.name);
    }
}

#[test]
fn every_folder_of_inputs_has_a_target() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let folders = fs::read_dir(corpus).unwrap();
    let folders = folders.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let names: BTreeSet<_> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    assert_eq!(folders.collect::<BTreeSet<_>>(), names);
}

#[test]
fn nothing_and_noise_are_read_without_a_fault() {
    let noise: Vec<u8> =
        (0..4096_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for target in TARGETS {
        for length in [0, 1, 7, 64, noise.len()] {
            (target.run)(&noise[..length]);
        }
    }
}
