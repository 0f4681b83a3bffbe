//! Arrow Flight SQL on the HTTP address: the same queries as `/api/v1/sql`, for clients of Arrow.
//!
//! ```text
//! GetFlightInfo(query) ─► columns and a ticket      DoGet(ticket) ─► rows, in Arrow's messages
//! CreatePreparedStatement(query) ─► handle          DoPut(handle, values) ─► handle with values
//! ```
//!
//! Owns the calls; their messages, frames and statuses are those of `arrow-flight` and tonic. Queries
//! run in [`SqlService`] like all others, with its places, limits and refusals. Keeps no state
//! between two calls (see `command`).

mod bind;
mod catalog;
mod command;
mod info;
mod ipc;
mod types;

use std::{future::ready, iter, time::Duration};

use ::http::StatusCode;
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightEndpoint, FlightInfo,
    HandshakeRequest, HandshakeResponse, PollInfo, PutResult, Result as ActionResult, SchemaResult,
    Ticket,
    flight_descriptor::DescriptorType,
    flight_service_server::{FlightService, FlightServiceServer},
    sql::{
        ActionClosePreparedStatementRequest, ActionCreatePreparedStatementRequest,
        ActionCreatePreparedStatementResult, DoPutPreparedStatementResult, TicketStatementQuery,
    },
};
use axum::{
    Extension, Router,
    body::Body,
    extract::{self, Path, State},
    response::{self, IntoResponse},
    routing::post,
};
use bytes::Bytes;
use futures::{
    StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};
use prost::Message;
use tidings_apis::{
    BodyMemory, read_rpc_request, require_one_message, rpc_status, with_cut_status,
};
use tidings_grpc::is_grpc;
use tidings_query::ClientId;
use tonic::{Code, Request, Response, Status, Streaming, codec::CompressionEncoding};

use crate::{AnswerFormat, Query, SqlError, SqlErrorKind, SqlService, SubmittedStatement};
use command::Command;
pub use ipc::{flight_parts, schema_message};

const SERVICE: &str = "/arrow.flight.protocol.FlightService/{method}";
/// Methods whose request is one message.
const UNARY: [&str; 7] = [
    "ListFlights",
    "GetFlightInfo",
    "PollFlightInfo",
    "GetSchema",
    "DoGet",
    "DoAction",
    "ListActions",
];
/// Methods whose request is a stream of messages.
const STREAMED: [&str; 3] = ["Handshake", "DoPut", "DoExchange"];
/// Maximum bytes of a request: queries and their values are small.
const REQUEST_BYTES_MAX: usize = 256 << 10;
/// Maximum number of messages of a request: values have their columns, a row and few empty batches.
/// Fields that nothing reads are decompressed, and count for no bytes.
const MESSAGES_MAX: usize = 64;
/// Maximum time for a request to arrive.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// The actions, with their descriptions.
const ACTIONS: [(&str, &str); 2] = [
    (CREATE, "Prepares a query, whose placeholders may get values later."),
    (CLOSE, "Ends a prepared query: nothing is kept for it."),
];
const CREATE: &str = "CreatePreparedStatement";
const CLOSE: &str = "ClosePreparedStatement";
/// The calls that describe and run a query.
const QUERY_CALLS: &str = "ask with GetFlightInfo and DoGet";

type Messages<M> = BoxStream<'static, Result<M, Status>>;

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
    request: extract::Request,
) -> response::Response {
    if !is_grpc(request.headers()) {
        return StatusCode::UNSUPPORTED_MEDIA_TYPE.into_response();
    }
    let service = SqlService::for_client(service, client);
    answer(service, &method, request).await.unwrap_or_else(Status::into_http)
}

async fn answer(
    service: Result<SqlService, SqlError>,
    method: &str,
    request: extract::Request,
) -> Result<response::Response, Status> {
    let service = service?;
    if !UNARY.contains(&method) && !STREAMED.contains(&method) {
        return Err(unsupported_call(method, QUERY_CALLS));
    }
    let request = read(&service, request).await?;
    if UNARY.contains(&method) {
        require_one_message(request.body())?;
    }
    let server = FlightServiceServer::new(Flight(service))
        .accept_compressed(CompressionEncoding::Gzip)
        .max_decoding_message_size(REQUEST_BYTES_MAX);
    let Ok(response) = tower::ServiceExt::oneshot(server, request.map(Body::from)).await;
    Ok(with_cut_status(response.map(Body::new)))
}

/// Reads the whole request, in time.
async fn read(
    service: &SqlService,
    request: extract::Request,
) -> Result<::http::Request<Bytes>, Status> {
    tokio::select! {
        request = read_rpc_request(request, REQUEST_BYTES_MAX) => request,
        () = service.clock().sleep(REQUEST_TIMEOUT) => {
            let message = format!("the request did not arrive within {REQUEST_TIMEOUT:?}");
            Err(rpc_status(Code::DeadlineExceeded, message))
        }
    }
}

