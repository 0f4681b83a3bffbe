//! Handles the requests of one listener: makes the checks that all protocols share, calls the
//! receiver, writes refusals and counts. A panic becomes a refusal.

use std::{future::pending, io, panic::AssertUnwindSafe, sync::Arc};

use futures::FutureExt;
use http::{Request, Response, StatusCode, header, request::Parts};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use tidings_access::{AccessError, AccessPolicy, Caller, Credentials, Role, without_keys};
use tidings_audit::{AuditActor, AuditEvent, AuditLog, AuditOutcome};
use tracing::{Instrument, field::Empty};

use crate::{
    admit::RequestSender,
    body::BodyReader,
    counters::ReceiverCounters,
    destination::Destination,
    endpoint::{Endpoint, UnreadableHead},
    guard::Guard,
    head_errors::Explanation,
    ingest::{Ingest, panicked},
    phase::{Phase, Phases},
    receive::{Exchange, Receiver},
    refusal::{Reason, Refusal, printable},
    shares::{PeerAddress, RequestHolder},
    sink::{ReadApi, ReplyBody},
    stalled_streams::WatchedBody,
    transport::{TLS_NEEDED, TLS_UNKNOWN},
};

/// Characters of a sender's `User-Agent` that are kept.
const AGENT_CHARS_MAX: usize = 100;

/// The state that the connections of one listener share.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) receiver: &'static dyn Receiver,
    /// The index in the list of receivers.
    pub(crate) index: usize,
    /// The API that answers queries on the receiver's address.
    pub(crate) reads: Option<Arc<dyn ReadApi>>,
    pub(crate) ingest: Arc<Ingest>,
    pub(crate) access: AccessPolicy,
    pub(crate) audit: Option<Arc<AuditLog>>,
    pub(crate) guard: Guard,
    pub(crate) phases: Phases,
    pub(crate) counters: ReceiverCounters,
}

impl Endpoint for Server {
    fn name(&self) -> &'static str {
        self.receiver.name()
    }

    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        holder: Arc<RequestHolder>,
    ) -> Response<ReplyBody> {
        let span = tracing::debug_span!(
            "receive",
            otel.name = self.receiver.name(),
            otel.kind = "server",
            http.request.method = request.method().as_str(),
            client.address = %holder.peer(),
            http.response.status_code = Empty,
            "error.type" = Empty,
            tidings.refusal.reason = Empty,
        );
        let response = self.serve(request, holder).instrument(span.clone()).await;
        span.record("http.response.status_code", response.status().as_u16());
        response
    }

    fn is_health(&self, head: &Parts) -> bool {
        self.receiver.is_health(head)
    }

    fn refuse_overloaded(&self, head: &Parts, peer: PeerAddress) -> Response<ReplyBody> {
        let message = "too many connections or requests at a time";
        self.refuse_head(head, peer, Refusal::new(Reason::Busy, message))
    }

    fn refuse_fields(
        &self,
        head: &Parts,
        fields_max: usize,
        peer: PeerAddress,
    ) -> Response<ReplyBody> {
        let count = head.headers.len();
        let message = format!("the request has {count} headers, the limit is {fields_max}");
        self.refuse_head(head, peer, Refusal::new(Reason::HeadTooLarge, message))
    }

    fn explain(&self, head: UnreadableHead, peer: PeerAddress) -> Explanation {
        self.explain_head(head, peer)
    }

    fn handshake_failed(&self, error: &io::Error, peer: PeerAddress) {
        let refusal = Refusal::new(Reason::Handshake, format!("the TLS handshake failed: {error}"));
        self.count(&refusal, &peer.to_string(), self.ingest.destinations.common());
    }

    fn accept_failed(&self, error: &io::Error) {
        self.counters.accept_error(self.receiver.name(), error, self.ingest.clock.now());
    }
}

