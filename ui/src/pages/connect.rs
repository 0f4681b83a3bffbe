//! Welcome and Connect: the addresses of this server, the setup of senders, demo traffic.
//!
//! Before any data was received, this is the home page. It moves on to Explore by itself when the
//! first span arrives. It requests the status every second while it is on screen.

use std::time::Duration;

use leptos::{prelude::*, task::spawn_local};
use tidings_proto::api::{ReceiverStatus, ServerStatus};

use crate::{
    api, browser,
    components::{
        Badge, CopyButton, ErrorState, LoadingRows, PartialNote, Tone, receiver_text, use_toasts,
    },
    format,
    request_state::RequestState,
    shell::{crumb, set_crumbs},
    url::{History, use_edit_query, use_navigation, use_query},
};

mod guide;

use guide::{Addresses, GUIDES, Guide, opening_command, opening_flags};

/// The parameter that names the shown setup.
const GUIDE: &str = "guide";
const POLL_INTERVAL: Duration = Duration::from_secs(1);

fn watch_status() -> RequestState<ServerStatus> {
    let status = RequestState::new(|| Some(api::status()));
    let again = move || {
        if browser::is_page_visible() {
            status.refresh_when_idle();
        }
    };
    if let Ok(timer) = set_interval_with_handle(again, POLL_INTERVAL) {
        on_cleanup(move || timer.clear());
    }
    status
}

/// Welcome until data was received, Explore from then on.
#[component]
#[must_use]
pub fn WelcomeUntilData() -> impl IntoView {
    set_crumbs(crumb("Welcome"));
    let status = watch_status();
    let (go, toasts) = (use_navigation(), use_toasts());
    let waited = StoredValue::new(false);
    Effect::new(move |_| match status.value() {
        Some(status) if status.has_data => {
            if waited.get_value() {
                toasts.show(format!(
                    "The first data is here: {}, {}.",
                    format::counted(status.spans.received, "span"),
                    format::counted(status.logs.received, "log record"),
                ));
            }
            go("/explore", History::Replace);
        }
        Some(_) => waited.set_value(true),
        None => {}
    });
    view! { <Welcome status waiting=true /> }
}

/// `/connect`: the same page for servers that already have data.
#[component]
#[must_use]
pub fn ConnectPage() -> impl IntoView {
    set_crumbs(crumb("Connect"));
    let status = watch_status();
    view! { <Welcome status waiting=false /> }
}

#[component]
fn Welcome(status: RequestState<ServerStatus>, waiting: bool) -> impl IntoView {
    let (title, words) = if waiting {
        ("Waiting for the first span", "Point a sender here, or send demo traffic and look around.")
    } else {
        ("Connect a sender", "Addresses that receive data, and how to point a sender here.")
    };
    // The cards stay when the status request fails. The error is above them.
    let error = Memo::new(move |_| status.error());
    let failed = move || {
        let retry = Callback::new(move |()| status.refresh());
        error.get().map(|error| {
            let is_kept = status.value().is_some();
            view! { <ErrorState name="The state of the server" is_kept error on_retry=retry /> }
        })
    };
    let receivers = Memo::new(move |_| {
        status.value().map(|status| status.receivers.clone()).unwrap_or_default()
    });
    let addresses = Memo::new(move |_| receivers.with(|all| Addresses::from_receivers(all)));
    let needs_key = Memo::new(move |_| status.value().is_some_and(|status| status.keys_required));
    let known = Memo::new(move |_| status.value().is_some());
    let waiting_for_status = Memo::new(move |_| status.loading());
    view! {
        <div class="page connect">
            <div class="connect-head">
                <div>
                    <h1>{title}</h1>
                    <p class="mute">{words}</p>
                </div>
                <DemoButton status waiting />
            </div>
            {failed}
            <Show when=move || needs_key.get()>
                <PartialNote>
                    "Every sender needs a key here: make one on " <a href="/system">"System"</a>
                    " and set " <code>"OTEL_EXPORTER_OTLP_HEADERS=authorization=Bearer tk_…"</code>
                    ", or the key as Basic's password."
                </PartialNote>
            </Show>
            <Show when=move || waiting_for_status.get()>
                <LoadingRows count=3 />
            </Show>
            <Show when=move || known.get()>
                <section aria-label="Listening">
                    <h2 class="section-title">"Listening"</h2>
                    <div class="receivers">
                        {move || {
                            let card = |receiver| view! { <ReceiverCard receiver /> };
                            receivers.get().into_iter().map(card).collect_view()
                        }}
                    </div>
                    {other_machines(receivers)}
                    <Arrivals status />
                </section>
                <Guides addresses />
            </Show>
        </div>
    }
}

/// The command for senders on other machines, while every receiver listens on this machine only.
fn other_machines(receivers: Memo<Vec<ReceiverStatus>>) -> impl IntoView {
    let flags = Memo::new(move |_| receivers.with(|all| opening_flags(all)));
    move || {
        let flags = flags.get();
        (!flags.is_empty()).then(|| {
            let command = opening_command(&flags);
            view! {
                <p class="mute arrivals">
                    "Tidings listens on this machine only. To receive from other machines, make \
                     keys with " <code>"tidings keys create"</code> ", and start it with:"
                </p>
                <div class="code opening-command">
                    <pre tabindex="0">{command.clone()}</pre>
                    <CopyButton text=command label="Copy the command" />
                </div>
            }
        })
    }
}

