//! SQL: queries over spans, logs, traces, rates and edges.
//!
//! Owns the text, the running query and the address: the query that was run, the row limit, the sort
//! order, the shown parts and the chart's columns. The old result stays while a new query runs.

use std::{sync::Arc, time::Duration};

use leptos::{prelude::*, task::spawn_local};
use tidings_proto::{
    DurationNanos, UnixNanos,
    api::{AttributeKeyList, SqlPartialReason, SqlProgress, SqlResult},
};

use crate::{
    api::{
        ApiError, attribute_keys,
        sql::{ROW_LIMIT, download, sql},
    },
    browser,
    charts::lines::{LineChart, SERIES_MAX},
    components::{CopyButton, ErrorState, PartialNote, Segment, Segments, SortOrder, use_toasts},
    format,
    request_state::RequestState,
    shell::{crumb, set_crumbs},
    shortcuts::use_shortcuts,
    url::{History, use_edit_query, use_query},
    web_storage,
};

mod editor;
mod quick_chart;
mod results;
mod schema;
mod tokens;

use editor::{EditorState, editor};
use quick_chart::{
    ChartColumns, LINES_MAX, chart, default_columns, series_columns, x_columns, y_columns,
};
use results::result_table;
use schema::{columns_for, schema_side, use_schema};
use tokens::{Completion, CompletionContext, error_position, name_completions};

/// Maximum number of completions.
const OFFERED_MAX: usize = 12;
/// Default row limit.
const ROWS_USUAL: u32 = 10_000;
/// Row limits to choose from.
const LIMITS: [u32; 3] = [1_000, ROWS_USUAL, ROW_LIMIT];
/// The parameter of the row limit.
const LIMIT: &str = "rows";
/// Interval at which the time of a running query is redrawn.
const ELAPSED_INTERVAL: Duration = Duration::from_millis(200);
const EXAMPLE: &str = "SELECT minute, service, sum(calls) AS calls, sum(errors) AS failed\nFROM red\n\
                       WHERE minute >= now() - INTERVAL '1 hour' AND kind = 'server'\n\
                       GROUP BY minute, service\nORDER BY minute, service";

/// A query that was run, and its row limit.
#[derive(Debug, Clone, PartialEq, Eq)]
struct SubmittedQuery {
    text: String,
    limit: u32,
    run: u32,
}

/// The query and its result.
#[derive(Clone, Copy)]
struct Runner {
    text: RwSignal<String>,
    limit: Memo<u32>,
    asked: RwSignal<Option<SubmittedQuery>>,
    result: RequestState<SqlResult>,
    /// The query of the shown result, and the moment of the result.
    answered: RwSignal<Option<(SubmittedQuery, UnixNanos)>>,
    started: RwSignal<Option<UnixNanos>>,
    /// The time after which the last query was cancelled.
    cancelled: RwSignal<Option<DurationNanos>>,
    /// Progress of the running query.
    progress: RwSignal<Option<SqlProgress>>,
}

impl Runner {
    fn new(text: String) -> Self {
        let asked = RwSignal::new(None::<SubmittedQuery>);
        let progress = RwSignal::new(None);
        let on_progress = Callback::new(move |data: String| {
            progress.try_set(serde_json::from_str(&data).ok());
        });
        let request = move || asked.get().map(|asked| sql(&asked.text, asked.limit));
        let result = RequestState::with_progress(request, on_progress);
        let runner = Self {
            text: RwSignal::new(text),
            limit: use_limit(),
            asked,
            result,
            answered: RwSignal::new(None),
            started: RwSignal::new(None),
            cancelled: RwSignal::new(None),
            progress,
        };
        let answer = result.signal();
        Effect::new(move |_| {
            if answer.get().is_some()
                && let Some(asked) = asked.get_untracked()
            {
                runner.answered.set(Some((asked, browser::now())));
            }
        });
        runner
    }

    fn run(self) {
        let text = self.text.get_untracked();
        if text.trim().is_empty() {
            return;
        }
        let run = self.asked.with_untracked(|asked| asked.as_ref().map_or(0, |asked| asked.run));
        self.started.set(Some(browser::now()));
        self.progress.set(None);
        self.cancelled.set(None);
        let limit = self.limit.get_untracked();
        self.asked.set(Some(SubmittedQuery { text, limit, run: run.wrapping_add(1) }));
    }

    /// Cancels the running query. The server ends it when its client disconnects.
    fn cancel(self) {
        if self.result.pending() {
            let started = self.started.get_untracked().unwrap_or_default();
            self.cancelled.set(Some(browser::now().since(started)));
            self.asked.set(None);
        }
    }
}

