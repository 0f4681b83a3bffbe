//! Columns of the two tables. Writer, reader and Delta share this one definition.
//!
//! Every column is listed once, in `table_columns`. The lists of the two tables are macros that
//! pass their lines to another macro: `conversion` makes builders of them, `rows` makes readers.
//! Three Arrow schemas follow from the lists. The table's schema, which Delta declares, has all
//! columns. In the memtable's schema, repetitive texts and attribute keys are dictionaries, and
//! attribute values are packed. The schema of data files lacks the partition column, and has a
//! column for each type of value when it is read. Files also have columns of single attributes: see
//! `attribute_column`. `docs/formats/tables.md` has a row for each column, with its meaning.

mod table_columns;

use std::sync::{Arc, LazyLock};

use arrow_array::{ArrayRef, MapArray, RecordBatch, StructArray};
use arrow_buffer::OffsetBuffer;
use arrow_schema::{ArrowError, DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use tidings_proto::Signal;

pub(crate) use table_columns::{log_columns, span_columns};

/// Columns that a scan reads for each row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Projection {
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

/// One column of a table.
#[derive(Debug, Clone, Copy)]
pub struct ColumnSpec {
    /// Name of the column.
    pub name: &'static str,
    kind: ColumnKind,
    nullable: bool,
    stage: ColumnStage,
    /// Lowest projection whose rows carry the column. With `None`, only filters and SQL read it.
    detail: Option<Projection>,
    /// Text of the documentation.
    #[cfg_attr(not(test), allow(dead_code, reason = "a test compares it with the documentation"))]
    meaning: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ColumnKind {
    Long,
    Int,
    Bool,
    /// Text that differs from row to row.
    Text,
    /// Repetitive text, which is a dictionary outside of files.
    Word,
    /// An id of a trace, of 16 bytes.
    TraceId,
    /// An id of a span, of 8 bytes.
    SpanId,
    Binary,
    Attributes,
    Events,
    Links,
}

/// Origin of a column's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ColumnStage {
    /// Created with the row.
    Row,
    /// Created when the file is written.
    File,
    /// Created when the file is written, if enough of its rows have the attribute.
    Attribute,
    /// Given by the folder of the file.
    Partition,
}

const fn column(name: &'static str, kind: ColumnKind, meaning: &'static str) -> ColumnSpec {
    ColumnSpec { name, kind, nullable: false, stage: ColumnStage::Row, detail: None, meaning }
}

/// An attribute column that tables declare when they are created, because users often group by it.
const fn declared(name: &'static str, kind: ColumnKind) -> ColumnSpec {
    column(name, kind, "the attribute").nullable().at(ColumnStage::Attribute)
}

/// The partition column.
const fn hour() -> ColumnSpec {
    let meaning = "hours since 1970 of the row's time, or of a time at which rows were received: \
                   see *Spanning files*";
    column(HOUR, ColumnKind::Long, meaning).at(ColumnStage::Partition)
}

const fn attribute_order() -> ColumnSpec {
    column(ATTRIBUTE_ORDER, ColumnKind::Word, "see *Attributes in columns*")
        .nullable()
        .at(ColumnStage::File)
}

impl ColumnSpec {
    fn is_in(&self, detail: Projection) -> bool {
        self.detail.is_some_and(|at| at <= detail)
    }

    /// Allows nulls in the column, and data files without it. A column that files of an earlier
    /// version lack must be nullable.
    const fn nullable(self) -> Self {
        Self { nullable: true, ..self }
    }

    /// Allows nulls in data files, where the value follows from other columns. New rows have none.
    const fn derivable(self) -> Self {
        self.nullable()
    }

    const fn at(self, stage: ColumnStage) -> Self {
        Self { stage, ..self }
    }

    /// Adds the column to rows of this projection and of higher ones.
    const fn carried_from(self, detail: Projection) -> Self {
        Self { detail: Some(detail), ..self }
    }
}

/// Defines a function that returns the columns of a table, in order.
macro_rules! column_specs {
    (
        ($function:ident)
        $(
            rows {
                $(
                    $name:ident: $kind:ident $($nullable:ident)?
                    [$($detail:ident $(as $value:ident)?)?], $meaning:literal;
                )*
            }
            $(sender $part:ident;)?
        )*
        attributes { $($attribute:literal: $attribute_kind:ident;)* }
    ) => {
        fn $function() -> Vec<ColumnSpec> {
            let mut columns = vec![hour()];
            $(
                columns.extend([
                    $(
                        column(stringify!($name), ColumnKind::$kind, $meaning)
                            $(.$nullable())?
                            $(.carried_from(Projection::$detail))?,
                    )*
                ]);
                $(columns.extend(table_columns::$part());)?
            )*
            columns.push(attribute_order());
            columns.extend([$(declared($attribute, ColumnKind::$attribute_kind),)*]);
            columns
        }
    };
}

span_columns!(column_specs, span_specs);
log_columns!(column_specs, log_specs);

/// Columns of [`Projection::Keys`].
const KEYS: [&str; 2] = ["time_unix_nanos", "content_hash"];

/// Columns of [`Projection::Times`].
const TIMES: [&str; 4] = ["start_unix_nanos", "end_unix_nanos", "duration_nanos", "trace_id"];

/// Columns of [`Projection::Calls`].
const CALLS: [&str; 7] = [
    "start_unix_nanos",
    "duration_nanos",
    "name",
    "service",
    "kind",
    "status_code",
    "content_hash",
];

/// Column with the order of a row's attributes.
pub const ATTRIBUTE_ORDER: &str = "attribute_order";

/// Partition column of both tables.
pub const HOUR: &str = "hour";

/// Resource attributes that have a column of their own, between the column's name and its meaning.
/// The first key with a value fills the column.
pub(crate) const PROMOTED: [(&str, &[&str], &str); 6] = [
    ("service_namespace", &["service.namespace"], OF_RESOURCE),
    ("service_version", &["service.version"], OF_RESOURCE),
    ("service_instance_id", &["service.instance.id"], OF_RESOURCE),
    ("host_name", &["host.name"], OF_RESOURCE),
    ("k8s_pod_name", &["k8s.pod.name"], OF_RESOURCE),
    (
        "deployment_environment",
        &["deployment.environment.name", "deployment.environment"],
        "`deployment.environment.name`, or the older `deployment.environment`; null when absent",
    ),
];

const OF_RESOURCE: &str =
    "resource attribute of that name (dots for underscores); null when absent";

/// Returns true if this resource attribute has a column of its own.
#[must_use]
pub fn is_sender_key(key: &str) -> bool {
    key == SERVICE_NAME || PROMOTED.iter().any(|(_, keys, _)| keys.contains(&key))
}

/// Resource attribute that names the service.
pub(crate) const SERVICE_NAME: &str = "service.name";

/// The columns and schemas of a signal's table.
pub trait SignalSchema: Sized {
    /// Schema that Delta declares: all columns.
    fn table_schema(self) -> SchemaRef;

    /// Returns the columns, in order.
    fn columns(self) -> &'static [ColumnSpec];

    /// Returns the columns of repetitive text in new rows. The memtable holds each text of a
    /// request once.
    fn words(self) -> impl Iterator<Item = &'static str>;

    /// Returns the column that orders rows and prunes files.
    fn time_column(self) -> &'static str;

    /// Returns the columns that rows of this projection carry.
    fn detail_columns(self, detail: Projection) -> impl Iterator<Item = &'static str>;

    /// Schema of every data file that is written, as it is read. Columns of single attributes
    /// follow these columns.
    fn written_schema(self) -> SchemaRef;

    /// Returns the attribute columns that tables declare when they are created.
    fn declared_attributes(self) -> impl Iterator<Item = &'static str>;

    /// Returns the columns that every data file has.
    fn required_columns(self) -> impl Iterator<Item = &'static str>;

    /// Returns the row columns that a data file may lack, in the form in which they are read. These
    /// are all nullable ones. In a file of a version without the column, they read as null.
    fn optional_fields(self) -> impl Iterator<Item = Field>;

    /// Schema of the memtable's chunks.
    fn memory_schema(self) -> SchemaRef;

    /// Returns the field of a column as it is read, where that differs from the file.
    fn read_field(self, name: &str) -> Option<Field>;

    /// Creates a batch from the memtable's columns, in order.
    ///
    /// # Errors
    /// When a column has another type or length than the schema and the other columns.
    fn batch(self, columns: Vec<(&str, ArrayRef)>) -> Result<RecordBatch, ArrowError>;
}

impl SignalSchema for Signal {
    fn table_schema(self) -> SchemaRef {
        table(self.columns())
    }

    fn columns(self) -> &'static [ColumnSpec] {
        static SPANS: LazyLock<Vec<ColumnSpec>> = LazyLock::new(span_specs);
        static LOGS: LazyLock<Vec<ColumnSpec>> = LazyLock::new(log_specs);
        match self {
            Self::Spans => &SPANS,
            Self::Logs => &LOGS,
        }
    }

    fn words(self) -> impl Iterator<Item = &'static str> {
        let is_word =
            |of: &&ColumnSpec| of.kind == ColumnKind::Word && of.stage == ColumnStage::Row;
        self.columns().iter().filter(is_word).map(|column| column.name)
    }

    fn time_column(self) -> &'static str {
        match self {
            Self::Spans => "start_unix_nanos",
            Self::Logs => "time_unix_nanos",
        }
    }

    fn detail_columns(self, detail: Projection) -> impl Iterator<Item = &'static str> {
        self.columns()
            .iter()
            .filter(move |column| match detail {
                Projection::Events => {
                    column.kind == ColumnKind::Events || column.is_in(Projection::Facts)
                }
                Projection::Keys => KEYS.contains(&column.name),
                Projection::Times => TIMES.contains(&column.name),
                Projection::Calls => CALLS.contains(&column.name),
                _ => column.is_in(detail),
            })
            .map(|column| column.name)
    }

    fn written_schema(self) -> SchemaRef {
        let columns = self
            .columns()
            .iter()
            .filter(|column| matches!(column.stage, ColumnStage::Row | ColumnStage::File));
        Arc::new(Schema::new(columns.map(ColumnSpec::read_field).collect::<Fields>()))
    }

    fn declared_attributes(self) -> impl Iterator<Item = &'static str> {
        let of_attributes = |column: &&ColumnSpec| column.stage == ColumnStage::Attribute;
        self.columns().iter().filter(of_attributes).map(|column| column.name)
    }

    fn required_columns(self) -> impl Iterator<Item = &'static str> {
        row_columns(self).filter(|column| !column.nullable).map(|column| column.name)
    }

    fn optional_fields(self) -> impl Iterator<Item = Field> {
        row_columns(self).filter(|column| column.nullable).map(ColumnSpec::read_field)
    }

    fn memory_schema(self) -> SchemaRef {
        static SPANS: LazyLock<SchemaRef> =
            LazyLock::new(|| rows(Signal::Spans, SchemaUse::Memory));
        static LOGS: LazyLock<SchemaRef> = LazyLock::new(|| rows(Signal::Logs, SchemaUse::Memory));
        Arc::clone(match self {
            Self::Spans => &SPANS,
            Self::Logs => &LOGS,
        })
    }

    fn read_field(self, name: &str) -> Option<Field> {
        let column = self.columns().iter().find(|column| column.name == name)?;
        matches!(column.kind, ColumnKind::Word | ColumnKind::Attributes)
            .then(|| column.read_field())
    }

    fn batch(self, columns: Vec<(&str, ArrayRef)>) -> Result<RecordBatch, ArrowError> {
        let schema = self.memory_schema();
        let in_order = columns.len() == schema.fields().len()
            && columns.iter().zip(schema.fields()).all(|((name, _), field)| name == field.name());
        assert!(in_order, "invariant: columns come in the order of the schema");
        RecordBatch::try_new(schema, columns.into_iter().map(|(_, array)| array).collect())
    }
}

