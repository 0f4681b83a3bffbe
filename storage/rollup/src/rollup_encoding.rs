//! Encoding of a file's rollups, described in `docs/formats/index.md`.
//!
//! The section in the index's head locates the pages: one with the groups, and for each level one
//! for each time bucket with calls. Each page has its own checksum. Buckets of two levels share a
//! page when the longer one contains only one shorter bucket with calls and both have the same
//! rollup buckets. A level that is too large can be kept without durations and exemplars.

use std::{collections::HashMap, ops::Range, sync::Arc};

use ahash::RandomState;
use tidings_proto::{
    UnixNanos,
    otlp::{SpanKind, StatusCode},
};

use super::{CallKey, Calls, LEVELS, RawKey, RollupBucket, rollup_bucket};
use crate::index_bytes::{Fetch, Reader as Bytes, push_varint};

/// Number of a group in its file.
pub type GroupNumber = u32;

/// Number of a time bucket, and group.
pub(crate) type BucketKey = (u64, GroupNumber);

const CRC_BYTES: usize = 4;
/// Size up to which each level is kept. A level above it is kept within [`LevelLimits`], in
/// proportion to the rows of the file.
const BYTES_MIN: usize = 64 << 10;
/// Bytes for each row that the level with the longest buckets may take. No rollup bucket of one
/// call exceeds it, so a file always has this level. Without it, each query would read the file's
/// rows.
const COARSEST_BYTES_OF_ROW: usize = 96;
/// Bytes for each row that a level whose rollup buckets only count calls may take.
const COUNTS_BYTES_OF_ROW: usize = 1;
/// Number that is added to that of a level whose rollup buckets only count calls.
const COUNTS: usize = 16;
/// Maximum size of a page. A level with a larger page is omitted.
const PAGE_BYTES_MAX: usize = 8 << 20;
/// Length that stands for the page of the only shorter bucket. No page is as short.
const SAME_PAGE: usize = 0;
/// Memory of a group in the tables that hold its number, without its texts.
const GROUP_BYTES: usize = 320;
/// Number of copies of a group's texts in memory: for the lookup, the encoding and the list.
const TEXT_COPIES: usize = 3;

/// Numbers of the groups with the same two texts, by their two numbers.
type OfTexts = HashMap<[i32; 2], GroupNumber, RandomState>;

/// Groups of a file, numbered in the order of their first use.
#[derive(Debug, Default)]
pub struct GroupTable {
    /// Numbers of the groups, by their two texts and two numbers.
    numbers: HashMap<String, HashMap<String, OfTexts, RandomState>, RandomState>,
    bytes: Vec<u8>,
    len: GroupNumber,
}

impl GroupTable {
    /// Returns the number of groups.
    pub fn group_count(&self) -> usize {
        self.len as usize
    }

    /// Returns the memory in bytes, names included.
    pub fn bytes(&self) -> usize {
        self.group_count() * GROUP_BYTES + self.bytes.len() * TEXT_COPIES
    }

    /// Returns true if the groups exceed the size limit of a file's list.
    pub(crate) fn are_too_large(&self) -> bool {
        self.bytes.len() > PAGE_BYTES_MAX
    }

    /// Returns the number of this group, which is added if it is new.
    pub fn number(&mut self, (texts, parts): RawKey<'_>) -> GroupNumber {
        let [first, second] = texts;
        let known = self.numbers.get(first).and_then(|others| others.get(second));
        if let Some(number) = known.and_then(|known| known.get(&parts)) {
            return *number;
        }
        let number = self.len;
        self.len += 1;
        let others = self.numbers.entry(first.to_owned()).or_default();
        others.entry(second.to_owned()).or_default().insert(parts, number);
        for text in texts {
            push_varint(&mut self.bytes, text.len() as u64);
            self.bytes.extend(text.as_bytes());
        }
        for part in parts {
            push_varint(&mut self.bytes, u64::from(part.cast_unsigned()));
        }
        number
    }

