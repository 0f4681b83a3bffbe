//! The HTTP address: the UI's files, liveness, and the headers that keep both safe.
//!
//! The API's routes come from `tidings_query` and `tidings_sql`; this module adds what belongs to the process.

mod assets;
mod guard;
mod listen;
mod patient;
mod pins;
mod problem;
mod status;

use std::sync::Arc;

use axum::{Router, middleware};

pub(crate) use guard::Visitors;
pub(crate) use listen::run as listen;
pub(crate) use pins::routes as pins;
pub(crate) use status::{Server, described, starting};

/// The routes of the HTTP address: those of the API and of the parts beside it, and the process's.
pub(crate) fn router(
    api: Router,
    beside: [Router; 2],
    server: Server,
    visitors: Visitors,
) -> Router {
    let api = beside.into_iter().fold(api, Router::merge);
    api.merge(status::routes(server))
        .merge(assets::routes())
        .layer(middleware::from_fn_with_state(Arc::new(visitors), guard::check_origin))
        .layer(middleware::map_response(guard::secure))
}
