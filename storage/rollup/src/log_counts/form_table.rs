//! Bounded table of message forms and their records.
//!
//! A query adds the counts of files, and the rows of the rest. Senders decide how many forms there
//! are and how long they are. Beyond its bounds, the table drops the rarest forms and keeps the
//! number of their records. It holds up to twice as many forms while it is filled, so that a form
//! that becomes frequent late has a chance. A dropped form starts again at its next record. Its
//! service then lacks records of some form, which [`CutServices`] remembers.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use ahash::RandomState;
use tidings_proto::UnixNanos;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// Estimated bytes of a form besides its texts and steps: its share of both maps, its record, and
/// the allocations of all.
const FORM_BYTES: usize = 384;
/// Estimated bytes of the count of one step in a map.
const STEP_BYTES: usize = 32;
/// Number of forms that the table holds while it is filled, as a multiple of those that it returns.
const FILLED_FACTOR: usize = 2;
/// Maximum bytes of the names of [`CutServices`]. With more, all services count as cut.
const CUT_BYTES_MAX: usize = 1 << 20;
/// Estimated bytes of a name of [`CutServices`] besides its text.
const CUT_NAME_BYTES: usize = 48;

/// Bounds of a [`FormTable`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FormBounds {
    /// Maximum number of forms that are returned.
    pub forms_max: usize,
    /// Maximum estimated bytes, also while the table is filled.
    pub bytes_max: usize,
}

/// Records of one form in all steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FormSummary {
    /// Number of records.
    pub count: u64,
    /// Highest severity number of the records.
    pub severity_number: i32,
    /// Earliest time of the records.
    pub first: UnixNanos,
    /// Time and content hash of the last record. Of several records with one time, the last has the
    /// greatest hash: see `tidings_index::LogFilter::keys`.
    pub last: (UnixNanos, u64),
}

/// Records of one form, or of several.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FormRecords {
    /// The records of all steps.
    pub summary: FormSummary,
    /// Number of records, by start of the step.
    pub steps: BTreeMap<UnixNanos, u64>,
}

/// Forms of messages by service, each with its records.
#[derive(Debug)]
pub struct FormTable {
    bounds: FormBounds,
    services: HashMap<Arc<str>, ServiceForms, RandomState>,
    /// Number of forms.
    forms: usize,
    /// Estimated bytes of all forms.
    bytes: usize,
    other_count: u64,
    cut: CutServices,
}

/// Records of the forms of one service.
type ServiceForms = HashMap<String, FormRecords, RandomState>;

/// Rank of a form. The most frequent is first. The hash of the texts orders equally frequent forms,
/// so that no service or message has an advantage by its name.
type FormRank = (Reverse<u64>, u64);

/// Most frequent forms of a table.
#[derive(Debug)]
pub struct KeptForms {
    /// Service, form and records of each form, in no order. An unknown service is empty.
    pub forms: Vec<(Arc<str>, String, FormRecords)>,
    /// Number of records that are in no form.
    pub other_count: u64,
    /// Services with such records.
    pub cut: CutServices,
}

/// Services with records that are in no form.
#[derive(Debug, Default)]
pub struct CutServices {
    names: HashSet<Arc<str>, RandomState>,
    bytes: usize,
    is_all: bool,
}

impl FormSummary {
    /// Adds other records.
    pub fn join(&mut self, other: Self) {
        self.count += other.count;
        self.severity_number = self.severity_number.max(other.severity_number);
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
    }
}

impl FormRecords {
    /// Adds the records of another form, or of another time.
    pub fn join(&mut self, other: Self) {
        self.add(other.summary, other.steps);
    }

    /// Adds records with their numbers by step. Returns the number of new steps.
    fn add(
        &mut self,
        summary: FormSummary,
        steps: impl IntoIterator<Item = (UnixNanos, u64)>,
    ) -> usize {
        self.summary.join(summary);
        let before = self.steps.len();
        for (step, count) in steps {
            *self.steps.entry(step).or_default() += count;
        }
        self.steps.len() - before
    }

    fn rank(&self, service: &str, form: &str) -> FormRank {
        let hash = xxh3_64_with_seed(form.as_bytes(), xxh3_64(service.as_bytes()));
        (Reverse(self.summary.count), hash)
    }

    fn bytes(&self, service: &str, form: &str) -> usize {
        FORM_BYTES + service.len() + form.len() + self.steps.len() * STEP_BYTES
    }
}

impl FormTable {
    /// Creates an empty table.
    #[must_use]
    pub fn new(bounds: FormBounds) -> Self {
        Self {
            bounds,
            services: HashMap::default(),
            forms: 0,
            bytes: 0,
            other_count: 0,
            cut: CutServices::default(),
        }
    }