    /// Returns the group keys by number.
    pub fn names(&self) -> GroupNames {
        GroupNames::decode(&self.bytes).expect("invariant: they were just encoded")
    }
}

/// Limits of the size of each level.
#[derive(Debug, Clone, Copy)]
pub struct LevelLimits {
    /// Maximum bytes of each level for each row of the file. 0 omits the level.
    bytes_of_row: [usize; LEVELS.len()],
    /// Selects groups by their first number. Their calls are at least counted in levels that are
    /// too large. `None` omits such levels.
    is_counted: Option<fn(i32) -> bool>,
}

impl LevelLimits {
    /// All levels.
    pub const ALL: Self = Self { bytes_of_row: [4, 8, COARSEST_BYTES_OF_ROW], is_counted: None };
    /// Levels of one minute and of half an hour. The level between them would double the size.
    pub(crate) const ENDS: Self =
        Self { bytes_of_row: [2, 0, COARSEST_BYTES_OF_ROW], is_counted: None };

    /// Returns limits that keep the counts of these groups where a level is too large.
    pub const fn counting(self, is_counted: fn(i32) -> bool) -> Self {
        Self { bytes_of_row: self.bytes_of_row, is_counted: Some(is_counted) }
    }

    /// Returns true if the level is kept, unless it is too large.
    pub(crate) fn keeps(self, level: usize) -> bool {
        self.bytes_of_row[level] > 0
    }

    fn bytes_max(self, level: usize, rows: usize) -> usize {
        #[cfg(any(test, feature = "samples"))]
        if self.is_counted.is_some() && level < COUNTS_BELOW.get() {
            return 0;
        }
        rows.saturating_mul(self.bytes_of_row[level]).max(BYTES_MIN)
    }
}

