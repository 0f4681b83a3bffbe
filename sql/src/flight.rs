//! Arrow Flight SQL on the HTTP address: the same queries as `/api/v1/sql`, for clients of Arrow.
//!
//! ```text
//! GetFlightInfo(query) ─► columns and a ticket      DoGet(ticket) ─► rows, in Arrow's messages
//! CreatePreparedStatement(query) ─► handle          DoPut(handle, values) ─► handle with values
//! ```
//!
//! Owns the calls and their messages. Queries run in [`SqlService`] like all others, with its
//! places, limits and refusals. Keeps no state between two calls (see `command`).

mod bind;
mod catalog;
mod command;
mod info;
mod ipc;
mod messages;
mod types;

use std::time::Duration;

use ::http::StatusCode;
use axum::{
    Extension, Router,
    extract::{Path, Request, State},
    response::{IntoResponse, Response},
    routing::post,
};
use bytes::Bytes;
use futures::StreamExt;
use http_body_util::{BodyExt, Limited};
use prost::Message;
use tidings_grpc::{self as grpc, GrpcStatus};
use tidings_proto::otlp::Code;
use tidings_query::ClientId;

use crate::{
    AnswerFormat, AnswerParts, Query, SqlError, SqlErrorKind, SqlService, SubmittedStatement,
};
use command::Command;
pub(crate) use ipc::{framed, schema_message};
use messages::{
    Action, ActionResult, ActionType, CreatedPreparedStatement, DESCRIPTOR_COMMAND, FlightData,
    FlightDescriptor, FlightEndpoint, FlightInfo, Handshake, PutResult, SchemaResult, Ticket,
    WithHandle,
};

const SERVICE: &str = "/arrow.flight.protocol.FlightService/{method}";
/// Maximum bytes of a request: queries and their values are small.
const REQUEST_BYTES_MAX: usize = 256 << 10;
/// Maximum time for a request to arrive.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// The actions, with their descriptions.
const ACTIONS: [(&str, &str); 2] = [
    (CREATE, "Prepares a query, whose placeholders may get values later."),
    (CLOSE, "Ends a prepared query: nothing is kept for it."),
];
const CREATE: &str = "CreatePreparedStatement";
const CLOSE: &str = "ClosePreparedStatement";

type Messages = Box<dyn Iterator<Item = Result<Vec<u8>, GrpcStatus>> + Send>;

/// The result of a call.
enum Called {
    Messages(Messages),
    /// The rows of a query, in frames.
    Rows(AnswerParts),
}

/// Reports whether a descriptor or a ticket is a command.
pub(crate) fn reads_command(wrapped: &[u8]) -> bool {
    let put = command::put(wrapped).is_ok();
    Command::read(wrapped).is_ok() || put
}

/// Reports whether messages of Flight have a row of values, preceded by its schema.
pub(crate) fn reads_values(messages: &[u8]) -> bool {
    let (mut rest, mut read) = (messages, Vec::new());
    while let Ok(data) = FlightData::decode_length_delimited(&mut rest) {
        read.push(data);
    }
    bind::values(&read).is_ok()
}

/// The routes of the calls. They are at the root, because gRPC has no prefixes.
pub(crate) fn routes() -> Router<Option<SqlService>> {
    Router::new().route(SERVICE, post(call))
}

async fn call(
    State(service): State<Option<SqlService>>,
    client: Option<Extension<ClientId>>,
    Path(method): Path<String>,
    request: Request,
) -> Response {
    if !grpc::is_grpc(request.headers()) {
        return StatusCode::UNSUPPORTED_MEDIA_TYPE.into_response();
    }
    let mut asked = None;
    let service = SqlService::for_client(service, client);
    let called = answer(service, &method, request, &mut asked).await;
    let mut response = match called {
        Ok(Called::Messages(messages)) => grpc::stream(messages),
        Ok(Called::Rows(parts)) => {
            grpc::stream_frames(parts.map(|part| part.map_err(GrpcStatus::from)))
        }
        Err(status) => grpc::reply(Err(status)),
    }
    .into_response();
    if let Some(asked) = asked {
        response.extensions_mut().insert(asked);
    }
    response
}

