//! Parts around the rows that every list draws.

use leptos::prelude::*;
use tidings_proto::{
    UnixNanos,
    api::{Total, TotalRelation},
};

use super::{ListPage, ListQuery, PagedList};
use crate::{
    browser,
    components::{EmptyState, ErrorState, LoadingRows, PartialNote},
    format,
    page_time::use_live,
};

/// Total or scan statistics, and live state of a list. During a slow search it shows the progress
/// and a button to stop.
#[component]
#[must_use]
pub fn ListStatus<T: ListPage, Q: ListQuery>(
    /// The list.
    paged: PagedList<T, Q>,
    /// True while live updates are on hold for the reader.
    held: Memo<bool>,
    /// Set to false where the list has its total above it. The scan statistics stand in its place.
    #[prop(default = true)]
    has_total: bool,
) -> impl IntoView {
    let live = use_live();
    let search = paged.search;
    let has_progress = Memo::new(move |_| search.progress().is_some());
    let is_stopped = Memo::new(move |_| search.stopped());
    let facts = move || {
        search.value().map(|found| {
            let searched = found.searched();
            let read = format!(
                "{} read in {}",
                format::counted(searched.rows, "row"),
                format::duration(searched.elapsed_nano)
            );
            let files = format!("{} opened", format::counted(searched.files, "file"));
            if !has_total {
                return view! { <span class="faint" title=files>{read}</span> }.into_any();
            }
            let (listed, total) = (found.items().len() + paged.older.with(Vec::len), found.total());
            // The number of rows is not drawn beside the total, which is often greater.
            let title = format!(
                "{read}, {files}. The total may come from counts in data files, which need no rows."
            );
            view! {
                <span title=title>{format::total(total, T::NOUN)}</span>
                <span class="faint">{listed_text(listed as u64, total)}</span>
            }
            .into_any()
        })
    };
    let hold = move || (live.get() && held.get()).then_some("live waits while you read");
    view! {
        <div class="facts" role="status">
            <Show
                when=move || has_progress.get() || is_stopped.get()
                fallback=move || {
                    view! {
                        <span class="faint">{hold}</span>
                        {facts}
                    }
                }
            >
                <SearchStatus paged is_stopped />
            </Show>
        </div>
    }
}

/// Returns the words for the part of the total that is listed: `newest 200 listed`. `None` where
/// nothing is missing from the list, and where it is empty.
fn listed_text(listed: u64, total: Total) -> Option<String> {
    let is_part = listed < total.value || total.relation == TotalRelation::AtLeast;
    (listed > 0 && is_part).then(|| format!("newest {} listed", format::count(listed)))
}

/// Progress of a search, also after it ended early.
#[component]
fn SearchStatus<T: ListPage, Q: ListQuery>(
    paged: PagedList<T, Q>,
    is_stopped: Memo<bool>,
) -> impl IntoView {
    let search = paged.search;
    let is_over = Memo::new(move |_| is_stopped.get() || search.error().is_some());
    let rows = move || {
        let rows = search.progress().map(|progress| format::counted(progress.rows, "row"));
        match (rows, is_over.get()) {
            (Some(rows), false) => format!("Searching: {rows}"),
            (Some(rows), true) => format!("Stopped after {rows}"),
            (None, _) => "Stopped".to_owned(),
        }
    };
    let since = move || {
        let since = search.progress()?.since_unix_nano?;
        Some(format!("back to {}", when(since)))
    };
    let found = move || {
        let found = search.progress()?.found;
        Some(format!("{} so far", format::counted(found, T::NOUN)))
    };
    let share = Memo::new(move |_| {
        let now = search.requested_at();
        let (start, end) = paged.list_query.with(ListQuery::range).bounds(now);
        let times = start.zip(Some(end.unwrap_or(now)));
        search.progress().map_or(0.0, |progress| format::looked_at(&progress, times))
    });
    let width = move || format!("{:.1}%", share.get() * 100.0);
    let click = move |_| if is_over.get_untracked() { search.refresh() } else { search.stop() };
    let words = move || if is_over.get() { "Search again" } else { "Stop" };
    view! {
        <span class="search-facts">
            <span class="num">{rows}</span>
            <span class="mono">{since}</span>
            <span class="num">{found}</span>
        </span>
        <Show when=move || !is_over.get() || is_stopped.get()>
            <button class="button search-stop" type="button" on:click=click>
                {words}
            </button>
        </Show>
        <Show when=move || !is_over.get()>
            <span class="search-track" aria-hidden="true">
                <span class="search-done" style=("width", width)></span>
            </span>
        </Show>
    }
}

