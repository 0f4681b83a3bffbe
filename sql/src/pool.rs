//! Workers that are started in advance, so that a query does not wait for a process to start.
//!
//! Owns the start of workers: one plain thread starts all of them, keeps some idle and gives each to
//! one query. Does not own their work (`worker`) or their messages (`conversation`).

use std::{
    collections::VecDeque,
    ffi::OsString,
    io::{self, PipeReader},
    os::{
        fd::OwnedFd,
        unix::{net::UnixStream, process::CommandExt},
    },
    path::{Path, PathBuf},
    process::{Child, Command},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
};

use tidings_storage::Supervision;
use tokio::sync::oneshot;

use crate::{SqlError, SqlLimits, WorkerLimits};

/// Maximum number of workers that wait for a query.
const IDLE_MAX: usize = 2;
/// Maximum number of orders that wait for the thread that starts workers.
const ORDERS_MAX: usize = 64;
/// Address space besides the query's memory. The engine reserves a hundred times what it touches
/// (for a join of rows with attributes 25 GiB, of which it used 0.2 GiB), so this limit only ends
/// queries that ask for terabytes. The memory in use is measured from outside (`conversation`).
const ADDRESS_BYTES_MORE: u64 = 64 << 30;
/// Processor time besides the query's, for writing the answer.
const CPU_SECONDS_MORE: u64 = 10;

/// The program that a worker runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerProgram {
    path: PathBuf,
    pub(crate) arguments: Vec<OsString>,
}

impl WorkerProgram {
    /// The program at this path.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), arguments: Vec::new() }
    }

    /// Returns this program, with this command.
    ///
    /// # Errors
    /// Fails if the system does not tell its path.
    pub fn this(command: &str) -> io::Result<Self> {
        // This is the program that runs, even when its file was replaced.
        let itself = Path::new("/proc/self/exe");
        let path = if itself.exists() { itself.to_owned() } else { std::env::current_exe()? };
        Ok(Self { path, arguments: vec![command.into()] })
    }

    /// Starts a worker with these limits, which are its last two arguments.
    pub(crate) fn start(&self, limits: WorkerLimits) -> io::Result<Process> {
        let (socket, theirs) = UnixStream::pair()?;
        let (output, writer) = io::pipe()?;
        let mut command = Command::new(&self.path);
        command
            .arg0("tidings")
            .args(&self.arguments)
            .arg(limits.address_bytes_max.to_string())
            .arg(limits.cpu_seconds_max.to_string())
            .env_clear()
            .current_dir("/")
            // An interrupt from the terminal must reach only the server, which ends its workers.
            .process_group(0)
            .stdin(OwnedFd::from(theirs))
            .stdout(writer.try_clone()?)
            .stderr(writer);
        let child = command.spawn()?;
        Ok(Process { child, socket, output })
    }
}

/// A worker's process. Ends when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) child: Child,
    pub(crate) socket: UnixStream,
    /// Its standard output and error.
    pub(crate) output: PipeReader,
}

impl Process {
    fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    fn end(mut self) {
        // Killing fails only when it has ended.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The limits that workers put on themselves.
fn worker_limits(limits: &SqlLimits) -> WorkerLimits {
    let bytes = |size: usize| u64::try_from(size).unwrap_or(u64::MAX);
    WorkerLimits {
        address_bytes_max: ADDRESS_BYTES_MORE.saturating_add(bytes(limits.memory_bytes_max)),
        cpu_seconds_max: limits
            .deadline
            .as_secs()
            .saturating_mul(2)
            .saturating_add(CPU_SECONDS_MORE),
    }
}

/// The name of the thread that starts workers, among the tasks of the process.
const THREAD: &str = "sql workers";

/// An order for a worker.
type Order = oneshot::Sender<io::Result<Process>>;

/// Workers. Dropping the pool ends those that are idle.
#[derive(Debug)]
pub(crate) struct Pool {
    orders: SyncSender<Order>,
}

impl Pool {
    /// Starts the thread that starts workers, and the first worker.
    ///
    /// # Errors
    /// Fails if the system gives no thread.
    pub(crate) fn start(
        program: WorkerProgram,
        limits: &SqlLimits,
        supervision: &Supervision,
    ) -> io::Result<Self> {
        let (orders, taken) = sync_channel(ORDERS_MAX);
        let idle_max = limits.running_max.min(IDLE_MAX);
        let mut starter = Starter { program, limits: worker_limits(limits), idle: VecDeque::new() };
        let supervision = supervision.clone();
        thread::Builder::new().name("sql-workers".to_owned()).spawn(move || {
            supervision.restarting_thread(THREAD, || starter.run(&taken, idle_max));
        })?;
        Ok(Self { orders })
    }

    /// Returns a worker for one query.
    ///
    /// # Errors
    /// Fails if none can be started.
    pub(crate) async fn take(&self) -> Result<Process, SqlError> {
        let none = |reason: String| SqlError::NoWorker { reason };
        let (order, taken) = oneshot::channel();
        self.orders.try_send(order).map_err(|error| none(error.to_string()))?;
        let taken = taken.await.map_err(|error| none(error.to_string()))?;
        taken.map_err(|error| none(error.to_string()))
    }
}

/// The thread that starts workers.
struct Starter {
    program: WorkerProgram,
    limits: WorkerLimits,
    idle: VecDeque<Process>,
}

impl Starter {
    fn run(&mut self, orders: &Receiver<Order>, idle_max: usize) {
        self.refill(1.min(idle_max));
        while let Ok(order) = orders.recv() {
            let process = match self.idle() {
                Some(process) => Ok(process),
                None => self.program.start(self.limits),
            };
            if let Err(Ok(unwanted)) = order.send(process) {
                self.idle.push_front(unwanted);
            }
            self.refill(idle_max);
        }
        self.idle.drain(..).for_each(Process::end);
    }

    /// Returns an idle worker that still runs.
    fn idle(&mut self) -> Option<Process> {
        while let Some(mut process) = self.idle.pop_front() {
            if process.is_alive() {
                return Some(process);
            }
            tracing::warn!(
                pid = process.child.id(),
                "an idle process for queries in SQL has ended"
            );
        }
        None
    }

    fn refill(&mut self, count: usize) {
        while self.idle.len() < count {
            match self.program.start(self.limits) {
                Ok(process) => self.idle.push_back(process),
                Err(error) => {
                    // The next query tries again and reports the error.
                    tracing::error!(%error, "a process for queries in SQL cannot be started");
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_worker_may_have_more_than_its_query() {
        let limits = SqlLimits { deadline: Duration::MAX, ..SqlLimits::default() };
        let worker = worker_limits(&limits);
        assert_eq!(worker.cpu_seconds_max, u64::MAX);
        assert!(worker.address_bytes_max > limits.memory_bytes_max as u64);
    }
}
