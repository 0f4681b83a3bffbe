//! The bytes of a file's rollups, described in `docs/formats/index.md`.
//!
//! The section in the index's head says where the pages are: one with the groups, and for every
//! level one per period that has calls. A page has a checksum of its own.

use std::{collections::HashMap, ops::Range};

use ahash::RandomState;
use tidings_proto::{
    UnixNanos,
    otlp::{SpanKind, StatusCode},
};

use super::{
    CallKey, Calls, Cell, LEVELS,
    adder::{CellKey, GroupNumber},
    cell,
};
use crate::index::{Bytes, Fetch, push_varint};

const CRC_BYTES: usize = 4;
/// A level is left out when it takes more than its part of the file's rows allows
/// ([`LevelLimits`]), and more than so many bytes in all,
const BYTES_MIN: usize = 64 << 10;
/// Of the longest periods: more than any cell of one call. A file always has them, because without
/// them every question reads its rows.
const COARSEST_BYTES_OF_ROW: usize = 96;
/// or when one of its pages is larger.
const PAGE_BYTES_MAX: usize = 8 << 20;
/// Memory of a group in the tables that hold its number, without its texts,
const GROUP_BYTES: usize = 320;
/// which are held so often: to be found, encoded, and listed.
const TEXT_COPIES: usize = 3;

/// Key of a group: two texts and two numbers. For [`CallKey`]: service and operation, kind and
/// status.
pub(super) type RawKey<'a> = ([&'a str; 2], [i32; 2]);

/// The groups of two texts, by their numbers.
type OfTexts = HashMap<[i32; 2], GroupNumber, RandomState>;

/// The groups of a file, numbered as they came.
#[derive(Debug, Default)]
pub(super) struct GroupTable {
    /// By the texts.
    numbers: HashMap<String, HashMap<String, OfTexts, RandomState>, RandomState>,
    bytes: Vec<u8>,
    len: GroupNumber,
}

impl GroupTable {
    pub(super) fn len(&self) -> usize {
        self.len as usize
    }

    /// Returns their memory in bytes, names included.
    pub(super) fn bytes(&self) -> usize {
        self.len() * GROUP_BYTES + self.bytes.len() * TEXT_COPIES
    }

    /// Returns true if they exceed the size limit of a file's list.
    pub(super) fn are_too_large(&self) -> bool {
        self.bytes.len() > PAGE_BYTES_MAX
    }

    /// The number of this one.
    pub(super) fn number(&mut self, (texts, parts): RawKey<'_>) -> GroupNumber {
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

    /// Their keys, by number.
    pub(super) fn names(&self) -> GroupNames {
        GroupNames::decode(&self.bytes).expect("invariant: they were just encoded")
    }
}

/// Which levels are kept: those that take at most so many bytes for each of the file's rows, by the
/// level's number; none for 0.
#[derive(Debug, Clone, Copy)]
pub(super) struct LevelLimits {
    bytes_of_row: [usize; LEVELS.len()],
}

impl LevelLimits {
    /// All, where they are of use.
    pub(super) const ALL: Self = Self { bytes_of_row: [4, 8, COARSEST_BYTES_OF_ROW] };
    /// Minutes and half hours: what lies between would double what there is to store.
    pub(super) const ENDS: Self = Self { bytes_of_row: [2, 0, COARSEST_BYTES_OF_ROW] };

    /// Returns true if the level is kept, unless it is too large.
    pub(super) fn keeps(self, level: usize) -> bool {
        self.bytes_of_row[level] > 0
    }

    fn bytes_max(self, level: usize, rows: usize) -> usize {
        rows.saturating_mul(self.bytes_of_row[level]).max(BYTES_MIN)
    }
}

/// A section as it grows.
#[derive(Debug)]
pub(super) struct Encoded {
    section: Vec<u8>,
    pages: Vec<u8>,
    /// `None`: nothing fits.
    level_bytes_max: Option<[usize; LEVELS.len()]>,
}

impl Encoded {
    pub(super) fn new(groups: &GroupTable, rows: usize, keep: LevelLimits, offset: u64) -> Self {
        let level_bytes_max = std::array::from_fn(|level| keep.bytes_max(level, rows));
        let groups_bytes_max = level_bytes_max[LEVELS.len() - 1];
        let (mut section, mut pages) = (offset.to_le_bytes().to_vec(), groups.bytes.clone());
        seal(&mut pages, 0);
        if pages.len() > groups_bytes_max.min(PAGE_BYTES_MAX) {
            return Self { section, pages: Vec::new(), level_bytes_max: None };
        }
        section.extend(length(pages.len()));
        Self { section, pages, level_bytes_max: Some(level_bytes_max) }
    }

