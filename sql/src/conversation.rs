//! The server's side of a query: one worker, its scans, its answer.
//!
//! ```text
//! worker ─► Scan ─► a blocking thread reads the view ─► batches ─► worker
//! worker ─► Answered ─► client ─► Write(form) ─► worker ─► parts ─► client
//! ```
//!
//! Owns the worker's process from its task to its end: the process is killed as soon as nobody
//! waits for it, or when it violates the protocol. Plans nothing, and reads none of the rows that a
//! worker sends.

mod ended;
mod memory_watch;
mod scans;

use std::{io, process::Child, sync::Arc, time::Duration};

use bytes::Bytes;
use tidings_proto::api::SqlPartialReason;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf, pipe},
    },
    sync::{mpsc, oneshot},
    task::{JoinHandle, spawn_blocking},
};

use crate::{
    Answer, AnswerFormat, SqlError,
    answer::{Lines, nanos},
    frame::{self, FrameReader, WorkerFrame},
    handover::{PartsSender, handover},
    message::{AnswerMetadata, Assignment, Confinement, Head, ServerMessage, Task, WorkerMessage},
    pool::{Pool, Process},
    scan::{FrameBytes, Stored},
};
use memory_watch::MemoryWatch;
use scans::Scans;

/// Maximum number of workers that a query tries, one after the other, when they end before they
/// begin.
const WORKERS_MAX: usize = 3;
/// Frames that wait for the worker to read them.
const FRAMES_MAX: usize = 4;
/// Bytes of a worker's standard output and error that are kept; the rest is read and discarded.
const OUTPUT_BYTES_MAX: usize = 4 << 10;

/// The result of a query that was not cancelled.
#[derive(Debug)]
pub(crate) enum Reply {
    Answered(Answer),
    Described(EncodedSignature),
}

/// The signature of a query, as Arrow's messages: columns of its answer, and placeholders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedSignature {
    /// The columns of its answer; a column has no type where a placeholder's value decides it.
    pub columns: Bytes,
    /// Its placeholders in order; `None` when there are none.
    pub parameters: Option<Bytes>,
}

/// Receiver of a query's reply.
#[derive(Debug)]
pub(crate) struct ReplySenders {
    /// Notified once, when a worker has the query.
    pub(crate) begun: Option<oneshot::Sender<()>>,
    pub(crate) reply: oneshot::Sender<Result<Reply, SqlError>>,
}

/// Has a worker run the task and sends its reply.
pub(crate) async fn run_on_worker(
    pool: Arc<Pool>,
    task: Task,
    stored: Stored,
    reply_senders: ReplySenders,
) {
    let ReplySenders { mut begun, mut reply } = reply_senders;
    let began = stored.meter.clock.instant();
    for _ in 0..WORKERS_MAX {
        let connect = |process| Worker::connect(process, &stored);
        let mut worker = match pool.take().await.and_then(connect) {
            Ok(worker) => worker,
            Err(error) => {
                drop(reply.send(Err(error)));
                return;
            }
        };
        if let Some(child) = &worker.child {
            tracing::Span::current().record("process.worker.pid", child.id());
        }
        let mut scans = Scans::new(stored.clone(), worker.frames.clone());
        let outcome = tokio::select! {
            outcome = worker.run_task(&task, &mut scans, &mut begun) => outcome,
            () = reply.closed() => {
                drop(scans);
                // The query's slot stays taken until nothing works for the query any more.
                worker.end().await;
                return;
            }
        };
        drop(scans);
        match outcome {
            Err(Failure::Unbegun) => worker.end_unbegun().await,
            outcome => {
                let elapsed = stored.meter.clock.instant().saturating_duration_since(began);
                return worker.send_reply(outcome, stored, elapsed, reply).await;
            }
        }
    }
    let reason = format!("{WORKERS_MAX} of them ended before they began");
    drop(reply.send(Err(SqlError::NoWorker { reason })));
}

