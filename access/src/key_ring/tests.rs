#![expect(clippy::disallowed_methods, reason = "tests damage the file behind the ring's back")]

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use http::{HeaderMap, HeaderValue, header};
use tidings_proto::UnixNanos;
use tidings_storage::{Clock, LockedFile, SystemClock};

use super::{KeyFile, KeyRequest, KeyRing, KeyToken, Role, SessionToken};
use crate::{
    AccessError, AccessPolicy, Credentials, SESSION_AGE, TENANT_HEADER, TenantName,
    error::KeyFileError,
    session::{HOLDER_SESSIONS_MAX, REPLACED_VALUE_AGE, SESSION_VALUE_AGE},
};

/// A clock that is set by hand.
#[derive(Debug)]
struct SetClock {
    now: Mutex<UnixNanos>,
    /// The instant of its time 0.
    begin: Instant,
}

impl SetClock {
    fn new(now: UnixNanos) -> Self {
        Self { now: Mutex::new(now), begin: SystemClock.instant() }
    }

    fn pass(&self, time: Duration) {
        self.now.lock().unwrap().0 += u64::try_from(time.as_nanos()).unwrap();
    }
}

impl Clock for SetClock {
    fn now(&self) -> UnixNanos {
        *self.now.lock().unwrap()
    }

    fn instant(&self) -> Instant {
        self.begin + Duration::from_nanos(self.now().0)
    }

    fn sleep(&self, time: Duration) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
        SystemClock.sleep(time)
    }
}

struct Fixture {
    clock: Arc<SetClock>,
    file: KeyFile,
    ring: Arc<KeyRing>,
    _folder: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = KeyFile::new(folder.path().join("keys.json"));
        let clock = Arc::new(SetClock::new(UnixNanos(1_000)));
        let ring = KeyRing::open(file.clone(), Arc::clone(&clock) as _).unwrap();
        Self { clock, file, ring: Arc::new(ring), _folder: folder }
    }

    fn key(&self, name: &str, role: Role, expires: Option<u64>) -> KeyToken {
        let end = expires.map(UnixNanos);
        let request = KeyRequest { expires_unix_nanos: end, ..KeyRequest::new(name, role) };
        self.ring.create(request).unwrap().0
    }

    /// Requests admission for a role with this key.
    fn ask(&self, key: &str, needed: Role) -> Result<(), AccessError> {
        let headers = with(header::AUTHORIZATION, &format!("Bearer {key}"));
        let policy = AccessPolicy::Keys(Arc::clone(&self.ring));
        policy.admit(&headers, Credentials::Keys, needed).map(|caller| assert!(caller.is_some()))
    }
}

fn with(name: header::HeaderName, value: &str) -> HeaderMap {
    [(name, HeaderValue::from_str(value).unwrap())].into_iter().collect()
}

#[test]
fn a_key_and_its_sessions_have_one_limit_of_requests() {
    let fixture = Fixture::new();
    let request =
        KeyRequest { requests_per_second: Some(1), ..KeyRequest::new("grafana", Role::Read) };
    let (token, record) = fixture.ring.create(request).unwrap();
    let key = token.reveal();
    let (session, _) = fixture.ring.sign_in(key).unwrap();
    let cookie = format!("tidings-session={}", session.reveal());
    let policy = AccessPolicy::Keys(Arc::clone(&fixture.ring));
    let ask_by_session = |needed| {
        let headers = with(header::COOKIE, &cookie);
        policy.admit(&headers, Credentials::KeysAndSessions, needed).map(drop)
    };
    for _ in 0..3 {
        fixture.ask(key, Role::Read).unwrap();
        ask_by_session(Role::Read).unwrap();
        assert!(matches!(fixture.ask(key, Role::Admin), Err(AccessError::Role { .. })));
    }
    for _ in 0..3 {
        fixture.ask(key, Role::Read).unwrap();
    }
    let refused = fixture.ask(key, Role::Read).unwrap_err();
    assert_eq!(ask_by_session(Role::Read), Err(refused.clone()));
    assert_eq!(fixture.ring.sign_in(key).map(drop), Err(refused.clone()));
    assert_eq!((refused.wait_seconds(), refused.is_unauthenticated()), (Some(1), false));
    let uses = fixture.ring.list().pop().unwrap().uses;
    assert_eq!((uses.requests, uses.refused), (10, 6));
    // Adding another key to the file does not reset the limits of this one.
    fixture.key("other", Role::Read, None);
    assert!(fixture.ask(key, Role::Read).is_err());
    fixture.clock.pass(Duration::from_secs(1));
    fixture.ask(key, Role::Read).unwrap();
    assert!(record.describe().ends_with("role read, 1 requests per second"));
}

