//! Aggregates the counts of a snapshot's log records by the forms of their messages.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use ahash::RandomState;
use tidings_proto::{DurationNanos, UnixNanos};

use super::{FormCell, count_plan::CountQuery, log_form_section::FormCells};
use crate::{
    LogFilter, Snapshot, TimeRange,
    data_file::DataFile,
    index::{Indexes, RolledUp},
};

/// Maximum number of forms of an answer. With more, rows are counted.
const FORMS_MAX: usize = 20_000;
/// Maximum number of counts of an answer in all steps.
const COUNTS_MAX: usize = 1 << 20;

/// Log records by service and form, each counted once.
#[derive(Debug, Default)]
pub struct CountedForms {
    /// The forms, in no order.
    pub forms: Vec<FormRecords>,
    /// Time ranges whose records are not in the counts. The caller counts their rows.
    pub uncounted: Vec<TimeRange>,
}

/// Records of a service whose messages have one form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormRecords {
    /// `service.name`. Empty when it is unknown.
    pub service: Arc<str>,
    /// Form of the messages, as [`crate::FormWriter`] writes it.
    pub form: String,
    /// Highest severity number of the records.
    pub severity_number: i32,
    /// Earliest time of the records.
    pub first: UnixNanos,
    /// Time and content hash of the last record. Of several records with one time, the last has the
    /// greatest hash: see [`LogFilter::keys`].
    pub last: (UnixNanos, u64),
    /// Number of records, by start of the step.
    pub steps: BTreeMap<UnixNanos, u64>,
}

/// Aggregate of the files so far.
#[derive(Default)]
struct FormTotals {
    forms: Vec<FormRecords>,
    /// Index of each form, by service.
    places: HashMap<Arc<str>, HashMap<String, usize, RandomState>, RandomState>,
    counts: usize,
}

impl Snapshot {
    /// Like [`Snapshot::count_logs`], by service and form of the message.
    #[must_use]
    pub fn count_log_forms(&self, filter: &LogFilter, step: DurationNanos) -> CountedForms {
        let query = CountQuery::new(self, filter, step, with_forms);
        let answer = query.and_then(|query| {
            query.answer(
                |index, minutes| index.log_forms()?.cells(minutes, &mut |range| index.page(range)),
                |totals: &mut FormTotals, cells, steps| totals.add(&cells, steps, filter),
            )
        });
        match answer {
            Some((totals, uncounted)) => CountedForms { forms: totals.forms, uncounted },
            None => CountedForms { forms: Vec::new(), uncounted: vec![filter.time] },
        }
    }
}

/// Opens the index of a file if it has counts by form.
fn with_forms(indexes: &Indexes, scan: u64, file: &Arc<DataFile>) -> Option<RolledUp> {
    indexes.log_forms(scan, file).filter(|index| index.log_forms().is_some())
}

impl FormTotals {
    /// Adds the cells of the minutes that have a step. Returns false when there are too many.
    fn add(&mut self, cells: &FormCells, steps: &[Option<UnixNanos>], filter: &LogFilter) -> bool {
        let asked: Vec<bool> =
            cells.severities.iter().map(|group| filter.includes(group)).collect();
        let mut places: Vec<Option<usize>> = vec![None; cells.groups.len()];
        for (step, of_minute) in steps.iter().zip(&cells.minutes) {
            let Some(step) = step else { continue };
            for (at, cell) in of_minute {
                let group = &cells.groups[*at];
                let of_severity = group.severity_group as usize;
                if !asked[of_severity] {
                    continue;
                }
                let severity = &cells.severities[of_severity];
                let place = *places[*at]
                    .get_or_insert_with(|| self.place(&severity.service, &group.form, cell));
                let form = &mut self.forms[place];
                form.severity_number = form.severity_number.max(severity.severity_number);
                form.first = form.first.min(UnixNanos(cell.first));
                form.last = form.last.max((UnixNanos(cell.last), cell.last_hash));
                let before = form.steps.len();
                *form.steps.entry(*step).or_default() += cell.count;
                self.counts += form.steps.len() - before;
            }
            if self.forms.len() > FORMS_MAX || self.counts > COUNTS_MAX {
                return false;
            }
        }
        true
    }

    /// Returns the index of a form, which is added if it is new. `cell` is a cell of the form.
    fn place(&mut self, service: &str, form: &str, cell: &FormCell) -> usize {
        if let Some(place) = self.places.get(service).and_then(|forms| forms.get(form)) {
            return *place;
        }
        let known = self.places.get_key_value(service).map(|(service, _)| Arc::clone(service));
        let service = known.unwrap_or_else(|| Arc::from(service));
        let place = self.forms.len();
        self.places.entry(Arc::clone(&service)).or_default().insert(form.to_owned(), place);
        self.forms.push(FormRecords {
            service,
            form: form.to_owned(),
            severity_number: i32::MIN,
            first: UnixNanos(cell.first),
            last: (UnixNanos(cell.last), cell.last_hash),
            steps: BTreeMap::new(),
        });
        place
    }
}
