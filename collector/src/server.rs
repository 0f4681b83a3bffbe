//! One listener's requests: checks what holds for every protocol, calls the receiver, writes the
//! refusal when there is one, counts. A panic is a refusal like any other.

use std::{io, panic::AssertUnwindSafe, sync::Arc};

use futures::FutureExt;
use http::{Request, Response, StatusCode, header, request::Parts};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use tidings_access::{AccessPolicy, Caller, Credentials, Role};
use tidings_audit::AuditLog;

use crate::{
    body::BodyReader,
    counters::ReceiverCounters,
    endpoint::{Endpoint, UnreadableHead},
    guard::Guard,
    head_errors::Explanation,
    ingest::{Ingest, panicked},
    phase::{Phase, Phases},
    reads::{ReadApi, ReplyBody},
    receive::{Exchange, Receiver},
    refusal::{Reason, Refusal, printable},
    shares::{PeerAddress, RequestHolder},
    stalled_streams::Unread,
    transport::{TLS_NEEDED, TLS_UNKNOWN},
};

/// Characters of a sender's `User-Agent` that are kept.
const AGENT_CHARS_MAX: usize = 100;

/// The state that the connections of one listener share.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) receiver: Arc<dyn Receiver>,
    /// Answers the receiver's questions.
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
        self.serve(request, holder).await
    }

    fn is_health(&self, head: &Parts) -> bool {
        self.receiver.is_health(head)
    }

    fn refuse_overloaded(&self, head: &Parts, peer: PeerAddress) -> Response<ReplyBody> {
        let message = "too many connections or requests at a time";
        let refusal = self.counted(Refusal::new(Reason::Busy, message), &sender(head, peer));
        self.receiver.refuse(head, &refusal)
    }

    fn explain(&self, head: UnreadableHead, peer: PeerAddress) -> Explanation {
        self.explain_head(head, peer)
    }

    fn handshake_failed(&self, error: &io::Error, peer: PeerAddress) {
        let refusal = Refusal::new(Reason::Handshake, format!("the TLS handshake failed: {error}"));
        let now = self.ingest.clock.now();
        self.counters.refuse(self.receiver.name(), &refusal, &peer.to_string(), now);
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
        let received = self.receive(&head, &mut body, Arc::clone(&holder));
        let result = AssertUnwindSafe(received).catch_unwind().await;
        match result.unwrap_or_else(|_| Err(panicked())) {
            Ok(response) => {
                // Counts are of what was sent to be stored.
                if self.question(&head).is_none() {
                    self.counters.accept();
                }
                response
            }
            Err(refusal) => {
                let refusal = self.counted(refusal, &sender(&head, holder.peer()));
                self.audit_denial(&head, holder.peer(), &refusal);
                // A body that did not come does not come now.
                if !holder.is_evicted() {
                    self.reader().drain(&head, &mut body, &refusal).await;
                }
                self.receiver.refuse(&head, &refusal)
            }
        }
    }

    /// Counts a refusal; it says when to try again from now on, if that helps.
    fn counted(&self, mut refusal: Refusal, sender: &str) -> Refusal {
        if refusal.reason.is_transient() && refusal.retry_seconds.is_none() {
            refusal.retry_seconds = Some(self.ingest.retry_seconds());
        }
        let now = self.ingest.clock.now();
        self.counters.refuse(self.receiver.name(), &refusal, sender, now);
        refusal
    }

    async fn receive(
        &self,
        head: &Parts,
        body: &mut Incoming,
        holder: Arc<RequestHolder>,
    ) -> Result<Response<ReplyBody>, Refusal> {
        if self.phases.now() > Phase::Running {
            return Err(Refusal::new(Reason::ShuttingDown, "the server is shutting down"));
        }
        self.check_size(head)?;
        self.guard.check(head).map_err(|foreign| Refusal::foreign(&foreign))?;
        let caller = self.admit(head).await?;
        if let Some(reads) = self.question(head) {
            // Answers of receivers are small, those of questions need not be.
            let answer = reads.answer(head.clone()).await;
            return Ok(answer.map(|body| Unread::new(body).boxed_unsync()));
        }
        let admission = self.ingest.gate.open(holder, caller)?;
        let (reader, ingest) = (self.reader(), &*self.ingest);
        self.receiver.receive(Exchange { head, body, reader, ingest, admission }).await
    }

    /// Finds out whose request it is and whether it may be made now. Probes of health need no key.
    async fn admit(&self, head: &Parts) -> Result<Option<Caller>, Refusal> {
        if self.receiver.is_health(head) {
            return Ok(None);
        }
        let needed = if self.question(head).is_some() { Role::Read } else { Role::Ingest };
        self.access.consult(&head.headers, Credentials::Keys).await?;
        let caller = self.access.admit(&head.headers, Credentials::Keys, needed)?;
        if let Some(caller) = &caller {
            let admitted = caller.check_rate(self.ingest.clock.instant());
            admitted.map_err(|wait| Refusal::over_rate(caller.name(), wait))?;
        }
        Ok(caller)
    }

    /// Query API that answers the request, when the request is a query.
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

    /// Words and counts the refusal of a head that did not become a request.
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
        let now = self.ingest.clock.now();
        self.counters.refuse(self.receiver.name(), &refusal, &peer.to_string(), now);
        self.receiver.explain(&refusal)
    }

    fn reader(&self) -> BodyReader<'_> {
        BodyReader { limits: &self.ingest.limits, clock: &*self.ingest.clock, phases: &self.phases }
    }
}

/// Names a sender: its address and the program it says it is.
fn sender(head: &Parts, peer: PeerAddress) -> String {
    let agent = head.headers.get(header::USER_AGENT).map(|agent| agent.to_str().unwrap_or(""));
    let agent: String = printable(agent.unwrap_or("")).chars().take(AGENT_CHARS_MAX).collect();
    format!("{peer} {agent}").trim_end().to_owned()
}
