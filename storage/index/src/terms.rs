//! Index terms of rows, as hashes: attributes, service, name, status, severity, link targets and
//! structured messages.
//!
//! Owns the hashes and collects them block by block. A term that is scattered over many blocks is
//! stored as a few longer runs of blocks. Exact positions are not needed, because a search for a
//! frequent term ends early anyway.

use std::{collections::HashMap, ops::Range, sync::Arc};

use ahash::RandomState;
use arrow_array::{Int32Array, RecordBatch, StringArray};
use arrow_schema::ArrowError;
use prost::Message;
use tidings_columns::{
    conversion::load,
    packed::EntryValue,
    rows::{
        column::{OptionalColumn, WordColumn},
        entries::{AttributeEntries, ElementEntries, Linked},
    },
};
use tidings_proto::{
    TraceId,
    json_field::is_object,
    otlp::{
        AnyValue, InstrumentationScope, KeyValue, Resource, Severity, StatusCode, Value, ValueForm,
    },
};
use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128};

use super::{
    postings::{BLOCK_BITS, PostingCollector},
    runs::PostingRun,
};

/// Rows of a block, the unit of term postings.
pub(super) const BLOCK_ROWS: u32 = 1024;
/// Maximum number of runs of blocks for a term.
const STRETCHES_MAX: usize = 16;
/// Maximum number of postings of a file, at 8 bytes each. The terms of a file with more are not
/// indexed.
const PLACES_MAX: usize = 1 << 25;
/// Size of the cache that recognises repeated terms of a block; a power of two.
const SEEN: usize = 4096;
/// Size of the cache that recognises repeated texts of a block.
const DISTINCT: usize = 256;
/// Maximum number of resources or scopes whose terms are cached.
const SENDERS_MAX: usize = 4096;

const KEY: u64 = 1;
const SERVICE: u64 = 2;
const NAME: u64 = 3;
const STATUS: u64 = 4;
const SEVERITY: u64 = 5;
const LINK: u64 = 6;
const OBJECT: u64 = 7;

/// Term of an attribute with this key and any value or none.
pub(crate) fn key_term(key: &str) -> u64 {
    xxh3_64_with_seed(key.as_bytes(), KEY)
}

/// Term of a text. `key` is the term of the attribute's key, here and below.
pub(crate) fn text_term(key: u64, text: &str) -> u64 {
    xxh3_64_with_seed(text.as_bytes(), key.wrapping_add(1))
}

/// Term of an integer.
pub(crate) fn int_term(key: u64, number: i64) -> u64 {
    xxh3_64_with_seed(&number.to_le_bytes(), key.wrapping_add(2))
}

/// Term of a floating-point number. Numbers that compare equal have the same term, and so have all
/// NaN values.
pub(crate) fn double_term(key: u64, number: f64) -> u64 {
    let number = if number.is_nan() { f64::NAN.abs() } else { number + 0.0 };
    xxh3_64_with_seed(&number.to_bits().to_le_bytes(), key.wrapping_add(3))
}

/// Term of a boolean.
pub(crate) fn truth_term(key: u64, truth: bool) -> u64 {
    xxh3_64_with_seed(&[u8::from(truth)], key.wrapping_add(4))
}

/// Returns the terms of a value: its own, and those of an array's elements. `key` is the key's
/// term.
fn value_terms(key: u64, value: &Value) -> impl Iterator<Item = u64> {
    let elements = if let ValueForm::List(values) = value.form() { values } else { &[] };
    let elements = elements.iter().filter_map(|element| element.value.as_ref());
    let of_elements = elements.filter_map(move |element| scalar_term(key, element));
    let own = scalar_term(key, value).unwrap_or_else(|| text_term(key, &value.to_text()));
    std::iter::once(own).chain(of_elements)
}