/// The calls of one client. `arrow_flight::sql::server::FlightSqlService` would refuse `GetSchema`,
/// list actions that are refused, and answer messages that it cannot read with `INTERNAL`.
struct Flight(SqlService);

#[tonic::async_trait]
impl FlightService for Flight {
    type HandshakeStream = Messages<HandshakeResponse>;
    type ListFlightsStream = Messages<FlightInfo>;
    type DoGetStream = Messages<FlightData>;
    type DoPutStream = Messages<PutResult>;
    type DoExchangeStream = Messages<FlightData>;
    type DoActionStream = Messages<ActionResult>;
    type ListActionsStream = Messages<ActionType>;

    /// Accepts every client: no credentials are needed, and those that are sent are not read.
    async fn handshake(
        &self,
        _: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        Ok(in_memory(vec![HandshakeResponse::default()]))
    }

    async fn list_flights(
        &self,
        _: Request<Criteria>,
    ) -> Result<Response<Self::ListFlightsStream>, Status> {
        Err(unsupported_call("ListFlights", "CommandGetTables lists the views"))
    }

    async fn get_flight_info(
        &self,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let descriptor = request.into_inner();
        let command = command_of(&descriptor)?;
        let schema = self.columns(&command).await?;
        let ticket = match command {
            Command::Query(query) => {
                let statement_handle = command::handle(query);
                command::wrap(&TicketStatementQuery { statement_handle })
            }
            _ => descriptor.cmd.clone(),
        };
        let ticket = Some(Ticket { ticket });
        Ok(one(FlightInfo {
            schema,
            flight_descriptor: Some(descriptor),
            endpoint: vec![FlightEndpoint { ticket, ..FlightEndpoint::default() }],
            total_records: -1,
            total_bytes: -1,
            ordered: true,
            app_metadata: Bytes::new(),
        }))
    }

    async fn poll_flight_info(
        &self,
        _: Request<FlightDescriptor>,
    ) -> Result<Response<PollInfo>, Status> {
        Err(unsupported_call("PollFlightInfo", QUERY_CALLS))
    }

