//! Reads on one thread what another one looks at.

use std::{ops::ControlFlow, panic::resume_unwind, sync::mpsc::sync_channel, thread};

use crate::{ScanStats, StorageError};

/// So many portions wait to be looked at.
const PORTIONS_MAX: usize = 4;

/// Gives `visit` on this thread, in their order, the portions that `read` gives on another one.
pub(super) fn read<P: Send>(
    read: impl FnOnce(&mut dyn FnMut(P) -> ControlFlow<()>) -> Result<ScanStats, StorageError> + Send,
    mut visit: impl FnMut(P) -> ControlFlow<()>,
) -> Result<ScanStats, StorageError> {
    thread::scope(|scope| {
        let (give, take) = sync_channel(PORTIONS_MAX);
        let reading = scope.spawn(move || {
            read(&mut |portion| match give.send(portion) {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            })
        });
        let stopped = take.iter().any(|portion| visit(portion).is_break());
        // The other thread may wait for room.
        drop(take);
        let mut stats = reading.join().unwrap_or_else(|panic| resume_unwind(panic))?;
        stats.complete &= !stopped;
        Ok(stats)
    })
}