#[test]
fn a_role_allows_its_own_actions_and_admin_all() {
    let fixture = Fixture::new();
    for (role, allowed) in [
        (Role::Ingest, &[Role::Ingest][..]),
        (Role::Read, &[Role::Read]),
        (Role::Admin, &Role::ALL),
    ] {
        let key = fixture.key(role.name(), role, None);
        for needed in Role::ALL {
            let asked = fixture.ask(key.reveal(), needed);
            assert_eq!(asked.is_ok(), allowed.contains(&needed), "{role:?} {needed:?}");
            assert!(asked.err().is_none_or(|error| !error.is_unauthenticated()));
        }
    }
}

#[test]
fn the_refusal_of_an_unknown_key_reveals_nothing_about_keys() {
    let fixture = Fixture::new();
    let key = fixture.key("ci", Role::Admin, None);
    let text = key.reveal();
    let other = format!("{}{}", &text[..59], if text.ends_with('0') { '1' } else { '0' });
    let stranger = format!("tk_00000000_{}", &text[12..]);
    for wrong in ["", "tk_", &text[..59], &other, &stranger, &text.to_uppercase()] {
        assert_eq!(fixture.ask(wrong, Role::Read), Err(AccessError::Unknown), "{wrong}");
    }
    let policy = AccessPolicy::Keys(Arc::clone(&fixture.ring));
    let none = policy.admit(&HeaderMap::new(), Credentials::Keys, Role::Read);
    assert_eq!(none.unwrap_err(), AccessError::Missing);
}

#[test]
fn a_key_is_refused_after_it_is_revoked_or_has_expired() {
    let fixture = Fixture::new();
    let (lasting, short) =
        (fixture.key("a", Role::Read, None), fixture.key("b", Role::Read, Some(2_000)));
    fixture.ask(lasting.reveal(), Role::Read).unwrap();
    fixture.ask(short.reveal(), Role::Read).unwrap();
    let caller = fixture.ring.find(lasting.reveal()).unwrap();
    fixture.clock.pass(Duration::from_nanos(1_000));
    let expired = AccessError::Expired { name: "b".to_owned() };
    assert_eq!(fixture.ask(short.reveal(), Role::Read), Err(expired));
    assert!(caller.is_live(fixture.ring.now()));
    fixture.ring.revoke("a", None).unwrap();
    assert!(!caller.is_live(fixture.ring.now()));
    assert_eq!(fixture.ask(lasting.reveal(), Role::Read), Err(AccessError::Unknown));
}

#[tokio::test]
async fn the_end_of_a_key_or_session_wakes_its_waiters() {
    let fixture = Fixture::new();
    let key = fixture.key("a", Role::Read, None);
    let (session, caller) = fixture.ring.sign_in(key.reveal()).unwrap();
    let by_session = fixture.ring.session(session.reveal()).unwrap();
    let wait = |caller| {
        let end = fixture.ring.end_of(caller);
        tokio::spawn(tokio::time::timeout(Duration::from_secs(20), end))
    };
    let (of_session, of_key) = (wait(&by_session), wait(&caller));
    tokio::task::yield_now().await;
    assert!(!of_session.is_finished() && !of_key.is_finished());
    assert_eq!(fixture.ring.end_sessions(caller.id(), None).0, 1);
    of_session.await.unwrap().expect("the end of the session wakes nobody");
    assert!(!of_key.is_finished(), "the key is still good");
    fixture.ring.revoke("a", None).unwrap();
    of_key.await.unwrap().expect("the end of the key wakes nobody");
    tokio::time::timeout(Duration::from_secs(20), fixture.ring.end_of(&caller)).await.unwrap();
}

