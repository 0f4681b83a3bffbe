//! Actions of a user on the pages, one action a test, through page objects.
//!
//! Tests that only read share a server with the incident `slow-dependency`
//! (`harness/shared_incident.rs`).

use prost::Message;
use tidings_proto::otlp::{KeyValue, Span};

use crate::harness::{Server, http::post, shared_incident::incident, spans};

mod by_key;
mod choices;
mod compare;
mod explore;
mod first_occurrence;
mod live;
mod map;
mod reading;
mod reading_logs;
mod search_box;
mod server_state;
mod span_panel;
mod sql;
mod time_range;
mod trace;
mod trace_keys;
mod trace_tools;
mod transaction_type;
mod type_panels;

/// Sends the spans of a service on a host.
fn send_from_host(server: &Server, service: &str, host: &str, all: Vec<Span>) {
    let mut request = spans::traces(service, all);
    let resource = request.resource_spans[0].resource.as_mut().unwrap();
    resource.attributes.push(KeyValue::new("host.name", host));
    let body = request.encode_to_vec();
    assert_eq!(post(&server.otlp_http, "/v1/traces", "application/x-protobuf", body).status, 200);
}

/// Returns the ids of two slow transactions.
fn traces(server: &Server) -> [String; 2] {
    let slow = "/api/v1/traces?service=payment&operation=Payment.Authorize&minDuration=1s&limit=2";
    let found =
        server.wait_for(slow, |json| json["traces"].as_array().is_some_and(|all| all.len() == 2));
    [0, 1].map(|at| found["traces"][at]["traceId"].as_str().unwrap().to_owned())
}
