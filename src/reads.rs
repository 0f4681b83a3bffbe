//! Joins Zipkin's read API, which is the query service's, with the address that Zipkin's reporters
//! send to, which is the collector's.

use std::{io, pin::Pin};

use axum::{
    Router,
    body::Body,
    http::{Request, Response, request::Parts},
};
use http_body_util::BodyExt;
use tidings_collector::{ReadApi, ReplyBody};
use tidings_query::{QueryService, zipkin_router};
use tower::ServiceExt;

/// Zipkin's read API.
#[derive(Debug)]
pub(crate) struct ZipkinReads(Router);

impl ZipkinReads {
    /// Over this service.
    pub(crate) fn new(service: QueryService) -> Self {
        Self(zipkin_router(service))
    }
}

impl ReadApi for ZipkinReads {
    fn answer(&self, head: Parts) -> Pin<Box<dyn Future<Output = Response<ReplyBody>> + Send>> {
        let router = self.0.clone();
        Box::pin(async move {
            let response = match router.oneshot(Request::from_parts(head, Body::empty())).await {
                Ok(response) => response,
                Err(never) => match never {},
            };
            response.map(|body| body.map_err(io::Error::other).boxed_unsync())
        })
    }
}
