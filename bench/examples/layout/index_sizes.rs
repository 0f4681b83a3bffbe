//! Bytes of the sections of an index file: what each has in the head and in pages.
//!
//! The format is in `docs/formats/index.md`. Pages of the sections follow each other in the order
//! of the sections, so those of one end where those of the next begin.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};

/// Magic, version, length of the head, and of the data file its length and rows.
const FIXED_BYTES: usize = 32;
const LENGTH_AT: usize = 12;

/// Adds the bytes of an index's sections to `sizes`, by their names.
pub(crate) fn add(index: &[u8], sizes: &mut BTreeMap<&'static str, u64>) -> Result<()> {
    let length = index.get(LENGTH_AT..).and_then(u32_of).context("no head")?;
    let (head, pages) =
        index.split_at_checked(usize::try_from(length)?).context("the head is cut off")?;
    let mut left = head.get(FIXED_BYTES..head.len() - 4).context("the head is short")?;
    let mut starts: Vec<(u64, &'static str)> = Vec::new();
    while !left.is_empty() {
        let kind = u32_of(left).context("no kind")?;
        let bytes = usize::try_from(left.get(4..).and_then(u32_of).context("no length")?)?;
        let section = left.get(8..8 + bytes).context("a section is cut off")?;
        left = &left[8 + bytes..];
        let name = name(kind);
        *sizes.entry(name).or_default() += section.len() as u64 + 8;
        if let Some(start) = first_page(kind, section) {
            starts.push((start, name));
        }
    }
    starts.sort_unstable();
    let ends = starts.iter().skip(1).map(|(start, _)| *start).chain([pages.len() as u64]);
    for ((start, name), end) in starts.iter().zip(ends) {
        ensure!(*start <= end, "pages of {name} end before they begin");
        *sizes.entry(name).or_default() += end - start;
    }
    Ok(())
}

fn name(kind: u32) -> &'static str {
    match kind {
        2 => "postings of traces",
        3 => "postings of terms",
        4 => "n-gram signatures",
        12 => "rollups of calls",
        13 => "rollups of edges",
        14 => "transaction types",
        15 => "exceptions",
        16 => "corrections for split traces",
        17 => "trace filter",
        18 => "counts of log records",
        19 => "forms of log messages",
        6 | 7 => "checksums",
        _ => "others",
    }
}

/// Where a section's pages begin, if it has some.
fn first_page(kind: u32, section: &[u8]) -> Option<u64> {
    let mut rest = section;
    match kind {
        2 | 3 => rest = rest.get(4..)?,
        4 => rest = rest.get(8..)?,
        12 => {}
        13 => skip_stretches(&mut rest)?,
        14 => {
            varint(&mut rest)?;
            skip_stretches(&mut rest)?;
            varint(&mut rest)?;
            varint(&mut rest)?;
            return varint(&mut rest);
        }
        15 => {
            for _ in 0..3 {
                varint(&mut rest)?;
            }
            return varint(&mut rest);
        }
        16 | 18 | 19 => return varint(&mut rest),
        _ => return None,
    }
    rest.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}

/// Skips the rows that are left out.
fn skip_stretches(rest: &mut &[u8]) -> Option<()> {
    for _ in 0..varint(rest)? {
        varint(rest)?;
        varint(rest)?;
    }
    Some(())
}

fn u32_of(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let (mut number, mut shift) = (0, 0);
    loop {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(first & 0x7f).checked_shl(shift)?;
        shift += 7;
        if first & 0x80 == 0 {
            return Some(number);
        }
    }
}
