//! Reads whole traces in portions that fit into memory.

use tidings_proto::TraceId;

use crate::{
    QueryError,
    execution::Reader,
    search,
    trace::{gather::Names, tree::Tree},
};

/// Traces read at once, at most.
const PORTION: usize = 100;

/// Gives `visit` each of these traces, assembled, in their order; those without spans are left out.
/// Returns how many are too large to be read.
pub(crate) fn each(
    reader: &Reader,
    ids: &[TraceId],
    mut visit: impl FnMut(&Tree, &Names),
) -> Result<u64, QueryError> {
    let mut waiting: Vec<&[TraceId]> = ids.chunks(PORTION).rev().collect();
    let mut too_large = 0;
    while let Some(portion) = waiting.pop() {
        match search::trees(reader, portion) {
            Ok((trees, gathered)) => {
                trees.iter().for_each(|tree| visit(tree, &gathered.names));
            }
            Err(error) if error.is_too_large() && portion.len() > 1 => {
                let (first, rest) = portion.split_at(portion.len() / 2);
                waiting.extend([rest, first]);
            }
            Err(error) if error.is_too_large() => too_large += 1,
            Err(error) => return Err(error),
        }
    }
    Ok(too_large)
}
