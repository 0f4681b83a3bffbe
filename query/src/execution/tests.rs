use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use futures::FutureExt;
use tidings_proto::UnixNanos;
use tidings_storage::{Clock, Store, StoreSettings, SystemClock};

use super::{Admission, AdmissionSlot, Execution, QueryClient, Reader};
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
    let settings = QuerySettings { transaction_keys: Vec::new(), search_rows_max: 1_000 };
    (folder, store, Arc::new(settings))
}

fn asker(name: &str) -> QueryClient {
    QueryClient { client: ClientId::new(name), kept: None }
}

fn keeping(kept: AdmissionSlot) -> QueryClient {
    QueryClient { kept: Some(kept), ..QueryClient::default() }
}

#[tokio::test]
async fn a_question_that_nobody_waits_for_stops() {
    let (_folder, store, settings) = store().await;
    let execution = Execution::new(Arc::new(StillClock), QueryLimits::default());
    let (started, has_started) = tokio::sync::oneshot::channel();
    let (stopped, has_stopped) = mpsc::sync_channel(1);
    let question = execution.run(&store, &settings, Arc::default(), asker(""), move |reader| {
        started.send(()).unwrap();
        let error = loop {
            if let Err(error) = reader.check() {
                break error;
            }
            std::thread::yield_now();
        };
        stopped.send(matches!(error, QueryError::Withdrawn)).unwrap();
        Ok(())
    });
    tokio::select! {
        _ = question => panic!("the question cannot end while it is asked"),
        _ = has_started => {}
    }
    let withdrawn = tokio::task::spawn_blocking(move || has_stopped.recv()).await.unwrap();
    assert!(withdrawn.unwrap());
}

#[tokio::test]
async fn a_question_that_waits_beyond_the_queue_is_refused_and_one_within_it_is_answered() {
    let (_folder, store, settings) = store().await;
    let limits = QueryLimits { running_max: 1, waiting_max: 1, ..QueryLimits::default() };
    let execution = Arc::new(Execution::new(Arc::new(StillClock), limits));
    let (release, released) = mpsc::sync_channel::<()>(1);
    let (started, has_started) = tokio::sync::oneshot::channel();
    let ask = |work: Box<dyn FnOnce() -> u8 + Send>| {
        let (execution, store, settings) =
            (Arc::clone(&execution), store.clone(), Arc::clone(&settings));
        let work = move |_: &Reader| Ok(work());
        async move { execution.run(&store, &settings, Arc::default(), asker(""), work).await }
    };
    let first = tokio::spawn(ask(Box::new(move || {
        started.send(()).unwrap();
        released.recv().unwrap();
        1
    })));
    has_started.await.unwrap();
    let second = tokio::spawn(ask(Box::new(|| 2)));
    while execution.places.waiting() == 0 {
        tokio::task::yield_now().await;
    }
    let third = ask(Box::new(|| 3)).await;
    assert!(matches!(third, Err(QueryError::Overloaded { waiting: 1 })), "{third:?}");
    release.send(()).unwrap();
    assert_eq!(first.await.unwrap().unwrap(), 1);
    assert_eq!(second.await.unwrap().unwrap(), 2);
}

#[tokio::test]
async fn a_client_that_asks_as_much_as_it_may_keeps_no_other_from_its_answer() {
    let (_folder, store, settings) = store().await;
    let limits = QueryLimits { waiting_max: 8, ..QueryLimits::default() };
    let execution = Execution::new(Arc::new(StillClock), limits);
    let ask = |client: &str| {
        let (release, released) = tokio::sync::oneshot::channel::<()>();
        let work = move |_: &Reader| Ok(released.blocking_recv().is_ok());
        let asked = execution.run(&store, &settings, Arc::default(), asker(client), work);
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
    // A cancelled query leaves its place in the queue.
    held.pop();
    let (_release, mut asked) = ask("a");
    assert!(asked.as_mut().now_or_never().is_none());
}

#[tokio::test]
async fn queues_beside_each_other_leave_room_for_one_another() {
    let (_folder, store, settings) = store().await;
    let limits = QueryLimits { running_max: 2, ..QueryLimits::default() };
    let first = Arc::new(Execution::new(Arc::new(StillClock), limits));
    let second = first.beside();
    first.leave_room();
    let (release, released) = mpsc::sync_channel::<()>(1);
    let (started, has_started) = tokio::sync::oneshot::channel();
    let ask = |client: &'static str, work: Box<dyn FnOnce() -> u8 + Send>| {
        let (first, store, settings) = (Arc::clone(&first), store.clone(), Arc::clone(&settings));
        let work = move |_: &Reader| Ok(work());
        async move { first.run(&store, &settings, Arc::default(), asker(client), work).await }
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
    while first.places.waiting() == 0 {
        tokio::task::yield_now().await;
    }
    // A query that waits in the first queue does not delay those of the second queue.
    let answer = second.run(&store, &settings, Arc::default(), asker("a"), |_| Ok(3)).await;
    assert_eq!((answer.unwrap(), waiting.is_finished()), (3, false));
    release.send(()).unwrap();
    assert_eq!((running.await.unwrap().unwrap(), waiting.await.unwrap().unwrap()), (1, 2));
    assert_eq!(first.running.available_permits(), 2);
}

#[tokio::test]
async fn a_question_that_panics_is_an_error_and_frees_its_place() {
    let (_folder, store, settings) = store().await;
    let limits = QueryLimits { running_max: 1, waiting_max: 0, ..QueryLimits::default() };
    let execution = Execution::new(Arc::new(StillClock), limits);
    let broken = execution
        .run::<()>(&store, &settings, Arc::default(), asker(""), |_| panic!("a defect"))
        .await;
    assert!(matches!(broken, Err(QueryError::Defect { .. })), "{broken:?}");
    let next = execution.run(&store, &settings, Arc::default(), asker(""), |_| Ok(7)).await;
    assert_eq!(next.unwrap(), 7);
}

#[tokio::test]
async fn a_turn_that_is_kept_goes_on_until_the_next_question_or_its_end() {
    let (_folder, store, settings) = store().await;
    let limits = QueryLimits { running_max: 1, waiting_max: 0, ..QueryLimits::default() };
    let execution = Execution::new(Arc::new(StillClock), limits);
    let ask = async |asker| {
        execution.run(&store, &settings, Arc::default(), asker, |_| Ok(7)).await.is_ok()
    };
    let turn = Admission::default();
    for _ in 0..2 {
        assert!(ask(keeping(turn.kept())).await, "it does not wait for itself");
        assert!(!ask(asker("")).await, "the turn goes on");
    }
    turn.kept().end();
    assert!(ask(asker("")).await);
    assert!(ask(keeping(turn.kept())).await);
    drop(turn);
    assert!(ask(asker("")).await);
    let turn = Admission::default();
    let asked = keeping(turn.kept());
    let failed = execution
        .run(&store, &settings, Arc::default(), asked, |_| Err::<(), _>(QueryError::Withdrawn));
    assert!(failed.await.is_err());
    assert!(ask(asker("")).await, "an error needs no turn to be written");
}
