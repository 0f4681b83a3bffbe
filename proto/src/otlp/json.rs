//! OTLP/JSON: protobuf's JSON mapping with OTLP's exceptions.
//! <https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>
