//! Columns that a reader of rows asks for.

/// Columns that a scan reads for each row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Detail {
    /// Times and content hashes of log records, which identify them. Other ids must not be read
    /// from these rows.
    Keys,
    /// Ids and starts, for searching.
    Ids,
    /// The trace's id, start and end, for durations of traces. Other ids must not be read from
    /// these rows.
    Times,
    /// Time, duration, service, name, kind, status and content hash, for counting calls. Ids must
    /// not be read from these rows.
    Calls,
    /// Ids, times, kind, status, service and name, for assembly and lists. The other accessors of
    /// the rows then return empty values.
    Facts,
    /// Facts and the events of a span.
    Events,
    /// Facts and the resource.
    Resources,
    /// Facts and the attributes of the row and its resource.
    Attributes,
    /// All columns.
    Full,
}
