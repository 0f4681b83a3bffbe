//! The health of the process: the long-lived tasks of the store, the receivers and the HTTP address
//! in one list, and the end of the process when an essential task fails.
//!
//! Owns the state of all of them together, including the stores of tenants that are opened later,
//! and the start of tasks that run until the process ends. A tenant sees only its own tasks and
//! store. Does not own the tasks: each part supervises its own (`tidings_storage::Supervision`).

use std::{fmt, sync::Arc};

use futures::future::select_all;
use thiserror::Error;
use tidings_access::TenantName;
use tidings_proto::api::{TaskCondition, TaskStatus};
use tidings_storage::{Clock, Store, Supervision, TaskHealth, TaskState};
use tokio::sync::watch;

/// An essential task failed, so the process ends with an exit code of its own.
#[derive(Debug, Error)]
#[error("{0}; everything that was acknowledged is in the log, and a restart reads it")]
pub(crate) struct TaskFailure(pub(crate) String);

/// The health of several parts together. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Health {
    parts: Arc<watch::Sender<HealthParts>>,
    /// The store whose tasks are shown; `None` shows those of the process.
    store: Option<Supervision>,
}

/// Returns a condition that needs an operator, while there is one.
type AlarmSource = Box<dyn Fn() -> Option<String> + Send + Sync>;

#[derive(Default)]
struct HealthParts {
    /// Tasks of the process and of the default tenant's store.
    process: Vec<Supervision>,
    /// The stores of other tenants.
    others: Vec<(TenantName, Store)>,
    /// Alarms of the process: its keys, its certificate, its tenants.
    alarms: Vec<AlarmSource>,
}

impl fmt::Debug for HealthParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { process, others, alarms: _ } = self;
        f.debug_struct("HealthParts")
            .field("process", process)
            .field("others", others)
            .finish_non_exhaustive()
    }
}

impl HealthParts {
    fn all(&self) -> impl Iterator<Item = &Supervision> {
        self.process.iter().chain(self.others.iter().map(|(_, store)| store.supervision()))
    }
}

impl Health {
    /// Creates the health of these parts, of which there must be at least one.
    pub(crate) fn new(process: Vec<Supervision>) -> Self {
        let parts = HealthParts { process, ..HealthParts::default() };
        Self { parts: Arc::new(watch::Sender::new(parts)), store: None }
    }

    /// Includes this part from now on.
    pub(crate) fn add(&self, part: &Supervision) {
        self.parts.send_modify(|parts| parts.process.push(part.clone()));
    }

    /// Includes this tenant's store from now on.
    pub(crate) fn add_store(&self, tenant: &TenantName, store: &Store) {
        let other = || (tenant.clone(), store.clone());
        match tenant.is_default() {
            true => self.add(store.supervision()),
            false => self.parts.send_modify(|parts| parts.others.push(other())),
        }
    }

    /// Includes this source of alarms from now on.
    pub(crate) fn add_alarm(&self, source: impl Fn() -> Option<String> + Send + Sync + 'static) {
        self.parts.send_modify(|parts| parts.alarms.push(Box::new(source)));
    }

    /// Returns one sentence for each condition of the process that needs an operator. They name
    /// files and tenants.
    pub(crate) fn alarms(&self) -> Vec<String> {
        self.parts.borrow().alarms.iter().filter_map(|source| source()).collect()
    }

    /// Returns the same health, limited to the tasks of this store.
    pub(crate) fn of_store(&self, store: &Store) -> Self {
        Self { parts: Arc::clone(&self.parts), store: Some(store.supervision().clone()) }
    }

    /// Returns the reason why the process has to end, if it has to.
    pub(crate) fn failure(&self) -> Option<String> {
        self.parts.borrow().all().find_map(Supervision::failure)
    }

    /// Resolves when the process has to end, with the reason.
    pub(crate) async fn failed(&self) -> TaskFailure {
        let mut changes = self.parts.subscribe();
        loop {
            let parts: Vec<_> = changes.borrow_and_update().all().cloned().collect();
            let failures = parts.iter().map(|part| Box::pin(part.failed()));
            tokio::select! {
                (reason, ..) = select_all(failures) => return TaskFailure(reason),
                _ = changes.changed() => {}
            }
        }
    }

