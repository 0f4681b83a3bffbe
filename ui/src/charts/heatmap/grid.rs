//! The geometry of a heatmap: cells as paths, and positions of moments and durations.
//!
//! Columns are steps. Rows are ranges of durations, the shortest at the bottom. A position is a
//! pair of fractions of the plot, from its left edge and from its bottom.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};

use tidings_proto::{
    DurationNanos, UnixNanos,
    api::{Heatmap, HeatmapBucket, HeatmapRow},
};

use super::super::axis::{Tick, round_durations, time_ticks};
use crate::url::HeatmapBox;

/// Number of shades of the colour scale.
pub(super) const LEVELS: usize = 7;
/// Number of shades of failures.
pub(super) const ERROR_LEVELS: usize = 3;
/// Maximum number of steps that are drawn. The API gives no more.
const COLUMNS_MAX: u64 = 1_000;
/// Maximum number of rows that are drawn; more would be too thin. The API gives four for each power
/// of two.
const ROWS_MAX: usize = 24;
/// Minimum part of a cell that failures fill, so that they are visible.
const ERROR_SHARE_MIN: f64 = 0.25;

/// A cell by its column and its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CellIndex {
    pub(super) column: usize,
    pub(super) row: usize,
}

/// The grid of one heatmap.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grid<'a> {
    heatmap: &'a Heatmap,
    start: u64,
    step: u64,
    pub(super) columns: usize,
}

/// The cells as paths of an SVG whose unit is a cell.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Paths {
    pub(super) levels: [String; LEVELS],
    /// Failures, from few to many.
    pub(super) errors: [String; ERROR_LEVELS],
}

impl<'a> Grid<'a> {
    /// Makes the grid, unless there is nothing to draw.
    pub(super) fn new(heatmap: &'a Heatmap) -> Option<Self> {
        let step = heatmap.window.step_nano.0;
        if step == 0 || heatmap.rows.is_empty() {
            return None;
        }
        let start = heatmap.window.start_unix_nano.0 / step * step;
        let columns = heatmap.window.end_unix_nano.0.saturating_sub(start).div_ceil(step);
        let columns = usize::try_from(columns.min(COLUMNS_MAX)).ok().filter(|count| *count > 0)?;
        Some(Self { heatmap, start, step, columns })
    }

    pub(super) fn rows(&self) -> usize {
        self.heatmap.rows.len()
    }

    fn end(&self) -> u64 {
        self.start.saturating_add(self.step.saturating_mul(self.columns as u64))
    }

    fn cell_index(&self, cell: &HeatmapBucket) -> Option<CellIndex> {
        let column = cell.start_unix_nano.0.checked_sub(self.start)? / self.step;
        let place = CellIndex {
            column: usize::try_from(column).ok()?,
            row: usize::try_from(cell.row).ok()?,
        };
        (place.column < self.columns && place.row < self.rows()).then_some(place)
    }