/// Returns the columns that are created with a row.
fn row_columns(signal: Signal) -> impl Iterator<Item = &'static ColumnSpec> {
    signal.columns().iter().filter(|column| column.stage == ColumnStage::Row)
}

fn table(columns: &[ColumnSpec]) -> SchemaRef {
    Arc::new(Schema::new(
        columns.iter().map(|column| column.field(SchemaUse::File)).collect::<Fields>(),
    ))
}

/// Returns the schema of the columns that are created with a row.
fn rows(signal: Signal, place: SchemaUse) -> SchemaRef {
    let columns = row_columns(signal);
    Arc::new(Schema::new(columns.map(|column| column.field(place)).collect::<Fields>()))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SchemaUse {
    File,
    /// Columns read from a file.
    Read,
    Memory,
}

impl ColumnSpec {
    /// Returns the column's field in the form in which it is read.
    #[must_use]
    pub fn read_field(&self) -> Field {
        self.field(SchemaUse::Read)
    }

    fn field(&self, place: SchemaUse) -> Field {
        let data_type = match self.kind {
            ColumnKind::Long => DataType::Int64,
            ColumnKind::Int => DataType::Int32,
            ColumnKind::Bool => DataType::Boolean,
            ColumnKind::Text => DataType::Utf8,
            ColumnKind::Word if place == SchemaUse::File => DataType::Utf8,
            ColumnKind::Word => word(),
            ColumnKind::TraceId | ColumnKind::SpanId | ColumnKind::Binary => DataType::Binary,
            ColumnKind::Attributes => match place {
                SchemaUse::File => attributes(),
                SchemaUse::Read => coded_attributes(),
                SchemaUse::Memory => packed_attributes(),
            },
            ColumnKind::Events => DataType::List(event()),
            ColumnKind::Links => DataType::List(link()),
        };
        Field::new(self.name, data_type, self.nullable)
    }
}

/// Type of repetitive text.
#[must_use]
pub fn word() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
}

