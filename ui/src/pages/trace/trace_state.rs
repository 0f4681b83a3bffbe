//! The page's state and its form in the URL's query.
//!
//! Owns [`TraceState`] with its parameters, and [`Folds`], the folded rows. Rows move while a
//! running trace grows, so rows are named by span id: the selected one in full, folded ones by a
//! 32-bit mark each. Other parameters are left alone.

use tidings_proto::SpanId;

use super::{model::TraceModel, scale::OffsetRange};

/// Maximum number of rows in a URL that differ from the general fold. The oldest are dropped.
const TOGGLED_MAX: usize = 300;
/// Maximum number of characters of the find text.
pub(crate) const FIND_CHARS_MAX: usize = 200;
const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const MARK_DIGITS: usize = 6;

/// The views of one trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Tab {
    #[default]
    Waterfall,
    Flame,
    Tree,
    Table,
    Graph,
    Services,
    Logs,
}

/// The spans that the waterfall shows, with their ancestors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum SpanSelection {
    #[default]
    All,
    /// Spans that match the find text.
    Matches,
    /// Spans with a problem that assembly found: a missing parent, a clock offset, a duplicate.
    Problems,
}

/// A span by its id, and by its index among those that share the id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SpanRef {
    pub(crate) id: SpanId,
    pub(crate) occurrence: usize,
}

/// The state of the page, apart from the trace itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TraceState {
    pub(crate) tab: Tab,
    pub(crate) selected: Option<SpanRef>,
    /// The event that the details of the selected span show: its position among the span's.
    pub(crate) event: Option<u32>,
    pub(crate) zoom: Option<OffsetRange>,
    pub(crate) critical_path: bool,
    pub(crate) inline_logs: bool,
    pub(crate) group_repeats: bool,
    /// True when queue time and the time in which a span had no open call are drawn.
    pub(crate) gaps: bool,
    /// True when spans whose parent is missing are shown.
    pub(crate) orphans: bool,
    /// True while the selected span's details are open.
    pub(crate) panel: bool,
    /// True when the clock offsets of the trace's hosts are corrected.
    pub(crate) adjust_clocks: bool,
    pub(crate) find: String,
    pub(crate) shown: SpanSelection,
    pub(crate) folds: Folds,
}

/// The folded rows: those from a depth on, except the toggled ones.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Folds {
    pub(crate) from_depth: Option<u32>,
    toggled: Vec<u32>,
}

impl Default for TraceState {
    fn default() -> Self {
        Self {
            tab: Tab::default(),
            selected: None,
            event: None,
            zoom: None,
            critical_path: true,
            inline_logs: false,
            group_repeats: true,
            gaps: true,
            orphans: true,
            panel: true,
            adjust_clocks: false,
            find: String::new(),
            shown: SpanSelection::default(),
            folds: Folds::default(),
        }
    }
}

impl TraceState {
    /// The names of the parameters that [`Self::parameters`] writes.
    pub(crate) const PARAMETERS: [&str; 14] = [
        "tab",
        "span",
        "event",
        "zoom",
        "path",
        "logs",
        "group",
        "gaps",
        "orphans",
        "panel",
        Self::CLOCKS,
        "find",
        "only",
        "fold",
    ];
    /// The parameter that adjusts clocks. The request for the trace depends on it.
    pub(crate) const CLOCKS: &str = "clocks";

    /// Parses the query. Values that cannot be parsed are ignored.
    pub(crate) fn read(parameter: impl Fn(&str) -> Option<String>) -> Self {
        let selected = parameter("span").and_then(|text| SpanRef::read(&text));
        Self {
            tab: match parameter("tab").as_deref() {
                Some("flame") => Tab::Flame,
                Some("tree") => Tab::Tree,
                Some("table") => Tab::Table,
                Some("graph") => Tab::Graph,
                Some("services") => Tab::Services,
                Some("logs") => Tab::Logs,
                _ => Tab::Waterfall,
            },
            selected,
            event: selected.and_then(|_| parameter("event")?.parse().ok()),
            zoom: parameter("zoom").and_then(|text| read_zoom(&text)),
            critical_path: parameter("path").as_deref() != Some("0"),
            inline_logs: parameter("logs").as_deref() == Some("1"),
            group_repeats: parameter("group").as_deref() != Some("0"),
            gaps: parameter("gaps").as_deref() != Some("0"),
            orphans: parameter("orphans").as_deref() != Some("0"),
            panel: parameter("panel").as_deref() != Some("0"),
            adjust_clocks: parameter(Self::CLOCKS).as_deref() == Some("1"),
            find: parameter("find")
                .map(|text| text.chars().take(FIND_CHARS_MAX).collect())
                .unwrap_or_default(),
            shown: match parameter("only").as_deref() {
                Some("matches") => SpanSelection::Matches,
                Some("problems") => SpanSelection::Problems,
                _ => SpanSelection::All,
            },
            folds: parameter("fold").map(|text| Folds::read(&text)).unwrap_or_default(),
        }
    }