/// Returns the row limit in the address.
fn use_limit() -> Memo<u32> {
    let query = use_query();
    Memo::new(move |_| {
        let asked = query.with(|query| query.get(LIMIT)?.parse::<u32>().ok());
        asked.filter(|rows| LIMITS.contains(rows)).unwrap_or(ROWS_USUAL)
    })
}

/// The page.
#[component]
#[must_use]
pub fn SqlPage() -> impl IntoView {
    set_crumbs(crumb("SQL"));
    let query = use_query();
    let edit = use_edit_query();
    let given = query.with_untracked(|query| query.get("q").map(str::to_owned));
    let runner = Runner::new(given.clone().unwrap_or_else(|| EXAMPLE.to_owned()));
    if given.is_some() {
        runner.run();
    }
    // Back and forward restore the query of that entry.
    Effect::new(move |_| {
        let given = query.with(|query| query.get("q").map(str::to_owned));
        let current =
            runner.asked.with_untracked(|asked| asked.as_ref().map(|asked| asked.text.clone()));
        if let Some(given) = given.filter(|given| current.as_ref() != Some(given)) {
            runner.text.set(given);
            runner.run();
        }
    });
    let run = Callback::new(move |()| {
        runner.run();
        let text = runner.text.get_untracked();
        edit(History::Push, &|query| {
            query.set("q", Some(&text));
            for key in ["sort", "x", "y", "by"] {
                query.remove(key);
            }
        });
    });
    let cancel = Callback::new(move |()| runner.cancel());
    use_shortcuts().bind("Escape", "Cancel the running query", "SQL", move || runner.cancel());
    let schema = use_schema();
    let asked = RwSignal::new(None::<CompletionContext>);
    let offered = completions(runner.text, asked, schema);
    let mistake = Memo::new(move |_| {
        let same = runner.asked.with(|asked| {
            asked.as_ref().is_some_and(|asked| runner.text.with(|text| *text == asked.text))
        });
        runner.result.error().filter(|_| same).and_then(|error| error_position(&error.detail()))
    });
    let state = EditorState::new(runner.text, asked, offered, mistake);
    let kept = RwSignal::new(web_storage::load_texts(web_storage::QUERIES));
    let open = Callback::new(move |text: String| {
        runner.text.set(text);
        run.run(());
    });
    view! {
        <div class="sql-page">
            {schema_side(state, schema, kept, open)}
            <div class="sql-main">
                {editor(state, run, cancel)} {run_bar(runner, run, cancel)} {query_error_view(runner)}
                {result_view(runner)}
            </div>
        </div>
    }
}

/// Returns the completions for the word at the caret.
fn completions(
    text: RwSignal<String>,
    asked: RwSignal<Option<CompletionContext>>,
    schema: RwSignal<schema::Schema>,
) -> Memo<Vec<Completion>> {
    let keys: RequestState<AttributeKeyList> = RequestState::new(move || match asked.get() {
        Some(CompletionContext::Attribute(begin)) => Some(attribute_keys(&begin)),
        _ => None,
    });
    Memo::new(move |_| match asked.get() {
        None => Vec::new(),
        Some(CompletionContext::Name(begin)) => {
            let columns = schema.with(|schema| text.with(|text| columns_for(schema, text)));
            name_completions(&begin, &columns, OFFERED_MAX)
        }
        Some(CompletionContext::Attribute(begin)) => {
            let keys = keys.value().map(|list| list.keys.clone()).unwrap_or_default();
            let fits = keys.into_iter().filter(|key| key.key.starts_with(&begin));
            let offer = fits.map(|key| Completion { text: key.key, hint: key.scope });
            offer.take(OFFERED_MAX).collect()
        }
    })
}

