//! Entry points for fuzz targets: the body of a query, the messages of a compromised worker, and those
//! of Flight SQL. The program does not call them.

use crate::{
    flight,
    frame::{FrameReader, ServerFrame, WorkerFrame, parse, read_server_frame},
    http,
    message::{ServerMessage, WorkerMessage},
};

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

#[cfg(test)]
mod tests {
    use super::{read_query_body, read_server_frames, read_worker_frames};

    #[test]
    fn entry_points_read_messages() {
        let body = br#"{"query": "SELECT 1", "limit": 7}"#;
        assert_eq!(read_query_body(body), Some(("SELECT 1".into(), Some(7))));
        assert_eq!(read_query_body(b"SELECT 1"), None);
        assert_eq!((read_worker_frames(&[]), read_server_frames(&[])), (0, 0));
    }
}
