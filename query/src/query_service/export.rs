//! Export of a trace in parts, one query each, so that a slow client blocks no other.

use std::{sync::Arc, time::Duration};

use tidings_proto::{TraceId, otlp::ExportTraceServiceRequest};

use super::QueryService;
use crate::{
    QueryError,
    trace::export::{self, ExportKey},
};

/// Delay before a part is retried when the query service is overloaded.
const RETRY: Duration = Duration::from_millis(250);

/// A trace as it was sent, part by part. Each part is a valid request with some of its spans. The
/// spans are ordered by start, id and content, within parts and across them.
#[derive(Debug)]
pub struct TraceExport {
    service: QueryService,
    trace_id: TraceId,
    keys: Arc<[ExportKey]>,
    given: usize,
}

impl TraceExport {
    pub(crate) fn new(service: QueryService, trace_id: TraceId, keys: Vec<ExportKey>) -> Self {
        Self { service, trace_id, keys: keys.into(), given: 0 }
    }

    /// Maximum memory of the export while it is read, in bytes.
    #[must_use]
    pub fn bytes_held(&self) -> u64 {
        let keys = size_of_val(self.keys.as_ref()) as u64;
        // One part is written while the next one is read; both exist decoded and encoded.
        keys.saturating_add(self.service.limits().export_part_bytes as u64 * 8)
    }

    /// Returns the next part; `None` after the last.
    ///
    /// # Errors
    /// `NotFound` when retention removed spans since the export began. The answer is then
    /// incomplete, and later calls fail too.
    pub async fn next(&mut self) -> Result<Option<ExportTraceServiceRequest>, QueryError> {
        if self.given >= self.keys.len() {
            return Ok(None);
        }
        let mut waited = Duration::ZERO;
        loop {
            match self.part().await {
                Err(QueryError::Overloaded { .. }) if waited < self.service.limits().deadline => {
                    waited += RETRY;
                    self.service.pause(RETRY).await;
                }
                Err(error) => return Err(error),
                Ok((part, taken)) => {
                    self.given += taken;
                    return Ok(Some(part));
                }
            }
        }
    }

    async fn part(&self) -> Result<(ExportTraceServiceRequest, usize), QueryError> {
        let (keys, trace_id) = (Arc::clone(&self.keys), self.trace_id);
        let end = self.keys.len().min(self.given + self.service.limits().export_part_spans);
        let wanted = self.given..end;
        self.service.ask(move |reader| export::part(reader, trace_id, &keys[wanted])).await
    }
}
