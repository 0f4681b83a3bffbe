//! A worker: a process that plans and runs one query, and ends.
//!
//! ```text
//! start ─► limits, no files, no network ─► Ready ─► Job ─► plan, run ─► Answered ─► Write ─► end
//! ```
//!
//! Owns the process: two threads, one of which reads what the server sends, while the other runs the
//! query on a stack that the deepest plan fits on. A query is hostile text and the engine is no
//! boundary: whatever it allocates, computes or breaks ends with this process (`confine`). Has no
//! store: rows come from the server (`link`). Knows no HTTP.

mod confine;
mod link;
mod worker_query;

use std::{
    convert::Infallible,
    io::{self, BufReader, Read},
    os::fd::AsFd,
    panic::{AssertUnwindSafe, catch_unwind},
    process,
    sync::{Arc, mpsc},
    thread,
};

use crate::{
    AnswerFormat,
    frame::{self, ServerFrame},
    limits::STACK_BYTES,
    message::{Assignment, Facts, ServerMessage, WorkerMessage},
};

pub(crate) use link::ServerLink;

/// Bytes that are read from the server at once, when a frame is shorter.
const READ_BYTES: usize = 64 << 10;
/// The server sent something else than frames.
const PROTOCOL: i32 = 76;
/// The query's thread panicked.
pub(crate) const PANICKED: i32 = 101;

/// The limits that a worker puts on itself before it does anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkerLimits {
    /// Bytes of address space besides those of the program.
    pub address_bytes_max: u64,
    /// Seconds of processor time.
    pub cpu_seconds_max: u64,
}

/// An order for the query's thread.
enum Order {
    Job(Assignment),
    Write(AnswerFormat, Facts),
}

/// Runs one query for the server at the other end of standard input.
///
/// # Errors
/// When the process cannot be limited or has no connection.
pub fn run_worker(limits: WorkerLimits) -> io::Result<Infallible> {
    let stdin = io::stdin().as_fd().try_clone_to_owned()?;
    let (input, output) = (std::fs::File::from(stdin.try_clone()?), std::fs::File::from(stdin));
    let confinement = confine::confine(limits)?;
    let link = Arc::new(ServerLink::new(output));
    let (orders, taken) = mpsc::sync_channel(1);
    let of_query = Arc::clone(&link);
    let query = thread::Builder::new().name("query".to_owned()).stack_size(STACK_BYTES);
    query.spawn(move || {
        let ran = catch_unwind(AssertUnwindSafe(|| worker_query::run(&of_query, &taken)));
        // Whatever the plan still holds goes with the process.
        process::exit(match ran {
            Ok(Ok(())) => 0,
            Ok(Err(error)) => {
                eprintln!("the server is out of reach: {error}");
                PROTOCOL
            }
            Err(_) => PANICKED,
        })
    })?;
    link.send(&WorkerMessage::Ready(confinement)).map_err(io::Error::other)?;
    match read(&mut BufReader::with_capacity(READ_BYTES, input), &link, &orders) {
        // The server has gone, or wants nothing more.
        Ok(()) => process::exit(0),
        Err(error) => {
            eprintln!("the server breaks the protocol: {error}");
            process::exit(PROTOCOL)
        }
    }
}

/// Hands on what the server sends, until it has gone.
fn read(
    from: &mut impl Read,
    link: &ServerLink,
    orders: &mpsc::SyncSender<Order>,
) -> io::Result<()> {
    while let Some(frame) = frame::read_server_frame(from)? {
        let order = match frame {
            ServerFrame::Batch { scan, header, body } => {
                link.deliver(scan, &header, body)?;
                continue;
            }
            ServerFrame::Message(payload) => match frame::parse(&payload)? {
                ServerMessage::ScanEnd { scan, failed } => {
                    link.end(scan, failed)?;
                    continue;
                }
                ServerMessage::Job(job) => Order::Job(*job),
                ServerMessage::Write { form, facts } => Order::Write(form, facts),
            },
        };
        if orders.send(order).is_err() {
            break;
        }
    }
    Ok(())
}