#[cfg(any(test, feature = "samples"))]
thread_local! {
    /// Level below which this thread writes only counts, where limits allow counts.
    pub static COUNTS_BELOW: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// Section under construction.
#[derive(Debug)]
pub struct Encoded {
    section: Vec<u8>,
    pages: Vec<u8>,
    /// Start of each bucket of the last level that was kept, and the range of its page in `pages`.
    shorter: Vec<(u64, Range<usize>)>,
    /// Maximum bytes of each level. `None` when the groups are too large for any rollup.
    level_bytes_max: Option<[usize; LEVELS.len()]>,
    /// For each group, true if its calls are counted in levels that are too large. Empty when these
    /// are omitted.
    is_counted: Vec<bool>,
    /// Maximum bytes of a level with nothing but counts.
    counts_bytes_max: usize,
}

impl Encoded {
    /// Begins the section of a file with this many rows, and its pages, which start at this offset.
    pub fn new(groups: &GroupTable, rows: usize, keep: LevelLimits, offset: u64) -> Self {
        let level_bytes_max = std::array::from_fn(|level| keep.bytes_max(level, rows));
        let groups_bytes_max = level_bytes_max[LEVELS.len() - 1];
        let (mut section, mut pages) = (offset.to_le_bytes().to_vec(), groups.bytes.clone());
        seal(&mut pages, 0);
        let fits = pages.len() <= groups_bytes_max.min(PAGE_BYTES_MAX);
        if fits {
            section.extend(length(pages.len()));
        } else {
            pages.clear();
        }
        let is_counted = keep.is_counted.map_or_else(Vec::new, |is_counted| {
            groups.names().groups.iter().map(|group| is_counted(group.parts[0])).collect()
        });
        Self {
            section,
            pages,
            shorter: Vec::new(),
            level_bytes_max: fits.then_some(level_bytes_max),
            is_counted,
            counts_bytes_max: rows.saturating_mul(COUNTS_BYTES_OF_ROW).max(BYTES_MIN),
        }
    }

    /// Adds a level. If it is too large, adds only its counts, or nothing.
    pub(crate) fn push_level(&mut self, level: usize, cells: &[(BucketKey, Calls)]) {
        let Some(bytes_max) = self.level_bytes_max.map(|bytes_max| bytes_max[level]) else {
            return;
        };
        let (mut directory, mut pages) = (Vec::new(), Vec::new());
        let mut periods = Vec::new();
        for page in cells.chunk_by(|((left, _), _), ((right, _), _)| left == right) {
            let Some(((period, _), _)) = page.first() else { continue };
            let (start, begin) = (pages.len(), period.saturating_mul(LEVELS[level]));
            for ((_, group), calls) in page {
                push_rollup_bucket(
                    &mut pages,
                    *group,
                    &rollup_bucket::encoded(calls, UnixNanos(begin)),
                );
            }
            seal(&mut pages, start);
            let bytes = pages.len() - start;
            directory.extend(period.to_le_bytes());
            match self.same_page(begin, LEVELS[level], &pages[start..]) {
                Some(same) => {
                    pages.truncate(start);
                    directory.extend(length(SAME_PAGE));
                    periods.push((begin, same));
                }
                None => {
                    directory.extend(length(bytes));
                    let place = self.pages.len() + start;
                    periods.push((begin, place..place + bytes));
                }
            }
            if bytes > PAGE_BYTES_MAX || pages.len() + directory.len() > bytes_max {
                self.push_counts(level, cells);
                return;
            }
        }
        self.section.extend(length(level));
        self.section.extend(length(periods.len()));
        self.section.extend(directory);
        self.pages.extend(pages);
        self.shorter = periods;
    }

    /// Adds a level whose rollup buckets only count calls, unless it is too large.
    fn push_counts(&mut self, level: usize, cells: &[(BucketKey, Calls)]) {
        if self.is_counted.is_empty() {
            return;
        }
        let is_counted = |group: GroupNumber| self.is_counted.get(group as usize) == Some(&true);
        let (mut directory, mut pages, mut periods) = (Vec::new(), Vec::new(), 0);
        for page in cells.chunk_by(|((left, _), _), ((right, _), _)| left == right) {
            let Some(((period, _), _)) = page.first() else { continue };
            let (start, begin) = (pages.len(), period.saturating_mul(LEVELS[level]));
            for ((_, group), calls) in page.iter().filter(|((_, group), _)| is_counted(*group)) {
                let cell = rollup_bucket::encoded(&calls.only_counts(), UnixNanos(begin));
                push_rollup_bucket(&mut pages, *group, &cell);
            }
            seal(&mut pages, start);
            directory.extend(period.to_le_bytes());
            directory.extend(length(pages.len() - start));
            periods += 1;
            if pages.len() + directory.len() > self.counts_bytes_max {
                return;
            }
        }
        self.section.extend(length(COUNTS + level));
        self.section.extend(length(periods));
        self.section.extend(directory);
        self.pages.extend(pages);
    }

    /// Returns the page of the only shorter bucket inside this one, if it has the same bytes.
    fn same_page(&self, begin: u64, length: u64, page: &[u8]) -> Option<Range<usize>> {
        let starts = |(start, _): &(u64, Range<usize>)| *start;
        let (_, place) = only_within(&self.shorter, begin, length, starts)?;
        (self.pages.get(place.clone())? == page).then(|| place.clone())
    }

    /// Returns the section and its pages.
    pub fn finish(self) -> (Vec<u8>, Vec<u8>) {
        (self.section, self.pages)
    }
}

/// Returns the item that starts in this time bucket, if it is the only one. Items are sorted by
/// start.
fn only_within<T>(shorter: &[T], begin: u64, length: u64, start: impl Fn(&T) -> u64) -> Option<&T> {
    let first = shorter.partition_point(|of| start(of) < begin);
    let within = shorter.get(first..)?.iter();
    let mut within = within.take_while(|of| start(of) < begin.saturating_add(length));
    within.next().filter(|_| within.next().is_none())
}

fn length(length: usize) -> [u8; 4] {
    u32::try_from(length).expect("invariant: pages are small").to_le_bytes()
}

/// Appends a rollup bucket to a page.
pub fn push_rollup_bucket(page: &mut Vec<u8>, group: GroupNumber, cell: &[u8]) {
    push_varint(page, u64::from(group));
    push_varint(page, cell.len() as u64);
    page.extend(cell);
}

/// Passes the rollup buckets of a page to `visit`. [`push_rollup_bucket`] wrote them, and `start`
/// is the start of the time bucket. `None` when they are damaged.
pub fn each_rollup_bucket(
    page: &[u8],
    start: UnixNanos,
    mut visit: impl FnMut(GroupNumber, RollupBucket<'_>) -> Option<()>,
) -> Option<()> {
    let mut page = Bytes::new(page);
    while !page.is_empty() {
        let group = GroupNumber::try_from(page.varint()?).ok()?;
        let length = usize::try_from(page.varint()?).ok()?;
        visit(group, RollupBucket::decode(page.take(length)?, start)?)?;
    }
    Some(())
}

/// Ends the page that began at `start` with its checksum.
pub(crate) fn seal(pages: &mut Vec<u8>, start: usize) {
    let crc = crc32c::crc32c(&pages[start..]);
    pages.extend(crc.to_le_bytes());
}

/// Locations of a file's rollups.
#[derive(Debug)]
pub struct Directory {
    groups: Range<u64>,
    levels: [Option<Arc<Level>>; LEVELS.len()],
    /// Directory for queries that only count calls. It also has the levels with nothing but counts.
    /// `None` when there are none.
    counting: Option<Box<Self>>,
}

/// Time buckets of a level that have calls, ascending, with their pages.
#[derive(Debug)]
struct Level {
    periods: Box<[u64]>,
    /// Location of the page of each bucket.
    pages: Box<[Range<u64>]>,
}

impl Directory {
    /// Decodes a directory. `None` when the bytes are not a directory.
    pub fn decode(section: &[u8]) -> Option<Self> {
        let mut section = Bytes::new(section);
        let mut offset = section.u64()?;
        let mut levels: [Option<Arc<Level>>; LEVELS.len()] = [const { None }; LEVELS.len()];
        let mut counts = levels.clone();
        let mut shorter: Vec<(u64, Range<u64>)> = Vec::new();
        if section.is_empty() {
            return Some(Self { groups: offset..offset, levels, counting: None });
        }
        let groups = offset..offset.checked_add(u64::from(section.u32()?))?;
        offset = groups.end;
        while !section.is_empty() {
            let number = usize::try_from(section.u32()?).ok()?;
            let (level, kept) = match number.checked_sub(COUNTS) {
                Some(level) => (level, &mut counts),
                None => (number, &mut levels),
            };
            let longest = *LEVELS.get(level)?;
            let (mut periods, mut pages) = (Vec::new(), Vec::new());
            for _ in 0..section.u32()? {
                let period = section.u64()?;
                let begin = period.saturating_mul(longest);
                let page = match usize::try_from(section.u32()?).ok()? {
                    SAME_PAGE => only_within(&shorter, begin, longest, |of| of.0)?.1.clone(),
                    bytes => {
                        let start = offset;
                        offset = offset.checked_add(bytes as u64)?;
                        start..offset
                    }
                };
                periods.push((period, begin));
                pages.push(page);
            }
            let sorted = periods.is_sorted();
            if number < COUNTS {
                let starts = periods.iter().map(|(_, begin)| *begin);
                shorter = starts.zip(pages.iter().cloned()).collect();
            }
            let periods: Vec<u64> = periods.into_iter().map(|(period, _)| period).collect();
            let of_level = || Arc::new(Level { periods: periods.into(), pages: pages.into() });
            kept[level] = sorted.then(of_level);
        }
        let counting = counts.iter().any(Option::is_some).then(|| {
            let level = |level: usize| levels[level].clone().or_else(|| counts[level].clone());
            let levels = std::array::from_fn(level);
            Box::new(Self { groups: groups.clone(), levels, counting: None })
        });
        Some(Self { groups, levels, counting })
    }

    /// Returns the directory for queries that only count calls, or for all others.
    pub fn for_query(&self, only_counts: bool) -> &Self {
        self.counting.as_deref().filter(|_| only_counts).unwrap_or(self)
    }

    /// Returns the memory in bytes.
    pub fn bytes(&self) -> usize {
        let directories = 1 + usize::from(self.counting.is_some());
        let levels = self.for_query(true).levels.iter().flatten();
        let periods: usize = levels.map(|level| level.periods.len()).sum();
        directories * size_of::<Self>() + 24 * periods
    }

    /// Returns the level with the shortest buckets.
    pub fn finest(&self) -> Option<usize> {
        self.levels.iter().position(Option::is_some)
    }

    /// Returns the level with the longest buckets.
    pub fn coarsest(&self) -> Option<usize> {
        self.levels.iter().rposition(Option::is_some)
    }

    /// Returns true if the file has groups. The page of an empty list has only a checksum.
    pub fn has_groups(&self) -> bool {
        self.groups.end - self.groups.start > CRC_BYTES as u64
    }

    /// Returns true if the level exists.
    pub fn has_level(&self, level: usize) -> bool {
        self.levels.get(level).is_some_and(Option::is_some)
    }

    /// Returns the time range of each bucket of a level that has calls.
    pub fn periods(&self, level: usize) -> impl Iterator<Item = Range<u64>> {
        let length = LEVELS[level];
        let periods = self.levels[level].iter().flat_map(|level| &level.periods);
        periods.map(move |period| {
            let start = period.saturating_mul(length);
            start..start.saturating_add(length)
        })
    }

    /// Reads the group names by number. `None` when the page is missing or damaged.
    pub fn groups(&self, fetch: &mut Fetch<'_>) -> Option<GroupNames> {
        let mut page = fetch(self.groups.clone())?;
        page.truncate(unsealed(&page)?.len());
        GroupNames::decode(&page)
    }

    /// Passes the rollup buckets of a time bucket to `visit`, by group. A bucket without calls has
    /// none. `None` when the page is missing or damaged.
    pub fn cells(
        &self,
        level: usize,
        start: u64,
        fetch: &mut Fetch<'_>,
        visit: impl FnMut(GroupNumber, RollupBucket<'_>) -> Option<()>,
    ) -> Option<()> {
        let of_level = self.levels[level].as_ref()?;
        let Ok(at) = of_level.periods.binary_search(&(start / LEVELS[level])) else {
            return Some(());
        };
        let page = fetch(of_level.pages[at].clone())?;
        each_rollup_bucket(unsealed(&page)?, UnixNanos(start), visit)
    }

    /// Like [`Self::cells`], with the number of calls of each rollup bucket only.
    pub fn counts(
        &self,
        level: usize,
        start: u64,
        fetch: &mut Fetch<'_>,
        mut visit: impl FnMut(GroupNumber, u64),
    ) -> Option<()> {
        self.cells(level, start, fetch, |group, cell| {
            visit(group, cell.count());
            Some(())
        })
    }
}

/// Returns the content of a page if its checksum matches.
pub(crate) fn unsealed(page: &[u8]) -> Option<&[u8]> {
    let (held, crc) = page.split_at_checked(page.len().checked_sub(CRC_BYTES)?)?;
    (Bytes::new(crc).u32()? == crc32c::crc32c(held)).then_some(held)
}

/// Keys of a file's groups, by number.
#[derive(Debug, Default)]
pub struct GroupNames {
    /// Concatenated texts of all groups.
    texts: String,
    groups: Vec<GroupName>,
}

/// Ends of a group's texts. They begin where those of the previous group end.
#[derive(Debug)]
struct GroupName {
    ends: [usize; 2],
    parts: [i32; 2],
}

impl GroupNames {
    fn decode(page: &[u8]) -> Option<Self> {
        let mut names = Self::default();
        names.texts.reserve(page.len());
        let mut page = Bytes::new(page);
        while !page.is_empty() {
            let ends = [names.take_text(&mut page)?, names.take_text(&mut page)?];
            let parts = [number(&mut page)?, number(&mut page)?];
            names.groups.push(GroupName { ends, parts });
        }
        Some(names)
    }

    /// Moves the text at the front of the page to `texts` and returns its end there.
    fn take_text(&mut self, page: &mut Bytes<'_>) -> Option<usize> {
        let length = usize::try_from(page.varint()?).ok()?;
        self.texts.push_str(std::str::from_utf8(page.take(length)?).ok()?);
        Some(self.texts.len())
    }

    /// Returns the number of groups.
    pub fn group_count(&self) -> usize {
        self.groups.len()
    }

    /// Returns the memory in bytes.
    pub fn bytes(&self) -> usize {
        self.texts.capacity() + self.groups.capacity() * size_of::<GroupName>()
    }

    /// Returns the key of the group with this number.
    pub fn raw(&self, group: GroupNumber) -> Option<RawKey<'_>> {
        let place = group as usize;
        let GroupName { ends: [middle, end], parts } = self.groups.get(place)?;
        let before = place.checked_sub(1).and_then(|before| self.groups.get(before));
        let start = before.map_or(0, |before| before.ends[1]);
        Some(([self.texts.get(start..*middle)?, self.texts.get(*middle..*end)?], *parts))
    }

    /// Returns true if all groups have a [`CallKey`].
    pub fn are_calls(&self) -> bool {
        self.numbers().len() == self.groups.len()
    }

    /// Returns the number of each group.
    pub fn numbers(&self) -> HashMap<CallKey<'_>, GroupNumber> {
        (0..).map_while(|group| Some((self.key(group)?, group))).collect()
    }

    /// Returns the key of this group. `None` when the group is unknown or has no such key.
    pub fn key(&self, group: GroupNumber) -> Option<CallKey<'_>> {
        let ([service, operation], [kind, status]) = self.raw(group)?;
        let (kind, status) = (SpanKind::try_from(kind).ok()?, StatusCode::try_from(status).ok()?);
        Some(CallKey { service, operation, kind, status })
    }
}

