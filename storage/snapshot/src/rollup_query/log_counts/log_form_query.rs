//! Aggregates the counts of a snapshot's log records by the forms of their messages.

use std::sync::Arc;

use tidings_files::table_file::DataFile;
use tidings_index::{Indexes, LogFilter, RolledUp, TimeRange};
use tidings_proto::{DurationNanos, UnixNanos};
use tidings_rollup::log_counts::{
    form_table::{FormBounds, FormSummary, FormTable},
    log_form_section::FormBuckets,
};

use super::{CountQuery, includes};
use crate::Snapshot;

/// Log records by service and form, each counted once.
#[derive(Debug)]
pub struct CountedForms {
    /// The forms. The caller adds the rows of the ranges below.
    pub forms: FormTable,
    /// Time ranges whose records are not in the counts. The caller counts their rows.
    pub uncounted: Vec<TimeRange>,
}

/// Records of a form in one file, with their numbers by step.
type FileForm = (FormSummary, Vec<(UnixNanos, u64)>);

impl Snapshot {
    /// Like [`Snapshot::count_logs`], by service and form of the message, within these bounds.
    #[must_use]
    pub fn count_log_forms(
        &self,
        filter: &LogFilter,
        step: DurationNanos,
        bounds: FormBounds,
    ) -> CountedForms {
        let query = CountQuery::new(self, filter, step, with_forms);
        let answer = query.and_then(|query| {
            query.answer(
                |index, minutes| index.log_forms()?.cells(minutes, &mut |range| index.page(range)),
                |forms: &mut Option<FormTable>, cells, steps| {
                    let forms = forms.get_or_insert_with(|| FormTable::new(bounds));
                    add_cells(forms, &cells, steps, filter);
                    true
                },
            )
        });
        let (forms, uncounted) = answer.unwrap_or_else(|| (None, vec![filter.time]));
        CountedForms { forms: forms.unwrap_or_else(|| FormTable::new(bounds)), uncounted }
    }
}

/// Opens the index of a file if it has counts by form.
fn with_forms(indexes: &Indexes, scan: u64, file: &Arc<DataFile>) -> Option<RolledUp> {
    indexes.log_forms(scan, file).filter(|index| index.log_forms().is_some())
}

/// Adds the buckets of the minutes that have a step. Each form of the file is looked up once.
fn add_cells(
    forms: &mut FormTable,
    cells: &FormBuckets,
    steps: &[Option<UnixNanos>],
    filter: &LogFilter,
) {
    let asked: Vec<bool> = cells.severities.iter().map(|group| includes(filter, group)).collect();
    let mut of_groups: Vec<Option<FileForm>> = vec![None; cells.groups.len()];
    for (step, of_minute) in steps.iter().zip(&cells.minutes) {
        let Some(step) = step else { continue };
        for (at, cell) in of_minute {
            let of_severity = cells.groups[*at].severity_group as usize;
            if !asked[of_severity] {
                continue;
            }
            let added = FormSummary {
                count: cell.count,
                severity_number: cells.severities[of_severity].severity_number,
                first: UnixNanos(cell.first),
                last: (UnixNanos(cell.last), cell.last_hash),
            };
            match &mut of_groups[*at] {
                Some((summary, counts)) => {
                    summary.join(added);
                    match counts.last_mut() {
                        Some((last, count)) if *last == *step => *count += added.count,
                        _ => counts.push((*step, added.count)),
                    }
                }
                new => *new = Some((added, vec![(*step, added.count)])),
            }
        }
    }
    for (group, of_file) in cells.groups.iter().zip(of_groups) {
        let Some((summary, counts)) = of_file else { continue };
        let severity = &cells.severities[group.severity_group as usize];
        forms.add(&severity.service, &group.form, summary, counts);
    }
}
