//! Messages of Arrow Flight and Flight SQL that are read or written here.
//!
//! Numbers and names are those of `Flight.proto` and `FlightSql.proto`
//! (<https://github.com/apache/arrow/tree/main/format>).

use bytes::Bytes;
use prost::Message;

/// Flight's descriptor of type `CMD`; the other type names paths, which do not exist here.
pub(super) const DESCRIPTOR_COMMAND: i32 = 2;

#[derive(Clone, PartialEq, Message)]
pub(super) struct Any {
    #[prost(string, tag = "1")]
    pub(super) type_url: String,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) value: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Handshake {
    #[prost(uint64, tag = "1")]
    pub(super) protocol_version: u64,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) payload: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct FlightDescriptor {
    #[prost(int32, tag = "1")]
    pub(super) kind: i32,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) cmd: Bytes,
    #[prost(string, repeated, tag = "3")]
    pub(super) path: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct FlightInfo {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) schema: Bytes,
    #[prost(message, optional, tag = "2")]
    pub(super) flight_descriptor: Option<FlightDescriptor>,
    #[prost(message, repeated, tag = "3")]
    pub(super) endpoint: Vec<FlightEndpoint>,
    #[prost(int64, tag = "4")]
    pub(super) total_records: i64,
    #[prost(int64, tag = "5")]
    pub(super) total_bytes: i64,
    #[prost(bool, tag = "6")]
    pub(super) ordered: bool,
}

/// An endpoint without a location: a ticket is valid for the server that issued it.
#[derive(Clone, PartialEq, Message)]
pub(super) struct FlightEndpoint {
    #[prost(message, optional, tag = "1")]
    pub(super) ticket: Option<Ticket>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Ticket {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) ticket: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct SchemaResult {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) schema: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct FlightData {
    #[prost(message, optional, tag = "1")]
    pub(super) flight_descriptor: Option<FlightDescriptor>,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) data_header: Bytes,
    #[prost(bytes = "bytes", tag = "3")]
    pub(super) app_metadata: Bytes,
    #[prost(bytes = "bytes", tag = "1000")]
    pub(super) data_body: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PutResult {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) app_metadata: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Action {
    #[prost(string, tag = "1")]
    pub(super) kind: String,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) body: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ActionResult {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) body: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ActionType {
    #[prost(string, tag = "1")]
    pub(super) kind: String,
    #[prost(string, tag = "2")]
    pub(super) description: String,
}

/// `CommandStatementQuery`, and messages with the same first fields: `CommandStatementUpdate` and
/// `ActionCreatePreparedStatementRequest`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Statement {
    #[prost(string, tag = "1")]
    pub(super) query: String,
    #[prost(bytes = "bytes", optional, tag = "2")]
    pub(super) transaction_id: Option<Bytes>,
}

/// `CommandPreparedStatementQuery`, `TicketStatementQuery` and other messages with only a handle.
#[derive(Clone, PartialEq, Message)]
pub(super) struct WithHandle {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) handle: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct CreatedPreparedStatement {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) handle: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) dataset_schema: Bytes,
    #[prost(bytes = "bytes", tag = "3")]
    pub(super) parameter_schema: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct GetSqlInfo {
    #[prost(uint32, repeated, tag = "1")]
    pub(super) info: Vec<u32>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct GetXdbcTypeInfo {
    #[prost(int32, optional, tag = "1")]
    pub(super) data_type: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct GetDbSchemas {
    #[prost(string, optional, tag = "1")]
    pub(super) catalog: Option<String>,
    #[prost(string, optional, tag = "2")]
    pub(super) db_schema_filter_pattern: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct GetTables {
    #[prost(string, optional, tag = "1")]
    pub(super) catalog: Option<String>,
    #[prost(string, optional, tag = "2")]
    pub(super) db_schema_filter_pattern: Option<String>,
    #[prost(string, optional, tag = "3")]
    pub(super) table_name_filter_pattern: Option<String>,
    #[prost(string, repeated, tag = "4")]
    pub(super) table_types: Vec<String>,
    #[prost(bool, tag = "5")]
    pub(super) include_schema: bool,
}