#[tokio::test]
async fn changes_of_the_file_by_another_process_are_read() {
    let fixture = Fixture::new();
    let kept = fixture.key("kept", Role::Read, None);
    fixture.ask(kept.reveal(), Role::Read).unwrap();
    let following = tokio::spawn(Arc::clone(&fixture.ring).follow());
    let request = KeyRequest::new("elsewhere", Role::Ingest);
    let (made, _) = fixture.file.create(request, UnixNanos(5)).unwrap();
    let until = async |wanted: bool| {
        while fixture.ask(made.reveal(), Role::Ingest).is_ok() != wanted {
            SystemClock.sleep(Duration::from_millis(5)).await;
        }
    };
    let patience = Duration::from_secs(20);
    tokio::time::timeout(patience, until(true)).await.expect("the new key is not known");
    let counted = fixture.ring.list();
    assert_eq!(counted[0].uses.requests + counted[1].uses.requests, 2, "counts stay: {counted:?}");
    // An unreadable file changes nothing.
    let good = std::fs::read(fixture.file.path()).unwrap();
    LockedFile::lock(fixture.file.path()).unwrap().replace(b"{").unwrap();
    assert!(matches!(fixture.ring.read_file(), Err(KeyFileError::Malformed { .. })));
    fixture.ask(made.reveal(), Role::Ingest).unwrap();
    LockedFile::lock(fixture.file.path()).unwrap().replace(&good).unwrap();
    fixture.file.revoke("elsewhere", None).unwrap();
    tokio::time::timeout(patience, until(false)).await.expect("the key is still good");
    fixture.ask(kept.reveal(), Role::Read).unwrap();
    following.abort();
}

#[test]
fn a_key_is_revoked_even_if_its_file_cannot_be_changed() {
    let fixture = Fixture::new();
    let (stolen, kept) =
        (fixture.key("stolen", Role::Admin, None), fixture.key("kept", Role::Read, None));
    let caller = fixture.ring.find(stolen.reveal()).unwrap();
    let good = std::fs::read(fixture.file.path()).unwrap();
    for fault in ["no file of keys", "empty", "a folder in its place"] {
        match fault {
            "no file of keys" => std::fs::write(fixture.file.path(), "{").unwrap(),
            "empty" => std::fs::write(fixture.file.path(), "").unwrap(),
            _ => {
                std::fs::remove_file(fixture.file.path()).unwrap();
                std::fs::create_dir(fixture.file.path()).unwrap();
            }
        }
        let id = caller.id().to_string();
        for _ in 0..2 {
            let refused = fixture.ring.revoke(&id, None);
            let Err(KeyFileError::NotWritten { reason }) = refused else {
                panic!("{fault}: {refused:?}")
            };
            assert!(!reason.contains("keys.json"), "{reason}");
            assert_eq!(fixture.ask(stolen.reveal(), Role::Admin), Err(AccessError::Unknown));
            assert!(!caller.is_live(fixture.ring.now()));
            fixture.ask(kept.reveal(), Role::Read).unwrap();
        }
        let alarm = fixture.ring.poll_file().unwrap();
        assert!(alarm.contains("the keys before it stay"), "{fault}: {alarm}");
    }
    std::fs::remove_dir(fixture.file.path()).unwrap();
    std::fs::write(fixture.file.path(), &good).unwrap();
    // The next poll removes it from the file.
    assert_eq!(fixture.ring.poll_file(), None);
    assert_eq!(fixture.ask(stolen.reveal(), Role::Admin), Err(AccessError::Unknown));
    let names: Vec<_> = fixture.file.read().unwrap().into_iter().map(|key| key.name).collect();
    assert_eq!(names, ["kept"]);
}

#[test]
fn a_missing_file_refuses_every_key_and_raises_an_alarm() {
    let fixture = Fixture::new();
    assert_eq!(fixture.ring.poll_file(), None, "there was none yet");
    let key = fixture.key("a", Role::Read, None);
    assert_eq!(fixture.ring.poll_file(), None);
    std::fs::remove_file(fixture.file.path()).unwrap();
    let alarm = fixture.ring.poll_file().unwrap();
    assert!(alarm.contains("every key is refused"), "{alarm}");
    assert_eq!(fixture.ask(key.reveal(), Role::Read), Err(AccessError::Unknown));
}

