//! The settings sheet: the browser's preferences, its saved views, and settings of the server.
//!
//! It is beside the page, as is the list of shortcuts, so that the view to save stays visible.

use leptos::{html, prelude::*};
use leptos_router::hooks::use_location;
use tidings_proto::api::ServerStatus;

use crate::{
    browser,
    components::{Icon, IconName, Segment, Segments},
    format, preferences,
    server_watch::use_server,
    shortcuts::use_shortcuts,
    theme::{Theme, use_theme},
    web_storage::{self, SavedText},
};

const SYSTEM: &str = "system";

/// The sheet.
#[component]
pub(super) fn SettingsSheet(
    /// Set while it is open.
    open: RwSignal<bool>,
) -> impl IntoView {
    view! {
        <Show when=move || open.get()>
            <OpenSettings open />
        </Show>
    }
}

#[component]
fn OpenSettings(open: RwSignal<bool>) -> impl IntoView {
    use_shortcuts().bind("Escape", "Close the settings", "Settings", move || open.set(false));
    let close = NodeRef::<html::Button>::new();
    Effect::new(move |_| {
        if let Some(close) = close.get() {
            let _refused = close.focus();
        }
    });
    view! {
        <aside class="sheet" role="dialog" aria-label="Settings">
            <div class="sheet-head">
                <h2>"Settings"</h2>
                <button
                    node_ref=close
                    class="button button-ghost button-icon"
                    type="button"
                    aria-label="Close"
                    on:click=move |_| open.set(false)
                >
                    <Icon name=IconName::Close />
                </button>
            </div>
            {appearance_settings()}
            <SavedViews />
            {server_settings()}
        </aside>
    }
}

