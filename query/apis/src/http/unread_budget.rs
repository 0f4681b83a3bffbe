//! Bounds the answers that clients have not read yet. An answer counts until its last byte has gone
//! to the connection or the client has left. An answer that is produced while it is read declares
//! its memory.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    body::{Body, Bytes},
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tidings_query::{
    ClientId, QueryError, QueryService, TenantNumber, UnreadQuota, UnreadReservation,
};

use super::problem::ApiError;
use crate::error_status::query_status;

/// Response extension: maximum bytes of memory of a body whose size hint does not tell them. Such a
/// body is produced while it is read, or ends with trailers.
#[derive(Debug, Clone, Copy)]
pub struct BodyMemory(pub u64);

/// The budget of unread answers from the point of view of one client.
#[derive(Debug, Clone)]
pub(super) struct UnreadBudget {
    quota: Arc<UnreadQuota>,
    tenant: TenantNumber,
    client: ClientId,
    bytes_max: u64,
}

impl UnreadBudget {
    /// Budget of this many bytes.
    #[cfg(test)]
    pub(super) fn new(bytes_max: u64) -> Self {
        let (quota, tenant) = (UnreadQuota::new(bytes_max), TenantNumber::FIRST);
        Self { quota, tenant, client: ClientId::default(), bytes_max }
    }

    /// Budget of all answers that this service shares with others.
    pub(super) fn shared(service: &QueryService) -> Self {
        let (quota, tenant) = service.unread_quota();
        let (client, bytes_max) = (ClientId::default(), service.limits().answer_bytes_max());
        Self { quota: Arc::clone(quota), tenant, client, bytes_max }
    }

    /// Returns the budget for the client of this request.
    fn of_client(&self, request: &Request) -> Self {
        let client = request.extensions().get::<ClientId>().cloned().unwrap_or_default();
        Self { client, ..self.clone() }
    }

    /// Reserves the bytes of an answer; fails when the client would exceed its quota.
    pub(super) fn try_reserve(&self, bytes: u64) -> Result<UnreadReservation, QueryError> {
        let reservation = self.quota.try_reserve(self.tenant, &self.client, bytes);
        reservation.ok_or(QueryError::Unread { bytes_max: self.bytes_max })
    }
}

/// Lets an answer through when the budget has room for it, and reserves its bytes until it has been
/// read. Handlers that learn the size of an answer later find the budget in the request's
/// extensions.
pub(super) async fn reserve_body(
    State(room): State<UnreadBudget>,
    mut request: Request,
    next: Next,
) -> Response {
    let room = room.of_client(&request);
    request.extensions_mut().insert(room.clone());
    let is_grpc = tidings_grpc::is_grpc(request.headers());
    let response = next.run(request).await;
    let declared = response.extensions().get::<BodyMemory>().map_or(0, |BodyMemory(bytes)| *bytes);
    let bytes = response.body().size_hint().lower().max(declared);
    let bytes_max = room.bytes_max;
    // A retry does not help an answer that alone is too large.
    let taken = match bytes > bytes_max {
        true => Err(QueryError::LongAnswer { bytes_max }),
        false => room.try_reserve(bytes),
    };
    match taken {
        Ok(reservation) => response
            .map(|body| Body::new(ReservedBody { body, reservation: Arc::new(reservation) })),
        Err(error) => refusal_response(error, is_grpc),
    }
}

/// A refusal in the form of the protocol.
fn refusal_response(error: QueryError, is_grpc: bool) -> Response {
    match is_grpc {
        true => query_status(error).into_http(),
        false => ApiError(error).into_response(),
    }
}

/// An answer's body with its reservation.
struct ReservedBody {
    body: Body,
    reservation: Arc<UnreadReservation>,
}

/// Bytes of the body, which the connection may hold long after the body's end.
struct ReservedBytes {
    bytes: Bytes,
    _reservation: Arc<UnreadReservation>,
}

impl AsRef<[u8]> for ReservedBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl HttpBody for ReservedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        let held = |bytes| ReservedBytes { bytes, _reservation: Arc::clone(&self.reservation) };
        polled.map_ok(|frame| frame.map_data(|bytes| Bytes::from_owner(held(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use axum::{
        Router,
        body::{Body, HttpBody},
        http::Request,
        middleware,
        routing::get,
    };
    use http_body_util::BodyExt;
    use tidings_query::ClientId;
    use tower::ServiceExt;

    use super::{UnreadBudget, reserve_body};

    const PROBLEM: &str = "application/problem+json";

    #[tokio::test]
    async fn bytes_of_an_answer_are_reserved_until_it_is_read_or_dropped() {
        let app = Router::new()
            .route("/", get(|| async { vec![b'x'; 600 << 10] }))
            .layer(middleware::from_fn_with_state(UnreadBudget::new(1 << 20), reserve_body));
        let ask = || app.clone().oneshot(Request::get("/").body(Body::empty()).unwrap());
        let first = ask().await.unwrap();
        assert_eq!(first.status(), 200);
        let refused = ask().await.unwrap();
        assert_eq!(refused.status(), 503);
        assert!(refused.headers().contains_key("retry-after"));
        let read = first.into_body().collect().await.unwrap();
        assert_eq!(ask().await.unwrap().status(), 503, "the connection has it still");
        assert_eq!(read.to_bytes().len(), 600 << 10);
        let dropped = ask().await.unwrap();
        assert_eq!(dropped.status(), 200);
        drop(dropped);
        assert_eq!(ask().await.unwrap().status(), 200);
    }

    #[tokio::test]
    async fn an_answer_beyond_the_quota_is_refused_in_the_form_of_its_protocol() {
        let app = Router::new()
            .route("/", get(|| async { vec![b'x'; (1 << 20) + 1] }))
            .layer(middleware::from_fn_with_state(UnreadBudget::new(1 << 20), reserve_body));
        let ask = |media_type: &str| {
            let request = Request::get("/").header("content-type", media_type);
            app.clone().oneshot(request.body(Body::empty()).unwrap())
        };
        let json = ask("application/json").await.unwrap();
        assert_eq!(
            (json.status().as_u16(), json.headers()["content-type"] == PROBLEM),
            (422, true)
        );
        let grpc = ask("application/grpc").await.unwrap();
        assert_eq!((grpc.status().as_u16(), grpc.headers()["grpc-status"] == "8"), (200, true));
        assert!(grpc.body().is_end_stream(), "the status ends the call");
    }

    #[tokio::test]
    async fn a_client_with_unread_answers_does_not_exhaust_the_quota() {
        let app = Router::new()
            .route("/", get(|| async { vec![b'x'; 100 << 10] }))
            .layer(middleware::from_fn_with_state(UnreadBudget::new(1 << 20), reserve_body));
        let ask = |client: &str| {
            let request = Request::get("/").extension(ClientId::new(client));
            app.clone().oneshot(request.body(Body::empty()).unwrap())
        };
        let mut unread = Vec::new();
        let refused = loop {
            let answer = ask("greedy").await.unwrap();
            if answer.status() != 200 {
                break answer;
            }
            unread.push(answer);
        };
        assert_eq!((refused.status().as_u16(), unread.len()), (503, 7));
        assert_eq!(ask("another").await.unwrap().status(), 200);
    }
}
