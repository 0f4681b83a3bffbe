//! Jaeger UI JSON to OTLP.
