//! Resources and scopes of rows.

use arrow_array::RecordBatch;
use arrow_schema::ArrowError;
use tidings_proto::otlp::{InstrumentationScope, Resource};

use super::column::{WordColumn, word};
use crate::conversion::load;

/// The columns of resource and scope, which both tables have.
#[derive(Debug, Clone)]
pub(super) struct SenderRows {
    pub(super) service: Option<WordColumn>,
    resource: Option<WordColumn>,
    resource_schema_url: Option<WordColumn>,
    scope: Option<WordColumn>,
    scope_schema_url: Option<WordColumn>,
}

impl SenderRows {
    pub(super) fn from_batch(batch: &RecordBatch) -> Result<Self, ArrowError> {
        Ok(Self {
            service: WordColumn::from_batch(batch, "service")?,
            resource: WordColumn::from_batch(batch, "resource")?,
            resource_schema_url: WordColumn::from_batch(batch, "resource_schema_url")?,
            scope: WordColumn::from_batch(batch, "scope")?,
            scope_schema_url: WordColumn::from_batch(batch, "scope_schema_url")?,
        })
    }

    #[inline]
    pub(super) fn service(&self, row: usize) -> &str {
        word(self.service.as_ref(), row)
    }

    #[inline]
    pub(super) fn resource_number(&self, row: usize) -> Option<usize> {
        self.resource.as_ref()?.key(row)
    }

    #[inline]
    pub(super) fn resource_key(&self, row: usize) -> &str {
        word(self.resource.as_ref(), row)
    }

    pub(super) fn resource(&self, row: usize) -> Option<Resource> {
        self.resource.as_ref()?.text(row).map(load)
    }

    pub(super) fn resource_schema_url(&self, row: usize) -> &str {
        word(self.resource_schema_url.as_ref(), row)
    }

    pub(super) fn scope_key(&self, row: usize) -> &str {
        word(self.scope.as_ref(), row)
    }

    pub(super) fn scope(&self, row: usize) -> Option<InstrumentationScope> {
        self.scope.as_ref()?.text(row).map(load)
    }

    pub(super) fn scope_schema_url(&self, row: usize) -> &str {
        word(self.scope_schema_url.as_ref(), row)
    }
}