/// The bar with buttons to run and cancel, the elapsed time and the row limit.
fn run_bar(runner: Runner, run: Callback<()>, cancel: Callback<()>) -> impl IntoView {
    let clock = RwSignal::new(browser::now());
    if let Ok(timer) = set_interval_with_handle(
        move || {
            if runner.result.pending() {
                clock.set(browser::now());
            }
        },
        ELAPSED_INTERVAL,
    ) {
        on_cleanup(move || timer.clear());
    }
    let pending = Memo::new(move |_| runner.result.pending());
    let running = move || {
        pending.get().then(|| {
            let since = runner.started.get().unwrap_or_default();
            let elapsed = move || elapsed_text(clock.get().since(since));
            let read = move || runner.progress.get().map(|progress| progress_text(&progress));
            view! {
                <span class="sql-running" role="status">
                    "Running, "
                    <span class="mono">{elapsed}</span>
                    {read}
                </span>
                <button class="button" type="button" on:click=move |_| cancel.run(())>
                    "Cancel "
                    <kbd>"Esc"</kbd>
                </button>
            }
        })
    };
    let cancelled = move || {
        let elapsed = runner.cancelled.get().filter(|_| !pending.get())?;
        Some(view! {
            <span class="sql-running" role="status">
                "Cancelled after "
                <span class="mono">{elapsed_text(elapsed)}</span>
            </span>
        })
    };
    let of = move || {
        let (asked, time) = runner.answered.get()?;
        let is_other = runner.text.with(|text| *text != asked.text) || pending.get();
        let at = format::when(time, browser::now(), browser::zone_minutes(time));
        let at = at.split_once('.').map_or(at.clone(), |(seconds, _)| seconds.to_owned());
        is_other.then(|| format!("below: the result of {at}"))
    };
    view! {
        <div class="sql-bar">
            <button class="button button-primary" type="button" on:click=move |_| run.run(())>
                "Run "
                <kbd>"Ctrl ↵"</kbd>
            </button>
            {limit_choice(runner.limit)}
            {running}
            {cancelled}
            <span class="sql-of mute">{of}</span>
        </div>
    }
}

/// Returns the time that a query has run, in tenths of a second.
fn elapsed_text(elapsed: DurationNanos) -> String {
    const TENTH_NANOS: u64 = 100_000_000;
    format::duration(DurationNanos(elapsed.0 / TENTH_NANOS * TENTH_NANOS))
}

/// The choice of the row limit, which the address has.
fn limit_choice(limit: Memo<u32>) -> impl IntoView {
    let edit = use_edit_query();
    let choose = move |event| {
        let rows = event_target_value(&event).parse::<u32>().ok();
        let rows = rows.filter(|rows| *rows != ROWS_USUAL);
        edit(History::Replace, &|query| query.set(LIMIT, rows));
    };
    let choices = LIMITS.map(|rows| {
        view! {
            <option value=rows.to_string() prop:selected=move || limit.get() == rows>
                {format::counted(rows.into(), "row")}
            </option>
        }
    });
    view! {
        <label class="sql-limit">
            <span class="mute">"at most"</span>
            <select class="input" aria-label="At most this many rows" on:change=choose>
                {choices}
            </select>
        </label>
    }
}

/// Returns the progress of a running query, to follow its time.
fn progress_text(progress: &SqlProgress) -> String {
    let rows = format::counted(progress.read.rows, "row");
    match progress.file_count {
        0 => format!(", {rows} read"),
        files => {
            let of = format::counted(files, "file");
            format!(", {rows} read, {} of {of}", format::count(progress.read.files))
        }
    }
}

/// The error of a query. It names the position of the mistake, and the editor marks it.
fn query_error_view(runner: Runner) -> impl IntoView {
    move || {
        let error = runner.result.error().filter(|_| !runner.result.pending())?;
        Some(match &error {
            ApiError::Problem(problem) if problem.status == 400 => {
                let place = error_position(&problem.detail)
                    .map(|(line, column)| format!("Line {line}, column {column}: "));
                let words = problem.detail.split(" (line ").next().unwrap_or_default().to_owned();
                view! {
                    <div class="sql-error" role="alert">
                        <b>{place}</b>
                        {words}
                    </div>
                }
                .into_any()
            }
            _ => {
                let retry = Callback::new(move |()| runner.run());
                view! { <ErrorState error=error on_retry=retry /> }.into_any()
            }
        })
    }
}

