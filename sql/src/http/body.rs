//! An answer as a body: each part is written when the connection takes it.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures::StreamExt;
use http_body::{Body, Frame};

use crate::{AnswerParts, SqlError};

pub(super) struct AnswerBody(AnswerParts);

impl AnswerBody {
    pub(super) fn new(parts: AnswerParts) -> Self {
        Self(parts)
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = SqlError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, SqlError>>> {
        let next = ready!(self.0.poll_next_unpin(context));
        if let Some(Err(error)) = &next {
            tracing::error!(%error, "an answer broke off");
        }
        Poll::Ready(next.map(|part| part.map(Frame::data)))
    }
}
