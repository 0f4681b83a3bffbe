//! The sign-in form, which replaces every page while the server requires a key. It links to the
//! issuer, if there is one.
//!
//! The key is sent once. Afterwards a cookie, which scripts cannot read, stands for it, so that a
//! reload needs no key.

use leptos::{prelude::*, task::spawn_local};

use crate::{api::access, browser, url::encode};

/// The form.
#[component]
#[must_use]
pub fn SignInForm() -> impl IntoView {
    let key = RwSignal::new(String::new());
    let refusal = RwSignal::new(None::<String>);
    let pending = RwSignal::new(false);
    let send = move || {
        let given = key.get_untracked();
        if given.trim().is_empty() || pending.get_untracked() {
            return;
        }
        pending.set(true);
        spawn_local(async move {
            match access::sign_in(given.trim()).send(None).await {
                Ok(_) => browser::reload(),
                Err(error) => {
                    refusal.try_set(Some(error.detail()));
                    pending.try_set(false);
                }
            }
        });
    };
    let issuer = RwSignal::new(None::<String>);
    spawn_local(async move {
        if let Ok(options) = access::sign_in_options().send(None).await {
            issuer.try_set(options.issuer);
        }
    });
    let issuer_link = move || {
        issuer.get().map(|name| {
            let href = format!("/sign-in?return={}", encode(&browser::address()));
            view! {
                <a class="button button-primary" href=href rel="external">
                    "Sign in with " {name}
                </a>
            }
        })
    };
    let refused = move || {
        refusal.get().map(|words| view! { <p class="field-error" role="alert">{words}</p> })
    };
    view! {
        <section class="card sign-in" aria-label="Sign in">
            <h1>"Sign in"</h1>
            {issuer_link}
            <p>
                "This server asks for a key that may read. "
                <code>"tidings keys create --name me --role read"</code>
                " makes one on its machine."
            </p>
            <form on:submit=move |event| {
                event.prevent_default();
                send();
            }>
                <label for="sign-in-key">"Key"</label>
                <input
                    id="sign-in-key"
                    class="input mono"
                    type="password"
                    autocomplete="current-password"
                    placeholder="tk_…"
                    autofocus
                    prop:value=key
                    on:input=move |event| key.set(event_target_value(&event))
                />
                {refused}
                <button class="button button-primary" type="submit" disabled=pending>
                    "Sign in"
                </button>
            </form>
        </section>
    }
}