#[component]
fn ReceiverCard(receiver: ReceiverStatus) -> impl IntoView {
    let ReceiverStatus {
        name,
        address,
        tls,
        accepted_requests,
        accepted_last_minute,
        refused_requests,
        refusals,
        ..
    } = receiver;
    let words = receiver_text(&name);
    let (tone, state) = match (refused_requests, accepted_requests, accepted_last_minute) {
        (1.., ..) => (Tone::Warning, "refused some"),
        (0, 0, _) => (Tone::Plain, "waiting"),
        (0, _, 0) => (Tone::Plain, "quiet for a minute"),
        _ => (Tone::Good, "receiving"),
    };
    let refusal = refusals.into_iter().next().map(|last| {
        view! {
            <div class="receiver-refusal">
                <span class="mute">"Last refusal"</span>
                <code>{last.message}</code>
            </div>
        }
    });
    view! {
        <article class="card receiver">
            <header class="receiver-head">
                <h3>{words}{tls.then_some(", over TLS")}</h3>
                <Badge tone=tone>{state}</Badge>
            </header>
            <div class="receiver-address">
                <code>{address.clone()}</code>
                <CopyButton text=address label="Copy the address" />
            </div>
            <dl class="receiver-counts">
                <div>
                    <dt>"requests accepted"</dt>
                    <dd class="num">{format::count(accepted_requests)}</dd>
                </div>
                <div class:is-warning=refused_requests != 0>
                    <dt>"refused"</dt>
                    <dd class="num">{format::count(refused_requests)}</dd>
                </div>
            </dl>
            {refusal}
        </article>
    }
}

#[component]
fn Arrivals(status: RequestState<ServerStatus>) -> impl IntoView {
    let counts = move || {
        status.value().map(|status| {
            let refused = match status.spans.rejected.saturating_add(status.logs.rejected) {
                0 => "none rejected".to_owned(),
                rejected => format!("{} rejected", format::count(rejected)),
            };
            format!(
                "{} and {} received since the start, {refused}. Tidings {}.",
                format::counted(status.spans.received, "span"),
                format::counted(status.logs.received, "log record"),
                status.version,
            )
        })
    };
    view! { <p class="mute arrivals">{counts}</p> }
}

/// The button that starts demo traffic. It is the main action only while there is no data.
#[component]
fn DemoButton(status: RequestState<ServerStatus>, waiting: bool) -> impl IntoView {
    let toasts = use_toasts();
    let starting = RwSignal::new(false);
    let running = Memo::new(move |_| status.value().is_some_and(|status| status.demo_running));
    let start = move |_| {
        starting.set(true);
        spawn_local(async move {
            let note = match api::start_demo().send(None).await {
                Ok(_) => "Demo traffic is on its way.".to_owned(),
                Err(error) => format!("{}. {}", error.title(), error.detail()),
            };
            toasts.show(note);
            starting.try_set(false);
        });
    };
    let class = if waiting { "button button-primary" } else { "button" };
    let words =
        move || if running.get() { "Demo traffic is being sent" } else { "Send demo traffic" };
    view! {
        <button
            class=class
            type="button"
            title="A shop and a payment system: slow, failing, retried and asynchronous calls"
            disabled=move || starting.get() || running.get()
            on:click=start
        >
            {words}
        </button>
    }
}

/// Returns the index of the setup with this name. An unknown name is that of the first one.
fn guide_index(name: Option<&str>) -> usize {
    GUIDES.iter().position(|guide| Some(guide.name) == name).unwrap_or(0)
}

#[component]
fn Guides(addresses: Memo<Addresses>) -> impl IntoView {
    let (query, edit) = (use_query(), use_edit_query());
    let chosen = Memo::new(move |_| query.with(|query| guide_index(query.get(GUIDE))));
    let choose = Callback::new(move |index: usize| {
        let name = GUIDES.get(index).filter(|_| index > 0).map(|guide| guide.name);
        edit(History::Replace, &|query| query.set(GUIDE, name));
    });
    let tab = move |(index, guide): (usize, &'static Guide)| {
        view! {
            <button
                class="tab"
                type="button"
                role="tab"
                id=format!("guide-tab-{index}")
                aria-controls="guide-panel"
                aria-selected=move || (chosen.get() == index).to_string()
                tabindex=move || if chosen.get() == index { "0" } else { "-1" }
                on:click=move |_| choose.run(index)
            >
                {guide.name}
            </button>
        }
    };
    let pressed = move |event: web_sys::KeyboardEvent| {
        let (at, last) = (chosen.get_untracked(), GUIDES.len() - 1);
        let next = match event.key().as_str() {
            "ArrowRight" if at == last => 0,
            "ArrowRight" => at + 1,
            "ArrowLeft" => at.checked_sub(1).unwrap_or(last),
            "Home" => 0,
            "End" => last,
            _ => return,
        };
        event.prevent_default();
        choose.run(next);
        browser::focus(&format!("guide-tab-{next}"));
    };
    let panel = move || {
        let guide = &GUIDES[chosen.get().min(GUIDES.len() - 1)];
        let text = addresses.with(|addresses| guide.text(addresses));
        view! {
            <p class="mute">{guide.words}</p>
            <div class="code">
                <pre tabindex="0">{text.clone()}</pre>
                <CopyButton text=text label="Copy the setup" />
            </div>
        }
    };
    view! {
        <section class="card guides" aria-label="How to point a sender here">
            <div class="tabs" role="tablist" aria-label="Languages" on:keydown=pressed>
                {GUIDES.iter().enumerate().map(tab).collect_view()}
            </div>
            <div
                id="guide-panel"
                class="guide"
                role="tabpanel"
                aria-labelledby=move || format!("guide-tab-{}", chosen.get())
            >
                {panel}
            </div>
        </section>
    }
}
