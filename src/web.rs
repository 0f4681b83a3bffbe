//! The HTTP address: the UI's files, liveness, and the headers that keep both safe.
//!
//! The API's routes come from `tidings_query` and `tidings_sql`; this module adds what belongs to the process.

mod assets;
mod bodies;
mod guard;
mod listen;
mod patient;
mod pins;
mod problem;
mod status;
mod storage;

use std::sync::Arc;

use axum::{Router, middleware};

pub(crate) use bodies::Bodies;
pub(crate) use guard::Visitors;
pub(crate) use listen::run as listen;
pub(crate) use pins::routes as pins;
pub(crate) use status::{Server, described, starting};

/// The routes of the HTTP address: those of the API's parts, and the process's.
pub(crate) fn router(
    api: [Router; 3],
    server: Server,
    visitors: Visitors,
    bodies: Bodies,
) -> Router {
    let own = status::routes(server).merge(assets::routes());
    api.into_iter()
        .fold(own, Router::merge)
        .layer(middleware::from_fn_with_state(bodies, bodies::bound))
        .layer(middleware::from_fn_with_state(Arc::new(visitors), guard::check_origin))
        .layer(middleware::map_response(guard::secure))
}
