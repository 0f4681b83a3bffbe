//! Fuzz targets: untrusted bytes for every decoder and parser.
//!
//! A target takes any bytes and must return. A panic, an overflow, endless work and memory beyond
//! the bound of a run are faults. Targets also compare results that must agree: two decoders of one
//! format, or a message before and after it was written. `corpus/TARGET` keeps inputs that reach
//! different code. A test runs each of them, and `cargo xtask fuzz decoders` looks for more with
//! libFuzzer.
//!
//! A new target is a function and its line in `TARGETS` of its module.

mod bodies;
mod data_files;
mod durable_records;
mod http_reads;
mod parsers;
mod request_heads;
mod requests;

/// A fuzz target.
#[derive(Debug, Clone, Copy)]
pub struct FuzzTarget {
    /// Its name, and the name of its folder under `corpus`.
    pub name: &'static str,
    /// Reads the input. Panics when a decoder has a fault.
    pub run: fn(&[u8]),
}

/// The targets of each module.
const TARGETS: [&[FuzzTarget]; 7] = [
    requests::TARGETS,
    request_heads::TARGETS,
    bodies::TARGETS,
    http_reads::TARGETS,
    parsers::TARGETS,
    data_files::TARGETS,
    durable_records::TARGETS,
];

/// Returns all targets.
pub fn targets() -> impl Iterator<Item = FuzzTarget> {
    TARGETS.into_iter().flatten().copied()
}

/// Returns the target of this name.
#[must_use]
pub fn target(name: &str) -> Option<FuzzTarget> {
    targets().find(|target| target.name == name)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::targets;

    #[test]
    fn kept_inputs_are_read_without_a_fault() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
        for target in targets() {
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
        let names: BTreeSet<_> = targets().map(|target| target.name.to_owned()).collect();
        assert_eq!(folders.collect::<BTreeSet<_>>(), names);
    }

    #[test]
    fn nothing_and_noise_are_read_without_a_fault() {
        let noise: Vec<u8> =
            (0..4096_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        for target in targets() {
            for length in [0, 1, 7, 64, noise.len()] {
                (target.run)(&noise[..length]);
            }
        }
    }
}
