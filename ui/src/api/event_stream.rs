//! Parser of server-sent events. The network may split the bytes anywhere.
//!
//! Owns the bytes of an incomplete event. It knows nothing of the meaning of events.

/// An event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    /// Type of the event.
    pub(super) name: String,
    /// Its `data` lines.
    pub(super) data: String,
}

/// Parser from bytes to events.
#[derive(Debug, Default)]
pub(super) struct EventReader {
    unread: Vec<u8>,
    /// Offset in the unread bytes before which no event ends.
    looked_at: usize,
}

impl EventReader {
    /// Adds bytes and returns the events that they complete.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<Event> {
        self.unread.extend_from_slice(bytes);
        let mut events = Vec::new();
        let mut start = 0;
        while let Some(length) = find_end(&self.unread[start..], self.looked_at) {
            let text = String::from_utf8_lossy(&self.unread[start..start + length]);
            events.extend(event(&text));
            start += length + END.len();
            self.looked_at = 0;
        }
        self.unread.drain(..start);
        self.looked_at = self.unread.len().saturating_sub(END.len() - 1);
        events
    }
}

/// Separator of events.
const END: &[u8] = b"\n\n";

fn find_end(bytes: &[u8], from: usize) -> Option<usize> {
    let found = bytes.get(from..)?.windows(END.len()).position(|window| window == END)?;
    Some(from + found)
}

/// Parses an event. `None` when it has no data, as a comment.
fn event(text: &str) -> Option<Event> {
    let (mut name, mut data) = (String::new(), Vec::new());
    for line in text.lines() {
        let (field, value) = line.split_once(':')?;
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut name),
            "data" => data.push(value),
            _ => {}
        }
    }
    (!data.is_empty()).then(|| Event { name, data: data.join("\n") })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Event, EventReader};

    const TEXT: &str = "event: progress\ndata: {\"rows\":1}\n\n: still here\n\nid: 7\nevent: result\ndata: {\"a\":\ndata: \"ä\"}\n\n";

    fn wanted() -> [Event; 2] {
        let event = |name: &str, data: &str| Event { name: name.to_owned(), data: data.to_owned() };
        [event("progress", "{\"rows\":1}"), event("result", "{\"a\":\n\"ä\"}")]
    }

    proptest! {
        #[test]
        fn events_are_the_same_however_they_were_cut(size in 1..TEXT.len()) {
            let mut reader = EventReader::default();
            let events: Vec<Event> =
                TEXT.as_bytes().chunks(size).flat_map(|bytes| reader.push(bytes)).collect();
            prop_assert_eq!(&events[..], wanted());
        }
    }

    #[test]
    fn an_event_without_its_end_is_none_yet() {
        let mut reader = EventReader::default();
        assert_eq!(reader.push(b"event: result\ndata: {}\n"), []);
        assert_eq!(reader.push(b"\n").len(), 1);
    }
}
