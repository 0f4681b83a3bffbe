//! Decoders and responses of the signals, shared by OTLP's two transports.

use bytes::Bytes;
use tidings_proto::otlp::{
    ExportLogsPartialSuccess, ExportLogsServiceResponse, ExportTracePartialSuccess,
    ExportTraceServiceResponse, Wire, decode_json, decode_protobuf, encode_json,
};

use crate::{
    ingest::{Format, Outcome},
    normalise::{Signal, accept_in_place, prepare_logs, prepare_traces},
    weight_estimate::{self, JsonForm, OtlpMessage},
};

/// OTLP's encodings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Protobuf,
    Json,
}

impl Encoding {
    pub(super) fn media_type(self) -> &'static str {
        match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        }
    }

    fn encode<T: Wire>(self, message: &T) -> Bytes {
        match self {
            Self::Protobuf => message.encode_to_vec().into(),
            Self::Json => encode_json(message).into(),
        }
    }
}

/// Returns the functions that read export requests of this signal.
pub(super) fn format(signal: Signal, encoding: Encoding) -> Format {
    let all_or_nothing = false;
    match (signal, encoding) {
        (Signal::Traces, Encoding::Protobuf) => Format {
            in_place: |bytes, redactor| accept_in_place(Signal::Traces, bytes, redactor),
            weigh: |bytes| weight_estimate::protobuf(bytes, OtlpMessage::Traces),
            decode: |bytes| Ok(prepare_traces(decode_protobuf(&bytes)?, Some(bytes))),
            all_or_nothing,
        },
        (Signal::Logs, Encoding::Protobuf) => Format {
            in_place: |bytes, redactor| accept_in_place(Signal::Logs, bytes, redactor),
            weigh: |bytes| weight_estimate::protobuf(bytes, OtlpMessage::Logs),
            decode: |bytes| Ok(prepare_logs(decode_protobuf(&bytes)?, Some(bytes))),
            all_or_nothing,
        },
        (Signal::Traces, Encoding::Json) => Format {
            in_place: |_, _| None,
            weigh: |bytes| weight_estimate::json(bytes, &JsonForm::OTLP),
            decode: |bytes| Ok(prepare_traces(decode_json(&bytes)?, None)),
            all_or_nothing,
        },
        (Signal::Logs, Encoding::Json) => Format {
            in_place: |_, _| None,
            weigh: |bytes| weight_estimate::json(bytes, &JsonForm::OTLP),
            decode: |bytes| Ok(prepare_logs(decode_json(&bytes)?, None)),
            all_or_nothing,
        },
    }
}

/// Returns the export response. It is empty on full success without a warning, as OTLP requires.
pub(super) fn response(signal: Signal, encoding: Encoding, outcome: Outcome) -> Bytes {
    let rejected = i64::try_from(outcome.rejected).unwrap_or(i64::MAX);
    let error_message = outcome.message;
    let has_content = rejected > 0 || !error_message.is_empty();
    match signal {
        Signal::Traces => {
            let partial = ExportTracePartialSuccess { rejected_spans: rejected, error_message };
            let partial_success = has_content.then_some(partial);
            encoding.encode(&ExportTraceServiceResponse { partial_success })
        }
        Signal::Logs => {
            let partial =
                ExportLogsPartialSuccess { rejected_log_records: rejected, error_message };
            let partial_success = has_content.then_some(partial);
            encoding.encode(&ExportLogsServiceResponse { partial_success })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Encoding, Outcome, Signal, response};

    #[test]
    fn full_success_is_an_empty_response() {
        for signal in [Signal::Traces, Signal::Logs] {
            let response = |encoding| response(signal, encoding, Outcome::default());
            assert_eq!(response(Encoding::Protobuf), "");
            assert_eq!(response(Encoding::Json), "{}");
        }
    }

    #[test]
    fn partial_success_and_warnings_are_in_the_response() {
        let outcome = |rejected| Outcome { rejected, message: "why".to_owned() };
        assert_eq!(
            response(Signal::Traces, Encoding::Json, outcome(3)),
            r#"{"partialSuccess":{"rejectedSpans":"3","errorMessage":"why"}}"#
        );
        assert_eq!(
            response(Signal::Logs, Encoding::Json, outcome(0)),
            r#"{"partialSuccess":{"errorMessage":"why"}}"#
        );
    }
}
