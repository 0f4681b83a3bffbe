use std::{
    pin::Pin,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use tidings_proto::{
    UnixNanos,
    api::{AuditActor, AuditActorKind, AuditEvent, AuditOutcome},
};
use tidings_storage::{Clock, SystemClock};

use super::{AUTHOR_BYTES_MAX, AUTHORS_MAX, AuditLog, AuditSettings, READS_MAX, TEXT_CHARS_MAX};
use crate::{AuditQuery, day::Day};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A clock that is set by hand.
#[derive(Debug)]
struct SetClock(Mutex<(UnixNanos, Instant)>);

impl SetClock {
    fn pass(&self, time: Duration) {
        self.jump(time);
        self.0.lock().unwrap().1 += time;
    }

    /// Sets the wall clock forward without passing of monotonic time.
    fn jump(&self, time: Duration) {
        self.0.lock().unwrap().0.0 += u64::try_from(time.as_nanos()).unwrap();
    }
}

impl Clock for SetClock {
    fn now(&self) -> UnixNanos {
        self.0.lock().unwrap().0
    }

    fn instant(&self) -> Instant {
        self.0.lock().unwrap().1
    }

    fn sleep(&self, _time: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(std::future::pending())
    }
}

struct Fixture {
    clock: Arc<SetClock>,
    log: Arc<AuditLog>,
    _folder: tempfile::TempDir,
}

impl Fixture {
    fn new(has_reads: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(SetClock(Mutex::new((
            UnixNanos(1_795_400_000_000_000_000),
            SystemClock.instant(),
        ))));
        let path = folder.path().join("audit");
        let settings = AuditSettings { folder: path, age: Some(2 * DAY), has_reads };
        let log = AuditLog::open(settings, Arc::clone(&clock) as _).unwrap();
        Self { clock, log: Arc::new(log), _folder: folder }
    }

    fn event(&self, action: &str) -> AuditEvent {
        AuditEvent {
            time_unix_nano: self.clock.now(),
            action: action.to_owned(),
            outcome: AuditOutcome::Success,
            actor: AuditActor::SERVER,
            tenant: None,
            source_address: None,
            object: None,
            status: None,
            detail: None,
            count: 1,
        }
    }

    fn actions(&self) -> Vec<String> {
        let query = AuditQuery { limit: 100_000, ..AuditQuery::default() };
        let page = self.log.search(&query).unwrap();
        page.events.into_iter().map(|event| event.action).collect()
    }
}

#[tokio::test]
async fn a_recorded_change_is_in_the_file_of_its_day_when_record_returns() {
    let fixture = Fixture::new(false);
    fixture.log.record(fixture.event("first")).await;
    assert_eq!(fixture.actions(), ["first"]);
    for day in ["second", "third", "fourth"] {
        fixture.clock.pass(DAY);
        fixture.log.record(fixture.event(day)).await;
    }
    // Two whole days are kept besides today.
    assert_eq!(fixture.actions(), ["fourth", "third", "second"]);
    assert_eq!(Day::list(fixture.log.folder()).unwrap().len(), 3);
    assert_eq!((fixture.log.counts().written, fixture.log.counts().failed), (4, 0));
}

#[tokio::test]
async fn a_clock_that_jumps_deletes_nothing_by_age() {
    let fixture = Fixture::new(false);
    fixture.log.record(fixture.event("before")).await;
    fixture.clock.jump(400 * DAY);
    fixture.log.record(fixture.event("after")).await;
    assert_eq!(fixture.actions(), ["after", "before"]);
    // A process that starts after the jump deletes nothing either.
    let settings = fixture.log.settings.clone();
    let begun = AuditLog::open(settings, Arc::clone(&fixture.clock) as _).unwrap();
    drop(begun);
    assert_eq!(fixture.actions(), ["after", "before"]);
    // A clock that has run evenly for a day is trusted again.
    for _ in 0..26 {
        fixture.clock.pass(Duration::from_secs(3600));
        fixture.log.write_waiting(false);
    }
    fixture.log.record(fixture.event("long after")).await;
    assert_eq!(fixture.actions(), ["long after", "after"]);
}

#[test]
fn reads_are_recorded_if_enabled_and_bounded() {
    let silent = Fixture::new(false);
    silent.log.read(silent.event("read"));
    silent.log.close();
    assert!(silent.actions().is_empty());
    let fixture = Fixture::new(true);
    for _ in 0..READS_MAX + 500 {
        fixture.log.read(fixture.event("read"));
    }
    fixture.log.close();
    assert_eq!(fixture.actions().len(), READS_MAX + 1);
    let query = AuditQuery { limit: READS_MAX + 1, ..AuditQuery::default() };
    let page = fixture.log.search(&query).unwrap();
    let counted: u64 = page.events.iter().map(|event| event.count).sum();
    assert_eq!(counted, READS_MAX as u64 + 500);
}

#[test]
fn an_author_above_its_bytes_of_a_day_has_one_line_a_round_and_others_are_not_affected() {
    let fixture = Fixture::new(true);
    let by = |id: &str| {
        let actor = AuditActor {
            kind: AuditActorKind::Key,
            id: Some(id.to_owned()),
            name: Some("reader".to_owned()),
        };
        AuditEvent { actor, ..fixture.event("read") }
    };
    let bytes = usize::try_from(AUTHOR_BYTES_MAX).unwrap() + 1;
    fixture.log.file.lock().unwrap().as_mut().unwrap().add_bytes(by("noisy").actor, bytes);
    for round in 1..=3 {
        (0..1_000).for_each(|_| fixture.log.read(by("noisy")));
        fixture.log.read(by("quiet"));
        fixture.log.write_waiting(false);
        assert_eq!(fixture.log.counts().written, 2 * round);
    }
    let query = AuditQuery { limit: 10, ..AuditQuery::default() };
    let events = fixture.log.search(&query).unwrap().events;
    let of = |id: &str| -> Vec<AuditEvent> {
        events.iter().filter(|event| event.actor.id.as_deref() == Some(id)).cloned().collect()
    };
    assert!(of("noisy").iter().all(|event| event.count == 1_000 && event.source_address.is_none()));
    assert_eq!(of("quiet"), vec![by("quiet"); 3]);
}

#[test]
fn the_number_of_authors_whose_bytes_are_counted_is_bounded() {
    let fixture = Fixture::new(true);
    let author = |id: usize| AuditActor { id: Some(id.to_string()), ..AuditActor::ANONYMOUS };
    let mut file = fixture.log.file.lock().unwrap();
    let day = file.as_mut().unwrap();
    (0..10_000).for_each(|id| day.add_bytes(author(id), 8 << 10));
    assert!(day.author_bytes.len() <= AUTHORS_MAX + 1);
    // Further authors are counted together.
    assert!(day.is_full_for(&author(9_999)) && !day.is_full_for(&author(0)));
}

#[test]
fn texts_that_a_client_chooses_are_cut() {
    let fixture = Fixture::new(false);
    let object = Some(format!("GET  {}\n\n/what-was-read", "ä".repeat(1 << 20)));
    fixture.log.count(AuditEvent { object, ..fixture.event("denied") });
    let padded = Some(format!("GET{}/what-was-read", " \n".repeat(1 << 20)));
    fixture.log.count(AuditEvent { object: padded, ..fixture.event("padded") });
    fixture.log.close();
    let query = AuditQuery { limit: 2, ..AuditQuery::default() };
    let page = fixture.log.search(&query).unwrap();
    let object_of = |action: &str| {
        let event = page.events.iter().find(|event| event.action == action);
        event.and_then(|event| event.object.clone()).unwrap()
    };
    let chars = "GET ".len() + (1 << 20) + " /what-was-read".len();
    let object = object_of("denied");
    assert!(object.starts_with("GET ää") && object.ends_with("ä /what-was-read"), "{object}");
    let said = format!("…{} characters cut…", chars - TEXT_CHARS_MAX);
    assert!(object.contains(&said), "{object}");
    assert_eq!(object.chars().count(), TEXT_CHARS_MAX + said.chars().count());
    assert_eq!((object_of("padded").as_str(), page.unreadable_lines), ("GET /what-was-read", 0));
}

#[tokio::test]
async fn a_file_that_cannot_be_written_is_counted_and_opened_again() {
    let fixture = Fixture::new(false);
    fixture.log.record(fixture.event("before")).await;
    fixture.clock.pass(DAY);
    let obstacle = Day::from(fixture.clock.now()).path(fixture.log.folder());
    std::fs::create_dir(&obstacle).unwrap();
    fixture.log.record(fixture.event("lost")).await;
    assert_eq!(fixture.log.counts().failed, 1);
    std::fs::remove_dir(&obstacle).unwrap();
    fixture.log.record(fixture.event("after")).await;
    assert_eq!(fixture.actions(), ["after", "before"]);
}
