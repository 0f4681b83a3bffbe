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

use crate::{
    ClientId, QueryError, QueryService,
    answer_shares::{AnswerShare, AnswerShares, TenantNumber},
};

/// Response extension: maximum bytes of memory of a body that is produced while it is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Holds(pub(super) u64);

/// The budget of unread answers from the point of view of one client.
#[derive(Debug, Clone)]
pub(super) struct UnreadBudget {
    shares: Arc<AnswerShares>,
    tenant: TenantNumber,
    client: ClientId,
    bytes_max: u64,
}

impl UnreadBudget {
    /// Budget of this many bytes.
    #[cfg(test)]
    pub(super) fn new(bytes_max: u64) -> Self {
        let (shares, tenant) = (AnswerShares::new(bytes_max), TenantNumber::FIRST);
        Self { shares, tenant, client: ClientId::default(), bytes_max }
    }

    /// Budget of all answers that this service shares with others.
    pub(super) fn shared(service: &QueryService) -> Self {
        let (shares, tenant) = service.answer_shares();
        let (client, bytes_max) = (ClientId::default(), service.limits().answer_bytes_max());
        Self { shares: Arc::clone(shares), tenant, client, bytes_max }
    }

    /// Returns the budget for the client of this request.
    fn of_client(&self, request: &Request) -> Self {
        let client = request.extensions().get::<ClientId>().cloned().unwrap_or_default();
        Self { client, ..self.clone() }
    }

    /// Reserves the bytes of an answer; fails when the client would exceed its share.
    pub(super) fn take(&self, bytes: u64) -> Result<AnswerShare, QueryError> {
        let share = self.shares.take(self.tenant, &self.client, bytes);
        share.ok_or(QueryError::Unread { bytes_max: self.bytes_max })
    }
}

/// Lets an answer through when the budget has room for it, and reserves its bytes until it has been
/// read. Handlers that learn the size of an answer later find the budget in the request's
/// extensions.
pub(super) async fn hold(
    State(room): State<UnreadBudget>,
    mut request: Request,
    next: Next,
) -> Response {
    let room = room.of_client(&request);
    request.extensions_mut().insert(room.clone());
    let is_grpc = tidings_grpc::is_grpc(request.headers());
    let response = next.run(request).await;
    let said = response.extensions().get::<Holds>().map_or(0, |Holds(bytes)| *bytes);
    let bytes = response.body().size_hint().lower().max(said);
    let bytes_max = room.bytes_max;
    // A retry does not help an answer that alone is too large.
    let taken = match bytes > bytes_max {
        true => Err(QueryError::LongAnswer { bytes_max }),
        false => room.take(bytes),
    };
    match taken {
        Ok(place) => response.map(|body| Body::new(Held { body, place: Arc::new(place) })),
        Err(error) => refusal_response(error, is_grpc),
    }
}

/// A refusal in the form of the protocol.
fn refusal_response(error: QueryError, is_grpc: bool) -> Response {
    match is_grpc {
        true => tidings_grpc::reply(Err(error.into())).into_response(),
        false => error.into_response(),
    }
}

/// An answer's body with its reservation.
struct Held {
    body: Body,
    place: Arc<AnswerShare>,
}

/// Bytes of the body, which the connection may hold long after the body's end.
struct HeldBytes {
    bytes: Bytes,
    _place: Arc<AnswerShare>,
}

impl AsRef<[u8]> for HeldBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        let held = |bytes| HeldBytes { bytes, _place: Arc::clone(&self.place) };
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
    use axum::{Router, body::Body, http::Request, middleware, routing::get};
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::{UnreadBudget, hold};
    use crate::ClientId;

    const PROBLEM: &str = "application/problem+json";

    #[tokio::test]
    async fn unread_answers_take_room_until_they_are_read_or_dropped() {
        let app = Router::new()
            .route("/", get(|| async { vec![b'x'; 600 << 10] }))
            .layer(middleware::from_fn_with_state(UnreadBudget::new(1 << 20), hold));
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
    async fn an_answer_that_is_longer_than_all_room_is_refused_in_the_form_of_its_protocol() {
        let app = Router::new()
            .route("/", get(|| async { vec![b'x'; (1 << 20) + 1] }))
            .layer(middleware::from_fn_with_state(UnreadBudget::new(1 << 20), hold));
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
        assert_eq!(grpc.status(), 200);
        let trailers = grpc.into_body().collect().await.unwrap().trailers().cloned().unwrap();
        assert_eq!(trailers["grpc-status"], "8");
    }

    #[tokio::test]
    async fn a_client_whose_answers_are_not_read_keeps_no_other_out() {
        let app = Router::new()
            .route("/", get(|| async { vec![b'x'; 100 << 10] }))
            .layer(middleware::from_fn_with_state(UnreadBudget::new(1 << 20), hold));
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
