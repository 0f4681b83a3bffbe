//! Sources that a scan has yet to read, the newest first.
//!
//! Owns the order: by the latest row within the filter's time, file by file, and row group by row
//! group of open files. Without the order by row group, a file with old and new rows would be read
//! whole. A search for the newest rows would then read its old rows before newer files.

use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
    sync::Arc,
};

use tidings_proto::UnixNanos;

use crate::{
    data_file::{CandidateGroups, DataFile},
    filter::TimeRange,
    memory::Chunk,
};

pub(super) enum ScanSource<'a> {
    Chunk(&'a Chunk),
    /// One that was not opened yet.
    File(&'a Arc<DataFile>),
    /// Remaining row groups of an open file.
    Groups(&'a Arc<DataFile>, Box<CandidateGroups<'a>>),
}

/// A source that is to be looked at.
pub(super) struct DueSource<'a> {
    /// Its latest row that may match is not later.
    pub(super) latest: UnixNanos,
    /// Between which times its rows are.
    pub(super) times: (UnixNanos, UnixNanos),
    /// Position in the input; the first wins among equally late sources.
    pub(super) number: usize,
    pub(super) source: ScanSource<'a>,
}

impl DueSource<'_> {
    /// Order of sources. Among those whose latest possible match is equal, the one that begins last
    /// is first. Its end is a weak hint, because clocks of senders may be ahead.
    fn rank(&self) -> (UnixNanos, UnixNanos, Reverse<usize>) {
        (self.latest, self.times.0, Reverse(self.number))
    }
}

impl Ord for DueSource<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank().cmp(&other.rank())
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

/// See the module's description.
pub(super) struct Sources<'a> {
    due: BinaryHeap<DueSource<'a>>,
    asked: TimeRange,
}

impl<'a> Sources<'a> {
    /// Collects the chunks and files that have rows in this time range.
    pub(super) fn new(
        chunks: &'a [Arc<Chunk>],
        files: &'a [Arc<DataFile>],
        asked: TimeRange,
    ) -> Self {
        let chunks = chunks.iter().map(|chunk| (chunk.times(), ScanSource::Chunk(chunk)));
        let files = files.iter().map(|file| (file.times(), ScanSource::File(file)));
        let mut sources = Self { due: BinaryHeap::new(), asked };
        for (number, (times, source)) in chunks.chain(files).enumerate() {
            // One without rows says that it begins after its end.
            if times.0 <= times.1 && asked.overlaps(times.0, times.1) {
                let latest = sources.latest(times);
                sources.due.push(DueSource { latest, times, number, source });
            }
        }
        sources
    }

    fn latest(&self, (_, max): (UnixNanos, UnixNanos)) -> UnixNanos {
        self.asked.end.map_or(max, |end| max.min(end))
    }

    /// Returns the number of files that were not opened yet.
    pub(super) fn files(&self) -> u64 {
        self.due.iter().filter(|due| matches!(due.source, ScanSource::File(_))).count() as u64
    }

    /// Removes and returns the next source to read.
    pub(super) fn next(&mut self) -> Option<DueSource<'a>> {
        self.due.pop()
    }

    /// Puts back what is left of a file; whether there is something.
    pub(super) fn put_back(
        &mut self,
        file: &'a Arc<DataFile>,
        mut groups: Box<CandidateGroups<'a>>,
        before: (UnixNanos, usize),
    ) -> bool {
        let Some(times) = groups.next_times() else { return false };
        // Statistics that say nothing must not put it before what was looked at.
        let latest = self.latest(times).min(before.0);
        let source = ScanSource::Groups(file, groups);
        let mut due = DueSource { latest, times, number: before.1, source };
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
    use tidings_proto::{
        UnixNanos,
        otlp::{ExportTraceServiceRequest, ResourceSpans, ScopeSpans, Span},
    };

    use super::{DueSource, ScanSource, Sources};
    use crate::{
        Detail, SpanFilter,
        columns::span_rows,
        data_file::{self, CandidateGroups},
        filter::{Matcher, TimeRange},
        index::tests::stored,
        memory::Chunk,
        samples,
        scan::Progress,
        schema::Signal,
    };

    /// Files of one time and of several row groups each.
    fn overlapping(count: u64) -> Vec<data_file::EncodedFile> {
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
            data_file::encode_small(Signal::Spans, &chunks, samples::NOW).unwrap()
        };
        (0..count).flat_map(file).collect()
    }

    #[test]
    fn of_any_number_of_files_that_overlap_one_is_held_open() {
        let folder = TempDir::new().unwrap();
        let files = stored(folder.path(), overlapping(12));
        let groups_max = files.len() * 4;
        for end in [None, Some(UnixNanos(samples::NOW.0 - 20_000_000_000))] {
            let asked = TimeRange { start: None, end };
            let filter = SpanFilter { start: asked, ..SpanFilter::default() };
            let mut matcher = Matcher::spans(&filter);
            let mut progress = Progress::new(u64::MAX, std::sync::Arc::default());
            let mut sources = Sources::new(&[], &files, asked);
            let (mut looked_at, mut resting_most, mut latest_before) = (0, 0, None);
            while let Some(DueSource { latest, number, source, .. }) = sources.next() {
                assert!(latest_before.is_none_or(|before| latest <= before));
                latest_before = Some(latest);
                let (file, groups) = match source {
                    ScanSource::Chunk(_) => unreachable!("there are none"),
                    ScanSource::File(file) => {
                        let groups =
                            CandidateGroups::open(file, None, &matcher, Detail::Ids).unwrap();
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
                sources.put_back(file, groups, (latest, number));
                let waiting = sources.due.iter().filter_map(|due| match &due.source {
                    ScanSource::Groups(_, groups) => Some(groups.rests()),
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
