//! The rows of a result. Only visible rows are drawn, whatever their number.

use std::{cmp::Ordering, sync::Arc};

use leptos::{html, prelude::*};
use serde_json::Value;
use tidings_proto::{
    TraceId,
    api::{SqlColumn, SqlResult},
};

use crate::{api, components::SortOrder, format};

/// The height of a row in pixels.
const ROW: usize = 26;
/// Number of rows that are drawn above and below the visible ones.
const MARGIN: usize = 12;
/// Maximum number of characters of a value in a cell.
const CELL_MAX: usize = 200;
/// Maximum number of columns that are drawn. The exports have all.
const COLUMNS_MAX: usize = 100;

/// Reports whether values of this type are numbers.
pub(super) fn is_numeric(kind: &str) -> bool {
    matches!(kind, "bigint" | "integer" | "double" | "decimal")
}

/// Returns a value as text, or `None` for null.
pub(super) fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

/// Compares numbers by size, also those that are texts (`"NaN"`), and everything else by its text.
/// Null comes last.
fn compare(left: &Value, right: &Value) -> Ordering {
    match (left.as_f64(), right.as_f64()) {
        (Some(left), Some(right)) => left.total_cmp(&right),
        _ => match (left.is_null(), right.is_null()) {
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            _ => text_of(left).cmp(&text_of(right)),
        },
    }
}

/// Returns the rows' numbers in the order of a column, or in the order of the result without one.
pub(super) fn order_of(result: &SqlResult, order: Option<&SortOrder>) -> Vec<u32> {
    let count = u32::try_from(result.rows.len()).unwrap_or(u32::MAX);
    let mut rows: Vec<u32> = (0..count).collect();
    let column = order
        .and_then(|order| result.columns.iter().position(|column| column.name == order.column));
    if let (Some(order), Some(column)) = (order, column) {
        let value = |row: &u32| {
            let row = usize::try_from(*row).ok().and_then(|row| result.rows.get(row));
            row.and_then(|row| row.get(column)).unwrap_or(&Value::Null)
        };
        rows.sort_by(|left, right| {
            let (left, right) = (value(left), value(right));
            let natural = compare(left, right);
            let keeps_order = !order.descending || left.is_null() || right.is_null();
            if keeps_order { natural } else { natural.reverse() }
        });
    }
    rows
}

/// Returns the rows to draw in a window of this height that is scrolled to this position.
fn rows_in_view(count: usize, scrolled: usize, height: usize) -> std::ops::Range<usize> {
    let first = (scrolled / ROW).saturating_sub(MARGIN).min(count);
    let last = ((scrolled + height) / ROW + MARGIN).min(count);
    first..last.max(first)
}

/// The table.
pub(super) fn result_table(
    result: Arc<SqlResult>,
    order: Memo<Option<SortOrder>>,
    on_sort: Callback<String>,
) -> impl IntoView {
    let rows = {
        let result = Arc::clone(&result);
        Memo::new(move |_| order.with(|order| Arc::new(order_of(&result, order.as_ref()))))
    };
    let place = RwSignal::new((0_usize, 800_usize));
    let area = NodeRef::<html::Div>::new();
    let scrolled = move |_| {
        if let Some(area) = area.get_untracked() {
            let pixels = |number: i32| usize::try_from(number).unwrap_or(0);
            place.set((pixels(area.scroll_top()), pixels(area.client_height())));
        }
    };
    Effect::new(move |_| {
        if area.get().is_some() {
            scrolled(());
        }
    });
    let columns = result.columns.len().min(COLUMNS_MAX);
    let heads = result.columns.iter().take(columns);
    let heads = heads.map(|column| column_head(column, order, on_sort)).collect_view();
    // The count is read from the result and not from `rows`. An effect that reads a memo after
    // another memo that depends on it misses changes that leave the other one equal.
    let count = result.rows.len();
    let part = Memo::new(move |_| {
        let (scrolled, height) = place.get();
        rows_in_view(count, scrolled, height)
    });
    let body = move || {
        let part = part.get();
        let rows = rows.get();
        let below = rows.len() - part.end;
        let lines: Vec<_> = rows[part.clone()]
            .iter()
            .filter_map(|row| result.rows.get(usize::try_from(*row).ok()?))
            .map(|row| line(&result, row, columns))
            .collect();
        view! { {spacer(part.start, columns)} {lines} {spacer(below, columns)} }
    };
    view! {
        <div node_ref=area class="sql-rows" tabindex="0" on:scroll=move |_| scrolled(())>
            <table class="table sql-table" aria-label="Result" aria-rowcount=count.to_string()>
                <thead>
                    <tr>{heads}</tr>
                </thead>
                <tbody>{body}</tbody>
            </table>
        </div>
    }
}

