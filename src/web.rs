//! The HTTP address: the UI's files, liveness, and the headers that keep both safe.
//!
//! The API's routes come from `tidings_apis` and `tidings_sql`. This module adds those of the
//! process.

mod access;
mod assets;
mod audit;
mod bodies;
mod description;
mod erasures;
mod grpc_deadline;
mod json_body;
mod keys;
mod listen;
mod metrics;
mod pins;
mod problem;
mod request_span;
mod request_words;
mod sign_in;
mod site_guard;
mod status;
mod storage;

use std::sync::Arc;

use axum::{Router, middleware};

pub(crate) use assets::third_party_notices;
pub(crate) use audit::Auditing;
pub(crate) use bodies::Bodies;
pub(crate) use description::description;
pub(crate) use erasures::routes as erasures;
pub(crate) use keys::routes as keys;
pub(crate) use listen::{WebListening, connections};
pub(crate) use metrics::{Measured, MetricsPush, PushCounts, QueryTimes, own_resource};
pub(crate) use pins::routes as pins;
pub(crate) use request_span::RouteNames;
pub(crate) use request_words::RequestWords;
pub(crate) use sign_in::{BrowserAccess, pages as sign_in_pages, routes as sign_in};
use site_guard::Entrance;
pub(crate) use site_guard::Visitors;
pub(crate) use status::{ServedTenant, Server, ServerSetup, starting};
pub(crate) use storage::limit_routes as limits;

use crate::tenants::Tenants;

/// Builds the routes of a tenant: those of the API's parts, and the process's. They check no keys.
pub(crate) fn tenant_routes(
    api: [Router; 7],
    server: Server,
    measured: Measured,
    names: RouteNames,
    words: Arc<RequestWords>,
) -> Router {
    let (queries, tenant) = (Arc::clone(&measured.queries), measured.tenant.clone());
    let own = status::routes(server).merge(metrics::routes(measured));
    api.into_iter()
        .fold(own, Router::merge)
        .layer(middleware::from_fn_with_state(words, metrics::name_origin))
        .layer(middleware::from_fn_with_state(queries, metrics::measure))
        .layer(middleware::from_fn_with_state((tenant, names), request_span::trace))
}

/// Builds the routes of the HTTP address: those of the default tenant, which lead other tenants'
/// keys to their routes, pages to sign in, and the UI's files.
pub(crate) fn router(
    of_default: Router,
    tenants: Tenants,
    (sign_in, browsers): (Router, BrowserAccess),
    visitors: Visitors,
    auditing: Auditing,
    bodies: Bodies,
) -> Router {
    let entry = access::KeyedEntrance { policy: visitors.access.clone(), tenants };
    let visitors = Arc::new(visitors);
    let checked = |routes: Router, entrance| {
        routes.layer(middleware::from_fn_with_state(entrance, site_guard::check_origin))
    };
    let api = of_default
        .layer(middleware::from_fn_with_state(entry, access::check_key))
        .layer(middleware::from_fn_with_state(Arc::clone(&auditing.clock), grpc_deadline::hold));
    let sign_in = sign_in.layer(middleware::from_fn_with_state(auditing.clone(), audit::record));
    checked(api, Entrance::to_api(Arc::clone(&visitors)))
        .layer(middleware::from_fn_with_state(auditing, audit::record))
        .merge(checked(assets::routes().merge(sign_in), Entrance::to_pages(visitors)))
        .layer(middleware::from_fn_with_state(browsers, sign_in::drop_plain_cookies))
        .layer(middleware::from_fn_with_state(bodies, bodies::bound))
        .layer(middleware::map_response(site_guard::secure))
}
