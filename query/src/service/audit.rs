//! The audit log, which the process writes and this service only searches.

use std::sync::Arc;

use tidings_audit::{AuditLog, AuditPage, AuditQuery};

use super::QueryService;
use crate::QueryError;

impl QueryService {
    /// A handle that searches this audit log: the events of one tenant, or all of them.
    #[must_use]
    pub fn with_audit(&self, audit: Arc<AuditLog>, tenant: Option<String>) -> Self {
        Self { audit: Some((audit, tenant)), ..self.clone() }
    }

    /// Events of the audit log; none where the process gave no log.
    ///
    /// # Errors
    /// `Storage` when a file cannot be read.
    pub async fn audit(&self, search: AuditQuery) -> Result<AuditPage, QueryError> {
        let Some((audit, tenant)) = self.audit.clone() else { return Ok(AuditPage::default()) };
        let search = AuditQuery { tenant, ..search };
        self.ask(move |_| Ok(audit.search(&search)?)).await
    }
}