#[test]
fn a_session_replaces_its_key_at_the_http_address_only() {
    let fixture = Fixture::new();
    let key = fixture.key("me", Role::Read, None);
    let policy = AccessPolicy::Keys(Arc::clone(&fixture.ring));
    let begin = || {
        let (session, _) = fixture.ring.sign_in(key.reveal()).unwrap();
        with(header::COOKIE, &format!("tidings-session={}", session.reveal()))
    };
    let ask = |cookies: &HeaderMap, credentials| {
        policy
            .admit(cookies, credentials, Role::Read)
            .map(|caller| caller.unwrap().name().to_owned())
    };
    let sessions = Credentials::KeysAndSessions;
    let cookies = begin();
    assert_eq!(ask(&cookies, sessions), Ok("me".to_owned()));
    assert_eq!(ask(&cookies, Credentials::Keys), Err(AccessError::Missing));
    assert_eq!(fixture.ring.sign_out(&cookies, "/"), None);
    assert_eq!(ask(&cookies, sessions), Err(AccessError::SessionEnded));
    let cookies = begin();
    fixture.clock.pass(SESSION_AGE);
    assert_eq!(ask(&cookies, sessions), Err(AccessError::SessionEnded));
    let cookies = begin();
    fixture.ring.revoke("me", None).unwrap();
    assert_eq!(ask(&cookies, sessions), Err(AccessError::SessionEnded));
    let sender = fixture.key("sender", Role::Ingest, None);
    assert!(fixture.ring.sign_in(sender.reveal()).is_err(), "who cannot read has no pages");
}

#[test]
fn a_session_in_use_gets_a_new_value_every_hour() {
    let fixture = Fixture::new();
    let key = fixture.key("me", Role::Read, None);
    let policy = AccessPolicy::Keys(Arc::clone(&fixture.ring));
    let cookie = |text: &str| with(header::COOKIE, &format!("__Host-tidings-session={text}"));
    let (first, _) = fixture.ring.sign_in(key.reveal()).unwrap();
    let first = cookie(first.reveal());
    let is_good =
        |cookie: &HeaderMap| policy.identify(cookie, Credentials::KeysAndSessions).is_ok();
    let rotate = |cookie: &HeaderMap| policy.rotate_session(cookie);
    fixture.clock.pass(SESSION_VALUE_AGE - Duration::from_secs(1));
    assert!(rotate(&first).is_none(), "it is young");
    fixture.clock.pass(Duration::from_secs(1));
    let rotated = rotate(&first).unwrap();
    assert_eq!((rotated.age, rotated.is_over_tls), (SESSION_AGE - SESSION_VALUE_AGE, true));
    // A concurrent request with the old value gets the new one again, because the first answer may
    // be lost.
    fixture.clock.pass(REPLACED_VALUE_AGE - Duration::from_secs(1));
    assert!(is_good(&first));
    let again = rotate(&first).unwrap();
    assert_eq!(again.token.reveal(), rotated.token.reveal());
    let second = cookie(again.token.reveal());
    assert!(is_good(&second) && rotate(&second).is_none());
    fixture.clock.pass(Duration::from_secs(1));
    assert!(!is_good(&first) && rotate(&first).is_none(), "it was replaced a minute ago");
    assert!(is_good(&second));
    fixture.clock.pass(SESSION_VALUE_AGE);
    let mut with_key = with(header::AUTHORIZATION, &format!("Bearer {}", key.reveal()));
    with_key.extend(second.clone());
    assert!(rotate(&with_key).is_none(), "it was let in by its key");
    let third = cookie(rotate(&second).unwrap().token.reveal());
    assert!(is_good(&second) && is_good(&third));
    fixture.ring.sign_out(&second, "/");
    assert!(!is_good(&second) && !is_good(&third), "they are one session");
    // Rotation does not change the time at which the session ends.
    let (mut text, _) = fixture.ring.sign_in(key.reveal()).unwrap();
    for _ in 0..SESSION_AGE.as_secs() / SESSION_VALUE_AGE.as_secs() - 1 {
        fixture.clock.pass(SESSION_VALUE_AGE);
        text = rotate(&cookie(text.reveal())).unwrap().token;
    }
    fixture.clock.pass(SESSION_VALUE_AGE);
    assert!(!is_good(&cookie(text.reveal())));
}