fn number(page: &mut Bytes<'_>) -> Option<i32> {
    Some(u32::try_from(page.varint()?).ok()?.cast_signed())
}

/// Appends the rows that rollups omit to a section. The ranges are ascending and disjoint.
pub(crate) fn push_uncounted_rows(section: &mut Vec<u8>, rows: &[Range<u64>]) {
    push_varint(section, rows.len() as u64);
    let mut end = 0;
    for rows in rows {
        push_varint(section, rows.start - end);
        push_varint(section, rows.end - rows.start);
        end = rows.end;
    }
}

/// Reads the rows that rollups omit from the front of a section. `None` when the bytes are damaged.
pub(crate) fn take_uncounted_rows(section: &mut Bytes<'_>) -> Option<Vec<Range<u64>>> {
    let (mut rows, mut end) = (Vec::new(), 0_u64);
    for _ in 0..section.varint()? {
        let start = end.checked_add(section.varint()?)?;
        end = start.checked_add(section.varint()?)?;
        rows.push(start..end);
    }
    Some(rows)
}

/// Adds later rows to those that rollups omit.
pub(crate) fn extend_uncounted_rows(rows: &mut Vec<Range<u64>>, more: Range<u64>) {
    match rows.last_mut().filter(|last| last.end == more.start) {
        Some(last) => last.end = more.end,
        None => rows.push(more),
    }
}

