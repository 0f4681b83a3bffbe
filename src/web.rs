//! The HTTP address: the UI's files, liveness, and the headers that keep both safe.
//!
//! The API's routes come from `tidings_query` and `tidings_sql`; this module adds what belongs to the process.

mod assets;
mod guard;
mod listen;
mod patient;
mod problem;
mod status;

use std::sync::Arc;

use axum::{Router, middleware};
use tidings_collector::Guard;

pub(crate) use listen::run as listen;
pub(crate) use status::{Server, described, starting};

/// The routes of the HTTP address.
pub(crate) fn router(api: Router, sql: Router, server: Server, guard: Guard) -> Router {
    api.merge(sql)
        .merge(status::routes(server))
        .merge(assets::routes())
        .layer(middleware::from_fn_with_state(Arc::new(guard), guard::check_origin))
        .layer(middleware::map_response(guard::secure))
}