impl Server {
    /// Answers one request.
    async fn serve(
        &self,
        request: Request<Incoming>,
        holder: Arc<RequestHolder>,
    ) -> Response<ReplyBody> {
        let (head, mut body) = request.into_parts();
        let entered = AssertUnwindSafe(self.enter(&head)).catch_unwind().await;
        let (caller, destination) = entered.unwrap_or_else(|_| (Err(panicked()), Err(panicked())));
        let counted_for = Arc::clone(match &destination {
            Ok(destination) => destination,
            Err(_) => self.ingest.destinations.common(),
        });
        let received = async {
            let sender = RequestSender { caller: caller?, destination: destination? };
            self.receive(&head, &mut body, Arc::clone(&holder), sender).await
        };
        let result = AssertUnwindSafe(received).catch_unwind().await;
        match result.unwrap_or_else(|_| Err(panicked())) {
            Ok(response) => {
                // Queries are not counted, because the counts are of telemetry.
                if self.question(&head).is_none() {
                    let now = self.ingest.clock.now();
                    self.counters.accept(now);
                    if let Some(counters) = counted_for.of_receiver(self.index) {
                        counters.accept(now);
                    }
                }
                response
            }
            Err(refusal) => {
                let reason = refusal.reason.label();
                tracing::Span::current().record("tidings.refusal.reason", reason);
                if refusal.reason.is_transient() {
                    tracing::Span::current().record("error.type", reason);
                }
                let refusal = self.counted(refusal, &sender(&head, holder.peer()), &counted_for);
                self.audit_denial(&head, holder.peer(), &refusal);
                // An evicted body is drained only if it was still arriving; a stalled one would not
                // arrive now either.
                if !holder.is_evicted() || holder.is_arriving() {
                    let reader = self.reader(&counted_for);
                    reader.drain(&head, &mut body, &refusal, &holder).await;
                }
                self.receiver.refuse(&head, &refusal)
            }
        }
    }

    /// Returns the caller or the refusal of a request, and its destination. A refusal is counted at
    /// the destination of its key, so that other tenants do not see it.
    async fn enter(
        &self,
        head: &Parts,
    ) -> (Result<Option<Caller>, Refusal>, Result<Arc<Destination>, Refusal>) {
        let checked = self.check(head).await;
        let caller = match &checked {
            Ok(caller) => caller.clone(),
            Err(_) => self.access.identify(&head.headers, Credentials::Keys).ok().flatten(),
        };
        let destination = match &caller {
            Some(caller) => {
                self.ingest.destinations.destination_of(caller).await.map_err(Refusal::from)
            }
            None => Ok(Arc::clone(self.ingest.destinations.common())),
        };
        (checked, destination)
    }

    /// Checks a request by its head and returns its caller.
    async fn check(&self, head: &Parts) -> Result<Option<Caller>, Refusal> {
        if self.phases.now() > Phase::Running {
            return Err(Refusal::new(Reason::ShuttingDown, "the server is shutting down"));
        }
        self.check_size(head)?;
        self.guard.check(head).map_err(|foreign| Refusal::foreign(&foreign))?;
        self.admit(head).await
    }

    /// Counts a refusal, and adds the delay before a retry if it is transient.
    fn counted(&self, mut refusal: Refusal, sender: &str, counted_for: &Destination) -> Refusal {
        if refusal.reason.is_transient() && refusal.retry_seconds.is_none() {
            refusal.retry_seconds = Some(self.ingest.retry_seconds());
        }
        self.count(&refusal, sender, counted_for);
        refusal
    }

    fn count(&self, refusal: &Refusal, sender: &str, counted_for: &Destination) {
        let now = self.ingest.clock.now();
        self.counters.refuse(self.receiver.name(), refusal, sender, now);
        if let Some(counters) = counted_for.of_receiver(self.index) {
            counters.count(refusal, sender, now);
        }
    }

    async fn receive(
        &self,
        head: &Parts,
        body: &mut Incoming,
        holder: Arc<RequestHolder>,
        sender: RequestSender,
    ) -> Result<Response<ReplyBody>, Refusal> {
        if let Some(reads) = self.question(head) {
            // Only responses to queries can be large, so only their reading is watched.
            let mut head = head.clone();
            head.extensions.insert(holder.peer());
            let end = match (self.access.ring(), &sender.caller) {
                (Some(ring), Some(caller)) => ring.end_of(caller),
                _ => Box::pin(pending()),
            };
            return tokio::select! {
                biased;
                () = end => Err(AccessError::Unknown.into()),
                answer = reads.answer(head, sender.caller) => {
                    Ok(answer.map(|body| WatchedBody::new(body).boxed_unsync()))
                }
            };
        }
        let destination = Arc::clone(&sender.destination);
        let admission = self.ingest.gate.open(holder, sender)?;
        let (reader, ingest) = (self.reader(&destination), &*self.ingest);
        self.receiver.receive(Exchange { head, body, reader, ingest, admission }).await
    }

    /// Returns the caller of a request that may be made now. Health checks need no key.
    async fn admit(&self, head: &Parts) -> Result<Option<Caller>, Refusal> {
        if self.receiver.is_health(head) {
            return Ok(None);
        }
        let needed = if self.question(head).is_some() { Role::Read } else { Role::Ingest };
        self.access.consult(&head.headers, Credentials::Keys).await?;
        Ok(self.access.admit(&head.headers, Credentials::Keys, needed)?)
    }

