//! The lists of columns of the tables spans and logs, from which `schema` makes column
//! specifications, `conversion` builders and `rows` readers.
//!
//! A line has the column's name, its kind ([`super::ColumnKind`]), its nullability, the lowest
//! detail of which rows carry it, and its meaning. `nullable` columns may be null. `derivable` ones
//! are null in files where their value follows from other columns, and have all values in memory.
//! `as` gives the rows an accessor with the name of the column: see `rows::column_readers`. Columns
//! without a detail are read by filters and SQL alone. `sender` stands for columns about the
//! sender, which both tables have and `conversion::sender` builds. The order is that of the table.

use super::{ColumnKind, ColumnSpec, PROMOTED, column};
use crate::Projection;

/// Passes the columns of spans to the macro `$generate`, behind the names in parentheses.
macro_rules! span_columns {
    ($generate:ident, $($name:ident),+) => {
        $generate! {
            ($($name),+)
            rows {
                start_unix_nanos: Long [Ids], "start; 0 when not known";
                end_unix_nanos: Long derivable [Facts],
                    "end; null where it is start + duration; 0 when not known";
                duration_nanos: Long [Facts],
                    "end − start; 0 when there is no end or it is before the start";
                trace_id: TraceId [Ids], "trace of the span";
                trace_id_low64: Long [],
                    "last 8 bytes of the trace id, for systems with 64-bit ids";
                span_id: SpanId [Ids], "id of the span";
                parent_span_id: SpanId nullable [Facts], "id of the parent; null at a root";
            }
            sender service;
            rows {
                name: Word [Facts as word], "name of the operation";
                kind: Int [Facts], "number of the kind as in OTLP, unknown ones too";
                status_code: Int nullable [Facts],
                    "number of the status as in OTLP; 0 is a status that says nothing, null is \
                     none";
                status_message: Word [Facts as word], "message of the status";
                trace_state: Word [Full as word], "as in OTLP";
                flags: Long [Full as counter], "as in OTLP";
                attributes: Attributes [Attributes],
                    "attributes that have no column of their own: see below";
                dropped_attributes_count: Long [Full as counter], "as in OTLP";
                events: Events [Full],
                    "`time_unix_nanos`, `name`, `attributes`, `dropped_attributes_count`";
                event_count: Int [Facts as count], "number of events";
                has_exception: Bool [Facts as truth], "true if an event is called `exception`";
                dropped_events_count: Long [Full as counter], "as in OTLP";
                links: Links [Full],
                    "`trace_id`, `span_id`, `trace_state`, `attributes`, \
                     `dropped_attributes_count`, `flags`";
                link_count: Int [Facts as count], "number of links";
                dropped_links_count: Long [Full as counter], "as in OTLP";
            }
            sender origin;
            rows {
                received_unix_nanos: Long [Facts], "time at which the row came in";
                content_hash: Long [Facts],
                    "hash of everything that was sent (below): the same for a record that was \
                     sent twice, over whatever protocol";
            }
            attributes {
                "string.http.request.method": Text;
                "string.http.route": Text;
                "int.http.response.status_code": Long;
                "string.rpc.system": Text;
                "string.rpc.service": Text;
                "string.rpc.method": Text;
                "string.db.system.name": Text;
                "string.db.namespace": Text;
                "string.db.operation.name": Text;
                "string.db.collection.name": Text;
                "string.messaging.system": Text;
                "string.messaging.destination.name": Text;
                "string.messaging.operation.type": Text;
                "string.peer.service": Text;
                "string.server.address": Text;
                "string.error.type": Text;
            }
        }
    };
}

/// Passes the columns of logs to the macro `$generate`, behind the names in parentheses.
macro_rules! log_columns {
    ($generate:ident, $($name:ident),+) => {
        $generate! {
            ($($name),+)
            rows {
                time_unix_nanos: Long [Ids],
                    "time of the event, or that of its observation when the sender does not say";
                time_known: Bool [Full], "true if the sender said when it happened";
                observed_unix_nanos: Long derivable [Facts],
                    "as in OTLP; null where it is `time_unix_nanos`";
                severity_number: Int [Facts as number],
                    "as in OTLP; inferred where the sender gave none";
                severity_text: Word [Facts as word], "as in OTLP";
            }
            sender service;
            rows {
                text: Text nullable [Facts],
                    "body as text; JSON when it is structured; null without a body";
                body: Binary nullable [Full],
                    "`AnyValue` of the body in protobuf; null when the body is plain text or \
                     absent";
                event_name: Word [Full as word], "as in OTLP";
                trace_id: TraceId nullable [Ids], "trace of the record; null when not said";
                span_id: SpanId nullable [Ids], "span of the record; null when not said";
                flags: Long [Full as counter], "as in OTLP";
                attributes: Attributes [Attributes],
                    "attributes that have no column of their own: see below";
                dropped_attributes_count: Long [Full as counter], "as in OTLP";
            }
            sender origin;
            rows {
                received_unix_nanos: Long [], "time at which the row came in";
                content_hash: Long [Ids],
                    "hash of everything that was sent (below): the same for a record that was \
                     sent twice, over whatever protocol";
            }
            attributes {
                "string.error.type": Text;
                "string.exception.type": Text;
            }
        }
    };
}

pub(crate) use log_columns;
pub(crate) use span_columns;

/// Returns the column of the service.
pub(super) fn service() -> Vec<ColumnSpec> {
    vec![word("service", "`service.name`, empty when not said").carried_from(Projection::Facts)]
}

/// Returns the columns of resource and scope, and those of promoted resource attributes.
pub(super) fn origin() -> Vec<ColumnSpec> {
    let message = "see *Resource and scope*; null when absent";
    let mut columns = vec![
        word("resource", message).nullable().carried_from(Projection::Resources),
        word("resource_schema_url", "as in OTLP").carried_from(Projection::Full),
        word("scope", message).nullable().carried_from(Projection::Full),
        word("scope_schema_url", "as in OTLP").carried_from(Projection::Full),
    ];
    columns.extend(PROMOTED.iter().map(|(name, _, meaning)| word(name, meaning).nullable()));
    columns
}

fn word(name: &'static str, meaning: &'static str) -> ColumnSpec {
    column(name, ColumnKind::Word, meaning)
}
