//! An answer as a body: each part is written when the connection takes it.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame};

use crate::SqlError;

type Parts = Box<dyn Iterator<Item = Result<Bytes, SqlError>> + Send>;

pub(super) struct AnswerBody(Option<Parts>);

impl AnswerBody {
    pub(super) fn new(parts: Parts) -> Self {
        Self(Some(parts))
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = SqlError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, SqlError>>> {
        let next = self.0.as_mut().and_then(Iterator::next);
        if !matches!(next, Some(Ok(_))) {
            self.0 = None; // Gives the query's place back.
        }
        if let Some(Err(error)) = &next {
            tracing::error!(%error, "an answer broke off");
        }
        Poll::Ready(next.map(|part| part.map(Frame::data)))
    }
}