    /// Returns the cell of this column and row, if it has spans.
    pub(super) fn cell(&self, place: CellIndex) -> Option<&'a HeatmapBucket> {
        self.heatmap.cells.iter().find(|cell| self.cell_index(cell) == Some(place))
    }

    /// Returns the cells as paths. Their darkness is the logarithm of their count.
    pub(super) fn paths(&self) -> Paths {
        let most = self.heatmap.cells.iter().map(|cell| cell.count).max().unwrap_or(1).max(1);
        let most_errors = self.heatmap.cells.iter().map(|cell| cell.error_count).max().unwrap_or(1);
        let mut paths = Paths::default();
        for cell in self.heatmap.cells.iter().filter(|cell| cell.count > 0) {
            let Some(CellIndex { column, row }) = self.cell_index(cell) else { continue };
            let top = self.rows() - 1 - row;
            let shade = &mut paths.levels[level(cell.count, most, LEVELS)];
            let _ = write!(shade, "M{column}.04 {top}.06h.92v.88h-.92z");
            if cell.error_count > 0 {
                let share = cell.error_count as f64 / cell.count as f64;
                let height = share.clamp(ERROR_SHARE_MIN, 1.0) * 0.88;
                let bottom = top as f64 + 0.94;
                let shade = level(cell.error_count, most_errors, ERROR_LEVELS);
                let _ =
                    write!(paths.errors[shade], "M{column}.04 {bottom:.2}h.92v-{height:.2}h-.92z");
            }
        }
        paths
    }

    /// Returns the cell at a position of the plot: fractions from the left and from the bottom.
    pub(super) fn at(&self, left: f64, bottom: f64) -> CellIndex {
        CellIndex { column: slot(left, self.columns), row: slot(bottom, self.rows()) }
    }

    /// Returns the moments and durations between two cells, both included.
    pub(super) fn between(&self, one: CellIndex, other: CellIndex) -> Option<HeatmapBox> {
        let (first, last) = (one.column.min(other.column), one.column.max(other.column));
        let (low, high) = (one.row.min(other.row), one.row.max(other.row));
        let moment = |column: usize| {
            UnixNanos(self.start.saturating_add(self.step.saturating_mul(column as u64)))
        };
        Some(HeatmapBox {
            from: moment(first),
            to: moment(last + 1),
            shortest: self.heatmap.rows.get(low)?.from_nano,
            longest: self.heatmap.rows.get(high)?.up_to_nano,
        })
    }

    /// Returns left, bottom, width and height of a box in fractions of the plot, cut to it. `None`
    /// when it lies outside.
    pub(super) fn rectangle(&self, chosen: HeatmapBox) -> Option<[f64; 4]> {
        let (left, right) = (self.x_fraction(chosen.from), self.x_fraction(chosen.to));
        let (low, high) = (
            self.y_fraction(chosen.shortest),
            self.y_fraction(DurationNanos(chosen.longest.0.saturating_add(1))),
        );
        let visible = right > 0.0 && left < 1.0 && high > 0.0 && low < 1.0;
        let cut = |from: f64, to: f64| (from.clamp(0.0, 1.0), to.clamp(0.0, 1.0));
        let ((left, right), (low, high)) = (cut(left, right), cut(low, high));
        visible.then_some([left, low, right - left, high - low])
    }

    /// Returns the position of a moment, from the left. It is below 0 or above 1 outside of the
    /// plot.
    pub(super) fn x_fraction(&self, time: UnixNanos) -> f64 {
        let length = self.end() - self.start;
        (time.0 as f64 - self.start as f64) / (length.max(1) as f64)
    }

    /// Returns the position of a duration, from the bottom.
    pub(super) fn y_fraction(&self, duration: DurationNanos) -> f64 {
        let rows = &self.heatmap.rows;
        let above = rows.partition_point(|row| row.up_to_nano < duration);
        let within = rows.get(above).map_or(0.0, |row| {
            let length = row.up_to_nano.0.saturating_sub(row.from_nano.0).saturating_add(1);
            duration.0.saturating_sub(row.from_nano.0) as f64 / length as f64
        });
        (above as f64 + within.clamp(0.0, 1.0)) / rows.len() as f64
    }

    /// Labels of the time axis.
    pub(super) fn time_ticks(&self, zone_minutes: i32) -> Vec<Tick> {
        time_ticks(UnixNanos(self.start), UnixNanos(self.end()), zone_minutes, 7)
    }

    /// Labels of the axis of durations.
    pub(super) fn duration_ticks(&self) -> Vec<Tick> {
        let rows = &self.heatmap.rows;
        let ends = rows.first().zip(rows.last());
        let Some((first, last)) = ends else { return Vec::new() };
        let most = (rows.len() / 3).clamp(2, 9);
        let round = round_durations(first.from_nano, last.up_to_nano, most);
        let tick = |duration: DurationNanos| Tick {
            at: self.y_fraction(duration),
            label: duration.to_string(),
        };
        if round.is_empty() {
            return vec![Tick { at: 0.0, label: first.from_nano.to_string() }];
        }
        round.into_iter().map(tick).collect()
    }
}