fn scalar_term(key: u64, value: &Value) -> Option<u64> {
    Some(match value.form() {
        ValueForm::Text(text) => text_term(key, text),
        ValueForm::Int(number) => int_term(key, number),
        ValueForm::Double(number) => double_term(key, number),
        ValueForm::Bool(truth) => truth_term(key, truth),
        ValueForm::List(_) | ValueForm::Map(_) | ValueForm::Bytes(_) => return None,
    })
}

/// Term of the rows of this service.
pub(crate) fn service_term(service: &str) -> u64 {
    xxh3_64_with_seed(service.as_bytes(), SERVICE)
}

/// Term of the spans with this name.
pub(crate) fn name_term(name: &str) -> u64 {
    xxh3_64_with_seed(name.as_bytes(), NAME)
}

/// Term of the spans with an error status.
pub(crate) fn error_term() -> u64 {
    xxh3_64_with_seed(&[], STATUS)
}

/// Term of the log records of this severity.
pub(crate) fn severity_term(severity: Severity) -> u64 {
    xxh3_64_with_seed(&severity.first_number().to_le_bytes(), SEVERITY)
}

/// Term of the spans with a link to this trace.
pub(crate) fn link_term(trace: TraceId) -> u64 {
    xxh3_64_with_seed(trace.as_bytes(), LINK)
}

/// Term of the log records whose message has fields.
pub(crate) fn object_term() -> u64 {
    xxh3_64_with_seed(&[], OBJECT)
}

/// Collects the terms of a file's rows.
#[derive(Debug)]
pub(super) struct TermCollector {
    /// Cache of the last terms of this block. A term's hash selects its cell.
    seen: Box<[u64]>,
    block: u32,
    places: PostingCollector,
    overflowed: bool,
    resources: Senders,
    scopes: Senders,
}

impl Default for TermCollector {
    fn default() -> Self {
        Self {
            seen: vec![0; SEEN].into(),
            block: 0,
            places: PostingCollector::default(),
            overflowed: false,
            resources: Senders::new(|text| load::<Resource>(text).attributes),
            scopes: Senders::new(|text| load::<InstrumentationScope>(text).attributes),
        }
    }
}

/// Terms of resources or scopes, cached by a hash of their stored text.
#[derive(Debug)]
struct Senders {
    terms: HashMap<u128, Arc<[u64]>, RandomState>,
    attributes: fn(&str) -> Vec<KeyValue>,
}

impl Senders {
    fn new(attributes: fn(&str) -> Vec<KeyValue>) -> Self {
        Self { terms: HashMap::default(), attributes }
    }

    fn terms(&mut self, text: &str) -> Arc<[u64]> {
        let hash = xxh3_128(text.as_bytes());
        if let Some(terms) = self.terms.get(&hash) {
            return Arc::clone(terms);
        }
        let mut terms = Vec::new();
        for attribute in (self.attributes)(text) {
            let key = key_term(&attribute.key);
            terms.push(key);
            terms.extend(attribute.value().into_iter().flat_map(|value| value_terms(key, value)));
        }
        if self.terms.len() >= SENDERS_MAX {
            self.terms.clear();
        }
        let terms: Arc<[u64]> = terms.into();
        self.terms.insert(hash, Arc::clone(&terms));
        terms
    }
}

/// Columns that have terms.
pub(super) struct TermColumns {
    attributes: Option<AttributeEntries>,
    /// Terms of the attribute keys, in the order of the dictionary.
    keys: Vec<u64>,
    events: Option<ElementEntries>,
    links: Option<ElementEntries>,
    linked: Option<Linked>,
    resource: Option<WordColumn>,
    scope: Option<WordColumn>,
    service: Option<WordColumn>,
    name: Option<WordColumn>,
    status: OptionalColumn<Int32Array>,
    severity: OptionalColumn<Int32Array>,
    text: OptionalColumn<StringArray>,
}

