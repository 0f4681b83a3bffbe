//! Requests in a descriptor, a ticket or an action.
//!
//! The handle of a prepared statement or of a ticket is the query itself with its parameter values.
//! The server keeps no state for it, so it never expires and clients cannot exhaust the server. A
//! handle grants nothing beyond the query: it passes every check again.

use bytes::Bytes;
use prost::{Message, Oneof};
use tidings_grpc::GrpcStatus;

use super::{
    messages::{Any, GetDbSchemas, GetSqlInfo, GetTables, GetXdbcTypeInfo, Statement, WithHandle},
    unsupported_call,
};
use crate::{Parameter, Query, limits::PLACEHOLDERS_MAX};

const TYPES: &str = "type.googleapis.com/";
const PACKAGE: &str = "arrow.flight.protocol.sql.";
const READS_ONLY: &str = "what is stored can be read and not written";

/// Commands with columns and rows.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Command {
    Query(Query),
    SqlInfo(Vec<u32>),
    Types(Option<i32>),
    Catalogs,
    Schemas(GetDbSchemas),
    Tables(GetTables),
    TableTypes,
    PrimaryKeys,
    ForeignKeys,
}

/// Returns a wrapped message and its name.
fn unwrap(wrapped: &[u8]) -> Result<(String, Bytes), GrpcStatus> {
    let any = Any::decode(wrapped).map_err(|_| not_sql())?;
    let name = any.type_url.rsplit('/').next().and_then(|name| name.strip_prefix(PACKAGE));
    Ok((name.ok_or_else(not_sql)?.to_owned(), any.value))
}

fn not_sql() -> GrpcStatus {
    GrpcStatus::invalid("this is no message of Flight SQL")
}

/// Wraps the message as Flight SQL requires for its name.
pub(super) fn wrap(name: &str, message: &impl Message) -> Bytes {
    let type_url = format!("{TYPES}{PACKAGE}{name}");
    Any { type_url, value: message.encode_to_vec().into() }.encode_to_vec().into()
}

pub(super) fn decode<M: Message + Default>(bytes: &[u8]) -> Result<M, GrpcStatus> {
    M::decode(bytes).map_err(|error| GrpcStatus::invalid(error.to_string()))
}

impl Command {
    /// Reads the command of a descriptor or a ticket.
    pub(super) fn read(wrapped: &[u8]) -> Result<Self, GrpcStatus> {
        let (name, value) = unwrap(wrapped)?;
        Ok(match name.as_str() {
            "CommandStatementQuery" => Self::Query(Query::new(statement(&value)?)),
            "TicketStatementQuery" | "CommandPreparedStatementQuery" => {
                Self::Query(query(&decode::<WithHandle>(&value)?.handle)?)
            }
            "CommandGetSqlInfo" => Self::SqlInfo(decode::<GetSqlInfo>(&value)?.info),
            "CommandGetXdbcTypeInfo" => Self::Types(decode::<GetXdbcTypeInfo>(&value)?.data_type),
            "CommandGetCatalogs" => Self::Catalogs,
            "CommandGetDbSchemas" => Self::Schemas(decode(&value)?),
            "CommandGetTables" => Self::Tables(decode(&value)?),
            "CommandGetTableTypes" => Self::TableTypes,
            "CommandGetPrimaryKeys" => Self::PrimaryKeys,
            "CommandGetExportedKeys" | "CommandGetImportedKeys" | "CommandGetCrossReference" => {
                Self::ForeignKeys
            }
            "CommandStatementSubstraitPlan" => {
                return Err(unsupported_call(&name, "a query is asked as its text"));
            }
            _ => return Err(unsupported_call(&name, READS_ONLY)),
        })
    }
}

/// Returns the text of a statement that belongs to no transaction.
pub(super) fn statement(value: &[u8]) -> Result<String, GrpcStatus> {
    let statement: Statement = decode(value)?;
    match statement.transaction_id {
        Some(id) if !id.is_empty() => Err(unsupported_call("a transaction", READS_ONLY)),
        _ => Ok(statement.query),
    }
}

/// Returns the message of an action, which must have this name.
pub(super) fn action(body: &[u8], expected: &str) -> Result<Bytes, GrpcStatus> {
    match unwrap(body)? {
        (name, value) if name == expected => Ok(value),
        (name, _) => Err(GrpcStatus::invalid(format!("{expected} is expected, and not {name}"))),
    }
}

/// Returns the query of a prepared statement whose values are put, when its handle is valid.
pub(super) fn put(wrapped: &[u8]) -> Result<Query, GrpcStatus> {
    let (name, value) = unwrap(wrapped)?;
    match name.as_str() {
        "CommandPreparedStatementQuery" => query(&decode::<WithHandle>(&value)?.handle),
        _ => Err(unsupported_call(&name, READS_ONLY)),
    }
}

#[derive(Clone, PartialEq, Message)]
struct Handle {
    #[prost(string, tag = "1")]
    text: String,
    #[prost(message, repeated, tag = "2")]
    values: Vec<HandleValue>,
}

#[derive(Clone, PartialEq, Message)]
struct HandleValue {
    #[prost(oneof = "HandleParameter", tags = "1, 2, 3, 4, 5")]
    known: Option<HandleParameter>,
}

#[derive(Clone, PartialEq, Oneof)]
enum HandleParameter {
    #[prost(bool, tag = "1")]
    Truth(bool),
    #[prost(sint64, tag = "2")]
    Whole(i64),
    #[prost(double, tag = "3")]
    Number(f64),
    #[prost(string, tag = "4")]
    Text(String),
    #[prost(sint64, tag = "5")]
    Time(i64),
}

/// Returns the query of a handle.
fn query(handle: &[u8]) -> Result<Query, GrpcStatus> {
    let unknown = || GrpcStatus::invalid("this handle is none of this server's");
    let Handle { text, values } = Handle::decode(handle).map_err(|_| unknown())?;
    if values.len() > PLACEHOLDERS_MAX {
        return Err(unknown());
    }
    let parameter = |value: HandleValue| match value.known {
        None => Parameter::Null,
        Some(HandleParameter::Truth(truth)) => Parameter::Truth(truth),
        Some(HandleParameter::Whole(number)) => Parameter::Whole(number),
        Some(HandleParameter::Number(number)) => Parameter::Number(number),
        Some(HandleParameter::Text(text)) => Parameter::Text(text),
        Some(HandleParameter::Time(nanos)) => Parameter::Time(nanos),
    };
    Ok(Query { parameters: values.into_iter().map(parameter).collect(), ..Query::new(text) })
}

/// Returns the handle of a query.
pub(super) fn handle(query: Query) -> Bytes {
    let value = |parameter| {
        let known = match parameter {
            Parameter::Null => None,
            Parameter::Truth(truth) => Some(HandleParameter::Truth(truth)),
            Parameter::Whole(number) => Some(HandleParameter::Whole(number)),
            Parameter::Number(number) => Some(HandleParameter::Number(number)),
            Parameter::Text(text) => Some(HandleParameter::Text(text)),
            Parameter::Time(nanos) => Some(HandleParameter::Time(nanos)),
        };
        HandleValue { known }
    };
    let values = query.parameters.into_iter().map(value).collect();
    Handle { text: query.text, values }.encode_to_vec().into()
}
