//! The log records of the selected span.

use leptos::prelude::*;

use super::super::{
    bar::Severity,
    lines::{severity_class, severity_word},
    page::PageSignals,
};
use crate::format;

/// So many records are drawn; the Logs tab has them all.
const RECORDS_MAX: usize = 200;

/// The records, oldest first, and how many there are below; nothing when there are none at all.
pub(super) fn records(page: PageSignals) -> impl IntoView {
    move || {
        let row = page.selected.get()?;
        let logs = page.logs.get();
        let here = logs.of_row(row);
        let below = page.model.with(|model| logs.count_below(model, row));
        if here.is_empty() && below == 0 {
            return None;
        }
        let counts = match (here.len(), below) {
            (here, 0) => format!("{here} here"),
            (here, below) => format!("{here} here, {below} below"),
        };
        let lines = here.iter().take(RECORDS_MAX).filter_map(|&log| logs.get(log)).map(|record| {
            let severity = severity_class(Severity::from_number(record.severity_number));
            view! {
                <li class=format!("span-record {severity}")>
                    <span class="faint">{format::offset(logs.offset(record))}</span>
                    <span class="trace-severity">
                        {severity_word(&record.severity, &record.severity_text)}
                    </span>
                    <span class="span-record-text">
                        {super::attributes::value_view(record.text.clone())}
                    </span>
                </li>
            }
        });
        let more = here.len().checked_sub(RECORDS_MAX + 1).map(|more| {
            let words = format!("{} more in the Logs tab", format::count(more as u64 + 1));
            view! { <p class="faint">{words}</p> }
        });
        Some(view! {
            <section>
                <h3>"Logs " <span class="faint">{counts}</span></h3>
                <ul class="span-records">{lines.collect_view()}</ul>
                {more}
            </section>
        })
    }
}
