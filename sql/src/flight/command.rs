//! Requests in a descriptor, a ticket or an action.
//!
//! The handle of a prepared statement or of a ticket is the query itself with its parameter values.
//! The server keeps no state for it, so it never expires and clients cannot exhaust the server. A
//! handle grants nothing beyond the query: it passes every check again.

use arrow_flight::sql::{
    Any, CommandGetDbSchemas, CommandGetSqlInfo, CommandGetTables, CommandGetXdbcTypeInfo,
    CommandPreparedStatementQuery, CommandStatementQuery, ProstMessageExt, TicketStatementQuery,
};
use bytes::Bytes;
use prost::{Message, Oneof};
use tonic::Status;

use super::{invalid, unsupported_call};
use crate::{Parameter, Query, limits::PLACEHOLDERS_MAX};

const PACKAGE: &str = "arrow.flight.protocol.sql.";
const READS_ONLY: &str = "what is stored can be read and not written";

/// Commands with columns and rows.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Command {
    Query(Query),
    SqlInfo(Vec<u32>),
    Types(Option<i32>),
    Catalogs,
    Schemas(CommandGetDbSchemas),
    Tables(CommandGetTables),
    TableTypes,
    PrimaryKeys,
    ForeignKeys,
}

/// Returns a wrapped message and its name. Names are refused before their messages are read, so
/// this is no `arrow_flight::sql::Command`.
fn unwrap(wrapped: &[u8]) -> Result<(String, Bytes), Status> {
    let any = Any::decode(wrapped).map_err(|_| not_sql())?;
    let name = any.type_url.rsplit('/').next().and_then(|name| name.strip_prefix(PACKAGE));
    Ok((name.ok_or_else(not_sql)?.to_owned(), any.value))
}

fn not_sql() -> Status {
    invalid("this is no message of Flight SQL")
}

/// Wraps the message as Flight SQL requires.
pub(super) fn wrap(message: &impl ProstMessageExt) -> Bytes {
    message.as_any().encode_to_vec().into()
}

fn decode<M: Message + Default>(bytes: &[u8]) -> Result<M, Status> {
    M::decode(bytes).map_err(|error| invalid(error.to_string()))
}

impl Command {
    /// Reads the command of a descriptor or a ticket.
    pub(super) fn read(wrapped: &[u8]) -> Result<Self, Status> {
        let (name, value) = unwrap(wrapped)?;
        Ok(match name.as_str() {
            "CommandStatementQuery" => {
                let CommandStatementQuery { query, transaction_id } = decode(&value)?;
                Self::Query(Query::new(statement(query, transaction_id)?))
            }
            "TicketStatementQuery" => {
                Self::Query(query(&decode::<TicketStatementQuery>(&value)?.statement_handle)?)
            }
            "CommandPreparedStatementQuery" => Self::Query(prepared(&value)?),
            "CommandGetSqlInfo" => Self::SqlInfo(decode::<CommandGetSqlInfo>(&value)?.info),
            "CommandGetXdbcTypeInfo" => {
                Self::Types(decode::<CommandGetXdbcTypeInfo>(&value)?.data_type)
            }
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
pub(super) fn statement(text: String, transaction: Option<Bytes>) -> Result<String, Status> {
    match transaction {
        Some(id) if !id.is_empty() => Err(unsupported_call("a transaction", READS_ONLY)),
        _ => Ok(text),
    }
}

/// Returns the message of an action, which must have the name of its type.
pub(super) fn action<M: ProstMessageExt>(body: &[u8]) -> Result<M, Status> {
    let expected = M::type_url().rsplit('.').next().unwrap_or_default();
    match unwrap(body)? {
        (name, value) if name == expected => decode(&value),
        (name, _) => Err(invalid(format!("{expected} is expected, and not {name}"))),
    }
}

/// Returns the query of a prepared statement whose values are put, when its handle is valid.
pub(super) fn put(wrapped: &[u8]) -> Result<Query, Status> {
    let (name, value) = unwrap(wrapped)?;
    match name.as_str() {
        "CommandPreparedStatementQuery" => prepared(&value),
        _ => Err(unsupported_call(&name, READS_ONLY)),
    }
}

fn prepared(command: &[u8]) -> Result<Query, Status> {
    query(&decode::<CommandPreparedStatementQuery>(command)?.prepared_statement_handle)
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
fn query(handle: &[u8]) -> Result<Query, Status> {
    let unknown = || invalid("this handle is none of this server's");
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