#[cfg(test)]
mod tests {
    use tidings_proto::{DurationNanos, SpanId, TraceId, UnixNanos, api::Exemplar};

    use super::{COUNTS_BELOW, Calls, Directory, LEVELS, LevelLimits};
    use crate::{Call, file_aggregate::FileAggregate};

    /// Returns the section of calls at these times, and the bytes of its pages.
    fn section(starts: &[u64], limits: LevelLimits) -> (Directory, Vec<u8>) {
        let mut file_aggregate = FileAggregate::default();
        let group = file_aggregate.groups.number((["shop", "pay"], [2, 0]));
        for start in starts {
            let exemplar = Exemplar {
                duration_nano: DurationNanos(7),
                start_unix_nano: UnixNanos(*start),
                trace_id: TraceId::from_wire(&[1; 16]).unwrap(),
                span_id: SpanId::from_wire(&[2; 8]).unwrap(),
            };
            file_aggregate.add(group, &Call { exemplar, failed: false, timed: true });
        }
        let (section, pages) = file_aggregate.finish(100_000, limits, 0);
        (Directory::decode(&section).unwrap(), pages)
    }

    fn calls(directory: &Directory, pages: &[u8], level: usize, start: u64) -> Vec<Calls> {
        let mut found = Vec::new();
        let mut fetch = |range: std::ops::Range<u64>| {
            let range = usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?;
            pages.get(range).map(<[u8]>::to_vec)
        };
        let all = directory.cells(level, start, &mut fetch, |_, cell| {
            let mut calls = Calls::default();
            cell.add_to(&mut calls)?;
            found.push(calls);
            Some(())
        });
        all.unwrap();
        found
    }