/// The result: its summary, table and chart.
fn result_view(runner: Runner) -> impl IntoView {
    let query = use_query();
    let edit = use_edit_query();
    let shown =
        Memo::new(move |_| query.with(|query| query.get("show").unwrap_or("both").to_owned()));
    let order = Memo::new(move |_| query.with(|query| query.get("sort").map(SortOrder::parse)));
    let sort = {
        let edit = edit.clone();
        Callback::new(move |column: String| {
            let next = order.with_untracked(|order| match order {
                Some(order) if order.column == column && order.descending => column.clone(),
                Some(order) if order.column == column => String::new(),
                _ => format!("-{column}"),
            });
            let next = (!next.is_empty()).then_some(next);
            edit(History::Replace, &|query| query.set("sort", next.as_ref()));
        })
    };
    let choose = Callback::new(move |which: &'static str| {
        edit(History::Replace, &|query| query.set("show", (which != "both").then_some(which)));
    });
    let body = move || {
        let result = runner.result.value()?;
        let shown = shown.get();
        let columns = (shown != "table").then(|| default_columns(&result)).flatten();
        let has_chart = columns.is_some();
        let chart =
            columns.map(|columns| chart_card(Arc::clone(&result), columns, runner.answered));
        let table = (shown != "chart" || !has_chart).then(|| {
            view! { <div class="card sql-result">{result_table(Arc::clone(&result), order, sort)}</div> }
        });
        let class =
            if has_chart && shown == "both" { "sql-results sql-both" } else { "sql-results" };
        Some(view! {
            {result_facts(runner, &result, shown.clone(), has_chart, choose)}
            <div class=class class:is-stale=move || runner.result.pending()>
                {table}
                {chart}
            </div>
        })
    };
    view! { {body} }
}

fn result_facts(
    runner: Runner,
    result: &SqlResult,
    shown: String,
    has_chart: bool,
    choose: Callback<&'static str>,
) -> impl IntoView + use<> {
    let facts = format!(
        "in {}, {} read",
        format::duration(result.elapsed_nano),
        format::counted(result.read.rows, "row")
    );
    let lack = |lack: &SqlPartialReason| match lack {
        SqlPartialReason::Rows => "There are more rows: raise the number beside Run, or aggregate.",
        SqlPartialReason::Bytes => "The rest would be more than 64 MiB: select fewer columns.",
        SqlPartialReason::Unread => "Some of what is stored could not be read.",
    };
    let lacks = result.lacks.iter().map(lack).collect::<Vec<_>>().join(" ");
    let partial = (!result.complete).then(|| view! { <PartialNote>{lacks}</PartialNote> });
    let segments = vec![
        Segment::new("both", "Table and chart"),
        Segment::new("table", "Table"),
        Segment::new("chart", "Chart"),
    ];
    let choice = (has_chart || shown == "table").then(|| {
        view! { <Segments label="What is shown" segments chosen=shown on_choose=choose /> }
    });
    let link = Signal::derive(move || {
        runner.answered.track();
        window().location().href().unwrap_or_default()
    });
    view! {
        <div class="sql-facts">
            <b class="mono">{format::counted(result.row_count, "row")}</b>
            <span class="mute">{facts}</span>
            <span class="page-tools">
                {choice} {export(runner, "CSV", "text/csv", "csv")}
                {export(runner, "JSON", "application/json", "json")}
                {export(runner, "Arrow", "application/vnd.apache.arrow.stream", "arrows")}
                <CopyButton text=link label="Copy the link to this query" />
            </span>
        </div>
        {partial}
    }
}

/// A button that runs the query again and saves its rows as a file.
fn export(
    runner: Runner,
    label: &'static str,
    accept: &'static str,
    ending: &'static str,
) -> impl IntoView {
    let toasts = use_toasts();
    let busy = RwSignal::new(false);
    let save = move |_| {
        let Some((asked, _)) = runner.answered.get_untracked() else { return };
        busy.set(true);
        spawn_local(async move {
            match download(&asked.text, ROW_LIMIT, accept).await {
                Ok(blob) => browser::download_file(&blob, &format!("tidings.{ending}")),
                Err(error) => toasts.show(format!("{}. {}", error.title(), error.detail())),
            }
            busy.try_set(false);
        });
    };
    view! {
        <button
            class="button"
            type="button"
            title="Runs the query again and saves its rows"
            disabled=move || busy.get()
            on:click=save
        >
            {label}
        </button>
    }
}