    /// Returns every task with its state; for one store only its own tasks.
    pub(crate) fn tasks(&self) -> Vec<TaskStatus> {
        let parts = self.parts.borrow();
        let process = if self.store.is_some() { &[][..] } else { &parts.process };
        let told = process.iter().chain(&self.store);
        told.flat_map(Supervision::tasks).map(status).collect()
    }

    /// Reports whether the store of a tenant other than the default one needs an operator.
    pub(crate) fn has_others_in_trouble(&self) -> bool {
        let is_in_trouble = |(_, store): &(TenantName, Store)| {
            store.ready().is_err() || store.flush_failure().is_some() || !store.alarms().is_empty()
        };
        self.parts.borrow().others.iter().any(is_in_trouble)
    }

    /// Reports whether this holds for every open tenant other than the default one.
    pub(crate) fn all_others(&self, mut holds: impl FnMut(&TenantName) -> bool) -> bool {
        self.parts.borrow().others.iter().all(|(tenant, _)| holds(tenant))
    }
}

/// Runs a task until the process ends; it is started again when it panics.
pub(crate) fn run_for_ever<F>(
    tasks: &Supervision,
    name: &'static str,
    clock: &Arc<dyn Clock>,
    work: impl Fn() -> F + Send + 'static,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let (unstopped, never_stopped) = watch::channel(false);
    tasks.spawn_restarting(name, Arc::clone(clock), never_stopped, move || {
        let _ = &unstopped;
        work()
    });
}

fn status(task: TaskHealth) -> TaskStatus {
    TaskStatus {
        name: task.name.to_owned(),
        state: match task.state {
            TaskState::Running => TaskCondition::Running,
            TaskState::Restarting => TaskCondition::Restarting,
            TaskState::Failed => TaskCondition::Failed,
        },
        restarts: task.restarts,
        last_panic: task.last_panic.unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use futures::FutureExt;
    use tidings_proto::api::TaskCondition;
    use tidings_storage::Supervision;

    use super::Health;

    #[tokio::test]
    async fn one_task_that_fails_is_the_failure_of_all_parts() {
        let parts = [Supervision::default(), Supervision::default()];
        let health = Health::new(parts.to_vec());
        parts[0].register("flush");
        assert_eq!(health.failure(), None);
        assert!(health.failed().now_or_never().is_none());
        parts[1].fail("http", "on purpose");
        assert_eq!(health.failure().as_deref(), Some("http failed: on purpose"));
        assert!(health.failed().now_or_never().unwrap().to_string().starts_with("http failed"));
        let (later, clone) = (Supervision::default(), health.clone());
        health.add(&later);
        later.register("keys");
        assert_eq!(clone.tasks().len(), 3, "parts that come later count");
        let tasks = health.tasks();
        let tasks: Vec<_> = tasks.iter().map(|task| (task.name.as_str(), task.state)).collect();
        assert_eq!(
            tasks,
            [
                ("flush", TaskCondition::Running),
                ("http", TaskCondition::Failed),
                ("keys", TaskCondition::Running)
            ]
        );
    }

    #[test]
    fn an_alarm_lasts_as_long_as_its_source_says() {
        let health = Health::new(vec![Supervision::default()]);
        let (fault, source) = (Arc::new(Mutex::new(None)), health.clone());
        let asked = Arc::clone(&fault);
        source.add_alarm(move || asked.lock().unwrap().clone());
        assert_eq!(health.alarms(), Vec::<String>::new());
        *fault.lock().unwrap() = Some("the certificate is not renewed".to_owned());
        assert_eq!(health.alarms(), ["the certificate is not renewed"]);
    }

    #[tokio::test]
    async fn a_part_that_comes_later_can_fail_too() {
        let health = Health::new(vec![Supervision::default()]);
        let (waiting, later) = (health.clone(), Supervision::default());
        let failed = tokio::spawn(async move { waiting.failed().await });
        tokio::task::yield_now().await;
        health.add(&later);
        later.fail("flush", "on purpose");
        assert!(failed.await.unwrap().to_string().starts_with("flush failed"));
    }
}
