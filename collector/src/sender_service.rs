//! Check of requests with keys that may send only the telemetry of one service.
//!
//! Only requests of such keys are checked. A request with a resource of another service is refused
//! as a whole, because a sender that claims the name of another service is not trusted for the rest
//! either.

use prost::Message;
use tidings_access::Caller;
use tidings_proto::otlp::{
    AnyValue, Resource, Value,
    view::{LogRecordView, NonCanonical, RequestView, SpanView, View},
};
use tidings_storage::TelemetryBatch;

use crate::refusal::{Reason, Refusal};

const SERVICE_NAME: &str = "service.name";

/// Refuses a batch that has a resource of another service than the key's.
///
/// # Errors
/// `Forbidden`, with the other service's name.
pub(crate) fn check_service(
    caller: &Caller,
    batch: Option<&TelemetryBatch>,
) -> Result<(), Refusal> {
    let (Some(allowed), Some(batch)) = (caller.service(), batch) else { return Ok(()) };
    let Some(other) = services(batch).into_iter().find(|service| service != allowed) else {
        return Ok(());
    };
    caller.count_refusal();
    let message = format!(
        "the key {:?} may send telemetry of the service {allowed:?}, and this is of {other:?}",
        caller.name()
    );
    Err(Refusal::new(Reason::Forbidden, message))
}

/// Returns the names of the service of each resource; an empty one for a resource without any.
fn services(batch: &TelemetryBatch) -> Vec<String> {
    match batch {
        TelemetryBatch::EncodedTraces(bytes) => encoded::<SpanView<'_>>(bytes),
        TelemetryBatch::EncodedLogs(bytes) => encoded::<LogRecordView<'_>>(bytes),
        TelemetryBatch::Traces { request, .. } => {
            let resources = request.resource_spans.iter().map(|spans| spans.resource.as_ref());
            resources.flat_map(names_of).collect()
        }
        TelemetryBatch::Logs { request, .. } => {
            let resources = request.resource_logs.iter().map(|logs| logs.resource.as_ref());
            resources.flat_map(names_of).collect()
        }
        // Batches are converted after this check.
        TelemetryBatch::Converted(_) => vec![String::new()],
    }
}

/// Returns the service names of an encoded request; one empty name if it cannot be decoded.
fn encoded<'a, R: View<'a>>(bytes: &'a [u8]) -> Vec<String> {
    let unreadable = || vec![String::new()];
    let Ok(request) = RequestView::<R>::read(bytes) else { return unreadable() };
    let names = |of: Result<Option<&[u8]>, NonCanonical>| -> Option<Vec<String>> {
        let resource = of.ok()?.map(Resource::decode).transpose().ok()?;
        Some(names_of(resource.as_ref()))
    };
    let resources = request.resources.iter().map(|of| names(of.map(|of| of.resource)));
    let names: Option<Vec<Vec<String>>> = resources.collect();
    names.map_or_else(unreadable, |names| names.concat())
}

/// Returns every service name of a resource, because an attribute may be repeated.
fn names_of(resource: Option<&Resource>) -> Vec<String> {
    let attributes = resource.map(|resource| resource.attributes.as_slice()).unwrap_or_default();
    let given = attributes.iter().filter(|attribute| attribute.key == SERVICE_NAME);
    let names = given.map(|attribute| match &attribute.value {
        Some(AnyValue { value: Some(Value::String(name)) }) => name.clone(),
        _ => String::new(),
    });
    let names: Vec<String> = names.collect();
    if names.is_empty() { vec![String::new()] } else { names }
}
