//! The services and operations there are.
//!
//! Jaeger lists what it has ever seen; so does this, newest first within the row budget.

use std::{collections::BTreeSet, ops::ControlFlow};

use tidings_proto::{jaeger::NO_SERVICE, otlp::SpanKind};
use tidings_storage::{Detail, Scan, SpanFilter};

use crate::{QueryError, execution::Reader};

/// Every service, in order.
pub(crate) fn services(reader: &Reader) -> Result<Vec<String>, QueryError> {
    let mut services: BTreeSet<String> = BTreeSet::new();
    let scan = Scan { detail: Detail::Facts, rows_max: reader.settings.search_rows_max };
    reader.spans(&SpanFilter::default(), scan, |rows| {
        let mut last = None;
        for service in (0..rows.len()).map(|row| rows.service(row)) {
            if last == Some(service) {
                continue;
            }
            last = Some(service);
            let service = if service.is_empty() { NO_SERVICE } else { service };
            if !services.contains(service) && services.len() < reader.limits.names_counted_max {
                services.insert(service.to_owned());
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(services.into_iter().collect())
}

/// An operation as Jaeger tells them apart: by name and kind.
pub(crate) type Operation = (String, SpanKind);

/// The operations of a service, in order; of one kind, when one is asked for.
pub(crate) fn operations(
    reader: &Reader,
    service: &str,
    kind: Option<SpanKind>,
) -> Result<Vec<Operation>, QueryError> {
    let mut operations: BTreeSet<(String, i32)> = BTreeSet::new();
    let filter = SpanFilter { services: Some(vec![stored(service)]), kind, ..Default::default() };
    let scan = Scan { detail: Detail::Facts, rows_max: reader.settings.search_rows_max };
    reader.spans(&filter, scan, |rows| {
        let mut last = None;
        for row in 0..rows.len() {
            let operation = (rows.name(row), rows.kind(row));
            if last == Some(operation) {
                continue;
            }
            last = Some(operation);
            if operations.len() < reader.limits.names_counted_max {
                operations.insert((operation.0.to_owned(), operation.1.into()));
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    let kind = |number| SpanKind::try_from(number).unwrap_or(SpanKind::Unspecified);
    Ok(operations.into_iter().map(|(name, number)| (name, kind(number))).collect())
}

/// A service's name as it is stored.
pub(crate) fn stored(service: &str) -> String {
    if service == NO_SERVICE { String::new() } else { service.to_owned() }
}