    /// Returns the parameters of this state, except those with default values.
    pub(crate) fn parameters(&self) -> Vec<(&'static str, String)> {
        let tab = match self.tab {
            Tab::Waterfall => None,
            Tab::Flame => Some("flame".to_owned()),
            Tab::Tree => Some("tree".to_owned()),
            Tab::Table => Some("table".to_owned()),
            Tab::Graph => Some("graph".to_owned()),
            Tab::Services => Some("services".to_owned()),
            Tab::Logs => Some("logs".to_owned()),
        };
        let values = [
            tab,
            self.selected.map(SpanRef::write),
            self.selected.and(self.event).map(|position| position.to_string()),
            self.zoom.map(|zoom| format!("{}-{}", zoom.from, zoom.to)),
            (!self.critical_path).then(|| "0".to_owned()),
            self.inline_logs.then(|| "1".to_owned()),
            (!self.group_repeats).then(|| "0".to_owned()),
            (!self.gaps).then(|| "0".to_owned()),
            (!self.orphans).then(|| "0".to_owned()),
            (!self.panel).then(|| "0".to_owned()),
            self.adjust_clocks.then(|| "1".to_owned()),
            (!self.find.is_empty()).then(|| self.find.clone()),
            match self.shown {
                SpanSelection::All => None,
                SpanSelection::Matches => Some("matches".to_owned()),
                SpanSelection::Problems => Some("problems".to_owned()),
            },
            self.folds.write(),
        ];
        Self::PARAMETERS
            .into_iter()
            .zip(values)
            .filter_map(|(name, value)| Some((name, value?)))
            .collect()
    }

    /// Selects a row.
    pub(crate) fn select(&mut self, model: &TraceModel, row: u32) {
        self.selected = Some(SpanRef::from_row(model, row));
        self.event = None;
    }

    /// Moves the selection from a hidden row to the row whose fold hides it.
    pub(crate) fn show_selected(&mut self, model: &TraceModel) {
        if let Some(row) = self.selected_row(model) {
            let shown = self.folds.shown_for(model, row);
            if shown != row {
                self.select(model, shown);
            }
        }
    }

    /// Returns the row of the selected span, if the trace has it.
    pub(crate) fn selected_row(&self, model: &TraceModel) -> Option<u32> {
        let selected = self.selected?;
        let rows = model.rows_with(selected.id);
        rows.get(selected.occurrence).or(rows.first()).copied()
    }
}

impl SpanRef {
    pub(crate) fn from_row(model: &TraceModel, row: u32) -> Self {
        Self { id: model.span_id(row), occurrence: model.occurrence(row) }
    }

    fn read(text: &str) -> Option<Self> {
        let (id, occurrence) = text.split_once('.').unwrap_or((text, "0"));
        Some(Self { id: id.parse().ok()?, occurrence: occurrence.parse().ok()? })
    }

    fn write(self) -> String {
        match self.occurrence {
            0 => self.id.to_string(),
            occurrence => format!("{}.{occurrence}", self.id),
        }
    }
}

impl Folds {
    /// Folds all rows except those above `depth`.
    pub(crate) fn from_depth(depth: u32) -> Self {
        Self { from_depth: Some(depth), toggled: Vec::new() }
    }

    /// Reports whether the rows below this row are hidden.
    pub(crate) fn is_folded(&self, model: &TraceModel, row: u32) -> bool {
        model.descendants(row) > 0
            && (self.from_depth.is_some_and(|depth| model.depth(row) >= depth)
                != self.is_toggled(mark(model.span_id(row))))
    }

