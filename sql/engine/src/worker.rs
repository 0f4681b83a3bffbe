//! A worker: a process that plans and runs one query, and ends.
//!
//! ```text
//! start ─► limits, no files, no network ─► Ready ─► Job ─► plan, run ─► Answered ─► Write ─► end
//! ```
//!
//! Owns the process and its two threads. One reads the server's messages, the other runs the query
//! on a stack that is large enough for the deepest plan. A query is hostile text and the engine is
//! no security boundary: whatever it allocates, computes or breaks ends with this process
//! (`confine`). The worker has no store: rows come from the server (`server_link`). Knows no HTTP.

mod confine;
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

use tidings_sql::{
    AnswerFormat,
    frame::{self, ServerFrame},
    limits::{STACK_BYTES, WorkerLimits},
    message::{AnswerMetadata, Assignment, PANICKED, ServerMessage, WorkerMessage},
};

use crate::server_link::ServerLink;

/// Bytes that are read from the server at once, where a frame is shorter.
const READ_BYTES: usize = 64 << 10;
/// Exit code after an invalid frame from the server.
const PROTOCOL: i32 = 76;

/// A task for the query's thread.
enum Order {
    Job(Assignment),
    Write(AnswerFormat, AnswerMetadata),
}

/// Runs one query for the server at the other end of standard input.
///
/// # Errors
/// Fails if the process cannot be confined or has no connection.
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
        // Memory that the plan still holds is freed by the end of the process.
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
        // The server has gone, or needs nothing more.
        Ok(()) => process::exit(0),
        Err(error) => {
            eprintln!("the server breaks the protocol: {error}");
            process::exit(PROTOCOL)
        }
    }
}

/// Passes on the server's messages until it has gone.
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
