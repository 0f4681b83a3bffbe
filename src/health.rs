//! The health of the process: the long-lived tasks of the store, the receivers and the HTTP address
//! in one list, and the end that follows when an essential one fails.
//!
//! Owns the state of all of them together. Does not own the tasks: each part supervises its own
//! (`tidings_storage::Supervision`).

use futures::future::select_all;
use thiserror::Error;
use tidings_proto::api::{TaskCondition, TaskStatus};
use tidings_storage::{Supervision, TaskHealth, TaskState};

/// An essential task failed, so the process ends with an exit code of its own.
#[derive(Debug, Error)]
#[error("{0}; everything that was acknowledged is in the log, and a restart reads it")]
pub(crate) struct TaskFailure(pub(crate) String);

/// The health of several parts together.
#[derive(Debug, Clone)]
pub(crate) struct Health(Vec<Supervision>);

impl Health {
    /// Of these parts, of which there is one at least.
    pub(crate) fn new(parts: Vec<Supervision>) -> Self {
        Self(parts)
    }

    /// Returns why the process has to end, when it has to.
    pub(crate) fn failure(&self) -> Option<String> {
        self.0.iter().find_map(Supervision::failure)
    }

    /// Resolves when the process has to end, with the reason.
    pub(crate) async fn failed(&self) -> TaskFailure {
        let failures = self.0.iter().map(|part| Box::pin(part.failed()));
        let (reason, ..) = select_all(failures).await;
        TaskFailure(reason)
    }

    /// Returns every task with its state.
    pub(crate) fn tasks(&self) -> Vec<TaskStatus> {
        self.0.iter().flat_map(Supervision::tasks).map(status).collect()
    }
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
        let tasks = health.tasks();
        let tasks: Vec<_> = tasks.iter().map(|task| (task.name.as_str(), task.state)).collect();
        assert_eq!(tasks, [("flush", TaskCondition::Running), ("http", TaskCondition::Failed)]);
    }
}
