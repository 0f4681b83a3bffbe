//! The theme: the system's choice until the reader makes one, which this browser stores.
//!
//! The theme is `data-theme` on the root element. `boot.js` sets it before the first paint and this
//! module from then on.

use leptos::prelude::*;
use wasm_bindgen::{JsCast, closure::Closure};

use crate::web_storage;

const STORAGE_KEY: &str = "tidings.theme";

/// The theme.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Theme {
    /// Light text on a dark ground.
    Dark,
    /// Dark text on a light ground.
    Light,
}

impl Theme {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Dark => "dark",
            Self::Light => "light",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        [Self::Dark, Self::Light].into_iter().find(|theme| theme.name() == name)
    }

    fn other(self) -> Self {
        match self {
            Self::Dark => Self::Light,
            Self::Light => Self::Dark,
        }
    }
}

/// The present theme, with methods to change it; provided by the shell.
#[derive(Debug, Clone, Copy)]
pub struct ThemeChoice {
    theme: RwSignal<Theme>,
}

impl ThemeChoice {
    /// Reads the stored choice, and follows the system without one.
    pub(crate) fn provide() -> Self {
        let choice = Self { theme: RwSignal::new(stored().unwrap_or_else(system)) };
        follow_system(choice.theme);
        Effect::new(move |_| {
            if let Some(root) = document().document_element() {
                let _refused = root.set_attribute("data-theme", choice.theme.get().name());
            }
        });
        provide_context(choice);
        choice
    }

    /// Returns the theme. Canvases redraw when it changes.
    #[must_use]
    pub fn get(self) -> Theme {
        self.theme.get()
    }

    /// Reports whether the theme is dark.
    #[must_use]
    pub fn is_dark(self) -> bool {
        self.get() == Theme::Dark
    }

    /// Changes to the other theme and stores it. The system's own theme is stored as no choice.
    pub(crate) fn toggle(self) {
        let theme = self.theme.get_untracked().other();
        self.choose((theme != system()).then_some(theme));
    }

    /// Returns the reader's choice, or `None` while the system chooses.
    pub(crate) fn chosen(self) -> Option<Theme> {
        let _follow = self.theme.get();
        stored()
    }

    /// Stores a choice. `None` leaves it to the system.
    pub(crate) fn choose(self, theme: Option<Theme>) {
        web_storage::set_local_value(STORAGE_KEY, theme.map(Theme::name));
        self.theme.set(theme.unwrap_or_else(system));
    }
}

/// Returns the theme of the page, which is dark outside the shell.
#[must_use]
pub fn use_theme() -> ThemeChoice {
    use_context().unwrap_or_else(|| ThemeChoice { theme: RwSignal::new(Theme::Dark) })
}

fn stored() -> Option<Theme> {
    web_storage::local_value(STORAGE_KEY).and_then(|name| Theme::named(&name))
}

fn light_query() -> Option<web_sys::MediaQueryList> {
    window().match_media("(prefers-color-scheme: light)").ok().flatten()
}

fn system() -> Theme {
    if light_query().is_some_and(|query| query.matches()) { Theme::Light } else { Theme::Dark }
}

/// The shell lives as long as the page, so the listener is never removed.
fn follow_system(theme: RwSignal<Theme>) {
    let Some(query) = light_query() else { return };
    let changed = Closure::<dyn FnMut()>::new(move || {
        if web_storage::local_value(STORAGE_KEY).is_none() {
            theme.set(system());
        }
    });
    let listener = changed.into_js_value();
    query.set_onchange(Some(listener.unchecked_ref()));
}