/// The name of a column and its type. A click sorts by it.
fn column_head(
    column: &SqlColumn,
    order: Memo<Option<SortOrder>>,
    on_sort: Callback<String>,
) -> impl IntoView + use<> {
    let (name, kind) = (column.name.clone(), column.r#type.clone());
    let (sorted, clicked) = (name.clone(), name.clone());
    let is_number = is_numeric(&kind);
    let state = move || {
        order.with(|order| match order.as_ref().filter(|order| order.column == sorted) {
            Some(order) if order.descending => "descending",
            Some(_) => "ascending",
            None => "none",
        })
    };
    view! {
        <th scope="col" class:num=is_number aria-sort=state>
            <button class="sort-head" type="button" on:click=move |_| on_sort.run(clicked.clone())>
                {name}
                <span class="sql-type">{kind}</span>
            </button>
        </th>
    }
}

/// Empty space in place of rows that are not drawn.
fn spacer(count: usize, columns: usize) -> impl IntoView {
    view! {
        <tr class="sql-space" aria-hidden="true">
            <td colspan=columns.to_string() style=("height", format!("{}px", count * ROW))></td>
        </tr>
    }
}

fn line(result: &SqlResult, row: &[Value], columns: usize) -> impl IntoView + use<> {
    let cells = result.columns.iter().take(columns).enumerate().map(|(index, column)| {
        let value = row.get(index).unwrap_or(&Value::Null);
        cell(&column.name, &column.r#type, value)
    });
    view! { <tr>{cells.collect_view()}</tr> }
}

/// A cell. Trace ids are links. Null and the empty text are named.
fn cell(name: &str, kind: &str, value: &Value) -> AnyView {
    let Some(text) = text_of(value) else {
        return view! { <td class="faint-cell">"null"</td> }.into_any();
    };
    if text.is_empty() {
        return view! { <td class="faint-cell">"(empty)"</td> }.into_any();
    }
    if is_numeric(kind) {
        let shown = value.as_u64().map_or(text.clone(), format::count);
        let is_error = is_failure(name, value);
        return view! { <td class="num" class:is-error=is_error>{shown}</td> }.into_any();
    }
    let shown: String = text.chars().take(CELL_MAX).collect();
    let is_cut = shown.len() < text.len();
    let shown = if is_cut { format!("{shown}…") } else { shown };
    let trace =
        text.parse::<TraceId>().ok().filter(|_| name.ends_with("trace_id") && text.len() == 32);
    match trace {
        Some(trace) => {
            let href = api::trace_address(trace, None);
            view! { <td class="mono"><a href=href>{shown}</a></td> }.into_any()
        }
        None => view! { <td class="mono" title=title(&text)>{shown}</td> }.into_any(),
    }
}

/// Reports whether a number says that something failed: by the name of its column, as `failed` or
/// `error_count`.
fn is_failure(name: &str, value: &Value) -> bool {
    let name = name.to_lowercase();
    ["fail", "error"].iter().any(|word| name.contains(word))
        && value.as_f64().is_some_and(|number| number > 0.0)
}

fn title(text: &str) -> String {
    text.chars().take(2_000).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tidings_proto::{
        DurationNanos,
        api::{SqlColumn, SqlRead, SqlResult},
    };

    use super::{SortOrder, is_failure, order_of, rows_in_view};

    fn result(values: &[Value]) -> SqlResult {
        SqlResult {
            columns: vec![SqlColumn { name: "a".to_owned(), r#type: "bigint".to_owned() }],
            rows: values.iter().map(|value| vec![value.clone()]).collect(),
            row_count: values.len() as u64,
            complete: true,
            lacks: Vec::new(),
            read: SqlRead::default(),
            repeats_counted: false,
            elapsed_nano: DurationNanos(1),
        }
    }

    #[test]
    fn rows_sort_by_size_and_null_stays_last() {
        let numbers = result(&[json!(10), json!(null), json!(9), json!(-1.5)]);
        let order = |text: &str| order_of(&numbers, Some(&SortOrder::parse(text)));
        assert_eq!(order("a"), [3, 2, 0, 1]);
        assert_eq!(order("-a"), [0, 2, 3, 1]);
        assert_eq!(order("none"), [0, 1, 2, 3]);
        assert_eq!(order_of(&numbers, None), [0, 1, 2, 3]);
        let texts = result(&[json!("b"), json!("a"), json!({ "k": 1 })]);
        assert_eq!(order_of(&texts, Some(&SortOrder::parse("a"))), [1, 0, 2]);
    }

    #[test]
    fn numbers_of_failures_are_those_above_zero_in_a_column_of_that_name() {
        assert!(is_failure("failed", &json!(1)) && is_failure("Error_Share", &json!(0.1)));
        assert!(!is_failure("failed", &json!(0)) && !is_failure("failed", &json!(null)));
        assert!(!is_failure("calls", &json!(1)));
    }

    #[test]
    fn only_rows_on_screen_are_drawn() {
        assert_eq!(rows_in_view(100_000, 0, 520), 0..32);
        assert_eq!(rows_in_view(100_000, 26_000, 520), 988..1_032);
        assert_eq!(rows_in_view(5, 0, 520), 0..5);
        assert_eq!(rows_in_view(5, 26_000, 520), 5..5);
    }
}