#[test]
fn signing_in_too_often_ends_only_sessions_of_the_same_key() {
    let fixture = Fixture::new();
    let begin = |key: &KeyToken| {
        fixture.clock.pass(Duration::from_secs(1));
        fixture.ring.sign_in(key.reveal()).unwrap().0
    };
    let operator = begin(&fixture.key("operator", Role::Admin, None));
    let stolen = fixture.key("stolen", Role::Read, None);
    let begun: Vec<_> = (0..HOLDER_SESSIONS_MAX + 3).map(|_| begin(&stolen)).collect();
    let is_good = |session: &SessionToken| fixture.ring.session(session.reveal()).is_some();
    assert!(is_good(&operator));
    let (ended, kept) = begun.split_at(3);
    assert!(!ended.iter().any(is_good) && kept.iter().all(is_good));
}

#[test]
fn the_servers_own_key_is_not_listed() {
    let fixture = Fixture::new();
    let own = fixture.ring.own_key(&TenantName::default()).unwrap();
    fixture.ask(own.reveal(), Role::Ingest).unwrap();
    assert!(fixture.ask(own.reveal(), Role::Read).is_err());
    assert_eq!(fixture.ring.list(), []);
}

#[test]
fn a_request_has_access_to_its_keys_tenant_and_to_others_that_the_key_may_choose() {
    let fixture = Fixture::new();
    let names = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect();
    let key = |tenant: &str, role, tenants: &[&str]| {
        let name = format!("{tenant} {role} {tenants:?}");
        let request = KeyRequest {
            tenant: tenant.parse().unwrap(),
            tenants: names(tenants),
            ..KeyRequest::new(name, role)
        };
        fixture.ring.create(request).unwrap().0
    };
    let policy = AccessPolicy::Keys(Arc::clone(&fixture.ring));
    let reach = |key: &KeyToken, needed, chosen: Option<&str>| {
        let mut headers = with(header::AUTHORIZATION, &format!("Bearer {}", key.reveal()));
        headers.extend(chosen.map(|name| (TENANT_HEADER, HeaderValue::from_str(name).unwrap())));
        let admitted = policy.admit(&headers, Credentials::Keys, needed);
        admitted.map(|caller| caller.unwrap().tenant().to_string())
    };
    let (of_a, of_two) = (key("a", Role::Read, &[]), key("a", Role::Read, &["b"]));
    let (admin_of_a, operator) = (key("a", Role::Admin, &[]), key("default", Role::Admin, &[]));
    let reader = key("default", Role::Read, &[]);
    for (key, chosen, reached) in [
        (&of_a, None, Some("a")),
        (&of_a, Some("a"), Some("a")),
        (&of_a, Some("b"), None),
        (&of_a, Some("default"), None),
        (&of_a, Some("nobody"), None),
        (&of_a, Some("../a"), None),
        (&of_two, None, Some("a")),
        (&of_two, Some("b"), Some("b")),
        (&of_two, Some("c"), None),
        (&admin_of_a, Some("b"), None),
        (&operator, None, Some("default")),
        (&operator, Some("a"), Some("a")),
        (&operator, Some("a|b"), None),
        (&reader, Some("a"), None),
    ] {
        let found = reach(key, Role::Read, chosen);
        assert_eq!(found.as_deref().ok(), reached, "{chosen:?} with {key:?}");
    }
    let refused = |chosen| reach(&of_a, Role::Read, Some(chosen)).unwrap_err();
    assert_eq!(refused("b"), refused("nobody"), "nobody learns which tenants there are");
    assert_eq!(refused("b"), refused("NO name"));
    assert!(!refused("b").is_unauthenticated());
    let open =
        |name| AccessPolicy::Open.admit(&with(TENANT_HEADER, name), Credentials::Keys, Role::Read);
    assert_eq!(open("a").unwrap_err(), AccessError::OneTenant);
    assert_eq!(open("A B").unwrap_err(), AccessError::OneTenant);
    assert!(open("default").unwrap().is_none());
    let tenants: Vec<String> = fixture.ring.tenants().iter().map(ToString::to_string).collect();
    assert_eq!(tenants, ["default", "a", "b"]);
    let own = ["a", "b"].map(|name| fixture.ring.own_key(&name.parse().unwrap()).unwrap());
    for (own, tenant) in own.iter().zip(["a", "b"]) {
        assert_eq!(reach(own, Role::Ingest, None).as_deref(), Ok(tenant));
    }
}
