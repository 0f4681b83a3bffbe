//! The views and their columns beside the editor, and the saved queries.
//!
//! The columns are requested from the server, one view after the other, when the page opens.

use leptos::{prelude::*, task::spawn_local};
use tidings_proto::api::SqlColumn;

use super::{editor::EditorState, tokens::VIEWS};
use crate::{
    api::sql::sql,
    browser,
    components::{Icon, IconName},
    format,
    web_storage::{self, SavedText},
};

/// The columns of the views that were received, in the views' order.
pub(super) type Schema = Vec<(&'static str, Vec<SqlColumn>)>;

/// Requests the columns of all views.
pub(super) fn use_schema() -> RwSignal<Schema> {
    let schema = RwSignal::new(Schema::new());
    spawn_local(async move {
        for view in VIEWS {
            // Requested one at a time, because the server runs few queries at once.
            let request = sql(&format!("SELECT * FROM {} LIMIT 0", view.source), 1);
            let Ok(result) = request.send(None).await else { continue };
            if schema.try_update(|schema| schema.push((view.name, result.columns))).is_none() {
                return;
            }
        }
    });
    schema
}

/// Returns the columns as completions. Columns of views in the text come first.
pub(super) fn columns_for(schema: &Schema, text: &str) -> Vec<(String, String)> {
    let lower = text.to_lowercase();
    let is_named = |view: &str| {
        lower.split(|c: char| !(c.is_alphanumeric() || c == '_')).any(|word| word == view)
    };
    let of = |named: bool| {
        let views = schema.iter().filter(move |(view, _)| is_named(view) == named);
        views.flat_map(|(view, columns)| {
            columns
                .iter()
                .map(move |column| (column.name.clone(), format!("{view}, {}", column.r#type)))
        })
    };
    of(true).chain(of(false)).collect()
}

/// The side column of the page.
pub(super) fn schema_side(
    editor: EditorState,
    schema: RwSignal<Schema>,
    kept: RwSignal<Vec<SavedText>>,
    open: Callback<String>,
) -> impl IntoView {
    let wanted = RwSignal::new(String::new());
    let views = move || {
        let wanted = wanted.get().to_lowercase();
        let view_of = |(index, view): (usize, &super::tokens::ViewName)| {
            let columns = schema.with(|schema| {
                schema
                    .iter()
                    .find(|(name, _)| *name == view.name)
                    .map(|(_, columns)| columns.clone())
            });
            let fits = |column: &&SqlColumn| column.name.to_lowercase().contains(&wanted);
            let columns: Vec<SqlColumn> =
                columns.unwrap_or_default().iter().filter(fits).cloned().collect();
            let is_open = (index == 0 || !wanted.is_empty()) && !columns.is_empty();
            let column = move |column: SqlColumn| {
                let (name, kind) = (column.name.clone(), column.r#type);
                view! {
                    <li>
                        <button
                            class="sql-column"
                            type="button"
                            title="Insert it into the query"
                            on:click=move |_| editor.insert(&column.name, 0)
                        >
                            <span>{name}</span>
                            <span class="mute">{kind}</span>
                        </button>
                    </li>
                }
            };
            view! {
                <div class="sql-view-box">
                    <details class="sql-view" open=is_open>
                        <summary>
                            <b class="mono">{view.name}</b>
                            <span class="mute" title=view.row>{view.row}</span>
                        </summary>
                        <ul>{columns.into_iter().map(column).collect_view()}</ul>
                    </details>
                    {insert_button(editor, view.name)}
                </div>
            }
        };
        VIEWS.iter().enumerate().map(view_of).collect_view()
    };
    view! {
        <aside class="sql-side" aria-label="Views and saved queries">
            <input
                class="input"
                type="search"
                placeholder="Find a column"
                aria-label="Find a column"
                prop:value=move || wanted.get()
                on:input=move |event| wanted.set(event_target_value(&event))
            />
            {views}
            {saved_queries(editor, kept, open)}
        </aside>
    }
}

/// The button that puts the name of a view into the query.
fn insert_button(editor: EditorState, name: &'static str) -> impl IntoView {
    let inserted = match name {
        "tree" => "tree('')",
        "matching_logs" => "matching_logs('')",
        name => name,
    };
    view! {
        <button
            class="sql-insert"
            type="button"
            title="Insert view name"
            aria-label=format!("Insert view name {name}")
            on:click=move |_| editor.insert(inserted, 0)
        >
            "+"
        </button>
    }
}

fn saved_queries(
    editor: EditorState,
    kept: RwSignal<Vec<SavedText>>,
    open: Callback<String>,
) -> impl IntoView {
    let name = RwSignal::new(String::new());
    let keep = move |event: web_sys::SubmitEvent| {
        event.prevent_default();
        let text = editor.text.get_untracked();
        let named = name.get_untracked();
        kept.update(|all| *all = web_storage::insert_text(all, &named, &text, browser::now()));
        kept.with_untracked(|all| web_storage::store_texts(web_storage::QUERIES, all));
        name.set(String::new());
    };
    let forget = move |named: String| {
        kept.update(|all| all.retain(|one| one.name != named));
        kept.with_untracked(|all| web_storage::store_texts(web_storage::QUERIES, all));
    };
    let row = move |one: SavedText| {
        let SavedText { name, text, time } = one;
        let (title, label, gone) = (text.clone(), format!("Delete {name}"), name.clone());
        view! {
            <li class="sql-kept">
                <button
                    class="sql-kept-name"
                    type="button"
                    title=title
                    on:click=move |_| open.run(text.clone())
                >
                    {name}
                </button>
                <span class="mute">{format::ago(time, browser::now())}</span>
                <button
                    class="button button-ghost button-icon"
                    type="button"
                    aria-label=label
                    on:click=move |_| forget(gone.clone())
                >
                    <Icon name=IconName::Close />
                </button>
            </li>
        }
    };
    let rows = move || {
        let all = kept.get();
        if all.is_empty() {
            return view! { <p class="mute">"None yet. They stay in this browser."</p> }.into_any();
        }
        view! { <ul>{all.into_iter().map(row).collect_view()}</ul> }.into_any()
    };
    view! {
        <h2>"Saved"</h2>
        <form class="sql-keep" on:submit=keep>
            <input
                class="input"
                type="text"
                placeholder="Save this query as"
                aria-label="Name of the query to save"
                maxlength="80"
                prop:value=move || name.get()
                on:input=move |event| name.set(event_target_value(&event))
            />
            <button class="button" type="submit">
                "Save"
            </button>
        </form>
        {rows}
    }
}

#[cfg(test)]
mod tests {
    use super::{SqlColumn, columns_for};

    #[test]
    fn columns_of_the_named_view_come_first() {
        let column = |name: &str| SqlColumn { name: name.to_owned(), r#type: "text".to_owned() };
        let schema = vec![("spans", vec![column("service")]), ("logs", vec![column("text")])];
        let first = |text: &str| columns_for(&schema, text)[0].0.clone();
        assert_eq!(
            (first("SELECT x FROM LOGS"), first("SELECT 1")),
            ("text".into(), "service".into())
        );
        assert_eq!(columns_for(&schema, "")[1].1, "logs, text");
    }
}
