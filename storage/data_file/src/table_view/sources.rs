//! Sources that a scan has yet to read, the newest first or the oldest first.
//!
//! Owns their order: by the latest (or earliest) row in the filter's time range. Files that are not
//! open are ordered as a whole, and open files by row group. Without the order by row group, a
//! search for the newest rows would read a file with old and new rows whole, before newer files.

use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
    sync::Arc,
};

use tidings_files::{memory::Chunk, table_file::DataFile};
use tidings_index::filter::{TimeOrder, TimeRange};
use tidings_proto::UnixNanos;

use crate::groups::CandidateGroups;

pub(super) enum ScanSource<'a> {
    Chunk(&'a Chunk),
    /// A file that is not open yet.
    File(&'a Arc<DataFile>),
    /// Remaining row groups of an open file.
    Groups(&'a Arc<DataFile>, Box<CandidateGroups<'a>>),
}

/// A source that is still to be read.
pub(super) struct DueSource<'a> {
    /// Order of sources, where the greatest is next. No row that may match has a greater place than
    /// the first part. If two sources begin at the same place, the one that ends first in the
    /// scan's order is next. The beginning alone is a weak hint, because senders' clocks may be
    /// wrong.
    pub(super) rank: (u64, u64),
    /// Earliest and latest time of its rows.
    pub(super) times: (UnixNanos, UnixNanos),
    /// Index in the input. The first one wins among sources of equal rank.
    pub(super) number: usize,
    pub(super) source: ScanSource<'a>,
}

impl Ord for DueSource<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.rank, Reverse(self.number)).cmp(&(other.rank, Reverse(other.number)))
    }
}

impl PartialOrd for DueSource<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for DueSource<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for DueSource<'_> {}

/// Remaining sources of a scan: see the module's description.
pub(super) struct Sources<'a> {
    due: BinaryHeap<DueSource<'a>>,
    asked: TimeRange,
    order: TimeOrder,
}

impl<'a> Sources<'a> {
    /// Collects the chunks and files that have rows in this time range.
    pub(super) fn new(
        chunks: &'a [Arc<Chunk>],
        files: &'a [Arc<DataFile>],
        asked: TimeRange,
        order: TimeOrder,
    ) -> Self {
        let chunks = chunks.iter().map(|chunk| (chunk.times(), ScanSource::Chunk(chunk)));
        let files = files.iter().map(|file| (file.times(), ScanSource::File(file)));
        let mut sources = Self { due: BinaryHeap::new(), asked, order };
        for (number, (times, source)) in chunks.chain(files).enumerate() {
            // The times of a source without rows have their minimum after their maximum.
            if times.0 <= times.1 && asked.overlaps(times.0, times.1) {
                let rank = order.rank(asked, times);
                sources.due.push(DueSource { rank, times, number, source });
            }
        }
        sources
    }

    /// Returns the number of files that are not open yet.
    pub(super) fn files(&self) -> u64 {
        self.due.iter().filter(|due| matches!(due.source, ScanSource::File(_))).count() as u64
    }