fn facts(
    stored: &Stored,
    cut: Option<SqlPartialReason>,
    elapsed: tidings_proto::DurationNanos,
) -> AnswerMetadata {
    let meter = &stored.meter;
    let unread = (!meter.is_complete()).then_some(SqlPartialReason::Unread);
    AnswerMetadata {
        lacks: cut.into_iter().chain(unread).collect(),
        read: tidings_proto::api::SqlRead { rows: meter.watch.rows(), files: meter.watch.files() },
        repeats_counted: meter.counts_repeats(),
        elapsed,
    }
}

/// The end of a worker's task.
enum TaskEnd {
    Answered(Head),
    Described(EncodedSignature),
}

/// A reason why a worker's task has no end.
enum Failure {
    /// The process has ended before it had its task.
    Unbegun,
    /// An error that the worker or a scan reports.
    Known(SqlError),
    /// The process has ended.
    Ended,
    /// The worker's memory, in bytes, exceeds the maximum.
    Outgrown { bytes: u64, max: u64 },
    /// The worker violates the protocol.
    Violation(String),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::InvalidData => Self::Violation(error.to_string()),
            // The connection breaks when the process ends.
            _ => Self::Ended,
        }
    }
}

/// A worker that has a task.
struct Worker {
    child: Option<Child>,
    frames: mpsc::Sender<FrameBytes>,
    reader: FrameReader<OwnedReadHalf>,
    growth: MemoryWatch,
    output: JoinHandle<String>,
}

impl Worker {
    fn connect(process: Process, stored: &Stored) -> Result<Self, SqlError> {
        let connected = Self::open(process, stored);
        connected.map_err(|error| SqlError::NoWorker { reason: error.to_string() })
    }

    fn open(process: Process, stored: &Stored) -> io::Result<Self> {
        let Process { child, socket, output } = process;
        socket.set_nonblocking(true)?;
        let (reader, writer) = UnixStream::from_std(socket)?.into_split();
        let output = pipe::Receiver::from_owned_fd(output.into())?;
        let (frames, waiting) = mpsc::channel(FRAMES_MAX);
        tokio::spawn(write_frames(writer, waiting));
        let output = tokio::spawn(listen(output));
        let growth = MemoryWatch::watch(child.id(), &stored.meter);
        Ok(Self { child: Some(child), frames, reader: FrameReader::new(reader), growth, output })
    }

    /// Returns the next frame, as long as the process stays within its memory.
    async fn next(&mut self) -> Result<Option<WorkerFrame>, Failure> {
        tokio::select! {
            frame = self.reader.next() => Ok(frame?),
            (bytes, max) = self.growth.outgrown() => Err(Failure::Outgrown { bytes, max }),
        }
    }