    /// Refuses a request by its head, before its destination is known.
    fn refuse_head(
        &self,
        head: &Parts,
        peer: PeerAddress,
        refusal: Refusal,
    ) -> Response<ReplyBody> {
        let common = self.ingest.destinations.common();
        let refusal = self.counted(refusal, &sender(head, peer), common);
        self.receiver.refuse(head, &refusal)
    }

    /// Returns the query API, if the request is a query.
    fn question(&self, head: &Parts) -> Option<&dyn ReadApi> {
        self.reads.as_deref().filter(|_| self.receiver.is_question(head))
    }

    /// Checks the size of a request's head against its bound.
    fn check_size(&self, head: &Parts) -> Result<(), Refusal> {
        let path = head.uri.path_and_query().map_or(0, |path| path.as_str().len());
        let fields = head.headers.iter();
        let bytes: usize = fields.map(|(name, value)| name.as_str().len() + value.len()).sum();
        let limit = usize::try_from(self.ingest.limits.header_bytes_max).unwrap_or(usize::MAX);
        if bytes.saturating_add(path) <= limit {
            return Ok(());
        }
        let message = format!(
            "the path and the headers have {} bytes, the limit is {limit}",
            bytes.saturating_add(path)
        );
        Err(Refusal::new(Reason::HeadTooLarge, message))
    }

    /// Counts the refusal of an unreadable head and returns its body.
    fn explain_head(&self, head: UnreadableHead, peer: PeerAddress) -> Explanation {
        let refusal = match head {
            UnreadableHead::WithoutTls => Refusal::new(Reason::Handshake, TLS_NEEDED),
            UnreadableHead::WithTls => Refusal::new(Reason::Malformed, TLS_UNKNOWN),
            UnreadableHead::Refused(StatusCode::BAD_REQUEST) => {
                Refusal::new(Reason::Malformed, "what was sent is not an HTTP request")
            }
            UnreadableHead::Refused(_) => {
                let limit = self.ingest.limits.header_bytes_max;
                let message = format!(
                    "the request's line and headers are too long or too many: {limit} bytes are \
                     the limit"
                );
                Refusal::new(Reason::HeadTooLarge, message)
            }
        };
        self.count(&refusal, &peer.to_string(), self.ingest.destinations.common());
        self.receiver.explain(&refusal)
    }

    /// Returns a reader of bodies for this destination.
    fn reader<'a>(&'a self, destination: &'a Destination) -> BodyReader<'a> {
        BodyReader {
            limits: &self.ingest.limits,
            clock: &*self.ingest.clock,
            phases: &self.phases,
            counters: (&self.counters, destination.of_receiver(self.index)),
        }
    }
}

/// Describes a sender: its address and its `User-Agent`.
fn sender(head: &Parts, peer: PeerAddress) -> String {
    let agent = head.headers.get(header::USER_AGENT).map(|agent| agent.to_str().unwrap_or(""));
    let agent: String = printable(agent.unwrap_or("")).chars().take(AGENT_CHARS_MAX).collect();
    format!("{peer} {agent}").trim_end().to_owned()
}

/// The action of a denied request.
const ACTION: &str = "access";

impl Server {
    /// Adds a refusal to the audit log, if the request was denied.
    pub(crate) fn audit_denial(&self, head: &Parts, peer: PeerAddress, refusal: &Refusal) {
        let Some(audit) = self.audit.as_ref().filter(|_| is_denial(refusal.reason)) else { return };
        let caller = self.access.identify(&head.headers, Credentials::Keys).ok().flatten();
        audit.count(AuditEvent {
            time_unix_nano: self.ingest.clock.now(),
            action: ACTION.to_owned(),
            outcome: AuditOutcome::Denied,
            tenant: caller.as_ref().and_then(Caller::named_tenant),
            actor: caller.map_or(AuditActor::ANONYMOUS, |caller| caller.actor()),
            source_address: Some(peer.to_string()),
            object: Some(without_keys(format!(
                "{} {} {}",
                self.receiver.name(),
                head.method,
                head.uri.path()
            ))),
            status: Some(refusal.reason.http().as_u16()),
            detail: Some(refusal.message.clone()),
            count: 1,
        });
    }
}

fn is_denial(reason: Reason) -> bool {
    matches!(reason, Reason::Unauthenticated | Reason::Forbidden | Reason::Host | Reason::Origin)
}

#[cfg(test)]
mod tests {
    use super::{Reason, is_denial};

    #[test]
    fn denials_are_refusals_because_of_the_sender_and_not_of_the_body() {
        let denied: Vec<Reason> = Reason::ALL.into_iter().filter(|of| is_denial(*of)).collect();
        let expected = [Reason::Host, Reason::Origin, Reason::Unauthenticated, Reason::Forbidden];
        assert_eq!(denied, expected);
    }
}
