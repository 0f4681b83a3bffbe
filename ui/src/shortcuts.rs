//! Keyboard shortcuts: pages register actions, the shell listens, and `?` lists the shortcuts.
//!
//! A binding is one key (`j`, `Enter`, `?`) or two in a row (`g l`). While a text field has the
//! focus, only `Escape` is a shortcut. `Enter` is left to a focused link or button. Owns the one
//! listener on the window. A binding is removed with the page that made it. Of two bindings of a
//! key the later one applies. [`use_row_shortcuts`] moves through rows of tables.

use std::rc::Rc;

use leptos::{ev, prelude::*};

use crate::browser;

/// Maximum time between the keys of a pair.
const PAIR_MILLISECONDS: f64 = 1_200.0;

struct Binding {
    id: u64,
    keys: &'static str,
    label: &'static str,
    group: &'static str,
    run: Rc<dyn Fn()>,
}

#[derive(Default)]
struct Registry {
    bindings: Vec<Binding>,
    next_id: u64,
    before: Option<(String, f64)>,
}

/// A shortcut in the list of shortcuts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shortcut {
    /// The keys, as `g l`.
    pub keys: &'static str,
    /// Description of the action.
    pub label: &'static str,
    /// The page or part that it belongs to.
    pub group: &'static str,
}

/// The registry of shortcuts; provided by the shell.
#[derive(Debug, Clone, Copy)]
pub struct Shortcuts {
    registry: StoredValue<Registry, LocalStorage>,
}

impl Shortcuts {
    /// Starts listening.
    pub(crate) fn provide() -> Self {
        let keys = Self { registry: StoredValue::new_local(Registry::default()) };
        let listener = window_event_listener(ev::keydown, move |event| keys.on_key_down(&event));
        on_cleanup(move || listener.remove());
        provide_context(keys);
        keys
    }

    /// Binds `keys` to `run` until the calling component is removed.
    pub fn bind(
        self,
        keys: &'static str,
        label: &'static str,
        group: &'static str,
        run: impl Fn() + 'static,
    ) {
        let id = self.registry.try_update_value(|registry| {
            let id = registry.next_id;
            registry.next_id += 1;
            registry.bindings.push(Binding { id, keys, label, group, run: Rc::new(run) });
            id
        });
        on_cleanup(move || {
            self.registry.try_update_value(|registry| {
                registry.bindings.retain(|binding| Some(binding.id) != id);
            });
        });
    }

    /// Active shortcuts in the order of registration.
    pub(crate) fn shortcuts(self) -> Vec<Shortcut> {
        self.registry.with_value(|registry| {
            let shown = |binding: &Binding| Shortcut {
                keys: binding.keys,
                label: binding.label,
                group: binding.group,
            };
            registry.bindings.iter().map(shown).collect()
        })
    }

    fn on_key_down(self, event: &web_sys::KeyboardEvent) {
        let modified = browser::has_command_key(event);
        if modified
            || event.default_prevented()
            || (browser::is_text_field_focused() && event.key() != "Escape")
        {
            return;
        }
        if event.key() == "Enter" && browser::is_control_focused() {
            return;
        }
        let run = self
            .registry
            .try_update_value(|registry| registry.press(&event.key(), event.time_stamp()));
        if let Some(run) = run.flatten() {
            event.prevent_default();
            run();
        }
    }
}

impl Registry {
    fn press(&mut self, key: &str, now: f64) -> Option<Rc<dyn Fn()>> {
        let before = self.before.take().filter(|(_, at)| now - at < PAIR_MILLISECONDS);
        if let Some((first, _)) = before
            && let Some(run) = self.action_of(&format!("{first} {key}"))
        {
            return Some(run);
        }
        let begins =
            |binding: &Binding| binding.keys.split_once(' ').is_some_and(|(first, _)| first == key);
        if self.bindings.iter().any(begins) {
            self.before = Some((key.to_owned(), now));
        }
        self.action_of(key)
    }

    fn action_of(&self, keys: &str) -> Option<Rc<dyn Fn()>> {
        let binding = self.bindings.iter().rev().find(|binding| binding.keys == keys)?;
        Some(Rc::clone(&binding.run))
    }
}

/// Returns the registry of the page.
#[must_use]
pub fn use_shortcuts() -> Shortcuts {
    use_context()
        .unwrap_or_else(|| Shortcuts { registry: StoredValue::new_local(Registry::default()) })
}

/// Binds `j`, `k` and `Enter` to move through the rows of a table and to open them. Returns the
/// marked row. Rows have the ids `{prefix}-{index}`, and `open` gets the index.
pub fn use_row_shortcuts(
    group: &'static str,
    prefix: &'static str,
    count: Memo<usize>,
    open: impl Fn(usize) + 'static,
) -> RwSignal<Option<usize>> {
    let marked = RwSignal::new(None::<usize>);
    let walk = move |step: isize| {
        let last = count.get_untracked().checked_sub(1);
        let Some(last) = last else { return };
        let next = marked.get_untracked().map_or(0, |at| at.saturating_add_signed(step).min(last));
        marked.set(Some(next));
        browser::scroll_into_view(&format!("{prefix}-{next}"));
    };
    let keys = use_shortcuts();
    keys.bind("j", "Mark the next row", group, move || walk(1));
    keys.bind("k", "Mark the previous row", group, move || walk(-1));
    keys.bind("Enter", "Open the marked row", group, move || {
        let within = |at: &usize| *at < count.get_untracked();
        if let Some(at) = marked.get_untracked().filter(within) {
            open(at);
        }
    });
    marked
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, rc::Rc};

    use super::{Binding, Registry};

    fn registry(keys: &[&'static str]) -> (Registry, Rc<Cell<&'static str>>) {
        let pressed = Rc::new(Cell::new(""));
        let bindings = keys.iter().zip(0..).map(|(keys, id)| {
            let (pressed, keys) = (Rc::clone(&pressed), *keys);
            Binding { id, keys, label: "", group: "", run: Rc::new(move || pressed.set(keys)) }
        });
        (Registry { bindings: bindings.collect(), ..Registry::default() }, pressed)
    }

    fn check(keys: &[&'static str], presses: &[(&str, f64)], expected: &str) {
        let (mut registry, pressed) = registry(keys);
        for (key, at) in presses {
            if let Some(run) = registry.press(key, *at) {
                run();
            }
        }
        assert_eq!(pressed.get(), expected, "{presses:?}");
    }

    #[test]
    fn one_key_does_its_thing_and_others_nothing() {
        check(&["j", "k"], &[("k", 0.0)], "k");
        check(&["j", "k"], &[("x", 0.0)], "");
    }

    #[test]
    fn two_keys_in_a_row_are_one_shortcut() {
        check(&["g l", "l"], &[("g", 0.0), ("l", 300.0)], "g l");
        check(&["g l", "l"], &[("g", 0.0), ("l", 5_000.0)], "l");
        check(&["g l", "l"], &[("g", 0.0), ("x", 1.0), ("l", 2.0)], "l");
        check(&["g l", "g e"], &[("g", 0.0), ("g", 1.0), ("e", 2.0)], "g e");
    }
}
