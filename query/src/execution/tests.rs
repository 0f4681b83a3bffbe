use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use futures::FutureExt;
use tidings_proto::UnixNanos;
use tidings_storage::{Clock, Store, StoreSettings, SystemClock};

use super::{Admission, AdmissionSlot, BoundedSnapshot, Execution, QueryClient, Reader, defect};
use crate::{ClientId, QueryError, QueryLimits, QuerySettings};

/// Clock whose waits never end, so that only the computation decides.
#[derive(Debug)]
struct StillClock;

impl Clock for StillClock {
    fn now(&self) -> UnixNanos {
        SystemClock.now()
    }

    fn instant(&self) -> Instant {
        SystemClock.instant()
    }

    fn sleep(&self, _: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(std::future::pending())
    }
}

async fn store() -> (tempfile::TempDir, Store, Arc<QuerySettings>) {
    let folder = tempfile::tempdir().unwrap();
    let settings = StoreSettings { disk_reserve_bytes: 0, ..StoreSettings::new(folder.path()) };
    let (store, _) = Store::open(settings, Arc::new(SystemClock)).await.unwrap();
    let settings = QuerySettings { search_rows_max: 1_000, ..QuerySettings::default() };
    (folder, store, Arc::new(settings))
}

fn query_client(name: &str) -> QueryClient {
    QueryClient { client: ClientId::new(name), permit_slot: None }
}

fn keeping(permit_slot: AdmissionSlot) -> QueryClient {
    QueryClient { permit_slot: Some(permit_slot), ..QueryClient::default() }
}

#[tokio::test]
async fn a_query_is_cancelled_when_its_client_leaves() {
    let (_folder, store, settings) = store().await;
    let execution = Execution::new(Arc::new(StillClock), QueryLimits::default());
    let (started, has_started) = tokio::sync::oneshot::channel();
    let (stopped, has_stopped) = mpsc::sync_channel(1);
    let query = execution.run(&store, &settings, Arc::default(), query_client(""), move |reader| {
        started.send(()).unwrap();
        let error = loop {
            if let Err(error) = reader.check() {
                break error;
            }
            std::thread::yield_now();
        };
        stopped.send(matches!(error, QueryError::Cancelled)).unwrap();
        Ok(())
    });
    tokio::select! {
        _ = query => panic!("the query cannot end before it is cancelled"),
        _ = has_started => {}
    }
    let cancelled = tokio::task::spawn_blocking(move || has_stopped.recv()).await.unwrap();
    assert!(cancelled.unwrap());
}

#[tokio::test]
async fn a_query_beyond_the_queue_is_refused_and_one_within_it_is_answered() {
    let (_folder, store, settings) = store().await;
    let limits = QueryLimits { running_max: 1, waiting_max: 1, ..QueryLimits::default() };
    let execution = Arc::new(Execution::new(Arc::new(StillClock), limits));
    let (release, released) = mpsc::sync_channel::<()>(1);
    let (started, has_started) = tokio::sync::oneshot::channel();
    let ask = |work: Box<dyn FnOnce() -> u8 + Send>| {
        let (execution, store, settings) =
            (Arc::clone(&execution), store.clone(), Arc::clone(&settings));
        let work = move |_: &Reader| Ok(work());
        async move { execution.run(&store, &settings, Arc::default(), query_client(""), work).await }
    };
    let first = tokio::spawn(ask(Box::new(move || {
        started.send(()).unwrap();
        released.recv().unwrap();
        1
    })));
    has_started.await.unwrap();
    let second = tokio::spawn(ask(Box::new(|| 2)));
    while execution.client_permits.queued() == 0 {
        tokio::task::yield_now().await;
    }
    let third = ask(Box::new(|| 3)).await;
    assert!(matches!(third, Err(QueryError::Overloaded { waiting: 1 })), "{third:?}");
    release.send(()).unwrap();
    assert_eq!(first.await.unwrap().unwrap(), 1);
    assert_eq!(second.await.unwrap().unwrap(), 2);
}

#[tokio::test]
async fn a_client_at_its_quota_does_not_delay_other_clients() {
    let (_folder, store, settings) = store().await;
    let limits = QueryLimits { waiting_max: 8, ..QueryLimits::default() };
    let execution = Execution::new(Arc::new(StillClock), limits);
    let ask = |client: &str| {
        let (release, released) = tokio::sync::oneshot::channel::<()>();
        let work = move |_: &Reader| Ok(released.blocking_recv().is_ok());
        let asked = execution.run(&store, &settings, Arc::default(), query_client(client), work);
        (release, Box::pin(asked))
    };
    let mut held = Vec::new();
    let refused = loop {
        let (release, mut asked) = ask("a");
        match asked.as_mut().now_or_never() {
            None => held.push((release, asked)),
            Some(answer) => break answer,
        }
    };
    assert!(matches!(refused, Err(QueryError::Overloaded { waiting: 6 })), "{refused:?}");
    assert_eq!(held.len(), 3 + 6, "three quarters of what runs, and of what waits");
    let (release, asked) = ask("b");
    release.send(()).unwrap();
    assert!(asked.await.unwrap());
    // A cancelled query leaves the queue.
    held.pop();
    let (_release, mut asked) = ask("a");
    assert!(asked.as_mut().now_or_never().is_none());
}

