//! Entry points for fuzz targets: the text and the body of a query, the messages of a compromised
//! worker, and those of Flight SQL. The program does not call them.

use crate::{
    flight,
    frame::{FrameReader, ServerFrame, WorkerFrame, parse, read_server_frame},
    http,
    message::{ServerMessage, WorkerMessage},
    statement::{self, Values},
};

/// Reads the text of a query as the server does before a worker plans it.
///
/// Returns true when the query may be planned.
#[must_use]
pub fn read_statement(text: &str) -> bool {
    let given = statement::parse(text, Values::Given(&[])).is_ok();
    statement::parse(text, Values::Later).is_ok() || given
}

/// Reads a query and its maximum of rows from a body of JSON; `None` when it is refused.
#[must_use]
pub fn read_query_body(json: &[u8]) -> Option<(String, Option<usize>)> {
    http::read_query_body(json)
}

/// Reads frames as from a worker, up to the first invalid one.
///
/// Returns the number of messages.
#[must_use]
pub fn read_worker_frames(mut bytes: &[u8]) -> usize {
    futures::executor::block_on(async {
        let (mut reader, mut messages) = (FrameReader::new(&mut bytes), 0);
        while let Ok(Some(frame)) = reader.next().await {
            if let WorkerFrame::Message(payload) = frame
                && let Ok(message) = parse::<WorkerMessage>(&payload)
            {
                messages += 1;
                if let WorkerMessage::Scan(scan) = message {
                    let _ = scan.schema();
                }
            }
        }
        messages
    })
}

/// Reads frames as from the server, up to the first invalid one.
///
/// Returns the number of messages.
#[must_use]
pub fn read_server_frames(mut bytes: &[u8]) -> usize {
    let mut messages = 0;
    while let Ok(Some(frame)) = read_server_frame(&mut bytes) {
        if let ServerFrame::Message(payload) = frame {
            messages += usize::from(parse::<ServerMessage>(&payload).is_ok());
        }
    }
    messages
}

/// Reads a descriptor, a ticket and the values of a prepared query.
///
/// Returns true when the bytes are one of them.
#[must_use]
pub fn read_flight_message(bytes: &[u8]) -> bool {
    flight::reads_command(bytes) | flight::reads_values(bytes)
}
