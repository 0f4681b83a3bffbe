//! Keys of senders and readers: their roles, the last use of each, and a form for a new one.
//!
//! Drawn for keys with the role `admin`, on a server that requires keys.

use std::sync::Arc;

use leptos::{prelude::*, task::spawn_local};
use tidings_proto::api::{CreatedKey, KeyList, KeyRequest, KeyRole, KeyView, SessionView};

use super::{audit_panel::audit_panel, erasure_panel::erasure_panel};
use crate::{
    api::access,
    browser,
    components::{
        Badge, CopyButton, Panel,
        PlainHead::{Buttons, Number, Words},
        PlainTable, Segment, Segments, Tone, WatchedRequest, use_toasts,
    },
    format,
    request_state::RequestState,
};

/// Age of the last use below which it is shown as now.
const NOW_NANOS: u64 = 60_000_000_000;
const DAY_SECONDS: u64 = 24 * 60 * 60;

/// The key in use and, with the role `admin`, the panels of keys, of erasures and of the audit log.
pub(super) fn keys_section() -> impl IntoView {
    let session = RequestState::new(|| Some(access::session()));
    let view_of = move || session.value().filter(|session| session.keys_required);
    let is_admin =
        Memo::new(move |_| view_of().is_some_and(|session| session.role == Some(KeyRole::Admin)));
    let panel = move || is_admin.get().then(keys_panel);
    let is_open = move || session.value().is_some_and(|session| !session.keys_required);
    let may_administer = move || is_admin.get() || is_open();
    let erasures = move || may_administer().then(erasure_panel);
    let audit = move || may_administer().then(audit_panel);
    view! {
        {WatchedRequest::new("The key in use is not known", session).note()}
        {move || view_of().map(|session| signed_in(&session))}
        {panel}
        {erasures}
        {audit}
    }
}

fn signed_in(session: &SessionView) -> impl IntoView + use<> {
    let role = session.role.map(role_text).unwrap_or_default();
    let name = session.name.clone().unwrap_or_default();
    let leave = move |_| {
        spawn_local(async move {
            match access::sign_out().send(None).await {
                Ok(Some(ended)) => browser::navigate_to(&ended.end_session_url),
                // After a failed request the session may still exist. The reload shows it.
                _ => browser::reload(),
            }
        });
    };
    view! {
        <p class="mute">
            "Signed in as " <b>{name}</b> ", with the role " {role} ". "
            <button class="button button-ghost" type="button" on:click=leave>
                "Sign out"
            </button>
        </p>
    }
}

fn keys_panel() -> impl IntoView {
    let list = RequestState::new(|| Some(access::keys()));
    let draw = move |keys: Arc<KeyList>| key_table(&keys, list);
    view! {
        <Panel
            title="Keys"
            note="shown once, stored as a digest; counts since the start"
            state=list
            is_empty=|list| list.keys.is_empty()
            empty="There is no key."
            rows=3
            draw=draw
        />
        {new_key(list)}
    }
}

fn role_text(role: KeyRole) -> &'static str {
    match role {
        KeyRole::Ingest => "ingest",
        KeyRole::Read => "read",
        KeyRole::Admin => "admin",
    }
}

fn key_table(list: &KeyList, state: RequestState<KeyList>) -> impl IntoView + use<> {
    let row = move |key: &KeyView| {
        let now = browser::now();
        let ago = |time| match now.since(time) {
            since if since.0 < NOW_NANOS => "now".to_owned(),
            since => format!("{} ago", format::duration(since)),
        };
        let used = key.last_used_unix_nano.map_or("not since the start".to_owned(), ago);
        let may = match &key.service {
            Some(service) => format!("{} {service}", role_text(key.role)),
            None => role_text(key.role).to_owned(),
        };
        let may = match key.tenant.as_str() {
            "default" => may,
            tenant => format!("{may} in {tenant}"),
        };
        let badge = match (key.has_expired, key.refused) {
            (true, _) => Some(view! { <Badge tone=Tone::Error>"expired"</Badge> }),
            (_, 1..) => Some(view! { <Badge tone=Tone::Warning>"refused some"</Badge> }),
            _ => None,
        };
        let (id, name) = (key.id.clone(), key.name.clone());
        view! {
            <tr>
                <td>
                    <b>{key.name.clone()}</b>
                </td>
                <td class="mono mute">{format!("tk_{}…", key.id)}</td>
                <td>{may} {limits_of(key)}</td>
                <td class="num">{format::count(key.requests)}</td>
                <td class="num">{format::count(key.records)}</td>
                <td class="mute">{used}</td>
                <td>{badge}</td>
                <td>
                    {sign_out_button(id.clone(), name.clone())} {revoke_button(id, name, state)}
                </td>
            </tr>
        }
    };
    let heads = [
        Words("Name"),
        Words("Key"),
        Words("Role"),
        Number("Requests"),
        Number("Records"),
        Words("Last used"),
        Words("State"),
        Buttons("Revoke"),
    ];
    let rows = list.keys.iter().map(row).collect_view();
    view! {
        <PlainTable label="Keys" heads>
            {rows}
        </PlainTable>
    }
}

