//! Notes above every page: the server does not answer, or it requires no keys.

use leptos::prelude::*;

use crate::{
    browser,
    components::{Icon, IconName},
    format,
    server_watch::ServerWatch,
};

/// The notes that apply now.
pub(super) fn notices(server: ServerWatch) -> impl IntoView {
    let silent_since = Memo::new(move |_| server.silent_since());
    let silent = move || {
        silent_since.get().map(|since| {
            let known = (since.0 != 0).then(|| {
                let at = format::when(since, browser::now(), browser::zone_minutes(since));
                let at = at.split_once('.').map_or(at.clone(), |(second, _)| second.to_owned());
                format!(" What you see is from {at}.")
            });
            view! {
                <div class="notice notice-error" role="alert">
                    <Icon name=IconName::Warning />
                    <span>"Tidings does not answer." {known} " Trying again every few seconds."</span>
                    <button class="button" type="button" on:click=move |_| server.refresh()>
                        "Try now"
                    </button>
                </div>
            }
        })
    };
    let is_open = Memo::new(move |_| server.status().is_some_and(|status| status.insecure));
    let open = move || {
        is_open.get().then(|| {
            view! {
                <div class="notice" role="status">
                    <Icon name=IconName::Warning />
                    <span>
                        "Other machines can send to this server and read from it, and nothing \
                         checks who they are."
                    </span>
                    <a href="/system">"Why, and what to do"</a>
                </div>
            }
        })
    };
    view! { <div class="notices">{silent} {open}</div> }
}
