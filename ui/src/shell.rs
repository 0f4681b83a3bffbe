//! The frame around every page: navigation, header, notes, the list of shortcuts.
//!
//! Provides the contexts that pages use: theme, keys, notes, breadcrumb, and the status of the
//! server. Pages own their content and their breadcrumb.

use leptos::prelude::*;
use leptos_router::hooks::use_location;

use crate::{
    components::{Icon, IconName, ToastStack, Toasts},
    preferences,
    server_watch::ServerWatch,
    shortcuts::Shortcuts,
    theme::{Theme, ThemeChoice},
    url::{History, UrlQuery, use_navigation},
};

mod notices;
pub mod omni;
pub mod rail;
pub mod range_picker;
pub mod settings;
pub mod sheet;
pub mod sign_in;

use notices::notices;
use omni::Omni;
use rail::{PageEntry, Rail};
use range_picker::{LiveToggle, RangePicker};
use settings::SettingsSheet;
use sheet::KeySheet;
use sign_in::SignInForm;

/// One step of the breadcrumb.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crumb {
    /// Its text.
    pub text: String,
    /// The address that it links to. The last step has none.
    pub href: Option<String>,
}

#[derive(Debug, Clone, Copy)]
struct Crumbs(RwSignal<Vec<Crumb>>);

/// Sets the breadcrumb, whose last step is also the window's title. Every page calls it first, so
/// that the picture of its services begins here.
pub fn set_crumbs(steps: Vec<Crumb>) {
    crate::colour::begin_picture(&crate::browser::path());
    let title =
        steps.last().map_or("Tidings".to_owned(), |last| format!("{} · Tidings", last.text));
    document().set_title(&title);
    // A list remembers itself afterwards.
    if let Some(LastList(last)) = use_context().filter(|_| steps.len() == 1) {
        last.set(None);
    }
    if let Some(Crumbs(crumbs)) = use_context() {
        crumbs.set(steps);
    }
}

/// Set while Home is Welcome, on which there is no time to choose.
#[derive(Debug, Clone, Copy)]
struct WelcomeShown(RwSignal<bool>);

/// Tells the frame that Home is Welcome, while this holds and Home is open.
pub(crate) fn set_welcome(is_welcome: impl Fn() -> bool + 'static) {
    let Some(WelcomeShown(shown)) = use_context() else { return };
    Effect::new(move |_| shown.set(is_welcome()));
    on_cleanup(move || shown.set(false));
}

/// Makes a breadcrumb of one step.
pub(crate) fn crumb(text: &str) -> Vec<Crumb> {
    vec![Crumb { text: text.to_owned(), href: None }]
}

/// Key in session storage of the path of a trace and, after a space, the address of its list.
const LIST_KEY: &str = "tidings.list";

/// The address of the list that the reader comes from. Pages of the rail other than lists clear it.
#[derive(Debug, Clone, Copy)]
struct LastList(RwSignal<Option<String>>);

/// Remembers the address of a list with its filters while its page is open, so that the page of a
/// trace links back to it.
pub(crate) fn remember_list(path: &'static str, query: Memo<UrlQuery>) {
    let location = use_location();
    let Some(LastList(last)) = use_context() else { return };
    Effect::new(move |_| {
        let address = query.with(|query| query.on(path));
        // The address of the next page is set before this page is removed.
        if location.pathname.get_untracked() == path {
            last.set(Some(address));
        }
    });
}

/// Returns the step back to the list that the reader comes from, or else to Explore. A reload of a
/// trace keeps its step.
pub(crate) fn crumb_to_list() -> Crumb {
    let path = crate::browser::path();
    let last = use_context().and_then(|LastList(last)| last.get_untracked());
    if let Some(list) = &last {
        crate::web_storage::set_session_value(LIST_KEY, &format!("{path} {list}"));
    }
    let address = last.or_else(|| stored_list(&path)).unwrap_or_else(|| "/explore".to_owned());
    let text = if address.starts_with("/logs") { "Logs" } else { "Explore" };
    Crumb { text: text.to_owned(), href: Some(address) }
}

/// Returns the stored address of the list that the trace at this path was opened from.
fn stored_list(path: &str) -> Option<String> {
    let stored = crate::web_storage::session_value(LIST_KEY)?;
    let (of, list) = stored.split_once(' ')?;
    (of == path && list.starts_with('/')).then(|| list.to_owned())
}