/// Answers a call; `asked` gets the text of the query that it runs.
async fn answer(
    service: Result<SqlService, SqlError>,
    method: &str,
    request: Request,
    asked: &mut Option<SubmittedStatement>,
) -> Result<Called, GrpcStatus> {
    let service = service?;
    let sent = read(&service, request).await?;
    if method == "DoGet" {
        let command = Command::read(&message::<Ticket>(sent)?.ticket)?;
        if let Command::Query(query) = &command {
            *asked = Some(SubmittedStatement(query.text.clone()));
        }
        return rows(&service, command).await;
    }
    let messages: Result<Messages, GrpcStatus> = match method {
        // No credentials are needed; a client that sends some is accepted.
        "Handshake" => Ok(one(&Handshake::default())),
        "GetFlightInfo" => {
            let info = flight_info(&service, message(sent)?).await?;
            Ok(one(&info))
        }
        "GetSchema" => {
            let (_, command) = command_of(&message(sent)?)?;
            let schema = columns(&service, &command).await?;
            Ok(one(&SchemaResult { schema }))
        }
        "DoPut" => put(sent),
        "DoAction" => action(&service, message(sent)?).await,
        "ListActions" => Ok(Box::new(ACTIONS.into_iter().map(|(kind, description)| {
            let action = ActionType { kind: kind.to_owned(), description: description.to_owned() };
            Ok(action.encode_to_vec())
        }))),
        "ListFlights" => Err(unsupported_call(method, "CommandGetTables lists the views")),
        _ => Err(unsupported_call(method, "ask with GetFlightInfo and DoGet")),
    };
    messages.map(Called::Messages)
}

/// Reads the messages of a request.
async fn read(service: &SqlService, request: Request) -> Result<Vec<Bytes>, GrpcStatus> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, REQUEST_BYTES_MAX).collect();
    tokio::select! {
        body = body => match body {
            Ok(body) => grpc::unframe_all(&head.headers, body.to_bytes(), REQUEST_BYTES_MAX),
            Err(error) => Err(GrpcStatus::new(Code::ResourceExhausted, error.to_string())),
        },
        () = service.clock().sleep(REQUEST_TIMEOUT) => {
            let message = format!("the request did not arrive within {REQUEST_TIMEOUT:?}");
            Err(GrpcStatus::new(Code::DeadlineExceeded, message))
        }
    }
}

/// Returns the only message of a request.
fn message<M: Message + Default>(sent: Vec<Bytes>) -> Result<M, GrpcStatus> {
    let mut sent = sent.into_iter();
    match (sent.next(), sent.next()) {
        (Some(message), None) => command::decode(&message),
        _ => Err(GrpcStatus::new(Code::Unimplemented, "this call takes one message")),
    }
}

fn one(message: &impl Message) -> Messages {
    Box::new(std::iter::once(Ok(message.encode_to_vec())))
}

/// Returns the command of a descriptor.
fn command_of(descriptor: &FlightDescriptor) -> Result<(Bytes, Command), GrpcStatus> {
    if descriptor.kind != DESCRIPTOR_COMMAND {
        return Err(GrpcStatus::invalid("a descriptor has a command of Flight SQL, and no path"));
    }
    Ok((descriptor.cmd.clone(), Command::read(&descriptor.cmd)?))
}

async fn flight_info(
    service: &SqlService,
    descriptor: FlightDescriptor,
) -> Result<FlightInfo, GrpcStatus> {
    let (cmd, command) = command_of(&descriptor)?;
    let schema = columns(service, &command).await?;
    let ticket = match command {
        Command::Query(query) => {
            let handle = command::handle(query);
            command::wrap("TicketStatementQuery", &WithHandle { handle })
        }
        _ => cmd,
    };
    Ok(FlightInfo {
        schema,
        flight_descriptor: Some(descriptor),
        endpoint: vec![FlightEndpoint { ticket: Some(Ticket { ticket }) }],
        total_records: -1,
        total_bytes: -1,
        ordered: true,
    })
}