    #[test]
    fn a_page_of_the_same_cells_is_there_once() {
        let half_hour = 1_000_000 * LEVELS[2];
        let (first, second) = (half_hour + 7 * LEVELS[0], half_hour + 13 * LEVELS[0]);
        let (alone, pages_alone) = section(&[first], LevelLimits::ALL);
        let (apart, pages_apart) = section(&[first, second], LevelLimits::ALL);
        for (level, length) in LEVELS.iter().enumerate() {
            let start = first / length * length;
            let found = calls(&alone, &pages_alone, level, start);
            assert_eq!(found.len(), 1, "level {level}");
            let slowest = found[0].slowest.as_ref().map(|slowest| slowest.start_unix_nano.0);
            assert_eq!((found[0].count, slowest), (1, Some(first)), "level {level}");
        }
        let counts = |level: usize, start| calls(&apart, &pages_apart, level, start)[0].count;
        assert_eq!(counts(0, second), 1);
        assert_eq!(counts(1, second / LEVELS[1] * LEVELS[1]), 1);
        assert_eq!(counts(2, half_hour), 2);
        let page = |directory: &Directory, level: usize| {
            directory.levels[level].as_ref().unwrap().pages[0].clone()
        };
        assert_eq!(page(&alone, 0), page(&alone, 1));
        assert_eq!(page(&alone, 1), page(&alone, 2));
        assert_eq!(page(&apart, 0), page(&apart, 1));
        assert_ne!(page(&apart, 1), page(&apart, 2), "two periods are another page");
        assert!(pages_apart.len() < 2 * pages_alone.len() + pages_alone.len());
    }

