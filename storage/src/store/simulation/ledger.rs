//! Ledger of sent batches and their outcomes, compared with the store.

use std::{collections::BTreeMap, ops::ControlFlow};

use tidings_columns::Projection;
use tidings_data_file::Scan;
use tidings_index::{LogFilter, SpanFilter};
use tidings_proto::otlp::Value;
use tidings_snapshot::Snapshot;

use crate::Store;

/// Number of occurrences of each name in the store: spans' names and log records' bodies.
pub(in crate::store) type Contents = BTreeMap<String, u64>;

/// Reads the contents of a store.
pub(in crate::store) fn read(store: &Store) -> Result<Contents, String> {
    contents(&store.snapshot())
}

/// Reads the contents of a snapshot.
pub(in crate::store) fn contents(snapshot: &Snapshot) -> Result<Contents, String> {
    let mut found = Contents::new();
    let scan = Scan { detail: Projection::Full, rows_max: u64::MAX };
    let spans = snapshot.scan_spans(&SpanFilter::default(), scan, &mut |rows| {
        for row in 0..rows.len() {
            *found.entry(rows.name(row).to_owned()).or_default() += 1;
        }
        ControlFlow::Continue(())
    });
    let stats = spans.map_err(|error| format!("spans cannot be read: {error}"))?;
    if !stats.complete {
        return Err("spans were not read to the end".to_owned());
    }
    let logs = snapshot.scan_logs(&LogFilter::default(), scan, &mut |rows| {
        for row in 0..rows.len() {
            let body = rows.log_record(row).body.and_then(|body| body.value);
            let text =
                if let Some(Value::String(text)) = body { text } else { format!("{body:?}") };
            *found.entry(text).or_default() += 1;
        }
        ControlFlow::Continue(())
    });
    let stats = logs.map_err(|error| format!("logs cannot be read: {error}"))?;
    if stats.complete { Ok(found) } else { Err("logs were not read to the end".to_owned()) }
}

/// Ledger of the client: batches by name, with their numbers of records.
#[derive(Debug, Default)]
pub(in crate::store) struct Ledger {
    /// Batches that were acknowledged, or seen after a restart.
    pub(in crate::store) stored: Contents,
    /// Batches without a reply yet.
    pub(in crate::store) pending: Contents,
    /// Batches that were refused or interrupted. They may be stored or not after the next restart.
    pub(in crate::store) unknown: Contents,
}

impl Ledger {
    pub(in crate::store) fn sent(&mut self, name: &str, records: u64) {
        self.pending.insert(name.to_owned(), records);
    }

    pub(in crate::store) fn answered(&mut self, name: &str, acknowledged: bool) {
        let records = self.pending.remove(name).unwrap_or_default();
        let list = if acknowledged { &mut self.stored } else { &mut self.unknown };
        list.insert(name.to_owned(), records);
    }

    /// Checks the contents of a running store: all acknowledged batches, and no refused ones.
    pub(in crate::store) fn check(&self, found: &Contents) -> Result<(), String> {
        self.check_stored(found)?;
        self.check_known(found, &[&self.stored, &self.pending])
    }

    /// Checks the contents of a store that was just opened. All in-doubt batches are resolved by
    /// it.
    pub(in crate::store) fn resolve(&mut self, found: Contents) -> Result<(), String> {
        self.check_stored(&found)?;
        self.check_known(&found, &[&self.stored, &self.pending, &self.unknown])?;
        *self = Self { stored: found, ..Self::default() };
        Ok(())
    }

    fn check_stored(&self, found: &Contents) -> Result<(), String> {
        for (name, records) in &self.stored {
            let there = found.get(name).copied().unwrap_or_default();
            if there != *records {
                return Err(format!("{name}: {records} acknowledged, {there} there"));
            }
        }
        Ok(())
    }

    fn check_known(&self, found: &Contents, lists: &[&Contents]) -> Result<(), String> {
        for (name, there) in found {
            let sent = lists.iter().find_map(|list| list.get(name));
            if sent != Some(there) {
                return Err(format!("{name}: {there} there, {sent:?} sent"));
            }
        }
        Ok(())
    }
}
