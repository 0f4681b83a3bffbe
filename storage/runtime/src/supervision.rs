//! Long-lived tasks and threads of the process: their list, their state, and the reaction to a
//! panic.
//!
//! Maintenance tasks are restarted, because they find unfinished work again. Essential tasks are
//! not restarted, because a partial state of the log's writer or of a flush cannot be continued.
//! Such a panic is a failure of the process: [`Supervision::failed`] reports it, and the process
//! ends with an exit code of its own. Acknowledged data is in the log, and a restart replays it.
//!
//! Owns the list and the restarts. Does not own the work of a task, nor the exit of the process.

use std::{
    any::Any,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use futures::FutureExt;
use tokio::{select, sync::watch, task::JoinHandle};

use crate::Clock;

/// Pause before the first restart. It doubles with each restart.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// Running time after which the pause before a restart is reset.
const SETTLED: Duration = Duration::from_secs(600);
/// Maximum characters kept of a panic message.
const PANIC_CHARS_MAX: usize = 300;

/// The state of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskState {
    /// It runs.
    Running,
    /// It panicked and is about to run again.
    Restarting,
    /// It panicked and is not restarted. The process must end.
    Failed,
}

/// One task or thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskHealth {
    /// Its name, such as `flush`.
    pub name: &'static str,
    /// Its state.
    pub state: TaskState,
    /// Number of restarts since the process started.
    pub restarts: u64,
    /// Message of its last panic.
    pub last_panic: Option<String>,
}

/// The list of tasks. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Supervision {
    tasks: Arc<watch::Sender<Vec<TaskHealth>>>,
}

impl Supervision {
    /// Returns the tasks, in the order in which they began.
    #[must_use]
    pub fn tasks(&self) -> Vec<TaskHealth> {
        self.tasks.borrow().clone()
    }

    /// Returns the reason why the process must end, if there is one.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        failure(&self.tasks.borrow())
    }

    /// Resolves with the reason when the process must end.
    pub async fn failed(&self) -> String {
        let mut tasks = self.tasks.subscribe();
        // An error would mean that this list was dropped.
        let failed = tasks.wait_for(|tasks| failure(tasks).is_some()).await;
        failed.ok().and_then(|tasks| failure(&tasks)).unwrap_or_default()
    }

    /// Registers a task that the caller runs.
    pub fn register(&self, name: &'static str) {
        let task = TaskHealth { name, state: TaskState::Running, restarts: 0, last_panic: None };
        self.tasks.send_modify(|tasks| {
            if tasks.iter().all(|known| known.name != name) {
                tasks.push(task);
            }
        });
    }

    /// Marks a task as failed, so that the process must end.
    pub fn fail(&self, name: &'static str, panic: &str) {
        self.register(name);
        tracing::error!(task = name, panic, "an essential task failed: the process has to end");
        self.change(name, |task| {
            task.state = TaskState::Failed;
            task.last_panic = Some(panic.to_owned());
        });
    }

    /// Runs the work of a thread. Returns true if it ended without a panic. A panic means that the
    /// process must end.
    pub fn essential_thread(&self, name: &'static str, work: impl FnOnce()) -> bool {
        self.register(name);
        // State that the work shares is not used after a panic.
        let ended = catch_unwind(AssertUnwindSafe(work));
        if let Err(panic) = &ended {
            self.fail(name, &panic_text(panic.as_ref()));
        }
        ended.is_ok()
    }

    /// Runs the work of a thread until it ends. After a panic it runs again, after a pause.
    pub fn restarting_thread(&self, name: &'static str, mut work: impl FnMut()) {
        self.register(name);
        while let Err(panic) = catch_unwind(AssertUnwindSafe(&mut work)) {
            let panic = panic_text(panic.as_ref());
            self.note_panic(name, panic, PAUSE);
            #[expect(
                clippy::disallowed_methods,
                reason = "a plain thread has no asynchronous clock"
            )]
            std::thread::sleep(PAUSE);
            self.note_restart(name);
        }
    }

    /// Runs a task until it ends. A panic means that the process must end.
    pub fn spawn_essential(
        &self,
        name: &'static str,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> JoinHandle<()> {
        self.register(name);
        let supervision = self.clone();
        tokio::spawn(async move {
            if let Err(panic) = AssertUnwindSafe(work).catch_unwind().await {
                supervision.fail(name, &panic_text(panic.as_ref()));
            }
        })
    }

    /// Runs a task until it ends or `stop` is set. After a panic it runs again, after a pause.
    pub fn spawn_restarting<W: Future<Output = ()> + Send>(
        &self,
        name: &'static str,
        clock: Arc<dyn Clock>,
        mut stop: watch::Receiver<bool>,
        mut work: impl FnMut() -> W + Send + 'static,
    ) -> JoinHandle<()> {
        self.register(name);
        let supervision = self.clone();
        tokio::spawn(async move {
            let mut pause = PAUSE;
            loop {
                let begun = clock.instant();
                let Err(panic) = AssertUnwindSafe(work()).catch_unwind().await else { return };
                if clock.instant().saturating_duration_since(begun) >= SETTLED {
                    pause = PAUSE;
                }
                let panic = panic_text(panic.as_ref());
                supervision.note_panic(name, panic, pause);
                select! {
                    _ = stop.wait_for(|stopped| *stopped) => return,
                    () = clock.sleep(pause) => {}
                }
                pause = (pause * 2).min(PAUSE_MAX);
                supervision.note_restart(name);
            }
        })
    }

    fn note_panic(&self, name: &'static str, panic: String, pause: Duration) {
        tracing::error!(task = name, panic, restart_in = ?pause, "a task panicked");
        self.change(name, |task| {
            task.state = TaskState::Restarting;
            task.last_panic = Some(panic);
        });
    }

    fn note_restart(&self, name: &'static str) {
        self.change(name, |task| {
            task.state = TaskState::Running;
            task.restarts += 1;
        });
    }

    /// Changes the state of a task. A failed task stays failed.
    fn change(&self, name: &'static str, change: impl FnOnce(&mut TaskHealth)) {
        self.tasks.send_modify(|tasks| {
            let task = tasks.iter_mut().find(|task| task.name == name);
            if let Some(task) = task.filter(|task| task.state != TaskState::Failed) {
                change(task);
            }
        });
    }
}