    /// Removes and returns the next source to read.
    pub(super) fn next(&mut self) -> Option<DueSource<'a>> {
        self.due.pop()
    }

    /// Puts back the remaining row groups of a file. Returns true if there are any.
    pub(super) fn put_back(
        &mut self,
        file: &'a Arc<DataFile>,
        mut groups: Box<CandidateGroups<'a>>,
        before: (u64, usize),
    ) -> bool {
        let Some(times) = groups.next_times() else { return false };
        // Inaccurate statistics must not rank the rest before the part that was already read.
        let (place, end) = self.order.rank(self.asked, times);
        let rank = (place.min(before.0), end);
        let source = ScanSource::Groups(file, groups);
        let mut due = DueSource { rank, times, number: before.1, source };
        if self.due.peek().is_some_and(|next| *next > due)
            && let ScanSource::Groups(_, groups) = &mut due.source
        {
            groups.rest();
        }
        self.due.push(due);
        true
    }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use tempfile::TempDir;
    use tidings_columns::{Projection, conversion::span_rows};
    use tidings_files::memory::Chunk;
    use tidings_index::{
        SpanFilter,
        filter::{Matcher, TimeOrder, TimeRange},
        samples,
    };
    use tidings_proto::{
        Signal, UnixNanos,
        otlp::{ExportTraceServiceRequest, ResourceSpans, ScopeSpans, Span},
    };

    use super::{DueSource, ScanSource, Sources};
    use crate::{groups::CandidateGroups, scan::Progress, test_files::stored};

    /// Returns overlapping files with several row groups each.
    fn overlapping(count: u64) -> Vec<crate::EncodedFile> {
        let file = |number: u64| {
            let span = |place: u64| Span {
                trace_id: u128::from(place * count + number + 1).to_be_bytes().to_vec(),
                span_id: vec![1; 8],
                start_time_unix_nano: samples::NOW.0 - place * 1_000_000_000 - number,
                ..Span::default()
            };
            let spans = (0..200).map(span).collect();
            let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
            let of_spans = ResourceSpans { scope_spans, ..ResourceSpans::default() };
            let request = ExportTraceServiceRequest { resource_spans: vec![of_spans] };
            let rows = span_rows(&request, samples::NOW).unwrap();
            let chunks = [std::sync::Arc::new(Chunk::new(rows).unwrap())];
            crate::encode_small(Signal::Spans, &chunks, samples::NOW).unwrap()
        };
        (0..count).flat_map(file).collect()
    }

    #[test]
    fn of_any_number_of_files_that_overlap_one_is_held_open() {
        let folder = TempDir::new().unwrap();
        let files = stored(folder.path(), overlapping(12));
        let groups_max = files.len() * 4;
        let end = Some(UnixNanos(samples::NOW.0 - 20_000_000_000));
        let (newest, oldest) = (TimeOrder::NewestFirst, TimeOrder::OldestFirst);
        for (end, order) in [(None, newest), (end, newest), (end, oldest)] {
            let asked = TimeRange { start: None, end };
            let filter = SpanFilter { start: asked, ..SpanFilter::default() };
            let mut matcher = Matcher::spans(&filter);
            matcher.order = order;
            let mut progress = Progress::new(u64::MAX, std::sync::Arc::default());
            let mut sources = Sources::new(&[], &files, asked, order);
            let (mut looked_at, mut resting_most, mut before) = (0, 0, u64::MAX);
            while let Some(DueSource { rank: (place, _), number, source, .. }) = sources.next() {
                assert!(place <= before);
                before = place;
                let (file, groups) = match source {
                    ScanSource::Chunk(_) => unreachable!("there are none"),
                    ScanSource::File(file) => {
                        let groups =
                            CandidateGroups::open(file, None, &matcher, Projection::Ids).unwrap();
                        (file, Box::new(groups))
                    }
                    ScanSource::Groups(file, mut groups) => {
                        looked_at += 1;
                        let visit = &mut |_: &_| Ok(ControlFlow::Continue(()));
                        let flow = groups.scan_next(&mut matcher, &mut progress, visit);
                        assert!(flow.unwrap().is_continue());
                        (file, groups)
                    }
                };
                sources.put_back(file, groups, (place, number));
                let waiting = sources.due.iter().filter_map(|due| match &due.source {
                    ScanSource::Groups(_, groups) => Some(groups.is_closed()),
                    _ => None,
                });
                let (resting, awake): (Vec<_>, Vec<_>) = waiting.partition(|rests| *rests);
                assert!(awake.len() <= 1, "{} are open", awake.len());
                resting_most = resting_most.max(resting.len());
            }
            assert!(looked_at > files.len() && looked_at <= groups_max, "{looked_at}");
            assert!(resting_most >= files.len() - 1, "{resting_most} were waiting");
            assert!(progress.stats.rows > 12 * 150, "{:?}", progress.stats);
        }
    }
}
