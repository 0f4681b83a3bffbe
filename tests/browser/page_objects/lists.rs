//! Tables whose headings sort, and the order of their rows.

use std::time::Instant;

use serde_json::json;

use super::{Page, strings};
use crate::harness::PATIENCE;

/// The state of a sorting heading after a click.
#[derive(Debug)]
struct SortedHeading {
    name: String,
    column: u64,
    is_numeric: bool,
    is_descending: bool,
}

impl SortedHeading {
    /// Tells whether cells of this column are in the order of the heading. Equal cells, and cells
    /// without a number, may be anywhere.
    fn orders(&self, cells: &[String]) -> bool {
        if self.is_numeric {
            let numbers: Vec<f64> = cells.iter().filter_map(|cell| quantity(cell)).collect();
            // Cells without numbers are compared as text. Timestamps are written so that their text
            // order is their time order.
            if !numbers.is_empty() {
                return numbers.is_sorted_by(|one, next| self.may_follow(one, next));
            }
        }
        let first = |cell: &String| cell.lines().next().unwrap_or_default().to_owned();
        let names: Vec<String> = cells.iter().map(first).collect();
        names.is_sorted_by(|one, next| self.may_follow(one, next))
    }

    fn may_follow<T: PartialOrd>(&self, one: &T, next: &T) -> bool {
        if self.is_descending { one >= next } else { one <= next }
    }
}

impl Page<'_> {
    /// Clicks every sorting heading of the table twice. Returns a description of each heading after
    /// which the rows are not in order. Columns in `of_more` are sorted by more than the text of
    /// their cells, so their order is not checked.
    pub(in crate::browser) fn headings_that_do_not_sort(
        &mut self,
        table: &str,
        of_more: &[&str],
    ) -> Vec<String> {
        self.wait_for_rows(table);
        let heads = format!(
            "[...document.querySelectorAll('table[aria-label={}] th[aria-sort] button')] \
             .filter(e => e.checkVisibility())",
            json!(table)
        );
        let count = self.browser.evaluate(&format!("{heads}.length")).as_u64().unwrap();
        assert!(count > 2, "{table} has {count} headings that sort");
        let mut faults = Vec::new();
        for at in (0..count).flat_map(|at| [at, at]) {
            let state = format!("{heads}[{at}].closest('th').getAttribute('aria-sort')");
            let before = self.browser.evaluate(&state);
            self.click(&format!("{heads}[{at}]"));
            self.wait_for(&format!("{state} !== {before}"));
            self.wait_for_address("sort=");
            let sorted = self.browser.evaluate(&format!(
                "{heads}.filter(e => e.closest('th').getAttribute('aria-sort') !== 'none').length"
            ));
            if sorted != json!(1) {
                faults.push(format!("{table}: {sorted} headings say that they sort"));
            }
            let heading = self.heading(&format!("{heads}[{at}].closest('th')"));
            if !of_more.contains(&heading.name.as_str()) {
                faults.extend(self.fault_of_order(table, &heading));
            }
        }
        faults
    }

    fn heading(&mut self, head: &str) -> SortedHeading {
        let facts = self.browser.evaluate(&format!(
            "(head => [head.innerText.trim(), head.cellIndex, head.classList.contains('num'), \
             head.getAttribute('aria-sort') === 'descending'])({head})"
        ));
        SortedHeading {
            name: facts[0].as_str().unwrap().to_owned(),
            column: facts[1].as_u64().unwrap(),
            is_numeric: facts[2] == true,
            is_descending: facts[3] == true,
        }
    }

    /// Waits until the rows are in the order of a heading. Returns a description when they never
    /// are.
    fn fault_of_order(&mut self, table: &str, heading: &SortedHeading) -> Option<String> {
        let deadline = Instant::now() + PATIENCE;
        let column = heading.column;
        loop {
            self.wait_until_settled();
            // A row that is a heading begins another group. A row with fewer cells holds the
            // details of the opened row above it, and one that stands beneath its source has the
            // position of that one. Both are skipped.
            let groups = self.browser.evaluate(&format!(
                "(table => [...table.querySelectorAll('tbody tr')].reduce((groups, row) => {{ \
                   if (row.querySelector('[scope=rowgroup]')) groups.push([]); \
                   else if (!row.classList.contains('is-beneath') \
                     && row.cells.length === table.tHead.rows[0].cells.length) \
                     groups.at(-1).push(row.cells[{column}].innerText.trim()); \
                   return groups; }}, [[]])) \
                 (document.querySelector('table[aria-label={}]'))",
                json!(table)
            ));
            let groups: Vec<Vec<String>> = groups.as_array().unwrap().iter().map(strings).collect();
            if groups.iter().all(|cells| heading.orders(cells)) {
                return None;
            }
            if Instant::now() > deadline {
                return Some(format!("{table}, {heading:?}: {groups:?}"));
            }
        }
    }
}

/// Returns the number that a cell shows. Of two numbers with an arrow, the newer one counts. `3 min
/// ago` is less than `1 s ago`. Parts of one number are added: `1 min 5 s`. A change in percent
/// with its sign, and `same`, are factors as `3.6×` is.
fn quantity(cell: &str) -> Option<f64> {
    let shown = cell.rsplit('→').next()?;
    if shown.trim() == "same" {
        return Some(1.0);
    }
    let is_change = shown.trim().starts_with(['+', '−']) && shown.trim().ends_with('%');
    let mut parts = Vec::new();
    for word in shown.split_whitespace() {
        let digits = word.trim_start_matches(['<', '>', '+', '●']).trim_end_matches(['×', '%']);
        match digits.replace(',', "").replace('−', "-").parse::<f64>() {
            Ok(number) => parts.push(number),
            Err(_) => *parts.last_mut()? *= unit(word)?,
        }
    }
    if shown.trim() == "now" {
        return Some(0.0);
    }
    let sum = parts.iter().sum::<f64>();
    let sign = if shown.trim().ends_with("ago") { -1.0 } else { 1.0 };
    let number = if is_change { 1.0 + sum / 100.0 } else { sum * sign };
    (!parts.is_empty()).then_some(number)
}

/// Returns the factor of a unit: in seconds, in calls a minute, or 1.
fn unit(word: &str) -> Option<f64> {
    Some(match word {
        "ns" => 1e-9,
        "µs" => 1e-6,
        "ms" => 1e-3,
        "min" | "/s" => 60.0,
        "h" => 3_600.0,
        "d" => 86_400.0,
        "/h" => 1.0 / 60.0,
        "s" | "/min" | "%" | "ago" => 1.0,
        _ => return None,
    })
}

#[test]
fn quantities_are_read_with_their_units() {
    let cells = ["1.22 s", "402 ms", "1 min 5 s", "<0.1 %", "1,238 /min", "3.6×", "2 s ago"];
    let read = cells.map(|cell| quantity(cell).unwrap());
    assert_eq!(read, [1.22, 0.402, 65.0, 0.1, 1_238.0, 3.6, -2.0]);
    assert_eq!(quantity("113 ms → 500 ms"), Some(0.5));
    let factors = ["−25 %", "same", "+50 %", "1.6×"].map(quantity);
    assert_eq!(factors, [0.75, 1.0, 1.5, 1.6].map(Some));
    for none in ["–", "new", "2026-11-24 23:55:11"] {
        assert_eq!(quantity(none), None, "{none}");
    }
}
