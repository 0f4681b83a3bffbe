use std::{
    pin::Pin,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use tidings_proto::{
    UnixNanos,
    api::{AuditActor, AuditEvent, AuditOutcome},
};
use tidings_storage::{Clock, SystemClock};

use super::{AuditLog, AuditSettings, READS_MAX, TEXT_CHARS_MAX};
use crate::{AuditQuery, day::Day};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A clock that is set by hand.
#[derive(Debug)]
struct SetClock(Mutex<UnixNanos>);

impl SetClock {
    fn pass(&self, time: Duration) {
        self.0.lock().unwrap().0 += u64::try_from(time.as_nanos()).unwrap();
    }
}

impl Clock for SetClock {
    fn now(&self) -> UnixNanos {
        *self.0.lock().unwrap()
    }

    fn instant(&self) -> Instant {
        SystemClock.instant()
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
        let clock = Arc::new(SetClock(Mutex::new(UnixNanos(1_795_400_000_000_000_000))));
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
async fn a_change_is_there_when_its_record_returns_and_days_have_files_of_their_own() {
    let fixture = Fixture::new(false);
    fixture.log.record(fixture.event("first")).await;
    assert_eq!(fixture.actions(), ["first"]);
    for day in ["second", "third", "fourth"] {
        fixture.clock.pass(DAY);
        fixture.log.record(fixture.event(day)).await;
    }
    // Two whole days are kept beside that of today.
    assert_eq!(fixture.actions(), ["fourth", "third", "second"]);
    assert_eq!(Day::list(fixture.log.folder()).unwrap().len(), 3);
    assert_eq!((fixture.log.counts().written, fixture.log.counts().failed), (4, 0));
}

#[test]
fn reads_are_recorded_where_they_are_asked_for_and_bounded() {
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
fn texts_that_a_client_chooses_are_cut() {
    let fixture = Fixture::new(false);
    let object = Some("ä\n".repeat(1 << 20));
    fixture.log.count(AuditEvent { object, ..fixture.event("denied") });
    fixture.log.close();
    let query = AuditQuery { limit: 2, ..AuditQuery::default() };
    let page = fixture.log.search(&query).unwrap();
    let object = page.events.first().and_then(|event| event.object.clone()).unwrap();
    assert_eq!((object.chars().count(), page.unreadable_lines), (TEXT_CHARS_MAX + 1, 0));
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