impl TermColumns {
    pub(super) fn from_batch(batch: &RecordBatch) -> Result<Self, ArrowError> {
        let attributes = AttributeEntries::from_batch(batch, "attributes")?;
        let keys = attributes.iter().flat_map(|attributes| attributes.keys.iter());
        Ok(Self {
            keys: keys.map(key_term).collect(),
            attributes,
            events: ElementEntries::from_batch(batch, "events")?,
            links: ElementEntries::from_batch(batch, "links")?,
            linked: Linked::from_batch(batch)?,
            resource: WordColumn::from_batch(batch, "resource")?,
            scope: WordColumn::from_batch(batch, "scope")?,
            service: WordColumn::from_batch(batch, "service")?,
            name: WordColumn::from_batch(batch, "name")?,
            status: OptionalColumn::from_batch(batch, "status_code")?,
            severity: OptionalColumn::from_batch(batch, "severity_number")?,
            text: OptionalColumn::from_batch(batch, "text")?,
        })
    }
}

impl TermCollector {
    /// Adds rows of a batch, all of which are in this block of the file.
    pub(super) fn push(&mut self, columns: &TermColumns, rows: Range<usize>, block: u32) {
        if self.overflowed || rows.is_empty() {
            return;
        }
        if self.block != block {
            self.seen.fill(0);
            self.block = block;
        }
        if let Some(attributes) = &columns.attributes {
            let entries = attributes.of_rows(&rows);
            // Keys are few and entries are many: each key is added once.
            let mut are_met = vec![false; columns.keys.len()];
            entries.clone().for_each(|entry| are_met[attributes.keys.code(entry)] = true);
            let met = columns.keys.iter().zip(are_met).filter(|(_, is_met)| *is_met);
            met.for_each(|(key, _)| self.add(*key));
            let key = |entry| columns.keys[attributes.keys.code(entry)];
            self.push_values(attributes, entries, key);
        }
        for elements in [&columns.events, &columns.links].into_iter().flatten() {
            let key = |entry| key_term(elements.entries.keys.value(entry));
            let entries = elements.of_rows(&rows);
            entries.clone().for_each(|entry| self.add(key(entry)));
            self.push_values(&elements.entries, entries, key);
        }
        for trace in columns.linked.iter().flat_map(|linked| linked.of_rows(&rows)) {
            self.add(link_term(trace));
        }
        self.push_words(columns, &rows);
        for row in rows {
            let status = columns.status.int(row).and_then(|code| StatusCode::try_from(code).ok());
            if status == Some(StatusCode::Error) {
                self.add(error_term());
            }
            if let Some(severity) = columns.severity.int(row).and_then(Severity::from_number) {
                self.add(severity_term(severity));
            }
            if columns.text.text(row).is_some_and(is_object) {
                self.add(object_term());
            }
        }
        self.overflowed |= self.places.len() > PLACES_MAX;
    }

    /// Adds the values of entries. `key` returns the term of an entry's key.
    fn push_values(
        &mut self,
        column: &AttributeEntries,
        entries: Range<usize>,
        key: impl Fn(usize) -> u64,
    ) {
        for entry in entries {
            let key = key(entry);
            // Most values are texts. This path reads them without decoding the type of the value.
            if let Some(text) = column.text(entry) {
                self.add(text_term(key, text));
                continue;
            }
            match column.value(entry) {
                EntryValue::Text(text) => self.add(text_term(key, text)),
                EntryValue::Int(number) => self.add(int_term(key, number)),
                EntryValue::Double(number) => self.add(double_term(key, number)),
                EntryValue::Bool(truth) => self.add(truth_term(key, truth)),
                EntryValue::Nested(nested) => {
                    // A value that cannot be decoded matches no filter.
                    let value =
                        AnyValue::decode(&*nested.encoded()).ok().and_then(|value| value.value);
                    let terms = value.iter().flat_map(|value| value_terms(key, value));
                    terms.for_each(|term| self.add(term));
                }
                EntryValue::None | EntryValue::Empty => {}
            }
        }
    }

