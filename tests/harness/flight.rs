//! Messages of Flight SQL, with only the fields that a query needs.

use bytes::Bytes;
use prost::Message;
use tidings_proto::otlp::Any;

use super::http::{GrpcAnswer, call, frame};

/// The message `CommandStatementQuery`.
#[derive(Clone, PartialEq, Message)]
struct Statement {
    #[prost(string, tag = "1")]
    query: String,
}

/// The message `FlightDescriptor`.
#[derive(Clone, PartialEq, Message)]
struct Descriptor {
    #[prost(int32, tag = "1")]
    kind: i32,
    #[prost(bytes = "bytes", tag = "2")]
    command: Bytes,
}

/// The messages `FlightInfo` and `FlightEndpoint`, with only the fields that lead to a ticket.
#[derive(Clone, PartialEq, Message)]
struct Info {
    #[prost(message, repeated, tag = "3")]
    endpoints: Vec<Endpoint>,
}

#[derive(Clone, PartialEq, Message)]
struct Endpoint {
    #[prost(message, optional, tag = "1")]
    ticket: Option<Ticket>,
}

/// The message `Ticket`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Ticket {
    #[prost(bytes = "bytes", tag = "1")]
    ticket: Bytes,
}

/// The type of a descriptor that is a command.
const COMMAND: i32 = 2;

/// Wraps a query in the message that Flight SQL expects.
fn statement(query: &str) -> Bytes {
    let command = Any {
        type_url: "type.googleapis.com/arrow.flight.protocol.sql.CommandStatementQuery".to_owned(),
        value: Statement { query: query.to_owned() }.encode_to_vec(),
    };
    command.encode_to_vec().into()
}

fn ask(
    address: &str,
    headers: &[(&str, &str)],
    method: &str,
    message: &impl Message,
) -> GrpcAnswer {
    let method = format!("/arrow.flight.protocol.FlightService/{method}");
    call(address, &method, headers, frame(false, &message.encode_to_vec()))
}

/// Requests the columns and the ticket of a query.
pub(crate) fn flight_info(address: &str, headers: &[(&str, &str)], query: &str) -> GrpcAnswer {
    let descriptor = Descriptor { kind: COMMAND, command: statement(query) };
    ask(address, headers, "GetFlightInfo", &descriptor)
}

/// Returns the ticket from the answer to [`flight_info`].
pub(crate) fn ticket_of(info: &GrpcAnswer) -> Ticket {
    Info::decode(info.body.clone()).unwrap().endpoints.remove(0).ticket.unwrap()
}

/// Makes a ticket for a query without a call of [`flight_info`].
pub(crate) fn ticket(query: &str) -> Ticket {
    Ticket { ticket: statement(query) }
}

/// Requests the rows of a ticket.
pub(crate) fn flight_rows(address: &str, headers: &[(&str, &str)], ticket: &Ticket) -> GrpcAnswer {
    ask(address, headers, "DoGet", ticket)
}