    /// Adds records of a form with their numbers by step.
    pub fn add(
        &mut self,
        service: &str,
        form: &str,
        summary: FormSummary,
        steps: impl IntoIterator<Item = (UnixNanos, u64)>,
    ) {
        let known = self.services.get_mut(service).and_then(|forms| forms.get_mut(form));
        if let Some(records) = known {
            self.bytes += records.add(summary, steps) * STEP_BYTES;
        } else {
            let records = FormRecords { summary, steps: steps.into_iter().collect() };
            self.bytes += records.bytes(service, form);
            self.forms += 1;
            self.insert(service, form, records);
        }
        let FormBounds { forms_max, bytes_max } = self.bounds;
        if self.forms > forms_max * FILLED_FACTOR || self.bytes > bytes_max {
            // An eighth of the bytes is free afterwards, so that not every record drops a form.
            self.prune(forms_max, bytes_max - bytes_max / 8);
        }
    }

    fn insert(&mut self, service: &str, form: &str, records: FormRecords) {
        if let Some(forms) = self.services.get_mut(service) {
            forms.insert(form.to_owned(), records);
        } else {
            let mut forms = ServiceForms::default();
            forms.insert(form.to_owned(), records);
            self.services.insert(Arc::from(service), forms);
        }
    }

    /// Drops the rarest forms until the table is within these bounds.
    fn prune(&mut self, forms_max: usize, bytes_max: usize) {
        let mut ranked: Vec<(FormRank, usize)> = Vec::with_capacity(self.forms);
        for (service, forms) in &self.services {
            ranked.extend(forms.iter().map(|(form, records)| {
                (records.rank(service, form), records.bytes(service, form))
            }));
        }
        ranked.sort_unstable();
        let mut bytes = 0;
        let is_within = |(_, of_form): &&(FormRank, usize)| {
            bytes += *of_form;
            bytes <= bytes_max
        };
        let kept = ranked.iter().take(forms_max).take_while(is_within).count();
        let Some((dropped, _)) = ranked.get(kept) else { return };
        self.services.retain(|service, forms| {
            let before = forms.len();
            forms.retain(|form, records| {
                let is_kept = records.rank(service, form) < *dropped;
                if !is_kept {
                    self.bytes -= records.bytes(service, form);
                    self.other_count += records.summary.count;
                }
                is_kept
            });
            if forms.len() < before {
                self.forms -= before - forms.len();
                self.cut.add(service);
                // The accounted bytes do not include unused capacity.
                forms.shrink_to(forms.len() * FILLED_FACTOR);
            }
            !forms.is_empty()
        });
    }

    /// Returns the most frequent forms.
    #[must_use]
    pub fn finish(mut self) -> KeptForms {
        let FormBounds { forms_max, bytes_max } = self.bounds;
        if self.forms > forms_max {
            self.prune(forms_max, bytes_max);
        }
        let mut kept = Vec::with_capacity(self.forms);
        for (service, forms) in self.services {
            let with_service = |(form, records)| (Arc::clone(&service), form, records);
            kept.extend(forms.into_iter().map(with_service));
        }
        KeptForms { forms: kept, other_count: self.other_count, cut: self.cut }
    }
}

impl CutServices {
    /// Adds a service.
    pub fn add(&mut self, service: &Arc<str>) {
        if self.contains(service) {
            return;
        }
        self.bytes += CUT_NAME_BYTES + service.len();
        if self.bytes > CUT_BYTES_MAX {
            *self = Self { is_all: true, ..Self::default() };
        } else {
            self.names.insert(Arc::clone(service));
        }
    }

    /// Adds the services of another set.
    pub fn join(&mut self, other: &Self) {
        if other.is_all {
            *self = Self { is_all: true, ..Self::default() };
        }
        other.names.iter().for_each(|service| self.add(service));
    }