    fn push_words(&mut self, columns: &TermColumns, rows: &Range<usize>) {
        for text in distinct(columns.service.as_ref(), rows) {
            self.add(service_term(text));
        }
        for text in distinct(columns.name.as_ref(), rows) {
            self.add(name_term(text));
        }
        for text in distinct(columns.resource.as_ref(), rows) {
            for term in self.resources.terms(text).iter() {
                self.add(*term);
            }
        }
        for text in distinct(columns.scope.as_ref(), rows) {
            for term in self.scopes.terms(text).iter() {
                self.add(*term);
            }
        }
    }

    fn add(&mut self, term: u64) {
        let cell = usize::try_from(term % SEEN as u64).unwrap_or_default();
        if self.seen[cell] != term {
            self.seen[cell] = term;
            self.places.push(term >> BLOCK_BITS << BLOCK_BITS | u64::from(self.block));
        }
    }

    /// Returns the postings of all terms. `None` when there were too many.
    pub(super) fn finish(self) -> Option<Terms> {
        (!self.overflowed).then(|| Terms(self.places.sorted()))
    }
}

/// Postings of all terms of a file, sorted, in parts.
#[derive(Debug)]
pub(super) struct Terms(Vec<Vec<u64>>);

impl Terms {
    /// Returns the number of terms.
    pub(super) fn count(&self) -> usize {
        self.each().count()
    }

    /// Passes the runs of all terms to `give`, in order of hash and block.
    pub(super) fn each_run(&self, give: &mut dyn FnMut(PostingRun)) {
        let mut gaps = Vec::new();
        for places in self.each() {
            each_stretch(places, &mut gaps, give);
        }
    }

    /// Returns the postings of each term.
    fn each(&self) -> impl Iterator<Item = &[u64]> {
        let is_same = |left: &u64, right: &u64| left >> BLOCK_BITS == right >> BLOCK_BITS;
        self.0.iter().flat_map(move |part| part.chunk_by(is_same))
    }
}

/// Returns true if there are other blocks between two postings of a term.
fn is_gap(pair: &[u64]) -> bool {
    matches!(pair, [left, right] if right - left > 1)
}

/// Returns the texts of these rows. A text that repeats soon is returned once.
fn distinct<'a>(
    words: Option<&'a WordColumn>,
    rows: &Range<usize>,
) -> impl Iterator<Item = &'a str> {
    let mut met = [usize::MAX; DISTINCT];
    let keys = rows.clone().filter_map(move |row| words.and_then(|words| words.key(row)));
    let new = keys.filter(move |key| std::mem::replace(&mut met[key % DISTINCT], *key) != *key);
    new.filter_map(move |key| Some(words?.values.value(key)))
}

/// Joins the postings of one term into runs of blocks. When there are too many runs, the smallest
/// gaps are closed. `gaps` is a reusable buffer with any content.
fn each_stretch(places: &[u64], gaps: &mut Vec<(u64, usize)>, give: &mut dyn FnMut(PostingRun)) {
    let block = |place: u64| {
        u32::try_from(place & ((1 << BLOCK_BITS) - 1)).expect("invariant: the mask is narrower")
    };
    let windows = places.windows(2).zip(1..).filter(|(pair, _)| is_gap(pair));
    gaps.clear();
    gaps.extend(windows.map(|(pair, at)| (pair[1] - pair[0], at)));
    if gaps.len() >= STRETCHES_MAX {
        gaps.select_nth_unstable_by(STRETCHES_MAX - 1, |a, b| b.cmp(a));
        gaps.truncate(STRETCHES_MAX - 1);
        gaps.sort_unstable_by_key(|(_, at)| *at);
    }
    let mut start = 0;
    for end in gaps.iter().map(|(_, at)| *at).chain([places.len()]) {
        let (first, last) = (block(places[start]), block(places[end - 1]));
        let hash = places[start] >> BLOCK_BITS << BLOCK_BITS;
        give(PostingRun { hash, first, count: last - first + 1 });
        start = end;
    }
}
