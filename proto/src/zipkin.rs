//! Zipkin v2 spans, in JSON and protobuf, to and from OTLP.