/// Name of the map's entries, which occurs in a path between the column and `key` or `value`.
pub const ENTRIES: &str = "key_value";

// The process has one instance of each type. Comparing types is then a pointer comparison instead
// of a walk through forty fields, for every chunk and column that is assembled.

/// Type of attributes, in the sender's order. An entry with a null value has no value. An entry
/// whose value has only null fields has OTLP's empty value.
#[must_use]
pub fn attributes() -> DataType {
    static ENTRY: LazyLock<FieldRef> =
        LazyLock::new(|| Arc::new(Field::new(ENTRIES, DataType::Struct(entry_fields()), false)));
    DataType::Map(Arc::clone(&ENTRY), false)
}

/// Type of attributes as they are read, where the keys are a dictionary.
#[must_use]
pub fn coded_attributes() -> DataType {
    static ENTRY: LazyLock<FieldRef> = LazyLock::new(|| {
        Arc::new(Field::new(ENTRIES, DataType::Struct(coded_entry_fields()), false))
    });
    DataType::Map(Arc::clone(&ENTRY), false)
}

/// Type of attributes in the memtable: the kind and the encoded text of each value, see
/// `crate::packed`. Rows stay in memory for about a minute, in all of their columns, and most
/// values are texts. A column per type would take more memory than the values.
#[must_use]
pub fn packed_attributes() -> DataType {
    static ENTRY: LazyLock<FieldRef> = LazyLock::new(|| {
        let fields = Fields::from(vec![
            Field::new("key", word(), false),
            Field::new("value", DataType::Struct(packed_fields()), false),
        ]);
        Arc::new(Field::new(ENTRIES, DataType::Struct(fields), false))
    });
    DataType::Map(Arc::clone(&ENTRY), false)
}

