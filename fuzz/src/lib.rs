//! Fuzz targets: untrusted bytes for every decoder and parser.
//!
//! A target takes any bytes and must return. A panic, an overflow, endless work and memory beyond
//! the bound of a run are faults. Targets also compare results that must agree: two decoders of one
//! format, or a message before and after it was written. `corpus/TARGET` keeps inputs that reach
//! different code. A test runs each of them, and `cargo xtask fuzz decoders` looks for more with
//! libFuzzer.
//!
//! A new target is a function and its line in [`TARGETS`].

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

/// All targets.
pub const TARGETS: [FuzzTarget; 27] = [
    FuzzTarget { name: "otlp_traces_protobuf", run: requests::otlp_traces_protobuf },
    FuzzTarget { name: "otlp_logs_protobuf", run: requests::otlp_logs_protobuf },
    FuzzTarget { name: "otlp_json", run: requests::otlp_json },
    FuzzTarget { name: "zipkin_json", run: requests::zipkin_json },
    FuzzTarget { name: "zipkin_protobuf", run: requests::zipkin_protobuf },
    FuzzTarget { name: "redaction", run: requests::redaction },
    FuzzTarget { name: "import", run: requests::import },
    FuzzTarget { name: "transaction_ids", run: parsers::transaction_ids },
    FuzzTarget { name: "traceql", run: parsers::traceql },
    FuzzTarget { name: "promql", run: parsers::promql },
    FuzzTarget { name: "log_query", run: parsers::log_query },
    FuzzTarget { name: "cursors", run: parsers::cursors },
    FuzzTarget { name: "sql_statement", run: parsers::sql_statement },
    FuzzTarget { name: "http_reads", run: http_reads::http_reads },
    FuzzTarget { name: "json_requests", run: requests::json_requests },
    FuzzTarget { name: "request_heads", run: request_heads::request_heads },
    FuzzTarget { name: "sql_frames", run: parsers::sql_frames },
    FuzzTarget { name: "flight_sql", run: parsers::flight_sql },
    FuzzTarget { name: "log_segment", run: parsers::log_segment },
    FuzzTarget { name: "data_file", run: data_files::data_file },
    FuzzTarget { name: "index_file", run: parsers::index_file },
    FuzzTarget { name: "pins_and_keys", run: parsers::pins_and_keys },
    FuzzTarget { name: "credentials", run: parsers::credentials },
    FuzzTarget { name: "compressed_bodies", run: bodies::compressed_bodies },
    FuzzTarget { name: "grpc_frames", run: bodies::grpc_frames },
    FuzzTarget { name: "delta_log", run: durable_records::delta_log },
    FuzzTarget { name: "records", run: durable_records::records },
];

/// Returns the target of this name.
#[must_use]
pub fn target(name: &str) -> Option<FuzzTarget> {
    TARGETS.into_iter().find(|target| target.name == name)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::TARGETS;

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
}