#[tokio::test]
async fn queues_that_share_permits_do_not_delay_each_other() {
    let (_folder, store, settings) = store().await;
    let limits = QueryLimits { running_max: 2, ..QueryLimits::default() };
    let first = Arc::new(Execution::new(Arc::new(StillClock), limits));
    let second = first.with_shared_permits();
    first.halve_permits();
    let (release, released) = mpsc::sync_channel::<()>(1);
    let (started, has_started) = tokio::sync::oneshot::channel();
    let ask = |client: &'static str, work: Box<dyn FnOnce() -> u8 + Send>| {
        let (first, store, settings) = (Arc::clone(&first), store.clone(), Arc::clone(&settings));
        let work = move |_: &Reader| Ok(work());
        async move { first.run(&store, &settings, Arc::default(), query_client(client), work).await }
    };
    let slow = ask(
        "a",
        Box::new(move || {
            started.send(()).unwrap();
            released.recv().unwrap();
            1
        }),
    );
    let running = tokio::spawn(slow);
    has_started.await.unwrap();
    let waiting = tokio::spawn(ask("b", Box::new(|| 2)));
    while first.client_permits.queued() == 0 {
        tokio::task::yield_now().await;
    }
    // A query that waits in the first queue does not delay those of the second queue.
    let answer = second.run(&store, &settings, Arc::default(), query_client("a"), |_| Ok(3)).await;
    assert_eq!((answer.unwrap(), waiting.is_finished()), (3, false));
    release.send(()).unwrap();
    assert_eq!((running.await.unwrap().unwrap(), waiting.await.unwrap().unwrap()), (1, 2));
    assert_eq!(first.running.available_permits(), 2);
}

#[tokio::test]
async fn a_query_that_panics_fails_and_releases_its_permit() {
    let (_folder, store, settings) = store().await;
    let limits = QueryLimits { running_max: 1, waiting_max: 0, ..QueryLimits::default() };
    let execution = Execution::new(Arc::new(StillClock), limits);
    let broken = execution
        .run::<()>(&store, &settings, Arc::default(), query_client(""), |_| panic!("a defect"))
        .await;
    assert!(matches!(broken, Err(QueryError::Defect { .. })), "{broken:?}");
    let next = execution.run(&store, &settings, Arc::default(), query_client(""), |_| Ok(7)).await;
    assert_eq!(next.unwrap(), 7);
}

#[tokio::test]
async fn an_admission_holds_its_permits_until_the_next_query_or_its_end() {
    let (_folder, store, settings) = store().await;
    let limits = QueryLimits { running_max: 1, waiting_max: 0, ..QueryLimits::default() };
    let execution = Execution::new(Arc::new(StillClock), limits);
    let ask = async |query_client| {
        execution.run(&store, &settings, Arc::default(), query_client, |_| Ok(7)).await.is_ok()
    };
    let admission = Admission::default();
    for _ in 0..2 {
        assert!(ask(keeping(admission.slot())).await, "it does not wait for itself");
        assert!(!ask(query_client("")).await, "the permits are still held");
    }
    admission.slot().release();
    assert!(ask(query_client("")).await);
    assert!(ask(keeping(admission.slot())).await);
    drop(admission);
    assert!(ask(query_client("")).await);
    let admission = Admission::default();
    let asked = keeping(admission.slot());
    let failed = execution
        .run(&store, &settings, Arc::default(), asked, |_| Err::<(), _>(QueryError::Cancelled));
    assert!(failed.await.is_err());
    assert!(ask(query_client("")).await, "a failed query releases its permits");
}

#[tokio::test]
async fn two_reads_run_at_once_where_a_helper_thread_is_free() {
    let (_folder, store, _) = store().await;
    for helper_threads in [0, 1] {
        let deadline = SystemClock.instant() + Duration::from_secs(30);
        let (snapshot, clock) = (store.snapshot(), Arc::new(SystemClock));
        let bounded = BoundedSnapshot { snapshot, stop: Arc::default(), clock, deadline };
        let reader =
            Reader::over(bounded, QueryLimits::default()).with_helper_threads(helper_threads);
        let thread = || Ok(std::thread::current().id());
        // The thread is free again after the first time.
        for _ in 0..2 {
            let (one, other) = reader.both(thread, thread).unwrap();
            assert_eq!(one != other, helper_threads == 1);
        }
        let fails = |reason: &'static str| move || Err::<(), _>(defect(&reason));
        let both = reader.both(fails("one"), fails("other"));
        assert!(matches!(both, Err(QueryError::Defect { reason }) if reason == "one"));
        let both = reader.both(|| Ok(()), fails("other"));
        assert!(matches!(both, Err(QueryError::Defect { reason }) if reason == "other"));
        let panics = || -> Result<(), QueryError> { panic!("a defect") };
        let both = catch_unwind(AssertUnwindSafe(|| reader.both(|| Ok(()), panics)));
        assert!(both.is_err());
        assert_eq!(reader.thread_budget.lease_free().count(), helper_threads);
    }
}
