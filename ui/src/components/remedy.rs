//! Remedies of refusals: a line for the sender's configuration or for the settings.
//!
//! Refusals are recognised by their reason where the server names it, and by their message
//! elsewhere.

/// A line to copy, and the words for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remedy {
    /// The line.
    pub line: &'static str,
    /// Words about where the line belongs and what it does.
    pub words: &'static str,
}

struct Rule {
    reasons: &'static [&'static str],
    /// Parts of messages, in lower case.
    messages: &'static [&'static str],
    remedy: Remedy,
}

/// The first matching rule applies.
const RULES: [Rule; 11] = [
    Rule {
        reasons: &[],
        messages: &["metrics are not stored"],
        remedy: Remedy {
            line: "OTEL_METRICS_EXPORTER=none",
            words: "In the sender's environment: metrics are not stored here.",
        },
    },
    Rule {
        reasons: &[],
        messages: &["zipkin v1"],
        remedy: Remedy {
            line: "spring.zipkin.encoder=JSON_V2",
            words: "In the sender's setup: Zipkin's format v2 is read here.",
        },
    },
    Rule {
        reasons: &["too_large"],
        messages: &["larger than the limit", "exceeds the limit"],
        remedy: Remedy {
            line: "OTEL_BSP_MAX_EXPORT_BATCH_SIZE=128",
            words: "In the sender's environment, for smaller batches. Or raise http-body-bytes-max \
                    or otlp-grpc-message-bytes-max in the settings here.",
        },
    },
    Rule {
        reasons: &["unknown_path"],
        messages: &["nothing is at", "no receiver", "there is no", "not a path"],
        remedy: Remedy {
            line: "OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318",
            words: "In the sender's environment, with this server's name: exporters add /v1/traces \
                    and /v1/logs by themselves.",
        },
    },
    Rule {
        reasons: &["media_type", "method"],
        messages: &["content type", "grpc needs http/2", "only post"],
        remedy: Remedy {
            line: "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf",
            words: "In the sender's environment for port 4318; grpc for port 4317.",
        },
    },
    Rule {
        reasons: &["encoding"],
        messages: &["compression", "content-encoding"],
        remedy: Remedy {
            line: "OTEL_EXPORTER_OTLP_COMPRESSION=gzip",
            words: "In the sender's environment: gzip and zstd are read here.",
        },
    },
    Rule {
        reasons: &["host"],
        messages: &["allowed-hosts"],
        remedy: Remedy {
            line: "allowed-hosts = \"NAME\"",
            words: "In the settings here, with the name that the sender uses for this server.",
        },
    },
    Rule {
        reasons: &["origin"],
        messages: &["web page", "origin"],
        remedy: Remedy {
            line: "allow-origins = \"https://NAME\"",
            words: "In the settings here, with the origin of the page that sent it.",
        },
    },
    Rule {
        reasons: &["storage_full"],
        messages: &["disk", "write-ahead log"],
        remedy: Remedy {
            line: "retention-age = \"14d\"",
            words: "In the settings here, to keep less; or give the data directory more room.",
        },
    },
    Rule {
        reasons: &["busy"],
        messages: &["at a time"],
        remedy: Remedy {
            line: "in-flight-bytes-max = \"512MiB\"",
            words: "In the settings here, if the machine has the memory. Senders try again.",
        },
    },
    Rule {
        reasons: &["slow_body", "deadline"],
        messages: &["too slow", "deadline"],
        remedy: Remedy {
            line: "OTEL_EXPORTER_OTLP_TIMEOUT=30000",
            words: "In the sender's environment: its requests take longer than it waits.",
        },
    },
];

/// Returns the remedy of a refusal, or `None` when only the message helps.
#[must_use]
pub fn remedy_for(reason: &str, message: &str) -> Option<Remedy> {
    let message = message.to_lowercase();
    let fits = |rule: &&Rule| {
        rule.reasons.contains(&reason) || rule.messages.iter().any(|words| message.contains(words))
    };
    RULES.iter().find(fits).map(|rule| rule.remedy)
}

#[cfg(test)]
mod tests {
    use super::remedy_for;

    #[test]
    fn a_refusal_is_known_by_its_reason_or_by_its_words() {
        let cases = [
            ("too_large", "", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE=128"),
            ("", "larger than the limit of 20971520 bytes", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE=128"),
            ("not_stored", "metrics are not stored; traces are", "OTEL_METRICS_EXPORTER=none"),
            ("", "gRPC needs HTTP/2", "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"),
            ("busy", "too many bytes under way at a time", "in-flight-bytes-max = \"512MiB\""),
        ];
        for (reason, message, line) in cases {
            assert_eq!(
                remedy_for(reason, message).map(|remedy| remedy.line),
                Some(line),
                "{message}"
            );
        }
        assert_eq!(remedy_for("panic", "the request could not be handled"), None);
    }
}