    #[test]
    fn a_level_that_is_too_large_is_kept_for_queries_that_only_count() {
        let half_hour = 1_000_000 * LEVELS[2];
        let starts = [0, 1, 7 * LEVELS[0], 13 * LEVELS[0]].map(|after| half_hour + after);
        COUNTS_BELOW.set(2);
        let (all, pages) = section(&starts, LevelLimits::ALL.counting(|part| part == 2));
        let (none, _) = section(&starts, LevelLimits::ALL.counting(|part| part != 2));
        let (without, _) = section(&starts, LevelLimits::ALL);
        COUNTS_BELOW.set(0);
        assert_eq!([all.finest(), all.for_query(false).finest()], [Some(2), Some(2)]);
        assert_eq!(all.for_query(true).finest(), Some(0));
        assert_eq!(without.for_query(true).finest(), Some(0), "the limit is for counts only");
        assert_eq!(none.for_query(true).periods(1).count(), 3, "its pages are empty");
        let counts = all.for_query(true);
        for (level, of_first) in [(0, 2), (1, 2), (2, 4)] {
            let found = calls(counts, &pages, level, half_hour);
            assert_eq!((found.len(), found[0].count, found[0].errors), (1, of_first, 0));
            assert_eq!(found[0].slowest.is_some(), level == 2, "level {level}");
        }
        assert_eq!(calls(&all, &pages, 2, half_hour)[0].latency.count(), 4);
    }
}