/// Assembles a column of attributes of this type.
///
/// # Errors
/// When the parts do not fit together.
pub fn map(
    data_type: DataType,
    offsets: OffsetBuffer<i32>,
    keys: ArrayRef,
    values: StructArray,
) -> Result<MapArray, ArrowError> {
    let DataType::Map(field, ordered) = data_type else {
        unreachable!("invariant: attributes are a map");
    };
    let DataType::Struct(fields) = field.data_type() else {
        unreachable!("invariant: entries are structs");
    };
    let entries = StructArray::try_new(fields.clone(), vec![keys, Arc::new(values)], None)?;
    MapArray::try_new(field, offsets, entries, None, ordered)
}

/// Fields of a packed value: its kind and its text.
#[must_use]
pub fn packed_fields() -> Fields {
    static FIELDS: LazyLock<Fields> = LazyLock::new(|| {
        Fields::from(vec![
            Field::new("kind", DataType::UInt8, false),
            Field::new("text", DataType::Utf8, false),
        ])
    });
    FIELDS.clone()
}

fn entry_fields() -> Fields {
    static FIELDS: LazyLock<Fields> = LazyLock::new(|| entry(DataType::Utf8));
    FIELDS.clone()
}

fn coded_entry_fields() -> Fields {
    static FIELDS: LazyLock<Fields> = LazyLock::new(|| entry(word()));
    FIELDS.clone()
}

fn entry(key: DataType) -> Fields {
    Fields::from(vec![
        Field::new("key", key, false),
        Field::new("value", DataType::Struct(value_fields()), true),
    ])
}

/// Fields of a value, of which at most one is not null. `bytes` is OTLP's `AnyValue` in protobuf,
/// for arrays, maps and bytes.
#[must_use]
pub fn value_fields() -> Fields {
    static FIELDS: LazyLock<Fields> = LazyLock::new(|| {
        Fields::from(vec![
            Field::new("string", DataType::Utf8, true),
            Field::new("int", DataType::Int64, true),
            Field::new("double", DataType::Float64, true),
            Field::new("bool", DataType::Boolean, true),
            Field::new("bytes", DataType::Binary, true),
        ])
    });
    FIELDS.clone()
}