    /// Returns the row itself, or its highest ancestor whose fold hides it.
    fn shown_for(&self, model: &TraceModel, row: u32) -> u32 {
        let above = std::iter::successors(model.parent(row), |&above| model.parent(above));
        above.filter(|&above| self.is_folded(model, above)).last().unwrap_or(row)
    }

    /// Reports whether the run of repeated calls that begins at this row is shown call by call.
    pub(crate) fn is_run_open(&self, model: &TraceModel, first: u32) -> bool {
        self.is_toggled(run_mark(model.span_id(first)))
    }

    pub(crate) fn set_folded(&mut self, model: &TraceModel, row: u32, folded: bool) {
        if model.descendants(row) > 0 && self.is_folded(model, row) != folded {
            self.toggle(mark(model.span_id(row)));
        }
    }

    pub(crate) fn set_run_open(&mut self, model: &TraceModel, first: u32, open: bool) {
        if self.is_run_open(model, first) != open {
            self.toggle(run_mark(model.span_id(first)));
        }
    }

    /// Unfolds the ancestors of `row`.
    pub(crate) fn reveal(&mut self, model: &TraceModel, row: u32) {
        let mut next = Some(row);
        while let Some(row) = next {
            if let Some(first) = model.repeats_first(row) {
                self.set_run_open(model, first, true);
            }
            next = model.parent(row);
            if let Some(above) = next {
                self.set_folded(model, above, false);
            }
        }
    }

    fn is_toggled(&self, mark: u32) -> bool {
        self.toggled.contains(&mark)
    }

    fn toggle(&mut self, mark: u32) {
        if let Some(at) = self.toggled.iter().position(|&other| other == mark) {
            self.toggled.remove(at);
            return;
        }
        if self.toggled.len() == TOGGLED_MAX {
            self.toggled.remove(0);
        }
        self.toggled.push(mark);
    }

    fn write(&self) -> Option<String> {
        if self.from_depth.is_none() && self.toggled.is_empty() {
            return None;
        }
        let mut text = self.from_depth.map(|depth| depth.to_string()).unwrap_or_default();
        if !self.toggled.is_empty() {
            text.push('.');
            for &mark in &self.toggled {
                let digit = |index: usize| {
                    char::from(DIGITS[((u64::from(mark) >> (6 * index)) & 63) as usize])
                };
                text.extend((0..MARK_DIGITS).map(digit));
            }
        }
        Some(text)
    }

    fn read(text: &str) -> Self {
        let (depth, marks) = text.split_once('.').unwrap_or((text, ""));
        let mut toggled = Vec::new();
        for digits in marks.as_bytes().chunks_exact(MARK_DIGITS).take(TOGGLED_MAX) {
            if let Some(mark) = read_mark(digits).filter(|mark| !toggled.contains(mark)) {
                toggled.push(mark);
            }
        }
        Self { from_depth: depth.parse().ok(), toggled }
    }
}

fn read_mark(digits: &[u8]) -> Option<u32> {
    let mut mark = 0_u64;
    for (index, digit) in digits.iter().enumerate() {
        let value = DIGITS.iter().position(|known| known == digit)?;
        mark |= u64::try_from(value).ok()? << (6 * index);
    }
    u32::try_from(mark).ok()
}

/// Returns 32 bits of a span id. Two rows of one trace with the same mark fold together. At 100,000
/// spans that is about one pair.
fn mark(id: SpanId) -> u32 {
    let [a, b, c, d, e, f, g, h] = *id.as_bytes();
    u32::from_be_bytes([a, b, c, d]) ^ u32::from_be_bytes([e, f, g, h])
}

/// Returns the mark of the run of repeated calls that begins at this span.
fn run_mark(id: SpanId) -> u32 {
    !mark(id)
}

fn read_zoom(text: &str) -> Option<OffsetRange> {
    let (from, to) = text.split_at(text.char_indices().skip(1).find(|&(_, c)| c == '-')?.0);
    let (from, to) = (from.parse().ok()?, to.get(1..)?.parse().ok()?);
    (from < to).then(|| OffsetRange::new(from, to))
}

#[cfg(test)]
mod tests;