fn when(time: UnixNanos) -> String {
    format::when(time, browser::now(), browser::zone_minutes(time))
}

/// Note about an error, an empty list, or a search that stopped early.
#[component]
#[must_use]
pub fn ListNotices<T: ListPage, Q: ListQuery>(
    /// The list.
    paged: PagedList<T, Q>,
) -> impl IntoView {
    let search = paged.search;
    let error = Memo::new(move |_| search.error());
    let loading = Memo::new(move |_| search.loading());
    let partial = Memo::new(move |_| paged.may_be_incomplete.get());
    let failed = move || {
        let retry = Callback::new(move |()| search.refresh());
        error.get().map(|error| {
            let is_kept = !search.rows().is_empty();
            view! { <ErrorState name=format::plural(T::NOUN) is_kept error on_retry=retry /> }
        })
    };
    let given_up = Memo::new(move |_| search.stopped() && search.rows().is_empty());
    let stopped = move || {
        let nouns = format::plural(T::NOUN);
        if paged.list_query.with(ListQuery::is_ranked) {
            return format!(
                "Not all {nouns} were looked at: others may come before these. \
                 Narrow the time range or add a filter."
            );
        }
        format!(
            "The search stopped at its limit of rows: older {nouns} may match too. \
             Load older {nouns} to search on, or narrow the time range."
        )
    };
    view! {
        {failed}
        <Show when=move || loading.get()>
            <LoadingRows count=14 />
        </Show>
        <Show when=move || given_up.get()>
            <EmptyState title="The search was stopped">
                <p>{format!("No {} was found before.", T::NOUN)}</p>
            </EmptyState>
        </Show>
        <Show when=move || partial.get()>
            <PartialNote>{stopped}</PartialNote>
        </Show>
    }
}

/// The button for the next older page, if there is one.
#[component]
#[must_use]
pub fn OlderButton<T: ListPage, Q: ListQuery>(
    /// The list.
    paged: PagedList<T, Q>,
) -> impl IntoView {
    let more = Memo::new(move |_| paged.cursor.with(Option::is_some));
    let fetch = StoredValue::new_local(paged.fetch_older());
    let words = move || {
        if paged.fetching_older.get() {
            "Loading…".to_owned()
        } else {
            format!("Load older {}", format::plural(T::NOUN))
        }
    };
    view! {
        <Show when=move || more.get()>
            <div class="older">
                <button
                    class="button"
                    type="button"
                    disabled=move || paged.fetching_older.get()
                    on:click=move |_| fetch.with_value(|fetch| fetch())
                >
                    {words}
                </button>
            </div>
        </Show>
    }
}

#[cfg(test)]
mod tests {
    use tidings_proto::api::{Total, TotalRelation};

    use super::listed_text;

    #[test]
    fn a_list_says_which_part_of_the_total_it_has() {
        let text = |listed: u64, value: u64, relation: TotalRelation| {
            listed_text(listed, Total { value, relation })
        };
        let part = text(200, 3_207, TotalRelation::Exact);
        assert_eq!(part.as_deref(), Some("newest 200 listed"));
        let more = text(1_000, 1_000, TotalRelation::AtLeast);
        assert_eq!(more.as_deref(), Some("newest 1,000 listed"), "there may be more");
        assert_eq!(text(3_207, 3_207, TotalRelation::Exact), None);
        assert_eq!(text(0, 0, TotalRelation::AtLeast), None);
    }
}
