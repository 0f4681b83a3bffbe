//! Where in a file the bytes are that a reader will need, so that they can be fetched at once.

use std::ops::Range;

use parquet::arrow::{ProjectionMask, arrow_reader::ArrowReaderMetadata};

use crate::{StorageError, table_store::Readable};

/// Brings here what these leaves have of these rows of a row group, which are ascending.
pub(super) fn fetch(
    file: &Readable,
    footer: &ArrowReaderMetadata,
    mask: &ProjectionMask,
    group: usize,
    rows: &[Range<usize>],
) -> Result<(), StorageError> {
    if !file.is_remote() {
        return Ok(());
    }
    let metadata = footer.metadata();
    let columns = metadata.row_group(group).columns();
    let pages = metadata.offset_index().and_then(|groups| groups.get(group));
    let mut wanted = Vec::new();
    for (leaf, column) in columns.iter().enumerate().filter(|(leaf, _)| mask.leaf_included(*leaf)) {
        let (start, length) = column.byte_range();
        let pages = pages.and_then(|leaves| leaves.get(leaf)).map(|leaf| leaf.page_locations());
        let Some(pages) = pages.filter(|pages| !pages.is_empty()) else {
            wanted.push(start..start.saturating_add(length));
            continue;
        };
        // The dictionary, which all pages need, is before the first of them.
        wanted.push(start..place(pages[0].offset));
        for (number, page) in pages.iter().enumerate() {
            let first = place(page.first_row_index);
            let next = pages.get(number + 1).map_or(u64::MAX, |next| place(next.first_row_index));
            let after = rows.partition_point(|range| range.end as u64 <= first);
            if rows.get(after).is_some_and(|range| (range.start as u64) < next) {
                let start = place(page.offset);
                wanted.push(start..start.saturating_add(place(page.compressed_page_size.into())));
            }
        }
    }
    Ok(file.fetch(&wanted).map_err(parquet::errors::ParquetError::from)?)
}

fn place(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
