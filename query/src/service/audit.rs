//! The audit log, which the process writes and this service only searches.

use std::sync::Arc;

use tidings_audit::{AuditLog, AuditPage, AuditQuery};

use super::QueryService;
use crate::QueryError;

impl QueryService {
    /// A handle that searches this audit log.
    #[must_use]
    pub fn with_audit(&self, audit: Arc<AuditLog>) -> Self {
        Self { audit: Some(audit), ..self.clone() }
    }

    /// Events of the audit log; none where the process gave no log.
    ///
    /// # Errors
    /// `Storage` when a file cannot be read.
    pub async fn audit(&self, search: AuditQuery) -> Result<AuditPage, QueryError> {
        let Some(audit) = self.audit.clone() else { return Ok(AuditPage::default()) };
        self.ask(move |_| Ok(audit.search(&search)?)).await
    }
}