/// Returns the columns of a command's result.
async fn columns(service: &SqlService, command: &Command) -> Result<Bytes, SqlError> {
    match (command, catalog::rows(command, service.limits())?) {
        (_, Some(rows)) => schema_message(&rows.schema()),
        (Command::Query(query), None) => Ok(service.describe(query.clone()).await?.columns),
        (_, None) => Err(SqlError::Defect { reason: format!("{command:?} has no columns") }),
    }
}

async fn rows(service: &SqlService, command: Command) -> Result<Called, GrpcStatus> {
    if let Some(rows) = catalog::rows(&command, service.limits())? {
        let schema = rows.schema();
        let messages = ipc::messages(&schema, Bytes::new(), std::iter::once(rows));
        let messages = messages.map(|message| message.map_err(GrpcStatus::from));
        return Ok(Called::Messages(Box::new(messages)));
    }
    let Command::Query(query) = command else {
        return Err(SqlError::Defect { reason: format!("{command:?} has no rows") }.into());
    };
    let answer = ipc::whole(service.ask(query).await?, service.limits())?;
    Ok(Called::Rows(answer.parts(AnswerFormat::Flight)))
}

/// Binds values to a prepared query. The answer has a new handle, which contains the values.
fn put(sent: Vec<Bytes>) -> Result<Messages, GrpcStatus> {
    let sent = sent.iter().map(|message| command::decode(message));
    let sent = sent.collect::<Result<Vec<FlightData>, _>>()?;
    let descriptor = sent.first().and_then(|first| first.flight_descriptor.as_ref());
    let descriptor = descriptor.ok_or_else(|| GrpcStatus::invalid("there is no descriptor"))?;
    let query = command::put(&descriptor.cmd)?;
    let query = Query { parameters: bind::values(&sent)?, ..query };
    let app_metadata = WithHandle { handle: command::handle(query) }.encode_to_vec().into();
    Ok(one(&PutResult { app_metadata }))
}

async fn action(service: &SqlService, action: Action) -> Result<Messages, GrpcStatus> {
    match action.kind.as_str() {
        CREATE => {
            let request = command::action(&action.body, "ActionCreatePreparedStatementRequest")?;
            let text = command::statement(&request)?;
            let described = service.prepare(text.clone()).await?;
            let created = CreatedPreparedStatement {
                handle: command::handle(Query::new(text)),
                dataset_schema: described.columns,
                parameter_schema: described.parameters.unwrap_or_default(),
            };
            let body = command::wrap("ActionCreatePreparedStatementResult", &created);
            Ok(one(&ActionResult { body }))
        }
        CLOSE => {
            command::action(&action.body, "ActionClosePreparedStatementRequest")?;
            Ok(Box::new(std::iter::empty()))
        }
        "CancelFlightInfo" | "CancelQuery" => Err(unsupported_call(
            &action.kind,
            "a query runs in its DoGet, and ends when that is ended",
        )),
        other => Err(unsupported_call(&format!("the action {other:?}"), "queries can be prepared")),
    }
}

/// The one table from [`SqlErrorKind`] to gRPC's status codes.
impl From<SqlError> for GrpcStatus {
    fn from(error: SqlError) -> Self {
        let code = match error.kind() {
            SqlErrorKind::Invalid | SqlErrorKind::Forbidden | SqlErrorKind::MediaType => {
                Code::InvalidArgument
            }
            SqlErrorKind::Off => Code::PermissionDenied,
            SqlErrorKind::TooLarge | SqlErrorKind::Ended => Code::ResourceExhausted,
            SqlErrorKind::TimedOut => Code::DeadlineExceeded,
            SqlErrorKind::Overloaded => Code::Unavailable,
            SqlErrorKind::Unavailable => {
                tracing::warn!(%error, "a query was not answered");
                Code::Unavailable
            }
            SqlErrorKind::Failed => {
                tracing::error!(%error, "a query failed");
                Code::Internal
            }
        };
        Self::new(code, error.public_message())
    }
}

/// Builds the answer to calls of Flight that this server does not support.
fn unsupported_call(what: &str, hint: &str) -> GrpcStatus {
    let what: String = what.chars().take(100).collect();
    GrpcStatus::new(Code::Unimplemented, format!("{what} is not possible here: {hint}"))
}