    async fn get_schema(
        &self,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<SchemaResult>, Status> {
        let command = command_of(request.get_ref())?;
        Ok(one(SchemaResult { schema: self.columns(&command).await? }))
    }

    async fn do_get(
        &self,
        request: Request<Ticket>,
    ) -> Result<Response<Self::DoGetStream>, Status> {
        let command = Command::read(&request.get_ref().ticket)?;
        let asked = match &command {
            Command::Query(query) => Some(SubmittedStatement(query.text.clone())),
            _ => None,
        };
        // A refusal is a stream that ends with it, because only a response has extensions.
        let refused = |status: Status| Response::new(stream::once(ready(Err(status))).boxed());
        let mut response = self.rows(command).await.unwrap_or_else(refused);
        if let Some(asked) = asked {
            response.extensions_mut().insert(asked);
        }
        Ok(response)
    }

    /// Binds values to a prepared query. The answer has a new handle, which contains the values.
    async fn do_put(
        &self,
        request: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoPutStream>, Status> {
        let sent = within_limit(request.into_inner()).await?;
        let descriptor = sent.first().and_then(|first| first.flight_descriptor.as_ref());
        let descriptor = descriptor.ok_or_else(|| invalid("there is no descriptor"))?;
        let query = command::put(&descriptor.cmd)?;
        let query = Query { parameters: bind::values(&sent)?, ..query };
        let prepared_statement_handle = Some(command::handle(query));
        let bound = DoPutPreparedStatementResult { prepared_statement_handle };
        Ok(in_memory(vec![PutResult { app_metadata: bound.encode_to_vec().into() }]))
    }

    async fn do_exchange(
        &self,
        _: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoExchangeStream>, Status> {
        Err(unsupported_call("DoExchange", QUERY_CALLS))
    }

    async fn do_action(
        &self,
        request: Request<Action>,
    ) -> Result<Response<Self::DoActionStream>, Status> {
        let action = request.into_inner();
        match action.r#type.as_str() {
            CREATE => {
                let ActionCreatePreparedStatementRequest { query, transaction_id } =
                    command::action(&action.body)?;
                let text = command::statement(query, transaction_id)?;
                let described = self.0.prepare(text.clone()).await?;
                let created = ActionCreatePreparedStatementResult {
                    prepared_statement_handle: command::handle(Query::new(text)),
                    dataset_schema: described.columns,
                    parameter_schema: described.parameters.unwrap_or_default(),
                };
                Ok(in_memory(vec![ActionResult { body: command::wrap(&created) }]))
            }
            CLOSE => {
                command::action::<ActionClosePreparedStatementRequest>(&action.body)?;
                Ok(in_memory(Vec::new()))
            }
            "CancelFlightInfo" | "CancelQuery" => Err(unsupported_call(
                &action.r#type,
                "a query runs in its DoGet, and ends when that is ended",
            )),
            other => {
                Err(unsupported_call(&format!("the action {other:?}"), "queries can be prepared"))
            }
        }
    }

    async fn list_actions(
        &self,
        _: Request<Empty>,
    ) -> Result<Response<Self::ListActionsStream>, Status> {
        let actions = ACTIONS.map(|(name, description)| ActionType {
            r#type: name.to_owned(),
            description: description.to_owned(),
        });
        Ok(in_memory(actions.into()))
    }
}

impl Flight {
    /// Returns the columns of a command's result.
    async fn columns(&self, command: &Command) -> Result<Bytes, SqlError> {
        match (command, catalog::rows(command, self.0.limits())?) {
            (_, Some(rows)) => schema_message(&rows.schema()),
            (Command::Query(query), None) => Ok(self.0.describe(query.clone()).await?.columns),
            (_, None) => Err(SqlError::Defect { reason: format!("{command:?} has no columns") }),
        }
    }

    async fn rows(&self, command: Command) -> Result<Response<Messages<FlightData>>, Status> {
        let limits = self.0.limits();
        if let Some(rows) = catalog::rows(&command, limits)? {
            let schema = rows.schema();
            let messages = ipc::messages(&schema, Bytes::new(), iter::once(rows));
            return Ok(in_memory(messages.collect::<Result<_, _>>()?));
        }
        let Command::Query(query) = command else {
            return Err(SqlError::Defect { reason: format!("{command:?} has no rows") }.into());
        };
        let parts = ipc::whole(self.0.ask(query).await?, limits)?.parts(AnswerFormat::Flight);
        let messages = ipc::read_messages(parts, ipc::message_bytes_max(limits));
        Ok(Response::new(messages.map_err(Status::from).boxed()))
    }
}

/// Returns the command of a descriptor.
fn command_of(descriptor: &FlightDescriptor) -> Result<Command, Status> {
    if descriptor.r#type() != DescriptorType::Cmd {
        return Err(invalid("a descriptor has a command of Flight SQL, and no path"));
    }
    Command::read(&descriptor.cmd)
}

/// Returns the messages of a request, which have a limit together, decompressed.
async fn within_limit(mut sent: Streaming<FlightData>) -> Result<Vec<FlightData>, Status> {
    let (mut messages, mut bytes_left) = (Vec::new(), REQUEST_BYTES_MAX);
    while let Some(message) = sent.message().await? {
        if messages.len() == MESSAGES_MAX {
            let message = format!("the request has more than {MESSAGES_MAX} messages");
            return Err(rpc_status(Code::ResourceExhausted, message));
        }
        let rest = bytes_left.checked_sub(message.encoded_len());
        bytes_left = rest.ok_or_else(|| {
            let message = format!("the messages have more than {REQUEST_BYTES_MAX} bytes");
            rpc_status(Code::ResourceExhausted, message)
        })?;
        messages.push(message);
    }
    Ok(messages)
}

/// Builds an answer of messages in memory.
fn in_memory<M: Message + 'static>(messages: Vec<M>) -> Response<Messages<M>> {
    let bytes: usize = messages.iter().map(Message::encoded_len).sum();
    let mut response = Response::new(stream::iter(messages.into_iter().map(Ok)).boxed());
    response.extensions_mut().insert(BodyMemory(bytes as u64));
    response
}

/// Builds an answer of one message.
fn one<M: Message>(message: M) -> Response<M> {
    let memory = BodyMemory(message.encoded_len() as u64);
    let mut response = Response::new(message);
    response.extensions_mut().insert(memory);
    response
}

/// The one table from [`SqlErrorKind`] to gRPC's status codes.
impl From<SqlError> for Status {
    fn from(error: SqlError) -> Self {
        error.log_for_operator();
        let code = match error.kind() {
            SqlErrorKind::Invalid | SqlErrorKind::Forbidden | SqlErrorKind::MediaType => {
                Code::InvalidArgument
            }
            SqlErrorKind::Off => Code::PermissionDenied,
            SqlErrorKind::TooLarge | SqlErrorKind::Ended => Code::ResourceExhausted,
            SqlErrorKind::TimedOut => Code::DeadlineExceeded,
            SqlErrorKind::Overloaded | SqlErrorKind::Unavailable => Code::Unavailable,
            SqlErrorKind::Failed => Code::Internal,
        };
        rpc_status(code, error.public_message())
    }
}

/// Builds the answer to calls of Flight that this server does not support.
fn unsupported_call(what: &str, hint: &str) -> Status {
    let what: String = what.chars().take(100).collect();
    rpc_status(Code::Unimplemented, format!("{what} is not possible here: {hint}"))
}

/// Status of a malformed request.
fn invalid(message: impl Into<String>) -> Status {
    rpc_status(Code::InvalidArgument, message)
}