    /// Returns true for a service of the set.
    #[must_use]
    pub fn contains(&self, service: &str) -> bool {
        self.is_all || self.names.contains(service)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tidings_proto::UnixNanos;

    use super::{CUT_BYTES_MAX, FILLED_FACTOR, FormBounds, FormSummary, FormTable, KeptForms};

    const BOUNDS: FormBounds = FormBounds { forms_max: 100, bytes_max: 1 << 20 };

    /// Adds one record with this time as step. Checks the table's own accounting.
    fn add(table: &mut FormTable, service: &str, form: &str, time: u64) {
        let time = UnixNanos(time);
        let summary = FormSummary { count: 1, severity_number: 9, first: time, last: (time, 7) };
        table.add(service, form, summary, [(time, 1)]);
        assert!(table.bytes <= table.bounds.bytes_max, "{} bytes", table.bytes);
        assert!(table.forms <= table.bounds.forms_max * FILLED_FACTOR, "{} forms", table.forms);
    }

    /// Checks that bytes and forms of the table are those of its maps.
    fn check_accounting(table: &FormTable) {
        let mut expected = (0, 0);
        for (service, forms) in &table.services {
            assert!(!forms.is_empty(), "{service} has no forms");
            for (form, records) in forms {
                expected = (expected.0 + 1, expected.1 + records.bytes(service, form));
                assert_eq!(records.steps.values().sum::<u64>(), records.summary.count);
            }
        }
        assert_eq!((table.forms, table.bytes), expected);
    }

    /// Returns the number of records in forms.
    fn kept_count(kept: &KeptForms) -> u64 {
        kept.forms.iter().map(|(.., records)| records.summary.count).sum()
    }

    #[test]
    fn frequent_forms_are_kept_among_many_distinct_messages_wherever_they_come() {
        let mut table = FormTable::new(BOUNDS);
        for number in 0..50_000_u64 {
            add(&mut table, "noisy", &format!("message {number}"), 1);
            match number {
                0..1_000 => add(&mut table, "shop", "early", 1),
                49_000.. => add(&mut table, "bank", "late", 1),
                _ if number % 50 == 0 => add(&mut table, "bank", "even", 1),
                _ => {}
            }
        }
        check_accounting(&table);
        let kept = table.finish();
        assert!(kept.forms.len() <= BOUNDS.forms_max, "{}", kept.forms.len());
        for (frequent, count) in [("early", 1_000), ("even", 960), ("late", 1_000)] {
            let found = kept.forms.iter().find(|(_, form, _)| form == frequent);
            let (.., records) = found.unwrap_or_else(|| panic!("{frequent} is kept"));
            // A form may be dropped while it has a single record, as the others have.
            assert!((count - 5..=count).contains(&records.summary.count), "{frequent} {records:?}");
        }
        assert_eq!(kept_count(&kept) + kept.other_count, 50_000 + 1_000 + 960 + 1_000);
        assert!(kept.cut.contains("noisy") && !kept.cut.contains("shop"));
    }

    #[test]
    fn the_order_of_records_does_not_change_the_kept_forms_of_a_table_that_is_not_full() {
        let count = |number: usize| 1 + number % 7;
        let kept = |numbers: &[usize]| {
            let mut table = FormTable::new(BOUNDS);
            for number in numbers {
                for _ in 0..count(*number) {
                    add(&mut table, "shop", &format!("form {number}"), 1);
                }
            }
            let kept = table.finish();
            let forms = kept.forms.into_iter().map(|(_, form, records)| (form, records));
            (forms.collect::<BTreeMap<_, _>>(), kept.other_count)
        };
        let mut numbers: Vec<usize> = (0..BOUNDS.forms_max * FILLED_FACTOR).collect();
        let (forms, other_count) = kept(&numbers);
        assert_eq!(forms.len(), BOUNDS.forms_max);
        numbers.reverse();
        assert_eq!(kept(&numbers), (forms.clone(), other_count));
        let rarest = forms.values().map(|records| records.summary.count).min().unwrap();
        let more_frequent = numbers.iter().filter(|number| count(**number) as u64 > rarest).count();
        let kept_of_them = forms.values().filter(|records| records.summary.count > rarest).count();
        assert_eq!(kept_of_them, more_frequent);
    }

    #[test]
    fn long_forms_and_many_steps_stay_within_the_bytes() {
        let bounds = FormBounds { forms_max: 1_000, bytes_max: 1 << 18 };
        let mut table = FormTable::new(bounds);
        let long = "x".repeat(2_400);
        for number in 0..3_000 {
            add(&mut table, "shop", &format!("{long}{number}"), 1);
        }
        check_accounting(&table);
        for step in 0..4_000 {
            for form in ["a", "b", "c"] {
                add(&mut table, "shop", form, step);
            }
        }
        check_accounting(&table);
        let kept = table.finish();
        assert_eq!(kept_count(&kept) + kept.other_count, 3_000 + 12_000);
        assert!(kept.cut.contains("shop"));
    }

    #[test]
    fn capacity_of_dropped_forms_is_given_back() {
        let mut table = FormTable::new(BOUNDS);
        for service in 0..20 {
            let service = format!("service {service}");
            for number in 0..1_000 {
                add(&mut table, &service, "frequent", 1);
                add(&mut table, &service, &format!("message {number}"), 1);
            }
        }
        let capacity: usize = table.services.values().map(|forms| forms.capacity()).sum();
        assert!(capacity <= 8 * BOUNDS.forms_max * FILLED_FACTOR, "{capacity}");
    }

    #[test]
    fn many_services_with_dropped_forms_are_remembered_as_all() {
        let mut table = FormTable::new(BOUNDS);
        for number in 0..30_000 {
            add(&mut table, &format!("service {number}"), "started", 1);
        }
        check_accounting(&table);
        assert!(table.cut.bytes <= CUT_BYTES_MAX, "{}", table.cut.bytes);
        let kept = table.finish();
        assert!(kept.cut.contains("a service of which no form was dropped"));
        assert_eq!(kept_count(&kept) + kept.other_count, 30_000);
    }
}
