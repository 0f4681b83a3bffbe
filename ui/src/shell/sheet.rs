//! The list of shortcuts, beside the page and never over it.

use leptos::{html, prelude::*};

use crate::{
    components::{Icon, IconName},
    shortcuts::{Shortcut, Shortcuts},
};

/// The sheet.
#[component]
#[must_use]
pub fn KeySheet(
    /// Shortcuts to list.
    keys: Shortcuts,
    /// True while the sheet is open.
    open: RwSignal<bool>,
) -> impl IntoView {
    view! {
        <Show when=move || open.get()>
            <OpenSheet shortcuts=keys.shortcuts() keys open />
        </Show>
    }
}

#[component]
fn OpenSheet(shortcuts: Vec<Shortcut>, keys: Shortcuts, open: RwSignal<bool>) -> impl IntoView {
    keys.bind("Escape", "Close the shortcuts", "Sheet", move || open.set(false));
    let close = NodeRef::<html::Button>::new();
    Effect::new(move |_| {
        if let Some(close) = close.get() {
            let _refused = close.focus();
        }
    });
    let mut groups: Vec<(&'static str, Vec<Shortcut>)> = Vec::new();
    for shortcut in shortcuts {
        match groups.iter_mut().find(|(group, _)| *group == shortcut.group) {
            Some((_, members)) => members.push(shortcut),
            None => groups.push((shortcut.group, vec![shortcut])),
        }
    }
    let row = |shortcut: Shortcut| {
        let keys = shortcut.keys.split(' ').map(|key| view! { <kbd>{key}</kbd> }).collect_view();
        view! {
            <div class="sheet-row">
                <dt>{keys}</dt>
                <dd>{shortcut.label}</dd>
            </div>
        }
    };
    let group = move |(name, members): (&'static str, Vec<Shortcut>)| {
        view! {
            <h3>{name}</h3>
            <dl>{members.into_iter().map(row).collect_view()}</dl>
        }
    };
    view! {
        <aside class="sheet" role="dialog" aria-label="Shortcuts">
            <div class="sheet-head">
                <h2>"Shortcuts"</h2>
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
            {groups.into_iter().map(group).collect_view()}
        </aside>
    }
}
