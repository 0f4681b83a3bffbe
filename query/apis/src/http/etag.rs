//! Entity tags, by which a client that has an answer already gets a short response.
//!
//! A tag is of the content before compression, so it is a weak one. Answers that are produced while
//! they are read have no tag. Tags are for clients that keep answers. Browsers are told not to keep
//! any, because telemetry can contain secrets.

use ::http::{HeaderValue, Method, StatusCode, header};
use axum::{
    body::{Body, HttpBody, to_bytes},
    extract::Request,
    middleware::Next,
    response::{IntoResponse, Response},
};
use tidings_query::QueryError;
use xxhash_rust::xxh3::xxh3_128;

use super::problem::ApiError;

/// A weak entity tag: the identity of a content in any encoding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ETag(String);

impl ETag {
    /// Computes the tag of this content; different contents have different tags.
    #[must_use]
    pub fn from_content(content: &[u8]) -> Self {
        Self(format!("W/\"{:032x}\"", xxh3_128(content)))
    }

    /// Compares the tag weakly with each value of `If-None-Match`.
    pub fn is_among<'a>(&self, known: impl IntoIterator<Item = &'a HeaderValue>) -> bool {
        fn opaque(tag: &str) -> &str {
            tag.strip_prefix("W/").unwrap_or(tag)
        }
        let lists = known.into_iter().filter_map(|list| list.to_str().ok());
        let mut tags = lists.flat_map(|list| list.split(',')).map(str::trim);
        tags.any(|known| known == "*" || opaque(known) == opaque(&self.0))
    }

    /// Value of the `ETag` header.
    #[must_use]
    pub fn into_header(self) -> HeaderValue {
        HeaderValue::try_from(self.0).expect("invariant: hex digits and quotes fit into a header")
    }
}

/// Adds a tag to answers, and answers 304 to a client that has the content. The tag is computed
/// from the content, or taken from the extensions of the answer.
pub(super) async fn tag(request: Request, next: Next) -> Response {
    // An answer to HEAD no longer has its content here.
    if request.method() != Method::GET {
        return next.run(request).await;
    }
    let known = request.headers().get_all(header::IF_NONE_MATCH).into_iter().cloned();
    let known: Vec<HeaderValue> = known.collect();
    let response = next.run(request).await;
    if response.status() != StatusCode::OK || response.body().size_hint().exact().is_none() {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let bytes = match to_bytes(body, usize::MAX).await {
        Ok(bytes) => bytes,
        Err(error) => {
            let error = QueryError::Defect { reason: error.to_string() };
            return ApiError(error).into_response();
        }
    };
    let tag = parts.extensions.remove::<ETag>().unwrap_or_else(|| ETag::from_content(&bytes));
    let is_known = tag.is_among(&known);
    parts.headers.insert(header::ETAG, tag.into_header());
    if !is_known {
        return Response::from_parts(parts, Body::from(bytes));
    }
    let of_nothing = [header::CONTENT_TYPE, header::CONTENT_LENGTH];
    parts.status = StatusCode::NOT_MODIFIED;
    of_nothing.iter().for_each(|name| drop(parts.headers.remove(name)));
    Response::from_parts(parts, Body::empty())
}