fn failure(tasks: &[TaskHealth]) -> Option<String> {
    let failed = tasks.iter().find(|task| task.state == TaskState::Failed)?;
    let panic = failed.last_panic.as_deref().unwrap_or_default();
    Some(format!("{} failed: {panic}", failed.name))
}

/// Returns the message of a panic, truncated and without control characters.
pub fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let text = text.unwrap_or("a panic without words");
    text.chars()
        .map(|sign| if sign.is_control() { ' ' } else { sign })
        .take(PANIC_CHARS_MAX)
        .collect()
}

#[cfg(test)]
mod tests {
    use std::{
        pin::Pin,
        sync::{
            Arc,
            atomic::{AtomicU64, Ordering::SeqCst},
        },
        time::{Duration, Instant},
    };

    use futures::FutureExt;
    use tidings_proto::UnixNanos;
    use tokio::sync::watch;

    use super::{Supervision, TaskState};
    use crate::{Clock, SystemClock};

    /// A clock whose sleeps end at once.
    #[derive(Debug)]
    struct ImpatientClock;

    impl Clock for ImpatientClock {
        fn now(&self) -> UnixNanos {
            SystemClock.now()
        }

        fn instant(&self) -> Instant {
            SystemClock.instant()
        }

        fn sleep(&self, _: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
            Box::pin(std::future::ready(()))
        }
    }

    #[tokio::test]
    async fn maintenance_that_panics_runs_again_and_says_so() {
        let supervision = Supervision::default();
        let (_stop, stopped) = watch::channel(false);
        let runs = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&runs);
        let task = supervision.spawn_restarting(
            "maintenance",
            Arc::new(ImpatientClock),
            stopped,
            move || {
                let run = counted.fetch_add(1, SeqCst);
                async move { assert!(run >= 2, "run {run}\nis bad") }
            },
        );
        task.await.unwrap();
        assert_eq!(runs.load(SeqCst), 3);
        let [health] = &supervision.tasks()[..] else { panic!("{supervision:?}") };
        assert_eq!((health.state, health.restarts), (TaskState::Running, 2));
        assert_eq!(health.last_panic.as_deref(), Some("run 1 is bad"));
        assert_eq!(supervision.failure(), None);
    }

    #[test]
    fn a_thread_that_panics_goes_on_after_a_pause() {
        let (supervision, mut runs) = (Supervision::default(), 0);
        supervision.restarting_thread("workers", || {
            runs += 1;
            assert_ne!(runs, 1, "no worker");
        });
        assert_eq!(runs, 2);
        let [health] = &supervision.tasks()[..] else { panic!("{supervision:?}") };
        assert_eq!((health.state, health.restarts), (TaskState::Running, 1));
        assert!(health.last_panic.as_deref().is_some_and(|words| words.contains("no worker")));
    }

    #[tokio::test]
    async fn a_store_that_stops_waits_for_no_restart() {
        let supervision = Supervision::default();
        let (stop, stopped) = watch::channel(false);
        let clock = Arc::new(SystemClock);
        let task =
            supervision.spawn_restarting("maintenance", clock, stopped, || async { panic!("no") });
        while supervision.tasks()[0].state == TaskState::Running {
            tokio::task::yield_now().await;
        }
        stop.send_replace(true);
        task.await.unwrap();
        assert_eq!(supervision.tasks()[0].restarts, 0);
    }

    #[tokio::test]
    async fn essential_work_that_panics_is_the_failure_of_the_process() {
        let supervision = Supervision::default();
        supervision.spawn_essential("fine", async {}).await.unwrap();
        assert!(supervision.essential_thread("log", || {}));
        assert_eq!(supervision.failed().now_or_never(), None);
        assert!(!supervision.essential_thread("log", || panic!("half written")));
        supervision.spawn_essential("flush", async { panic!("later") }).await.unwrap();
        assert_eq!(supervision.failed().now_or_never().unwrap(), "log failed: half written");
        assert_eq!(supervision.failure().unwrap(), "log failed: half written");
        let states: Vec<_> = supervision.tasks().iter().map(|task| task.state).collect();
        assert_eq!(states, [TaskState::Running, TaskState::Failed, TaskState::Failed]);
    }
}
