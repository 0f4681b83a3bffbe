//! Table of measurements in Markdown.

use std::{fmt::Write, fs, path::Path};

use anyhow::{Context, Result};

/// Rows by name, columns by system and amount of data.
#[derive(Debug, Default)]
pub struct Report {
    columns: Vec<String>,
    rows: Vec<ReportRow>,
    notes: Vec<String>,
}

#[derive(Debug)]
struct ReportRow {
    name: String,
    target: &'static str,
    cells: Vec<(usize, String)>,
}

impl Report {
    /// Begins a column; the cells that follow are in it.
    pub(crate) fn column(&mut self, name: String) {
        self.columns.push(name);
    }

    /// Adds a cell to the newest column. `target` has what the project requires and what it aims
    /// at.
    pub(crate) fn cell(&mut self, name: &str, target: &'static str, value: String) {
        eprintln!("{name}: {value}");
        let column = self.columns.len();
        match self.rows.iter_mut().find(|row| row.name == name) {
            Some(row) => row.cells.push((column, value)),
            None => {
                let name = name.to_owned();
                self.rows.push(ReportRow { name, target, cells: vec![(column, value)] });
            }
        }
    }

    /// Adds a sentence below the table.
    pub(crate) fn note(&mut self, note: String) {
        eprintln!("{note}");
        self.notes.push(note);
    }

    /// Returns the table and the notes.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut text = String::from("| measured | must; aim |");
        for column in &self.columns {
            let _ = write!(text, " {column} |");
        }
        text.push_str("\n|---|---|");
        text.push_str(&"---|".repeat(self.columns.len()));
        text.push('\n');
        for row in &self.rows {
            let _ = write!(text, "| {} | {} |", row.name, row.target);
            for column in 1..=self.columns.len() {
                let cell = row.cells.iter().rev().find(|(at, _)| *at == column);
                let _ = write!(text, " {} |", cell.map_or("", |(_, value)| value));
            }
            text.push('\n');
        }
        text.push('\n');
        for note in &self.notes {
            let _ = writeln!(text, "- {note}");
        }
        text
    }

    /// Puts the table into a page, between `<!-- begin NAME -->` and `<!-- end NAME -->`.
    ///
    /// # Errors
    /// When the page cannot be read or written, or has no such marks.
    #[expect(clippy::disallowed_methods, reason = "documentation needs no durability")]
    pub fn write_into(&self, page: &Path, name: &str) -> Result<()> {
        let context = || page.display().to_string();
        let text = fs::read_to_string(page).with_context(context)?;
        let text = replaced(&text, name, &self.markdown())
            .with_context(|| format!("{} has no marks for {name}", page.display()))?;
        fs::write(page, text).with_context(context)
    }
}

fn replaced(text: &str, name: &str, table: &str) -> Option<String> {
    let (begin, end) = (format!("<!-- begin {name} -->\n"), format!("<!-- end {name} -->"));
    let (before, rest) = text.split_once(&begin)?;
    let (_, after) = rest.split_once(&end)?;
    Some(format!("{before}{begin}\n{table}\n{end}{after}"))
}

/// Formats a number of spans, log records or rows, shortened to thousands or millions.
pub(crate) fn count(spans: u64) -> String {
    match spans {
        0..1000 => spans.to_string(),
        1000..1_000_000 => format!("{} k", spans / 1000),
        _ => format!("{} M", spans / 1_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::{Report, replaced};

    #[test]
    fn cells_stand_under_their_columns() {
        let mut report = Report::default();
        report.column("1 M".to_owned());
        report.cell("time", "2; 1", "3".to_owned());
        report.column("10 M".to_owned());
        report.cell("bytes", "", "50".to_owned());
        report.note("Measured.".to_owned());
        let table = "| measured | must; aim | 1 M | 10 M |\n|---|---|---|---|\n\
                     | time | 2; 1 | 3 |  |\n| bytes |  |  | 50 |\n\n- Measured.\n";
        assert_eq!(report.markdown(), table);
    }

    #[test]
    fn a_table_takes_the_place_of_the_old_one() {
        let page = "a\n<!-- begin x -->\nold\n<!-- end x -->\nb\n";
        let new = "a\n<!-- begin x -->\n\nnew\n<!-- end x -->\nb\n";
        assert_eq!(replaced(page, "x", "new").as_deref(), Some(new));
        assert_eq!(replaced(page, "y", "new"), None);
    }
}
