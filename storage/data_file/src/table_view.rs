//! View of one table: the rows of the memtable and of the data files, scanned in order of time.

mod sources;

use std::{ops::ControlFlow, sync::Arc};

use tidings_columns::{Projection, rows::project, schema::SignalSchema};
use tidings_files::{StorageError, memory::Chunk, table_file::DataFile};
use tidings_index::{
    Indexes,
    filter::{Bound, Matcher},
};

use crate::{
    ScanStats,
    groups::CandidateGroups,
    scan::{PORTION_ROWS, Progress, Visit, select},
};
use sources::{DueSource, ScanSource, Sources};

/// A snapshot's view of one table.
#[derive(Debug, Clone, Default)]
pub struct TableView {
    /// Rows in the memtable.
    pub chunks: Vec<Arc<Chunk>>,
    /// Rows in data files.
    pub files: Vec<Arc<DataFile>>,
}

impl TableView {
    /// Passes matching rows to `visit`.
    ///
    /// # Errors
    /// When a data file is missing or damaged.
    pub fn scan(
        &self,
        indexes: &Indexes,
        mut matcher: Matcher,
        detail: Projection,
        mut progress: Progress<'_>,
        visit: &mut Visit<'_>,
    ) -> Result<ScanStats, StorageError> {
        matcher.stop = progress.stop();
        matcher.order = progress.order();
        let mut sources = Sources::new(&self.chunks, &self.files, matcher.time, matcher.order);
        let mut files = sources.files();
        progress.watch.find_files(files);
        let (scan, wanted) = (indexes.begin_scan(), matcher.index_lookup());
        while let Some(DueSource { rank: (place, _), times, number, source }) = sources.next() {
            if progress.report_progress(place, visit)?.is_break() {
                progress.stats.complete = false;
                break;
            }
            if !progress.narrow(&mut matcher, times) {
                break; // What follows is further on in the order.
            }
            let (flow, is_done) = match source {
                ScanSource::Chunk(chunk) => {
                    (scan_chunk(chunk, &mut matcher, detail, &mut progress, visit)?, false)
                }
                ScanSource::File(file) => {
                    let rows = indexes.candidates(scan, file, &wanted);
                    let is_ruled_out = rows.as_ref().is_some_and(Vec::is_empty);
                    let is_left = !is_ruled_out && {
                        progress.stats.files += 1;
                        let groups = CandidateGroups::open(file, rows, &matcher, detail)
                            .inspect_err(|error| file.note_damage(error))?;
                        sources.put_back(file, Box::new(groups), (place, number))
                    };
                    (ControlFlow::Continue(()), !is_left)
                }
                ScanSource::Groups(file, mut groups) => {
                    let flow = groups
                        .scan_next(&mut matcher, &mut progress, visit)
                        .inspect_err(|error| file.note_damage(error))?;
                    (flow, !sources.put_back(file, groups, (place, number)))
                }
            };
            if is_done {
                progress.watch.add_files(1);
                files -= 1;
            }
            if flow.is_break() {
                progress.stats.complete = false;
                break;
            }
        }
        progress.watch.add_files(files);
        Ok(progress.stats)
    }
}

/// Breaks when `visit` breaks, or when the row budget ends before the rows.
fn scan_chunk(
    chunk: &Chunk,
    matcher: &mut Matcher,
    detail: Projection,
    progress: &mut Progress<'_>,
    visit: &mut Visit<'_>,
) -> Result<ControlFlow<()>, StorageError> {
    let batch = chunk.batch();
    let mut candidates: Box<dyn Iterator<Item = usize>> = match matcher.trace_low64s() {
        Some(low64s) => match chunk.rows_of(&low64s) {
            rows if rows.is_empty() => return Ok(ControlFlow::Continue(())),
            rows => Box::new(rows.into_iter()),
        },
        None => Box::new(0..batch.num_rows()),
    };
    let wanted = project(batch, chunk.signal().detail_columns(detail))?;
    let mut bound = Bound::new(matcher, batch)?;
    loop {
        let mut rows: Vec<usize> = candidates.by_ref().take(PORTION_ROWS).collect();
        if rows.is_empty() {
            return Ok(ControlFlow::Continue(()));
        }
        let granted = progress.spend(rows.len());
        let spent = granted < rows.len();
        rows.truncate(granted);
        bound.retain(&mut rows);
        if !rows.is_empty() && visit(&select(&wanted, &rows)?)?.is_break() || spent {
            return Ok(ControlFlow::Break(()));
        }
    }
}
