//! States of the receivers, for answers that say why nothing arrives.
//!
//! Owns no receiver: the process gives a function that returns their states.

use std::{fmt, sync::Arc};

use tidings_proto::{
    UnixNanos,
    api::{ReceiverRefusal, ReceiverStatus},
};

/// A function that returns the states of the receivers; none unless the process gives one.
#[derive(Clone, Default)]
pub struct ReceiverStates(Option<Arc<dyn Fn() -> Vec<ReceiverStatus> + Send + Sync>>);

impl ReceiverStates {
    /// States that this function returns. It must not block.
    pub fn new(states: impl Fn() -> Vec<ReceiverStatus> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(states)))
    }

    /// The refusals with one at this time or later, the latest first.
    pub(crate) fn refusals_since(&self, time: UnixNanos) -> Vec<ReceiverRefusal> {
        let states = self.0.as_ref().map(|states| states()).unwrap_or_default();
        let of = |state: ReceiverStatus| {
            let receiver = state.name;
            state
                .refusals
                .into_iter()
                .map(move |refusal| ReceiverRefusal { receiver: receiver.clone(), refusal })
        };
        let mut refusals: Vec<ReceiverRefusal> = states.into_iter().flat_map(of).collect();
        refusals.retain(|of| of.refusal.last_unix_nano >= time);
        refusals.sort_by_key(|of| std::cmp::Reverse(of.refusal.last_unix_nano));
        refusals
    }
}

impl fmt::Debug for ReceiverStates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReceiverStates").finish_non_exhaustive()
    }
}