    /// Adds a level, unless it is too large to be of use.
    pub(super) fn push_level(&mut self, level: usize, cells: &[(CellKey, Calls)]) {
        let Some(bytes_max) = self.level_bytes_max.map(|bytes_max| bytes_max[level]) else {
            return;
        };
        let (mut directory, mut pages) = (Vec::new(), Vec::new());
        let mut periods = 0_usize;
        for page in cells.chunk_by(|((left, _), _), ((right, _), _)| left == right) {
            let Some(((period, _), _)) = page.first() else { continue };
            let start = pages.len();
            for ((_, group), calls) in page {
                let cell = cell::encoded(calls, UnixNanos(period.saturating_mul(LEVELS[level])));
                push_cell(&mut pages, *group, &cell);
            }
            seal(&mut pages, start);
            let large = pages.len() - start > PAGE_BYTES_MAX;
            if large || pages.len() + directory.len() > bytes_max {
                return;
            }
            directory.extend(period.to_le_bytes());
            directory.extend(length(pages.len() - start));
            periods += 1;
        }
        self.section.extend(length(level));
        self.section.extend(length(periods));
        self.section.extend(directory);
        self.pages.extend(pages);
    }

    pub(super) fn finish(self) -> (Vec<u8>, Vec<u8>) {
        (self.section, self.pages)
    }
}

fn length(length: usize) -> [u8; 4] {
    u32::try_from(length).expect("invariant: pages are small").to_le_bytes()
}

/// Adds a cell to those of a page.
pub(super) fn push_cell(page: &mut Vec<u8>, group: GroupNumber, cell: &[u8]) {
    push_varint(page, u64::from(group));
    push_varint(page, cell.len() as u64);
    page.extend(cell);
}

/// Gives `visit` the cells of a page, which [`push_cell`] put there, of the period that begins at
/// this time. `None` when they are damaged.
pub(super) fn each_cell(
    page: &[u8],
    start: UnixNanos,
    mut visit: impl FnMut(GroupNumber, Cell<'_>) -> Option<()>,
) -> Option<()> {
    let mut page = Bytes::new(page);
    while !page.is_empty() {
        let group = GroupNumber::try_from(page.varint()?).ok()?;
        let length = usize::try_from(page.varint()?).ok()?;
        visit(group, Cell::decode(page.take(length)?, start)?)?;
    }
    Some(())
}

/// Ends the page that began here.
pub(super) fn seal(pages: &mut Vec<u8>, start: usize) {
    let crc = crc32c::crc32c(&pages[start..]);
    pages.extend(crc.to_le_bytes());
}

/// Where a file's rollups are.
#[derive(Debug)]
pub(crate) struct Directory {
    groups: Range<u64>,
    levels: [Option<Level>; LEVELS.len()],
}

/// The periods of a level that have calls, ascending, and where their pages are.
#[derive(Debug)]
struct Level {
    periods: Box<[u64]>,
    /// Where every page starts, and where the last one ends.
    offsets: Box<[u64]>,
}

impl Directory {
    /// `None` when the bytes are not a directory's.
    pub(crate) fn decode(section: &[u8]) -> Option<Self> {
        let mut section = Bytes::new(section);
        let mut offset = section.u64()?;
        let mut levels = [const { None }; LEVELS.len()];
        if section.is_empty() {
            return Some(Self { groups: offset..offset, levels });
        }
        let groups = offset..offset.checked_add(u64::from(section.u32()?))?;
        offset = groups.end;
        while !section.is_empty() {
            let level = levels.get_mut(usize::try_from(section.u32()?).ok()?)?;
            let (mut periods, mut offsets) = (Vec::new(), vec![offset]);
            for _ in 0..section.u32()? {
                periods.push(section.u64()?);
                offset = offset.checked_add(u64::from(section.u32()?))?;
                offsets.push(offset);
            }
            let sorted = periods.is_sorted();
            *level = sorted.then(|| Level { periods: periods.into(), offsets: offsets.into() });
        }
        Some(Self { groups, levels })
    }

    /// Returns its memory in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let levels = self.levels.iter().flatten();
        size_of::<Self>() + levels.map(|level| 16 * level.periods.len()).sum::<usize>()
    }

    /// The level with the shortest periods.
    pub(super) fn finest(&self) -> Option<usize> {
        self.levels.iter().position(Option::is_some)
    }

    /// The level with the longest periods.
    pub(super) fn coarsest(&self) -> Option<usize> {
        self.levels.iter().rposition(Option::is_some)
    }

    /// Returns true if the file has groups. The page of an empty list has only a checksum.
    pub(super) fn has_groups(&self) -> bool {
        self.groups.end - self.groups.start > CRC_BYTES as u64
    }

    /// Returns true if the level exists.
    pub(super) fn has_level(&self, level: usize) -> bool {
        self.levels.get(level).is_some_and(Option::is_some)
    }

    /// When the calls of a level began, at the earliest and before when at the latest, by period.
    pub(super) fn periods(&self, level: usize) -> impl Iterator<Item = Range<u64>> {
        let length = LEVELS[level];
        let periods = self.levels[level].iter().flat_map(|level| &level.periods);
        periods.map(move |period| {
            let start = period.saturating_mul(length);
            start..start.saturating_add(length)
        })
    }

    /// Reads the group names by number. `None` when the page is missing or damaged.
    pub(super) fn groups(&self, fetch: &mut Fetch<'_>) -> Option<GroupNames> {
        let mut page = fetch(self.groups.clone())?;
        page.truncate(unsealed(&page)?.len());
        GroupNames::decode(&page)
    }

    /// The cells of the level's period that begins at this time, by group; none when it has no
    /// calls. `None` when they are not there or damaged.
    pub(super) fn cells(
        &self,
        level: usize,
        start: u64,
        fetch: &mut Fetch<'_>,
        visit: impl FnMut(GroupNumber, Cell<'_>) -> Option<()>,
    ) -> Option<()> {
        let of_level = self.levels[level].as_ref()?;
        let Ok(at) = of_level.periods.binary_search(&(start / LEVELS[level])) else {
            return Some(());
        };
        let page = fetch(of_level.offsets[at]..of_level.offsets[at + 1])?;
        each_cell(unsealed(&page)?, UnixNanos(start), visit)
    }

    /// As [`Self::cells`], only how many calls there are in each.
    pub(super) fn counts(
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
pub(super) fn unsealed(page: &[u8]) -> Option<&[u8]> {
    let (held, crc) = page.split_at_checked(page.len().checked_sub(CRC_BYTES)?)?;
    (Bytes::new(crc).u32()? == crc32c::crc32c(held)).then_some(held)
}

/// Keys of a file's groups, by number.
#[derive(Debug, Default)]
pub(super) struct GroupNames {
    /// The texts of all groups, one after the other.
    texts: String,
    groups: Vec<GroupName>,
}

/// Where the texts of a group end: they begin where those of the one before do.
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

    /// Where the text ends that was at the front of the page.
    fn take_text(&mut self, page: &mut Bytes<'_>) -> Option<usize> {
        let length = usize::try_from(page.varint()?).ok()?;
        self.texts.push_str(std::str::from_utf8(page.take(length)?).ok()?);
        Some(self.texts.len())
    }

    /// Returns the number of groups.
    pub(super) fn len(&self) -> usize {
        self.groups.len()
    }

    /// Returns their memory in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.texts.capacity() + self.groups.capacity() * size_of::<GroupName>()
    }

    /// The group with this number.
    pub(super) fn raw(&self, group: GroupNumber) -> Option<RawKey<'_>> {
        let place = group as usize;
        let GroupName { ends: [middle, end], parts } = self.groups.get(place)?;
        let before = place.checked_sub(1).and_then(|before| self.groups.get(before));
        let start = before.map_or(0, |before| before.ends[1]);
        Some(([self.texts.get(start..*middle)?, self.texts.get(*middle..*end)?], *parts))
    }

    /// Returns true if all of them are groups of calls.
    pub(super) fn are_calls(&self) -> bool {
        self.numbers().len() == self.groups.len()
    }

    /// The number of each.
    pub(super) fn numbers(&self) -> HashMap<CallKey<'_>, GroupNumber> {
        (0..).map_while(|group| Some((self.key(group)?, group))).collect()
    }

    pub(super) fn key(&self, group: GroupNumber) -> Option<CallKey<'_>> {
        let ([service, operation], [kind, status]) = self.raw(group)?;
        let (kind, status) = (SpanKind::try_from(kind).ok()?, StatusCode::try_from(status).ok()?);
        Some(CallKey { service, operation, kind, status })
    }
}

fn number(page: &mut Bytes<'_>) -> Option<i32> {
    Some(u32::try_from(page.varint()?).ok()?.cast_signed())
}
