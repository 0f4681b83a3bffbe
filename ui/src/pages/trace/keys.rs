//! Shortcuts of the trace page. `?` lists them.

use super::{page::PageSignals, toolbar::focus_find};
use crate::keys::use_keys;

const ROWS: &str = "Trace: rows";
const VIEW: &str = "Trace: view";

/// Registers the keys for as long as the page is there.
pub(crate) fn bind(page: PageSignals) {
    let keys = use_keys();
    keys.bind("j", "Next row", ROWS, move || page.move_by(1));
    keys.bind("k", "Row before", ROWS, move || page.move_by(-1));
    keys.bind("e", "Next error", ROWS, move || page.go_to_error(true));
    keys.bind("E", "Error before", ROWS, move || page.go_to_error(false));
    keys.bind("n", "Next match", ROWS, move || page.go_to_match(true));
    keys.bind("N", "Match before", ROWS, move || page.go_to_match(false));
    keys.bind("o", "Open or close the details", ROWS, move || page.toggle_panel());
    keys.bind("[", "Fold all", ROWS, move || page.fold_all());
    keys.bind("]", "Unfold all", ROWS, move || page.unfold_all());
    keys.bind("f", "Find", VIEW, focus_find);
    keys.bind("c", "Critical path on or off", VIEW, move || page.toggle_path());
    keys.bind("l", "Logs in line on or off", VIEW, move || page.toggle_logs());
    keys.bind("r", "Group repeated calls or not", VIEW, move || page.toggle_groups());
    keys.bind("+", "Zoom in", VIEW, move || page.zoom_by(0.5, 0.5));
    keys.bind("-", "Zoom out", VIEW, move || page.zoom_by(0.5, 2.0));
    keys.bind("0", "Show the whole trace", VIEW, move || page.zoom_to(None));
    keys.bind("Escape", "Back: zoom, find, details", VIEW, move || page.step_back());
}
