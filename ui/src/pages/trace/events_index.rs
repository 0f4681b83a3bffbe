//! A trace's span events by the row of their span, as in the skeleton.
//!
//! Owns the repair of the columns. A server of another version or a proxy may send short columns,
//! or events of rows and names that do not exist. Such events are left out.

use tidings_proto::api::EventColumns;

use super::row_index::RowIndex;

/// An event of a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PlacedEvent {
    /// The row of its span.
    pub(crate) row: u32,
    /// Position among the events of its span.
    pub(crate) position: u32,
    /// Nanoseconds after the trace's start.
    pub(crate) offset: i64,
    pub(crate) is_exception: bool,
    /// Its name, or the type of an exception.
    title: u32,
}

/// Events of a trace, by row and time.
#[derive(Debug, PartialEq, Eq, Default)]
pub(crate) struct EventIndex {
    names: Vec<String>,
    events: Vec<PlacedEvent>,
    by_row: RowIndex,
    /// Number of events in the trace.
    count: u64,
}

impl EventIndex {
    /// Indexes the events of a trace of `len` rows. `count` is the number of all its events.
    pub(crate) fn new(len: usize, names: Vec<String>, columns: &EventColumns, count: u64) -> Self {
        let EventColumns { span, position, offset_nano, name, exception_type } = columns;
        let numbers = span.iter().zip(position).zip(offset_nano).zip(name).zip(exception_type);
        let mut events: Vec<PlacedEvent> = numbers
            .map(|((((&row, &position), &offset), &name), &kind)| PlacedEvent {
                row,
                position,
                offset,
                is_exception: kind >= 0,
                title: u32::try_from(kind).unwrap_or(name),
            })
            .filter(|event| (event.row as usize) < len && (event.title as usize) < names.len())
            .collect();
        events.sort_by_key(|event| (event.row, event.offset, event.position));
        let rows: Vec<Option<u32>> = events.iter().map(|event| Some(event.row)).collect();
        Self { names, by_row: RowIndex::new(len, &rows), events, count }
    }

    /// Returns the indexes of the row's events, in order of time.
    pub(crate) fn of_row(&self, row: u32) -> &[u32] {
        self.by_row.of_row(row)
    }

    pub(crate) fn get(&self, event: u32) -> Option<PlacedEvent> {
        self.events.get(event as usize).copied()
    }

    /// Returns the name of the event, or the type of an exception.
    pub(crate) fn title(&self, event: PlacedEvent) -> &str {
        self.names.get(event.title as usize).map_or("", String::as_str)
    }

    /// Returns the number of events that can be drawn, and of all in the trace.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let drawn = self.events.len() as u64;
        (drawn, self.count.max(drawn))
    }

    /// Returns the row's event after the one at this position, with wraparound.
    pub(crate) fn next_of_row(&self, row: u32, shown: Option<u32>) -> Option<u32> {
        let own = self.of_row(row);
        let position = |event: u32| self.get(event).map(|event| event.position);
        let at = own.iter().position(|&event| shown.is_some() && position(event) == shown);
        own.get(at.map_or(0, |at| at + 1)).or(own.first()).copied()
    }
}

#[cfg(test)]
mod tests {
    use tidings_proto::api::EventColumns;

    use super::EventIndex;

    fn columns() -> EventColumns {
        EventColumns {
            span: vec![2, 2, 0, 7],
            position: vec![1, 0, 0, 0],
            offset_nano: vec![30, 20, -5, 9],
            name: vec![0, 1, 0, 0],
            exception_type: vec![-1, 2, -1, -1],
        }
    }

    fn names() -> Vec<String> {
        ["cache.miss", "exception", "CardDeclined"].map(str::to_owned).to_vec()
    }

    #[test]
    fn events_belong_to_their_row_in_order_of_time() {
        let events = EventIndex::new(3, names(), &columns(), 9);
        let of = |row: u32| {
            let own = events.of_row(row).iter().filter_map(|&event| events.get(event));
            own.map(|event| (events.title(event), event.offset, event.is_exception))
                .collect::<Vec<_>>()
        };
        assert_eq!(of(2), [("CardDeclined", 20, true), ("cache.miss", 30, false)]);
        assert_eq!(of(0), [("cache.miss", -5, false)]);
        assert!(of(1).is_empty());
        assert_eq!(events.counts(), (3, 9), "one event is of a row that is not there");
    }

    #[test]
    fn columns_that_no_server_would_send_are_left_out() {
        let short = EventColumns { position: vec![0], ..columns() };
        assert_eq!(EventIndex::new(3, names(), &short, 0).counts(), (1, 1));
        assert_eq!(EventIndex::new(3, Vec::new(), &columns(), 4).counts(), (0, 4));
    }

    #[test]
    fn events_of_a_row_follow_each_other_around_the_end() {
        let events = EventIndex::new(3, names(), &columns(), 3);
        let [first, last] = *events.of_row(2) else { panic!() };
        assert_eq!(events.next_of_row(2, None), Some(first));
        assert_eq!(events.next_of_row(2, Some(0)), Some(last));
        assert_eq!(events.next_of_row(2, Some(1)), Some(first));
        assert_eq!(events.next_of_row(2, Some(9)), Some(first));
        assert_eq!(events.next_of_row(1, Some(1)), None);
    }
}