/// The chart and the choice of its columns, which are in the address.
fn chart_card(
    result: Arc<SqlResult>,
    usual: ChartColumns,
    answered: RwSignal<Option<(SubmittedQuery, UnixNanos)>>,
) -> impl IntoView {
    let query = use_query();
    let columns = Memo::new(move |_| {
        query.with(|query| {
            let chosen = |key: &str, usual: &str| query.get(key).unwrap_or(usual).to_owned();
            let by = query.get("by").map(str::to_owned).or_else(|| usual.by.clone());
            ChartColumns {
                x: chosen("x", &usual.x),
                y: chosen("y", &usual.y),
                by: by.filter(|by| !by.is_empty()),
            }
        })
    });
    let choices = {
        let (x, y) = (x_columns(&result), y_columns(&result));
        let by: Vec<String> =
            std::iter::once(String::new()).chain(series_columns(&result)).collect();
        view! {
            {column_choice("x", "Horizontal", x, move || columns.get().x)}
            {column_choice("y", "Vertical", y, move || columns.get().y)}
            {column_choice("by", "One line for each", by, move || {
                columns.get().by.unwrap_or_default()
            })}
        }
    };
    let (hidden, draws_all) = (RwSignal::new(Vec::new()), RwSignal::new(false));
    let drawn = move || {
        let columns = columns.get();
        let zone = browser::zone_minutes(browser::now());
        let label = format!("{} by {}", columns.y, columns.x);
        let most = if draws_all.get() { LINES_MAX } else { SERIES_MAX };
        let answered = answered.with(|answered| answered.as_ref().map(|(_, time)| time.0));
        let read = UnixNanos(answered.unwrap_or_default().saturating_sub(result.elapsed_nano.0));
        match chart(&result, &columns, most, zone, read) {
            Some(chart) => {
                let unfinished = chart.unfinished;
                let open = unfinished.as_ref().map(|step| {
                    view! { <p class="sql-unfinished mute">{format!("{}.", step.title)}</p> }
                });
                let by = columns.by.unwrap_or_default();
                let more = lines_note(chart.series.len(), chart.left_out, &by, draws_all);
                view! {
                    <LineChart series=chart.series ticks=chart.ticks label hidden unfinished />
                    {open}
                    {more}
                }
                .into_any()
            }
            None => {
                view! { <p class="panel-empty">"These columns make no line chart."</p> }.into_any()
            }
        }
    };
    let title = move || {
        let columns = columns.get();
        format!("{} by {}", columns.y, columns.x)
    };
    view! {
        <section class="card sql-chart" aria-label="Chart">
            <div class="panel-head">
                <h2>{title}</h2>
            </div>
            {drawn}
            <div class="sql-chart-columns">{choices}</div>
        </section>
    }
}

/// The number of lines that are not drawn, and the button that draws them or leaves them out.
fn lines_note(
    drawn: usize,
    left_out: usize,
    by: &str,
    draws_all: RwSignal<bool>,
) -> impl IntoView + use<> {
    let words = (left_out > 0)
        .then(|| format!("{} of {by} not drawn. ", format::counted(left_out as u64, "more value")));
    let way = lines_button(drawn, left_out).map(|label| {
        let toggle = move |_| draws_all.update(|all| *all = !*all);
        view! {
            <button class="link" type="button" on:click=toggle>
                {label}
            </button>
        }
    });
    (words.is_some() || way.is_some()).then(|| view! { <p class="panel-empty">{words} {way}</p> })
}

/// Returns the label of the button that changes the number of lines, by the numbers of those that
/// are drawn and of those that are not.
fn lines_button(drawn: usize, left_out: usize) -> Option<String> {
    match (drawn > SERIES_MAX, left_out) {
        (true, _) => Some(format!("Draw {SERIES_MAX}")),
        (false, 0) => None,
        (false, _) if drawn + left_out <= LINES_MAX => Some("Draw all".to_owned()),
        (false, _) => Some(format!("Draw {LINES_MAX}")),
    }
}

fn column_choice(
    key: &'static str,
    label: &'static str,
    names: Vec<String>,
    chosen: impl Fn() -> String + Copy + Send + Sync + 'static,
) -> impl IntoView {
    let edit = use_edit_query();
    let change = move |event| {
        let name: String = event_target_value(&event);
        edit(History::Replace, &|query| query.set(key, Some(&name)));
    };
    let option = move |name: String| {
        let shown = if name.is_empty() { "(none)".to_owned() } else { name.clone() };
        let value = name.clone();
        view! { <option value=value selected=move || chosen() == name>{shown}</option> }
    };
    view! {
        <label class="sql-choice">
            <span class="mute">{label}</span>
            <select class="input" on:change=change>
                {names.into_iter().map(option).collect_view()}
            </select>
        </label>
    }
}

#[cfg(test)]
mod tests {
    use super::{LINES_MAX, SERIES_MAX, lines_button};

    #[test]
    fn lines_that_are_not_drawn_have_a_button_that_draws_them() {
        assert_eq!(lines_button(SERIES_MAX, 0), None);
        assert_eq!(lines_button(SERIES_MAX, 5).as_deref(), Some("Draw all"));
        assert_eq!(lines_button(SERIES_MAX, LINES_MAX).as_deref(), Some("Draw 50"));
        assert_eq!(lines_button(11, 0).as_deref(), Some("Draw 6"));
    }
}