/// Merges each 2, 4 or more rows into one, where cells would be too thin.
pub(super) fn merge_thin_rows(heatmap: Arc<Heatmap>) -> Arc<Heatmap> {
    let rows = &heatmap.rows;
    let Some(joined) =
        (0..16).map(|bits| 1_usize << bits).find(|joined| rows.len() <= joined * ROWS_MAX)
    else {
        return heatmap;
    };
    if joined == 1 {
        return heatmap;
    }
    let mut cells: BTreeMap<(UnixNanos, u32), (u64, u64)> = BTreeMap::new();
    let by = u32::try_from(joined).unwrap_or(u32::MAX);
    for cell in &heatmap.cells {
        let (count, errors) = cells.entry((cell.start_unix_nano, cell.row / by)).or_default();
        *count += cell.count;
        *errors += cell.error_count;
    }
    let row = |rows: &[HeatmapRow]| {
        let (first, last) = (rows.first()?, rows.last()?);
        Some(HeatmapRow { from_nano: first.from_nano, up_to_nano: last.up_to_nano })
    };
    let cell = |((start_unix_nano, row), (count, error_count))| HeatmapBucket {
        start_unix_nano,
        row,
        count,
        error_count,
    };
    Arc::new(Heatmap {
        window: heatmap.window,
        rows: rows.chunks(joined).filter_map(row).collect(),
        cells: cells.into_iter().map(cell).collect(),
        steps: heatmap.steps.clone(),
        count: heatmap.count,
        unfinished_count: heatmap.unfinished_count,
        repeats_counted: heatmap.repeats_counted,
        searched: heatmap.searched,
    })
}

/// Returns the shade of a count on a logarithmic scale up to the greatest count.
fn level(count: u64, most: u64, levels: usize) -> usize {
    if most <= 1 {
        return levels / 2;
    }
    let share = (count.max(1) as f64).ln() / (most as f64).ln();
    slot(share, levels)
}