/// The frame of these pages.
#[component]
pub(crate) fn Shell(pages: &'static [PageEntry], children: Children) -> impl IntoView {
    preferences::load();
    let theme = ThemeChoice::provide();
    let keys = Shortcuts::provide();
    let toasts = Toasts::provide();
    let server = ServerWatch::provide();
    let crumbs = RwSignal::new(Vec::new());
    provide_context(Crumbs(crumbs));
    provide_context(LastList(RwSignal::new(None)));
    let sheet_open = RwSignal::new(false);
    let settings_open = RwSignal::new(false);
    one_at_a_time(sheet_open, settings_open);
    bind_keys(keys, pages, sheet_open, settings_open);
    let needs_key = Memo::new(move |_| server.needs_key());
    let path = use_location().pathname;
    let is_welcome = RwSignal::new(false);
    provide_context(WelcomeShown(is_welcome));
    let ranged = move || path.with(|path| rail::is_ranged(pages, path)) && !is_welcome.get();
    view! {
        <a class="skip" href="#content" rel="external">"Skip to content"</a>
        <Rail pages sheet_open settings_open />
        <header class="header">
            <Breadcrumb crumbs />
            <Omni />
            <div class="header-tools">
                <Show when=ranged>
                    <RangePicker />
                    <LiveToggle />
                </Show>
                <ThemeButton theme />
            </div>
        </header>
        {notices(server)}
        <main id="content" class="content" tabindex="-1">
            <Show when=move || needs_key.get()>
                <SignInForm />
            </Show>
            <div class="content-page" hidden=move || needs_key.get()>
                {children()}
            </div>
        </main>
        <ToastStack toasts />
        <KeySheet keys open=sheet_open />
        <SettingsSheet open=settings_open />
    }
}

/// Closes either sheet when the other opens.
fn one_at_a_time(one: RwSignal<bool>, other: RwSignal<bool>) {
    for (opened, closed) in [(one, other), (other, one)] {
        Effect::new(move |_| {
            if opened.get() {
                closed.set(false);
            }
        });
    }
}

fn bind_keys(
    keys: Shortcuts,
    pages: &[PageEntry],
    sheet_open: RwSignal<bool>,
    settings_open: RwSignal<bool>,
) {
    let group = "Everywhere";
    let go = use_navigation();
    let to = move |address: &'static str| {
        let go = go.clone();
        move || go(address, History::Push)
    };
    keys.bind("/", "Focus the search box", group, || crate::browser::focus(omni::FIELD_ID));
    for (path, item) in pages.iter().filter_map(|page| Some((page.path, page.item()?))) {
        keys.bind(item.keys, item.key_label, group, to(path));
    }
    keys.bind(",", "Show the settings", group, move || settings_open.update(|open| *open = !*open));
    keys.bind("?", "Show the shortcuts", group, move || sheet_open.update(|open| *open = !*open));
}

#[component]
fn Breadcrumb(crumbs: RwSignal<Vec<Crumb>>) -> impl IntoView {
    let step = |(index, Crumb { text, href }): (usize, Crumb)| {
        let separator = (index > 0).then(|| view! { <span class="crumb-separator">"/"</span> });
        let step = match href {
            Some(href) => view! { <a href=href>{text}</a> }.into_any(),
            None => view! { <span class="crumb-here" aria-current="page">{text}</span> }.into_any(),
        };
        view! { {separator} {step} }
    };
    view! {
        <nav class="crumbs" aria-label="Breadcrumb">
            {move || crumbs.get().into_iter().enumerate().map(step).collect_view()}
        </nav>
    }
}

#[component]
fn ThemeButton(theme: ThemeChoice) -> impl IntoView {
    let label = move || match theme.get() {
        Theme::Dark => "Change to the light theme",
        Theme::Light => "Change to the dark theme",
    };
    let icon = move || match theme.get() {
        Theme::Dark => IconName::Sun,
        Theme::Light => IconName::Moon,
    };
    view! {
        <button
            class="button button-ghost button-icon"
            type="button"
            title=label
            aria-label=label
            on:click=move |_| theme.toggle()
        >
            {move || view! { <Icon name=icon() /> }}
        </button>
    }
}