    async fn send(&mut self, message: &ServerMessage) -> io::Result<()> {
        let sent = self.frames.send(vec![frame::message(message)?]).await;
        sent.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    async fn run_task(
        &mut self,
        task: &Task,
        scans: &mut Scans,
        begun: &mut Option<oneshot::Sender<()>>,
    ) -> Result<TaskEnd, Failure> {
        let job = Assignment { task: task.clone(), limits: scans.limits() };
        let outcome = match self.send(&ServerMessage::Job(Box::new(job))).await {
            Ok(()) => self.follow(scans, begun).await,
            Err(error) => Err(error.into()),
        };
        match outcome {
            Err(Failure::Ended) if begun.is_some() => Err(Failure::Unbegun),
            outcome => outcome,
        }
    }

    /// Serves the worker's requests until its task ends.
    async fn follow(
        &mut self,
        scans: &mut Scans,
        begun: &mut Option<oneshot::Sender<()>>,
    ) -> Result<TaskEnd, Failure> {
        let violation = |reason: &str| Failure::Violation(reason.to_owned());
        let mut schemas: Vec<Bytes> = Vec::new();
        loop {
            let payload = match self.next().await? {
                None => return Err(Failure::Ended),
                Some(WorkerFrame::Part(part)) if schemas.len() < 2 => {
                    schemas.push(part);
                    continue;
                }
                Some(WorkerFrame::Part(_)) => return Err(violation("more parts than two")),
                Some(WorkerFrame::Message(payload)) => payload,
            };
            match frame::parse(&payload).map_err(|error| Failure::Violation(error.to_string()))? {
                WorkerMessage::Ready(confinement) => log_confinement_once(confinement),
                WorkerMessage::Begun => {
                    // Sending fails when nobody waits for it.
                    let _ = begun.take().map(|begun| begun.send(()));
                }
                WorkerMessage::Scan(request) => scans.open(request).map_err(Failure::Violation)?,
                WorkerMessage::Next { scan, since } => {
                    scans.credit(scan, since).map_err(Failure::Violation)?;
                }
                WorkerMessage::Stop { scan } => scans.stop(scan),
                WorkerMessage::Answered(head) => return Ok(TaskEnd::Answered(head)),
                WorkerMessage::Described => {
                    let mut schemas = schemas.into_iter();
                    let columns = schemas.next().ok_or_else(|| violation("no columns"))?;
                    let parameters = schemas.next();
                    return Ok(TaskEnd::Described(EncodedSignature { columns, parameters }));
                }
                WorkerMessage::Failed(SqlError::Scan) => {
                    let unknown = || violation("a scan failed that did not");
                    return Err(scans.failure().map_or_else(unknown, Failure::Known));
                }
                WorkerMessage::Failed(error) => return Err(Failure::Known(error)),
                WorkerMessage::Written => return Err(violation("no answer was asked for")),
            }
        }
    }

    /// Sends the reply, writes the answer if there is one, and ends the process.
    async fn send_reply(
        mut self,
        outcome: Result<TaskEnd, Failure>,
        stored: Stored,
        elapsed: Duration,
        reply: oneshot::Sender<Result<Reply, SqlError>>,
    ) {
        // Sending fails when nobody waits any more. The slot is given back before that.
        match outcome {
            Err(failure) => {
                let error = self.failure(failure).await;
                drop(stored);
                drop(reply.send(Err(error)));
            }
            Ok(TaskEnd::Described(described)) => {
                drop(stored);
                drop(reply.send(Ok(Reply::Described(described))));
            }
            Ok(TaskEnd::Answered(head)) => {
                let facts = facts(&stored, head.cut, nanos(elapsed));
                let (form, forms) = oneshot::channel();
                let (sender, parts) = handover();
                let slot = Arc::clone(&stored.slot);
                let (clock, limits) = (Arc::clone(&stored.meter.clock), stored.meter.limits);
                drop(stored);
                slot.sends();
                let lines = Lines { form, parts };
                let answer = Answer::new(head.rows, &facts, elapsed, lines);
                drop(reply.send(Ok(Reply::Answered(answer))));
                let reason = tokio::select! {
                    () = self.write(forms, facts, &sender) => None,
                    () = clock.sleep(limits.sending_max) => {
                        Some(format!("it may take {:?}", limits.sending_max).into())
                    }
                    () = slot.evicted() => Some("other queries wait for its slot".into()),
                };
                // The slot is given back when nothing works for the query any more.
                self.end().await;
                if let Some(reason) = reason {
                    tracing::debug!(%reason, "an answer was read too slowly");
                    sender.abort(SqlError::SlowReader { reason });
                }
            }
        }
        self.end().await;
    }

    /// Has the worker write the answer in the chosen format, passes on its parts as they are taken,
    /// and waits until the last one is.
    async fn write(
        &mut self,
        form: oneshot::Receiver<AnswerFormat>,
        facts: AnswerMetadata,
        parts: &PartsSender,
    ) {
        // An error means that the answer was dropped.
        let Ok(form) = form.await else { return };
        let failure = match self.send(&ServerMessage::Write { form, facts }).await {
            Ok(()) => self.hand_on(parts).await,
            Err(error) => Err(error.into()),
        };
        let end = match failure {
            Ok(()) => Ok(()),
            Err(failure) => Err(self.failure(failure).await),
        };
        parts.end(end);
        self.end().await;
        parts.finished().await;
    }

    async fn hand_on(&mut self, parts: &PartsSender) -> Result<(), Failure> {
        loop {
            let frame = tokio::select! {
                frame = self.next() => frame?,
                () = parts.finished() => return Ok(()),
            };
            match frame {
                None => return Err(Failure::Ended),
                Some(WorkerFrame::Part(part)) => {
                    if !parts.send(part).await {
                        return Ok(());
                    }
                }
                Some(WorkerFrame::Message(payload)) => {
                    return match frame::parse(&payload) {
                        Ok(WorkerMessage::Written) => Ok(()),
                        Ok(WorkerMessage::Failed(error)) => Err(Failure::Known(error)),
                        // The scan was not at its end when the query was.
                        Ok(WorkerMessage::Stop { .. }) => continue,
                        Ok(other) => Err(Failure::Violation(format!("{other:?}"))),
                        Err(error) => Err(Failure::Violation(error.to_string())),
                    };
                }
            }
        }
    }

    /// Ends the process and returns the error for the client.
    async fn failure(&mut self, failure: Failure) -> SqlError {
        match failure {
            Failure::Known(error) => error,
            Failure::Unbegun | Failure::Ended => {
                let (status, output) = self.reap().await;
                ended::error(status, &output)
            }
            Failure::Outgrown { bytes, max } => {
                tracing::info!(bytes, max, "a query's process was ended: it needs too much memory");
                let reason = format!("its process has {bytes} bytes, and may have {max}");
                SqlError::Memory { reason }
            }
            Failure::Violation(reason) => {
                let (status, output) = self.reap().await;
                tracing::error!(reason, ?status, output, "a query's process breaks the protocol");
                let reason = "its process sent a message that is no answer".to_owned();
                SqlError::Defect { reason }
            }
        }
    }

    /// Ends the process.
    async fn end(&mut self) {
        if self.child.is_none() {
            return;
        }
        let (status, output) = self.reap().await;
        if !output.is_empty() {
            tracing::debug!(?status, output, "a query's process complained");
        }
    }

    /// Cleans up after a process that ended before it had its task.
    async fn end_unbegun(&mut self) {
        let (status, output) = self.reap().await;
        tracing::warn!(?status, output, "an idle process for queries in SQL has ended");
    }

    /// Kills the process if it runs. Returns its exit status and its last output.
    async fn reap(&mut self) -> (Option<std::process::ExitStatus>, String) {
        let Some(mut child) = self.child.take() else { return (None, String::new()) };
        // A process that has ended keeps its status.
        drop(child.kill());
        let status = spawn_blocking(move || child.wait()).await;
        let status = status.ok().and_then(Result::ok);
        let output = (&mut self.output).await.unwrap_or_default();
        (status, output)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // The runtime ends before the conversation, so the system reaps the process.
            drop(child.kill());
        }
    }
}

/// Logs once if processes are not confined by all available means.
fn log_confinement_once(confinement: Confinement) {
    static LOGGED: std::sync::Once = std::sync::Once::new();
    let Confinement { landlock, seccomp } = confinement;
    if !(landlock && seccomp) {
        LOGGED.call_once(|| {
            tracing::warn!(
                landlock,
                seccomp,
                "the kernel confines processes of queries in SQL by resource limits, and by no \
                 more than this"
            );
        });
    }
}

async fn write_frames(mut writer: OwnedWriteHalf, mut waiting: mpsc::Receiver<FrameBytes>) {
    while let Some(frame) = waiting.recv().await {
        for part in frame {
            if writer.write_all(&part).await.is_err() {
                return; // The process has ended.
            }
        }
    }
}

/// Reads a process's output to its end, and keeps the beginning.
async fn listen(mut from: pipe::Receiver) -> String {
    let (mut kept, mut part) = (Vec::new(), vec![0; OUTPUT_BYTES_MAX]);
    while let Ok(length @ 1..) = from.read(&mut part).await {
        let room = OUTPUT_BYTES_MAX - kept.len();
        kept.extend_from_slice(&part[..length.min(room)]);
    }
    String::from_utf8_lossy(&kept).trim().to_owned()
}
