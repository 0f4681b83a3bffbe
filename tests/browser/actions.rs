//! Actions of a user on the pages, one action a test, through page objects.
//!
//! Tests that only read share a server with the incident `slow-dependency`. The first of these
//! tests starts the server, and the last running one ends it.

use std::sync::{Arc, Mutex, Weak};

use crate::harness::Server;

mod by_key;
mod compare;
mod explore;
mod first_occurrence;
mod live;
mod map;
mod reading;
mod reading_logs;
mod server_state;
mod span_panel;
mod sql;
mod trace;
mod trace_tools;
mod transaction_type;
mod type_panels;

/// Returns the server that the read-only tests share.
fn incident() -> Arc<Server> {
    static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    shared.upgrade().unwrap_or_else(|| {
        let server = Arc::new(Server::start());
        server.send_incident("slow-dependency");
        *shared = Arc::downgrade(&server);
        server
    })
}

/// Returns the ids of two slow transactions.
fn traces(server: &Server) -> [String; 2] {
    let slow = "/api/v1/traces?service=payment&operation=Payment.Authorize&minDuration=1s&limit=2";
    let found =
        server.wait_for(slow, |json| json["traces"].as_array().is_some_and(|all| all.len() == 2));
    [0, 1].map(|at| found["traces"][at]["traceId"].as_str().unwrap().to_owned())
}
