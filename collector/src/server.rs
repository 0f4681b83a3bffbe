//! One listener's requests: checks what holds for every protocol, calls the receiver, writes the
//! refusal when there is one, counts. A panic is a refusal like any other.

use std::{panic::AssertUnwindSafe, sync::Arc};

use futures::FutureExt;
use http::{Request, Response, StatusCode, request::Parts};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::{
    body::BodyReader,
    counters::ReceiverCounters,
    explained::Explanation,
    guard::Guard,
    ingest::{Ingest, panicked},
    phase::{Phase, Phases},
    reads::{ReadApi, ReplyBody},
    receive::{Exchange, Receiver},
    refusal::{Reason, Refusal},
    unread::Unread,
};

/// What the connections of one listener share.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) receiver: Arc<dyn Receiver>,
    /// Answers the receiver's questions.
    pub(crate) reads: Option<Arc<dyn ReadApi>>,
    pub(crate) ingest: Arc<Ingest>,
    pub(crate) guard: Guard,
    pub(crate) phases: Phases,
    pub(crate) counters: ReceiverCounters,
}

impl Server {
    /// Answers one request.
    pub(crate) async fn serve(&self, request: Request<Incoming>) -> Response<ReplyBody> {
        let (head, mut body) = request.into_parts();
        let result = AssertUnwindSafe(self.receive(&head, &mut body)).catch_unwind().await;
        match result.unwrap_or_else(|_| Err(panicked())) {
            Ok(response) => {
                // Counts are of what was sent to be stored.
                if self.question(&head).is_none() {
                    self.counters.accept();
                }
                response
            }
            Err(mut refusal) => {
                if refusal.reason.is_transient() {
                    refusal.retry_seconds = Some(self.ingest.retry_seconds());
                }
                let now = self.ingest.clock.now();
                self.counters.refuse(self.receiver.name(), &refusal, now);
                self.reader().drain(&head, &mut body, &refusal).await;
                self.receiver.refuse(&head, &refusal)
            }
        }
    }

    async fn receive(
        &self,
        head: &Parts,
        body: &mut Incoming,
    ) -> Result<Response<ReplyBody>, Refusal> {
        if self.phases.now() > Phase::Running {
            return Err(Refusal::new(Reason::ShuttingDown, "the server is shutting down"));
        }
        self.check_size(head)?;
        self.guard.check(head).map_err(|foreign| Refusal::foreign(&foreign))?;
        if let Some(reads) = self.question(head) {
            // Answers of receivers are small, those of questions need not be.
            let answer = reads.answer(head.clone()).await;
            return Ok(answer.map(|body| Unread::new(body).boxed_unsync()));
        }
        let admission = self.ingest.gate.open()?;
        let (reader, ingest) = (self.reader(), &*self.ingest);
        self.receiver.receive(Exchange { head, body, reader, ingest, admission }).await
    }

    /// Who answers, when the request asks for what is stored.
    fn question(&self, head: &Parts) -> Option<&dyn ReadApi> {
        self.reads.as_deref().filter(|_| self.receiver.is_question(head))
    }

    /// What a head takes, against its bound.
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
    pub(crate) fn explain(&self, status: StatusCode) -> Explanation {
        let refusal = match status {
            StatusCode::BAD_REQUEST => {
                Refusal::new(Reason::Malformed, "what was sent is not an HTTP request")
            }
            _ => {
                let limit = self.ingest.limits.header_bytes_max;
                let message = format!(
                    "the request's line and headers are too long or too many: {limit} bytes are \
                     the limit"
                );
                Refusal::new(Reason::HeadTooLarge, message)
            }
        };
        self.counters.refuse(self.receiver.name(), &refusal, self.ingest.clock.now());
        self.receiver.explain(&refusal)
    }

    fn reader(&self) -> BodyReader<'_> {
        BodyReader { limits: &self.ingest.limits, clock: &*self.ingest.clock, phases: &self.phases }
    }
}