/// The limits of a key, if it has any.
fn limits_of(key: &KeyView) -> Option<impl IntoView + use<>> {
    let limits = [
        key.requests_per_second
            .map(|count| format!("{} a second", format::counted(count, "request"))),
        key.bytes_per_second.map(|bytes| format!("{} a second", format::rates::bytes(bytes))),
        key.bytes_per_day.map(|bytes| format!("{} a day", format::rates::bytes(bytes))),
    ];
    let limits: Vec<String> = limits.into_iter().flatten().collect();
    let words = format!("at most {}", limits.join(", "));
    (!limits.is_empty()).then(|| view! { <small class="mute">{words}</small> })
}

/// Ends the sessions of browsers. The key stays valid, so that they may sign in again.
fn sign_out_button(id: String, name: String) -> impl IntoView {
    let toasts = use_toasts();
    let click = move |_| {
        let (id, name) = (id.clone(), name.clone());
        spawn_local(async move {
            match access::end_sessions(&id).send(None).await {
                Ok(ended) => toasts.show(format!("{} of {name} ended", sessions(ended.sessions))),
                Err(error) => toasts.show(error.detail()),
            }
        });
    };
    view! {
        <button class="button button-ghost" type="button" on:click=click>
            "Sign out"
        </button>
    }
}

fn sessions(count: u64) -> String {
    format::counted(count, "session")
}

/// Revokes the key at the second click, because it cannot be undone.
fn revoke_button(id: String, name: String, state: RequestState<KeyList>) -> impl IntoView {
    let toasts = use_toasts();
    let sure = RwSignal::new(false);
    let click = move |_| {
        if !sure.get_untracked() {
            sure.set(true);
            return;
        }
        let (id, name) = (id.clone(), name.clone());
        spawn_local(async move {
            match access::revoke_key(&id).send(None).await {
                Ok(()) => toasts.show(format!("{name} is revoked")),
                Err(error) => toasts.show(error.detail()),
            }
            state.refresh();
        });
    };
    let words = move || if sure.get() { "Revoke for good" } else { "Revoke" };
    view! {
        <button class="button button-ghost" type="button" on:click=click>
            {words}
        </button>
    }
}

/// The fields of a new key.
#[derive(Debug, Clone, Copy)]
struct NewKey {
    name: RwSignal<String>,
    role: RwSignal<KeyRole>,
    service: RwSignal<String>,
    days: RwSignal<u64>,
    made: RwSignal<Option<CreatedKey>>,
    refusal: RwSignal<Option<String>>,
}

impl NewKey {
    fn request(self) -> KeyRequest {
        let role = self.role.get_untracked();
        let service = self.service.get_untracked().trim().to_owned();
        let days = self.days.get_untracked();
        KeyRequest {
            name: self.name.get_untracked().trim().to_owned(),
            role,
            tenant: None,
            tenants: Vec::new(),
            service: (role == KeyRole::Ingest && !service.is_empty()).then_some(service),
            expires_seconds: (days > 0).then_some(days.saturating_mul(DAY_SECONDS)),
            bytes_per_second: None,
            bytes_per_day: None,
            requests_per_second: None,
        }
    }
}

