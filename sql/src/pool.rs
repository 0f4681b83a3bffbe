//! Workers that are started in advance, so that a query does not wait for a process to start.
//!
//! Owns the start of workers: one plain thread starts all of them, keeps some idle and gives each to
//! one query. Where their program is not there yet, every query tries again. Does not own their work
//! (`tidings-sql-engine`) or their messages (`conversation`).

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
    arguments: Vec<OsString>,
    /// True when the program may be built while the server runs.
    may_come_later: bool,
}

impl WorkerProgram {
    /// The program at this path.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), arguments: Vec::new(), may_come_later: false }
    }

    /// Returns the program of this name beside this program. It need not be there yet.
    ///
    /// # Errors
    /// Fails if the system does not tell the path of this program.
    pub fn beside(name: &str) -> io::Result<Self> {
        let path = std::env::current_exe()?.with_file_name(name);
        Ok(Self { may_come_later: true, ..Self::at(path) })
    }

    /// Returns it with these arguments before the limits.
    #[must_use]
    pub fn with_arguments(self, arguments: impl IntoIterator<Item = OsString>) -> Self {
        Self { arguments: arguments.into_iter().collect(), ..self }
    }

    /// Returns this program, with this command.
    ///
    /// # Errors
    /// Fails if the system does not tell its path.
    pub fn this(command: &str) -> io::Result<Self> {
        // This is the program that runs, even when its file was replaced.
        let itself = Path::new("/proc/self/exe");
        let path = if itself.exists() { itself.to_owned() } else { std::env::current_exe()? };
        Ok(Self { arguments: vec![command.into()], ..Self::at(path) })
    }

    /// Starts a worker with these limits, which are its last two arguments.
    ///
    /// # Errors
    /// Fails if the program is not there, or the system starts no process.
    pub fn start(&self, limits: WorkerLimits) -> io::Result<Process> {
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
pub struct Process {
    /// The process.
    pub child: Child,
    /// The server's end of its connection.
    pub socket: UnixStream,
    /// Its standard output and error.
    pub output: PipeReader,
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
type Order = oneshot::Sender<Result<Process, SqlError>>;

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
        let mut starter = Starter {
            program,
            limits: worker_limits(limits),
            idle: VecDeque::new(),
            is_missing: false,
        };
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
        taken.await.map_err(|error| none(error.to_string()))?
    }
}

/// The thread that starts workers.
struct Starter {
    program: WorkerProgram,
    limits: WorkerLimits,
    idle: VecDeque<Process>,
    /// True when the program was not there at the last attempt.
    is_missing: bool,
}

impl Starter {
    fn run(&mut self, orders: &Receiver<Order>, idle_max: usize) {
        self.refill(1.min(idle_max));
        while let Ok(order) = orders.recv() {
            let process = match self.idle() {
                Some(process) => Ok(process),
                None => self.start(),
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

    /// Starts a worker. A program that is not there is logged once, until it is.
    fn start(&mut self) -> Result<Process, SqlError> {
        let started = self.program.start(self.limits);
        let was_missing = self.is_missing;
        // Of a program that must be there, this error is one like any other.
        self.is_missing = self.program.may_come_later
            && matches!(&started, Err(error) if error.kind() == io::ErrorKind::NotFound);
        match (was_missing, self.is_missing) {
            (false, true) => {
                tracing::warn!(program = ?self.program.path, "the SQL engine is not built yet");
            }
            (true, false) => tracing::info!("the SQL engine is there"),
            _ => {}
        }
        started.map_err(|error| match self.is_missing {
            true => SqlError::NoEngine,
            false => SqlError::NoWorker { reason: error.to_string() },
        })
    }

    fn refill(&mut self, count: usize) {
        while self.idle.len() < count {
            match self.start() {
                Ok(process) => self.idle.push_back(process),
                Err(SqlError::NoEngine) => return,
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

    #[tokio::test]
    async fn queries_are_refused_until_the_engine_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("engine");
        let program = WorkerProgram { may_come_later: true, ..WorkerProgram::at(&path) };
        let pool = Pool::start(program, &SqlLimits::default(), &Supervision::default()).unwrap();
        for _ in 0..2 {
            assert!(matches!(pool.take().await, Err(SqlError::NoEngine)));
        }
        std::os::unix::fs::symlink("/bin/cat", &path).unwrap();
        pool.take().await.unwrap().end();
    }

    #[tokio::test]
    async fn a_program_that_must_be_there_is_no_missing_engine() {
        let folder = tempfile::tempdir().unwrap();
        let program = WorkerProgram::at(folder.path().join("tidings"));
        let pool = Pool::start(program, &SqlLimits::default(), &Supervision::default()).unwrap();
        assert!(matches!(pool.take().await, Err(SqlError::NoWorker { .. })));
    }
}
