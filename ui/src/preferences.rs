//! The reader's preferences that this browser stores: the time zone and the density of rows.
//!
//! Both change every time and every row on the page, so a change reloads the page, whose address
//! holds its state. The theme changes at once and belongs to [`crate::theme`].

use std::cell::Cell;

use leptos::prelude::{document, window};

use crate::web_storage;

const ZONE_KEY: &str = "tidings.zone";
/// `boot.js` reads it, too, before the first paint.
const DENSITY_KEY: &str = "tidings.density";
const UTC: &str = "utc";
const COMPACT: &str = "compact";
/// Height of a row of a waterfall. `--row` in `00-tokens.css` is the same.
const ROW_PX: f64 = 24.0;
const COMPACT_ROW_PX: f64 = 20.0;

thread_local! {
    static IS_UTC: Cell<bool> = const { Cell::new(false) };
    static IS_COMPACT: Cell<bool> = const { Cell::new(false) };
}

/// Reads the preferences, before anything is drawn.
pub(crate) fn load() {
    IS_UTC.set(web_storage::local_value(ZONE_KEY).as_deref() == Some(UTC));
    IS_COMPACT.set(web_storage::local_value(DENSITY_KEY).as_deref() == Some(COMPACT));
    if let Some(root) = document().document_element() {
        let density = if is_compact() { COMPACT } else { "comfortable" };
        let _refused = root.set_attribute("data-density", density);
    }
}

/// Reports whether times are written in UTC and not in the browser's zone.
pub(crate) fn is_utc() -> bool {
    IS_UTC.get()
}

/// Reports whether rows are compact.
pub(crate) fn is_compact() -> bool {
    IS_COMPACT.get()
}

/// Returns the height of a row of a waterfall in pixels.
pub(crate) fn row_px() -> f64 {
    if is_compact() { COMPACT_ROW_PX } else { ROW_PX }
}

/// Stores the time zone and reloads the page.
pub(crate) fn choose_utc(is_utc: bool) {
    web_storage::set_local_value(ZONE_KEY, is_utc.then_some(UTC));
    reload();
}

/// Stores the density and reloads the page.
pub(crate) fn choose_compact(is_compact: bool) {
    web_storage::set_local_value(DENSITY_KEY, is_compact.then_some(COMPACT));
    reload();
}

fn reload() {
    let _refused = window().location().reload();
}