fn new_key(list: RequestState<KeyList>) -> impl IntoView {
    let form = NewKey {
        name: RwSignal::new(String::new()),
        role: RwSignal::new(KeyRole::Ingest),
        service: RwSignal::new(String::new()),
        days: RwSignal::new(90),
        made: RwSignal::new(None),
        refusal: RwSignal::new(None),
    };
    let send = move || {
        let request = form.request();
        spawn_local(async move {
            match access::create_key(&request).send(None).await {
                Ok(made) => {
                    form.refusal.set(None);
                    form.name.set(String::new());
                    form.made.set(Some(made));
                    list.refresh();
                }
                Err(error) => form.refusal.set(Some(error.detail())),
            }
        });
    };
    let refused = move || {
        form.refusal.get().map(|words| view! { <p class="field-error" role="alert">{words}</p> })
    };
    let made = move || form.made.get().map(|made| made_key(&made));
    view! {
        <section class="card side-card" aria-label="New key">
            <div class="side-head">
                <h2>"New key"</h2>
            </div>
            <form
                class="key-form"
                on:submit=move |event| {
                    event.prevent_default();
                    send();
                }
            >
                <label for="key-name">"Name"</label>
                <input
                    id="key-name"
                    class="input"
                    maxlength="100"
                    prop:value=form.name
                    on:input=move |event| form.name.set(event_target_value(&event))
                />
                <span class="mute">"Role"</span>
                {role_choice(form.role)}
                <Show when=move || form.role.get() == KeyRole::Ingest>
                    <label for="key-service">"Only of the service (any when empty)"</label>
                    <input
                        id="key-service"
                        class="input mono"
                        maxlength="100"
                        prop:value=form.service
                        on:input=move |event| form.service.set(event_target_value(&event))
                    />
                </Show>
                <span class="mute">"Expires"</span>
                {end_choice(form.days)}
                {refused}
                <button class="button button-primary" type="submit">
                    "Create the key"
                </button>
            </form>
            {made}
        </section>
    }
}

fn role_choice(role: RwSignal<KeyRole>) -> impl IntoView {
    const ROLES: [(&str, KeyRole); 3] =
        [("ingest", KeyRole::Ingest), ("read", KeyRole::Read), ("admin", KeyRole::Admin)];
    let segments = ROLES.map(|(name, role)| Segment::new(name, role_text(role))).to_vec();
    let name_of = move |role: KeyRole| {
        ROLES.iter().find(|(_, known)| *known == role).map_or("", |(name, _)| *name).to_owned()
    };
    let choose = move |name: &'static str| {
        if let Some((_, chosen)) = ROLES.iter().find(|(known, _)| *known == name) {
            role.set(*chosen);
        }
    };
    let chosen = Signal::derive(move || name_of(role.get()));
    view! { <Segments label="Role" segments chosen on_choose=Callback::new(choose) /> }
}

fn end_choice(days: RwSignal<u64>) -> impl IntoView {
    const ENDS: [(&str, u64); 4] =
        [("30 days", 30), ("90 days", 90), ("1 year", 365), ("never", 0)];
    let segments = ENDS.map(|(name, _)| Segment::new(name, name)).to_vec();
    let chosen = Signal::derive(move || {
        let chosen = ENDS.iter().find(|(_, known)| *known == days.get());
        chosen.map_or("", |(name, _)| *name).to_owned()
    });
    let choose = move |name: &'static str| {
        if let Some((_, chosen)) = ENDS.iter().find(|(known, _)| *known == name) {
            days.set(*chosen);
        }
    };
    view! { <Segments label="Expires" segments chosen on_choose=Callback::new(choose) /> }
}

fn made_key(made: &CreatedKey) -> impl IntoView + use<> {
    let key = made.key.clone();
    let setting = match made.created.role {
        KeyRole::Ingest => format!("OTEL_EXPORTER_OTLP_HEADERS=\"authorization=Bearer {key}\""),
        KeyRole::Read | KeyRole::Admin => format!("Authorization: Bearer {key}"),
    };
    let copied = setting.clone();
    view! {
        <div class="made-key" role="status">
            <p>
                "The key " <b>{made.created.name.clone()}</b>
                " is shown this once. Set it in the sender or client:"
            </p>
            <pre class="mono">{setting}</pre>
            <CopyButton text=copied label="Copy the setting" />
        </div>
    }
}
