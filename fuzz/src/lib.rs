//! Fuzz targets: bytes of strangers to every decoder and parser.
//!
//! A target takes any bytes and must come back: a panic, an overflow, endless work and memory beyond
//! the bound of a run are faults. Targets also compare what must agree: two decoders of one format,
//! or a message before and after it was written. `corpus/TARGET` keeps inputs that reach different
//! code; a test runs each of them, and `cargo xtask fuzz decoders` looks for more with libFuzzer.
//!
//! A new target is a function and its line in [`TARGETS`].

mod credentials;
mod http_reads;
mod query_texts;
mod requests;
mod stored_bytes;

/// A fuzz target.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, and the name of its folder under `corpus`.
    pub name: &'static str,
    /// Reads the input. Panics when a decoder has a fault.
    pub run: fn(&[u8]),
}

/// All targets.
pub const TARGETS: [Target; 19] = [
    Target { name: "otlp_traces_protobuf", run: requests::otlp_traces_protobuf },
    Target { name: "otlp_logs_protobuf", run: requests::otlp_logs_protobuf },
    Target { name: "otlp_json", run: requests::otlp_json },
    Target { name: "zipkin_json", run: requests::zipkin_json },
    Target { name: "zipkin_protobuf", run: requests::zipkin_protobuf },
    Target { name: "import", run: requests::import },
    Target { name: "transaction_ids", run: query_texts::transaction_ids },
    Target { name: "traceql", run: query_texts::traceql },
    Target { name: "promql", run: query_texts::promql },
    Target { name: "log_query", run: query_texts::log_query },
    Target { name: "cursors", run: query_texts::cursors },
    Target { name: "sql_statement", run: query_texts::sql_statement },
    Target { name: "http_reads", run: http_reads::http_reads },
    Target { name: "sql_frames", run: stored_bytes::sql_frames },
    Target { name: "flight_sql", run: stored_bytes::flight_sql },
    Target { name: "log_segment", run: stored_bytes::log_segment },
    Target { name: "index_file", run: stored_bytes::index_file },
    Target { name: "pins_and_keys", run: stored_bytes::pins_and_keys },
    Target { name: "credentials", run: credentials::credentials },
];

/// Returns the target of this name.
#[must_use]
pub fn target(name: &str) -> Option<Target> {
    TARGETS.into_iter().find(|target| target.name == name)
}