/// Type of an event, the element of a list of structs.
pub(crate) fn event() -> FieldRef {
    static ELEMENT: LazyLock<FieldRef> = LazyLock::new(|| {
        element(vec![
            Field::new("time_unix_nanos", DataType::Int64, false),
            Field::new("name", DataType::Utf8, false),
            Field::new("attributes", attributes(), false),
            Field::new("dropped_attributes_count", DataType::Int64, false),
        ])
    });
    Arc::clone(&ELEMENT)
}

/// Type of a link.
pub(crate) fn link() -> FieldRef {
    static ELEMENT: LazyLock<FieldRef> = LazyLock::new(|| {
        element(vec![
            Field::new("trace_id", DataType::Binary, false),
            Field::new("span_id", DataType::Binary, false),
            Field::new("trace_state", DataType::Utf8, false),
            Field::new("attributes", attributes(), false),
            Field::new("dropped_attributes_count", DataType::Int64, false),
            Field::new("flags", DataType::Int64, false),
        ])
    });
    Arc::clone(&ELEMENT)
}

fn element(fields: Vec<Field>) -> FieldRef {
    Arc::new(Field::new("element", DataType::Struct(fields.into()), false))
}

#[cfg(test)]
mod tests {
    use super::{ColumnKind, ColumnSpec, ColumnStage, Signal, SignalSchema};

    /// Returns the row of the documentation about a column.
    fn row(column: &ColumnSpec, meaning: &str) -> String {
        let kind = match column.kind {
            ColumnKind::Long => "long",
            ColumnKind::Int => "int",
            ColumnKind::Bool => "bool",
            ColumnKind::Text => "string",
            ColumnKind::Word => "word",
            ColumnKind::TraceId | ColumnKind::SpanId | ColumnKind::Binary => "binary",
            ColumnKind::Attributes => "map",
            ColumnKind::Events | ColumnKind::Links => "list of struct",
        };
        let null = if column.nullable { ", null" } else { "" };
        format!("| `{}` | {kind}{null} | {meaning} |", column.name)
    }

    /// Returns the rows about the columns that are not attributes.
    fn rows(signal: Signal) -> Vec<String> {
        let columns = signal.columns().iter();
        let columns = columns.filter(|column| column.stage != ColumnStage::Attribute);
        columns.map(|column| row(column, column.meaning)).collect()
    }

    /// Returns the rows about declared attributes, with the tables that declare them.
    fn declared_rows() -> Vec<String> {
        let is_in = |signal: Signal, name: &str| signal.declared_attributes().any(|of| of == name);
        let mut rows = Vec::new();
        for signal in [Signal::Spans, Signal::Logs] {
            for name in signal.declared_attributes() {
                let column = signal.columns().iter().find(|column| column.name == name).unwrap();
                match (signal, is_in(Signal::Spans, name), is_in(Signal::Logs, name)) {
                    (Signal::Spans, _, false) => rows.push(row(column, "spans")),
                    (Signal::Spans, _, true) => rows.push(row(column, "spans, logs")),
                    (Signal::Logs, false, _) => rows.push(row(column, "logs")),
                    (Signal::Logs, true, _) => {}
                }
            }
        }
        rows
    }

    /// Compares the rows of a section of `docs/formats/tables.md`.
    fn check(heading: &str, expected: &[String]) {
        let page = include_str!("../../../docs/formats/tables.md");
        let is_heading =
            |line: &&str| line.starts_with('#') && line.trim_start_matches(['#', ' ']) == heading;
        let section = page.lines().skip_while(|line| !is_heading(line)).skip(1);
        let section = section.take_while(|line| !line.starts_with('#'));
        let found: Vec<_> = section.filter(|line| line.starts_with("| `")).collect();
        let lines = expected.join("\n");
        assert!(found == expected, "the rows of the section {heading:?} must be:\n{lines}\n");
    }

    #[test]
    fn the_page_of_the_tables_describes_every_column() {
        let (spans, logs) = (rows(Signal::Spans), rows(Signal::Logs));
        let (shared, spans): (Vec<_>, Vec<_>) =
            spans.into_iter().partition(|row| logs.contains(row));
        let logs: Vec<_> = logs.into_iter().filter(|row| !shared.contains(row)).collect();
        check("Columns of both tables", &shared);
        check("Attributes in columns", &declared_rows());
        check("Spans", &spans);
        check("Logs", &logs);
    }
}