fn slot(fraction: f64, count: usize) -> usize {
    let at = crate::format::rates::whole((fraction * count as f64).max(0.0));
    usize::try_from(at).unwrap_or(usize::MAX).min(count.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use tidings_proto::{
        DurationNanos, UnixNanos,
        api::{Heatmap, HeatmapBucket, HeatmapRow, Searched, TimeWindow},
    };

    use super::{CellIndex, Grid, LEVELS, level};

    const SECOND: u64 = 1_000_000_000;

    fn heatmap() -> Heatmap {
        let row = |from, up_to| HeatmapRow {
            from_nano: DurationNanos(from),
            up_to_nano: DurationNanos(up_to),
        };
        let cell = |second: u64, row, count, error_count| HeatmapBucket {
            start_unix_nano: UnixNanos(second * SECOND),
            row,
            count,
            error_count,
        };
        Heatmap {
            window: TimeWindow {
                start_unix_nano: UnixNanos(95 * SECOND),
                end_unix_nano: UnixNanos(140 * SECOND),
                step_nano: DurationNanos(10 * SECOND),
            },
            rows: vec![row(64, 79), row(80, 95), row(96, 111), row(112, 127)],
            cells: vec![
                cell(90, 0, 1, 0),
                cell(100, 3, 100, 100),
                cell(130, 1, 10, 1),
                cell(900, 1, 1, 0),
                cell(100, 9, 1, 0),
            ],
            steps: Vec::new(),
            count: 113,
            unfinished_count: 0,
            repeats_counted: false,
            searched: Searched::default(),
        }
    }

    #[test]
    fn cells_are_drawn_where_their_step_and_duration_are() {
        let heatmap = heatmap();
        let grid = Grid::new(&heatmap).unwrap();
        assert_eq!((grid.columns, grid.rows()), (5, 4));
        let paths = grid.paths();
        assert_eq!(paths.levels[0], "M0.04 3.06h.92v.88h-.92z");
        assert_eq!(paths.levels[LEVELS - 1], "M1.04 0.06h.92v.88h-.92z");
        // All spans of one cell failed, and a tenth of the other.
        assert_eq!(paths.errors, ["M4.04 2.94h.92v-0.22h-.92z", "", "M1.04 0.94h.92v-0.88h-.92z"]);
    }

    #[test]
    fn a_box_holds_the_cells_it_was_drawn_over() {
        let heatmap = heatmap();
        let grid = Grid::new(&heatmap).unwrap();
        let (one, other) = (grid.at(0.99, 0.30), grid.at(0.25, 0.99));
        assert_eq!(
            (one, other),
            (CellIndex { column: 4, row: 1 }, CellIndex { column: 1, row: 3 })
        );
        let chosen = grid.between(one, other).unwrap();
        assert_eq!((chosen.from.0, chosen.to.0), (100 * SECOND, 140 * SECOND));
        assert_eq!((chosen.shortest.0, chosen.longest.0), (80, 127));
        let rectangle = grid.rectangle(chosen).unwrap();
        assert!(
            rectangle
                .iter()
                .zip([0.2, 0.25, 0.8, 0.75])
                .all(|(at, wanted)| (at - wanted).abs() < 1e-9),
            "{rectangle:?}"
        );
        let outside = super::HeatmapBox { from: UnixNanos(0), to: UnixNanos(1), ..chosen };
        assert_eq!(grid.rectangle(outside), None);
    }

    #[test]
    fn a_cell_is_found_by_its_place() {
        let heatmap = heatmap();
        let grid = Grid::new(&heatmap).unwrap();
        assert_eq!(grid.cell(CellIndex { column: 1, row: 3 }).map(|cell| cell.count), Some(100));
        assert_eq!(grid.cell(CellIndex { column: 2, row: 3 }), None);
        assert_eq!(grid.at(-1.0, 7.0), CellIndex { column: 0, row: 3 });
    }

    #[test]
    fn rows_that_are_too_many_are_drawn_together() {
        let few = std::sync::Arc::new(heatmap());
        assert_eq!(super::merge_thin_rows(std::sync::Arc::clone(&few)), few);
        let mut many = heatmap();
        let row = |at: u64| HeatmapRow {
            from_nano: DurationNanos(at * 10),
            up_to_nano: DurationNanos(at * 10 + 9),
        };
        many.rows = (0..50).map(row).collect();
        let coarse = super::merge_thin_rows(std::sync::Arc::new(many));
        assert_eq!(coarse.rows.len(), 13);
        assert_eq!((coarse.rows[12].from_nano.0, coarse.rows[12].up_to_nano.0), (480, 499));
        let counts: u64 = coarse.cells.iter().map(|cell| cell.count).sum();
        assert_eq!((counts, coarse.cells.len()), (113, 5));
        assert_eq!(Grid::new(&coarse).map(|grid| grid.rows()), Some(13));
    }

    #[test]
    fn shades_follow_the_logarithm() {
        assert_eq!([1, 10, 100, 1_000].map(|count| level(count, 1_000, LEVELS)), [0, 2, 4, 6]);
        assert_eq!(level(1, 1, LEVELS), LEVELS / 2);
    }

    #[test]
    fn nothing_to_draw_is_no_grid() {
        let mut empty = heatmap();
        empty.rows.clear();
        assert!(Grid::new(&empty).is_none());
        let mut endless = heatmap();
        endless.window.end_unix_nano = UnixNanos(u64::MAX);
        assert_eq!(Grid::new(&endless).map(|grid| grid.columns), Some(1_000));
    }
}