/// Theme, density and time zone.
fn appearance_settings() -> impl IntoView {
    let theme = use_theme();
    let themes = vec![
        Segment::new(SYSTEM, "System"),
        Segment::new(Theme::Dark.name(), "Dark"),
        Segment::new(Theme::Light.name(), "Light"),
    ];
    let chosen = Signal::derive(move || theme.chosen().map_or(SYSTEM, Theme::name).to_owned());
    let choose_theme = Callback::new(move |name: &'static str| theme.choose(Theme::named(name)));
    let (comfortable, compact) = ("comfortable", "compact");
    let density = if preferences::is_compact() { compact } else { comfortable };
    let densities =
        vec![Segment::new(comfortable, "Comfortable"), Segment::new(compact, "Compact")];
    let choose_density =
        Callback::new(move |name: &'static str| preferences::choose_compact(name == compact));
    let (local, utc) = ("local", "utc");
    let zone = if preferences::is_utc() { utc } else { local };
    let zones = vec![Segment::new(local, "This browser"), Segment::new(utc, "UTC")];
    let choose_zone = Callback::new(move |name: &'static str| preferences::choose_utc(name == utc));
    view! {
        <h3>"Theme"</h3>
        <Segments label="Theme" segments=themes chosen on_choose=choose_theme />
        <h3>"Density of rows"</h3>
        <Segments
            label="Density of rows"
            segments=densities
            chosen=density.to_owned()
            on_choose=choose_density
        />
        <h3>"Time zone"</h3>
        <Segments
            label="Time zone"
            segments=zones
            chosen=zone.to_owned()
            on_choose=choose_zone
        />
    }
}

/// The named addresses that this browser stores.
#[component]
fn SavedViews() -> impl IntoView {
    let views = RwSignal::new(web_storage::load_texts(web_storage::VIEWS));
    let name = RwSignal::new(String::new());
    let location = use_location();
    let keep = move |event: web_sys::SubmitEvent| {
        event.prevent_default();
        let (name_now, address) = (name.get_untracked(), browser::address());
        views.update(|all| {
            *all = web_storage::insert_text(all, &name_now, &address, browser::now())
        });
        views.with_untracked(|all| web_storage::store_texts(web_storage::VIEWS, all));
        name.set(String::new());
    };
    let forget = move |name: String| {
        views.update(|all| all.retain(|view| view.name != name));
        views.with_untracked(|all| web_storage::store_texts(web_storage::VIEWS, all));
    };
    let here = Memo::new(move |_| {
        location.pathname.track();
        location.search.track();
        browser::address()
    });
    let row = move |SavedText { name, text, .. }: SavedText| {
        let (label, gone, address) = (format!("Delete {name}"), name.clone(), text.clone());
        view! {
            <li class="saved-view">
                <a
                    href=text.clone()
                    title=text
                    aria-current=move || (here.get() == address).then_some("page")
                >
                    {name}
                </a>
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
        // An address of another site is not a view.
        let is_ours = |view: &SavedText| view.text.starts_with('/') && !view.text.starts_with("//");
        let all: Vec<_> = views.get().into_iter().filter(is_ours).collect();
        if all.is_empty() {
            return view! { <p class="mute">"None yet. They stay in this browser."</p> }.into_any();
        }
        view! { <ul class="saved-views">{all.into_iter().map(row).collect_view()}</ul> }.into_any()
    };
    view! {
        <h3>"Saved views"</h3>
        <form class="saved-form" on:submit=keep>
            <input
                class="input"
                type="text"
                placeholder="Save this view as"
                aria-label="Name of the view to save"
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

/// Settings of the server that matter to a reader.
fn server_settings() -> impl IntoView {
    let server = use_server();
    let keys = move || {
        let keys = server.status()?.transaction_keys.clone();
        Some(keys.into_iter().map(|key| view! { <code>{key}</code> }).collect_view())
    };
    let redaction = move || server.status().map(|status| redaction_text(&status));
    let redacted_keys = move || {
        let keys = server.status().filter(|status| status.redact)?.redact_keys.clone();
        let shown = keys.into_iter().map(|key| view! { <code>{key}</code> }).collect_view();
        Some(view! { <p class="setting-keys">{shown}</p> })
    };
    view! {
        <h3>"Attributes that name transactions"</h3>
        <p class="setting-keys">{keys}</p>
        <p class="mute setting-source">
            "Set by the server's " <code>"transaction-keys"</code> "."
        </p>
        <h3>"Redaction"</h3>
        <p class="mute">{redaction}</p>
        {redacted_keys}
        <p class="mute setting-source">
            "Set by the server's " <code>"redact"</code> " and " <code>"redact-keys"</code> "."
        </p>
    }
}

/// Returns the state of redaction in words.
fn redaction_text(status: &ServerStatus) -> String {
    if !status.redact {
        return "Off: secrets in attributes, URLs and statements are stored as they were sent."
            .to_owned();
    }
    let count = format::counted(status.redacted_values, "value");
    let more = match status.redact_keys.len() {
        0 => "",
        _ => " Values of these attributes are secret too:",
    };
    format!("On: secrets are replaced by [REDACTED] before they are stored, {count} so far.{more}")
}

#[cfg(test)]
mod tests {
    use tidings_proto::api::ServerStatus;

    use super::redaction_text;

    #[test]
    fn redaction_is_described_as_the_server_has_it() {
        let status = |redact: bool, keys: &[&str]| -> ServerStatus {
            let none = serde_json::json!({ "received": 0, "rejected": 0, "stored": 0 });
            serde_json::from_value(serde_json::json!({
                "version": "1", "startedUnixNano": "0", "receivers": [], "spans": none.clone(),
                "logs": none, "hasData": true, "demoRunning": false, "insecure": false, "tasks": [],
                "redact": redact, "redactKeys": keys, "redactedValues": 3,
            }))
            .unwrap()
        };
        assert!(redaction_text(&status(false, &[])).starts_with("Off: "));
        let on = redaction_text(&status(true, &[]));
        assert!(on.starts_with("On: ") && on.ends_with("3 values so far."), "{on}");
        assert!(redaction_text(&status(true, &["pin"])).ends_with("secret too:"));
    }
}
