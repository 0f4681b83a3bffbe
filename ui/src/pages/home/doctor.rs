//! Refused senders, with the reason and the line that mends it.

use leptos::prelude::*;
use leptos_router::components::A;

use crate::{
    components::{RefusalCard, refusals},
    format,
    shell::use_server,
};

/// Kinds of refusals that Home shows; System has all of them.
const SHOWN_MAX: usize = 3;

/// The card.
pub(super) fn doctor_card() -> impl IntoView {
    let server = use_server();
    let all = Memo::new(move |_| server.status().map(|status| refusals(&status)));
    let body = move || {
        let all = all.get()?;
        let more = all.len().saturating_sub(SHOWN_MAX);
        let more = (more > 0).then(|| {
            let words = format!("{} on System", format::counted(more as u64, "more kind"));
            view! { <A href="/system">{words}</A> }
        });
        let cards = all.into_iter().take(SHOWN_MAX);
        let cards: Vec<_> = cards.map(|refusals| view! { <RefusalCard refusals /> }).collect();
        Some(if cards.is_empty() {
            view! { <p class="mute">"Nothing was refused since the start."</p> }.into_any()
        } else {
            view! { {cards} {more} }.into_any()
        })
    };
    view! {
        <section class="card side-card" aria-label="Ingest doctor">
            <div class="side-head">
                <h2>"Ingest doctor"</h2>
            </div>
            {body}
        </section>
    }
}
