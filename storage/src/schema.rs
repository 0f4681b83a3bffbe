//! Columns of the two tables. Writer, reader and Delta share this one definition.
//!
//! Every column is listed once, in [`SPAN_COLUMNS`] or [`LOG_COLUMNS`]. Three Arrow schemas follow
//! from the lists. The table's schema, which Delta declares, has all columns. In the memtable's
//! schema, repetitive texts and attribute keys are dictionaries, and attribute values are packed.
//! The schema of data files lacks the partition column, and has a column for each type of value
//! when it is read. Files also have columns of single attributes: see `attribute_column`.
//! `docs/formats/tables.md` describes the meaning of each column.

use std::sync::{Arc, LazyLock};

use arrow_array::{ArrayRef, MapArray, RecordBatch, StructArray};
use arrow_buffer::OffsetBuffer;
use arrow_schema::{ArrowError, DataType, Field, FieldRef, Fields, Schema, SchemaRef};

use crate::Detail;

/// One column of a table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ColumnSpec {
    pub(crate) name: &'static str,
    kind: ColumnKind,
    nullable: bool,
    stage: ColumnStage,
    /// Lowest detail of which rows carry the column. With `None`, only filters and SQL read it.
    pub(crate) detail: Option<Detail>,
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

const fn column(name: &'static str, kind: ColumnKind, detail: Option<Detail>) -> ColumnSpec {
    ColumnSpec { name, kind, nullable: false, stage: ColumnStage::Row, detail }
}

/// An attribute column that tables declare when they are created, because users often group by it.
const fn declared(name: &'static str, kind: ColumnKind) -> ColumnSpec {
    column(name, kind, None).nullable().at(ColumnStage::Attribute)
}

impl ColumnSpec {
    fn is_in(&self, detail: Detail) -> bool {
        self.detail.is_some_and(|at| at <= detail)
    }

    /// Allows nulls in the column, and data files without it. A column that files of an earlier
    /// version lack must be nullable.
    const fn nullable(self) -> Self {
        Self { nullable: true, ..self }
    }

    const fn at(self, stage: ColumnStage) -> Self {
        Self { stage, ..self }
    }
}

const IDS: Option<Detail> = Some(Detail::Ids);
const FACTS: Option<Detail> = Some(Detail::Facts);
const RESOURCES: Option<Detail> = Some(Detail::Resources);
const ATTRIBUTES: Option<Detail> = Some(Detail::Attributes);
const FULL: Option<Detail> = Some(Detail::Full);

/// Columns of [`Detail::Keys`].
const KEYS: [&str; 2] = ["time_unix_nanos", "content_hash"];

/// Columns of [`Detail::Times`].
const TIMES: [&str; 4] = ["start_unix_nanos", "end_unix_nanos", "duration_nanos", "trace_id"];

/// Columns of [`Detail::Calls`].
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
pub(crate) const ATTRIBUTE_ORDER: &str = "attribute_order";

/// Partition column of both tables.
pub(crate) const HOUR: &str = "hour";

/// Resource attributes that have a column of their own, with the column's name. The first key with
/// a value fills the column.
pub(crate) const PROMOTED: [(&str, &[&str]); 6] = [
    ("service_namespace", &["service.namespace"]),
    ("service_version", &["service.version"]),
    ("service_instance_id", &["service.instance.id"]),
    ("host_name", &["host.name"]),
    ("k8s_pod_name", &["k8s.pod.name"]),
    ("deployment_environment", &["deployment.environment.name", "deployment.environment"]),
];

/// Returns true if this resource attribute has a column of its own.
#[must_use]
pub fn is_sender_key(key: &str) -> bool {
    key == SERVICE_NAME || PROMOTED.iter().any(|(_, keys)| keys.contains(&key))
}

/// Resource attribute that names the service.
pub(crate) const SERVICE_NAME: &str = "service.name";

/// The spans table.
pub(crate) const SPAN_COLUMNS: &[ColumnSpec] = &[
    column(HOUR, ColumnKind::Long, None).at(ColumnStage::Partition),
    column("start_unix_nanos", ColumnKind::Long, IDS),
    column("end_unix_nanos", ColumnKind::Long, FACTS).nullable(),
    column("duration_nanos", ColumnKind::Long, FACTS),
    column("trace_id", ColumnKind::Binary, IDS),
    column("trace_id_low64", ColumnKind::Long, None),
    column("span_id", ColumnKind::Binary, IDS),
    column("parent_span_id", ColumnKind::Binary, FACTS).nullable(),
    column("service", ColumnKind::Word, FACTS),
    column("name", ColumnKind::Word, FACTS),
    column("kind", ColumnKind::Int, FACTS),
    column("status_code", ColumnKind::Int, FACTS).nullable(),
    column("status_message", ColumnKind::Word, FACTS),
    column("trace_state", ColumnKind::Word, FULL),
    column("flags", ColumnKind::Long, FULL),
    column("attributes", ColumnKind::Attributes, ATTRIBUTES),
    column("dropped_attributes_count", ColumnKind::Long, FULL),
    column("events", ColumnKind::Events, FULL),
    column("event_count", ColumnKind::Int, FACTS),
    column("has_exception", ColumnKind::Bool, FACTS),
    column("dropped_events_count", ColumnKind::Long, FULL),
    column("links", ColumnKind::Links, FULL),
    column("link_count", ColumnKind::Int, FACTS),
    column("dropped_links_count", ColumnKind::Long, FULL),
    column("resource", ColumnKind::Word, RESOURCES).nullable(),
    column("resource_schema_url", ColumnKind::Word, FULL),
    column("scope", ColumnKind::Word, FULL).nullable(),
    column("scope_schema_url", ColumnKind::Word, FULL),
    column(PROMOTED[0].0, ColumnKind::Word, None).nullable(),
    column(PROMOTED[1].0, ColumnKind::Word, None).nullable(),
    column(PROMOTED[2].0, ColumnKind::Word, None).nullable(),
    column(PROMOTED[3].0, ColumnKind::Word, None).nullable(),
    column(PROMOTED[4].0, ColumnKind::Word, None).nullable(),
    column(PROMOTED[5].0, ColumnKind::Word, None).nullable(),
    column("received_unix_nanos", ColumnKind::Long, FACTS),
    column("content_hash", ColumnKind::Long, FACTS),
    column(ATTRIBUTE_ORDER, ColumnKind::Word, None).nullable().at(ColumnStage::File),
    declared("string.http.request.method", ColumnKind::Text),
    declared("string.http.route", ColumnKind::Text),
    declared("int.http.response.status_code", ColumnKind::Long),
    declared("string.rpc.system", ColumnKind::Text),
    declared("string.rpc.service", ColumnKind::Text),
    declared("string.rpc.method", ColumnKind::Text),
    declared("string.db.system.name", ColumnKind::Text),
    declared("string.db.namespace", ColumnKind::Text),
    declared("string.db.operation.name", ColumnKind::Text),
    declared("string.db.collection.name", ColumnKind::Text),
    declared("string.messaging.system", ColumnKind::Text),
    declared("string.messaging.destination.name", ColumnKind::Text),
    declared("string.messaging.operation.type", ColumnKind::Text),
    declared("string.peer.service", ColumnKind::Text),
    declared("string.server.address", ColumnKind::Text),
    declared("string.error.type", ColumnKind::Text),
];

/// The logs table.
pub(crate) const LOG_COLUMNS: &[ColumnSpec] = &[
    column(HOUR, ColumnKind::Long, None).at(ColumnStage::Partition),
    column("time_unix_nanos", ColumnKind::Long, IDS),
    column("time_known", ColumnKind::Bool, FULL),
    column("observed_unix_nanos", ColumnKind::Long, FACTS).nullable(),
    column("severity_number", ColumnKind::Int, FACTS),
    column("severity_text", ColumnKind::Word, FACTS),
    column("service", ColumnKind::Word, FACTS),
    column("text", ColumnKind::Text, FACTS).nullable(),
    column("body", ColumnKind::Binary, FULL).nullable(),
    column("event_name", ColumnKind::Word, FULL),
    column("trace_id", ColumnKind::Binary, IDS).nullable(),
    column("span_id", ColumnKind::Binary, IDS).nullable(),
    column("flags", ColumnKind::Long, FULL),
    column("attributes", ColumnKind::Attributes, ATTRIBUTES),
    column("dropped_attributes_count", ColumnKind::Long, FULL),
    column("resource", ColumnKind::Word, RESOURCES).nullable(),
    column("resource_schema_url", ColumnKind::Word, FULL),
    column("scope", ColumnKind::Word, FULL).nullable(),
    column("scope_schema_url", ColumnKind::Word, FULL),
    column(PROMOTED[0].0, ColumnKind::Word, None).nullable(),
    column(PROMOTED[1].0, ColumnKind::Word, None).nullable(),
    column(PROMOTED[2].0, ColumnKind::Word, None).nullable(),
    column(PROMOTED[3].0, ColumnKind::Word, None).nullable(),
    column(PROMOTED[4].0, ColumnKind::Word, None).nullable(),
    column(PROMOTED[5].0, ColumnKind::Word, None).nullable(),
    column("received_unix_nanos", ColumnKind::Long, None),
    column("content_hash", ColumnKind::Long, IDS),
    column(ATTRIBUTE_ORDER, ColumnKind::Word, None).nullable().at(ColumnStage::File),
    declared("string.error.type", ColumnKind::Text),
    declared("string.exception.type", ColumnKind::Text),
];

/// One of the two tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Signal {
    Spans,
    Logs,
}

impl Signal {
    /// Returns the name of the table.
    pub(crate) fn table(self) -> &'static str {
        match self {
            Self::Spans => "spans",
            Self::Logs => "logs",
        }
    }

    /// Schema that Delta declares: all columns.
    pub(crate) fn table_schema(self) -> SchemaRef {
        table(self.columns())
    }

    pub(crate) fn columns(self) -> &'static [ColumnSpec] {
        match self {
            Self::Spans => SPAN_COLUMNS,
            Self::Logs => LOG_COLUMNS,
        }
    }

    /// Returns the columns of repetitive text in new rows. The memtable holds each text of a
    /// request once.
    pub(crate) fn words(self) -> impl Iterator<Item = &'static str> {
        let is_word =
            |of: &&ColumnSpec| of.kind == ColumnKind::Word && of.stage == ColumnStage::Row;
        self.columns().iter().filter(is_word).map(|column| column.name)
    }

    /// Returns the column that orders rows and prunes files.
    pub(crate) fn time_column(self) -> &'static str {
        match self {
            Self::Spans => "start_unix_nanos",
            Self::Logs => "time_unix_nanos",
        }
    }

    /// Returns the columns that rows of this detail carry.
    pub(crate) fn detail_columns(self, detail: Detail) -> impl Iterator<Item = &'static str> {
        self.columns()
            .iter()
            .filter(move |column| match detail {
                Detail::Events => column.kind == ColumnKind::Events || column.is_in(Detail::Facts),
                Detail::Keys => KEYS.contains(&column.name),
                Detail::Times => TIMES.contains(&column.name),
                Detail::Calls => CALLS.contains(&column.name),
                _ => column.is_in(detail),
            })
            .map(|column| column.name)
    }

    /// Schema of every data file that is written, as it is read. Columns of single attributes
    /// follow these columns.
    pub(crate) fn written_schema(self) -> SchemaRef {
        let columns = self
            .columns()
            .iter()
            .filter(|column| matches!(column.stage, ColumnStage::Row | ColumnStage::File));
        Arc::new(Schema::new(columns.map(ColumnSpec::read_field).collect::<Fields>()))
    }

    /// Returns the attribute columns that tables declare when they are created.
    pub(crate) fn declared_attributes(self) -> impl Iterator<Item = &'static str> {
        let of_attributes = |column: &&ColumnSpec| column.stage == ColumnStage::Attribute;
        self.columns().iter().filter(of_attributes).map(|column| column.name)
    }

    /// Returns the columns that every data file has.
    pub(crate) fn required_columns(self) -> impl Iterator<Item = &'static str> {
        self.row_columns().filter(|column| !column.nullable).map(|column| column.name)
    }

    /// Returns the row columns that a data file may lack, in the form in which they are read. These
    /// are all nullable ones. In a file of a version without the column, they read as null.
    pub(crate) fn optional_fields(self) -> impl Iterator<Item = Field> {
        self.row_columns().filter(|column| column.nullable).map(ColumnSpec::read_field)
    }

    /// Returns the columns that are created with a row.
    fn row_columns(self) -> impl Iterator<Item = &'static ColumnSpec> {
        self.columns().iter().filter(|column| column.stage == ColumnStage::Row)
    }

    /// Schema of the memtable's chunks.
    pub(crate) fn memory_schema(self) -> SchemaRef {
        static SPANS: LazyLock<SchemaRef> =
            LazyLock::new(|| rows(Signal::Spans, SchemaUse::Memory));
        static LOGS: LazyLock<SchemaRef> = LazyLock::new(|| rows(Signal::Logs, SchemaUse::Memory));
        Arc::clone(match self {
            Self::Spans => &SPANS,
            Self::Logs => &LOGS,
        })
    }

    /// Returns the field of a column as it is read, where that differs from the file.
    pub(crate) fn read_field(self, name: &str) -> Option<Field> {
        let column = self.columns().iter().find(|column| column.name == name)?;
        matches!(column.kind, ColumnKind::Word | ColumnKind::Attributes)
            .then(|| column.read_field())
    }

    /// Creates a batch from the memtable's columns, in order.
    pub(crate) fn batch(self, columns: Vec<(&str, ArrayRef)>) -> Result<RecordBatch, ArrowError> {
        let schema = self.memory_schema();
        let in_order = columns.len() == schema.fields().len()
            && columns.iter().zip(schema.fields()).all(|((name, _), field)| name == field.name());
        assert!(in_order, "invariant: columns come in the order of the schema");
        RecordBatch::try_new(schema, columns.into_iter().map(|(_, array)| array).collect())
    }
}

fn table(columns: &[ColumnSpec]) -> SchemaRef {
    Arc::new(Schema::new(
        columns.iter().map(|column| column.field(SchemaUse::File)).collect::<Fields>(),
    ))
}

/// Returns the schema of the columns that are created with a row.
fn rows(signal: Signal, place: SchemaUse) -> SchemaRef {
    let columns = signal.row_columns();
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
    pub(crate) fn read_field(&self) -> Field {
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
            ColumnKind::Binary => DataType::Binary,
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
pub(crate) fn word() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
}

/// Name of the map's entries, which occurs in a path between the column and `key` or `value`.
pub(crate) const ENTRIES: &str = "key_value";

// The process has one instance of each type. Comparing types is then a pointer comparison instead
// of a walk through forty fields, for every chunk and column that is assembled.

/// Type of attributes, in the sender's order. An entry with a null value has no value. An entry
/// whose value has only null fields has OTLP's empty value.
pub(crate) fn attributes() -> DataType {
    static ENTRY: LazyLock<FieldRef> =
        LazyLock::new(|| Arc::new(Field::new(ENTRIES, DataType::Struct(entry_fields()), false)));
    DataType::Map(Arc::clone(&ENTRY), false)
}

/// Type of attributes as they are read, where the keys are a dictionary.
pub(crate) fn coded_attributes() -> DataType {
    static ENTRY: LazyLock<FieldRef> = LazyLock::new(|| {
        Arc::new(Field::new(ENTRIES, DataType::Struct(coded_entry_fields()), false))
    });
    DataType::Map(Arc::clone(&ENTRY), false)
}

/// Type of attributes in the memtable: the kind and the encoded text of each value, see
/// `crate::packed`. Rows stay in memory for about a minute, in all of their columns, and most
/// values are texts. A column per type would take more memory than the values.
pub(crate) fn packed_attributes() -> DataType {
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
pub(crate) fn map(
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

pub(crate) fn packed_fields() -> Fields {
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
pub(crate) fn value_fields() -> Fields {
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
    use std::collections::BTreeMap;

    use super::{ColumnKind, ColumnSpec, LOG_COLUMNS, SPAN_COLUMNS};

    /// Name of the type, and true if the column may be null.
    type ColumnType = (String, bool);

    /// Returns the columns that `docs/formats/tables.md` lists below these headings.
    fn described(headings: &[&str], table: &str) -> BTreeMap<String, ColumnType> {
        const TYPES: [&str; 8] =
            ["long", "int", "bool", "string", "word", "binary", "map", "list of struct"];
        let page = include_str!("../../docs/formats/tables.md");
        let mut found = BTreeMap::new();
        let mut heading = "";
        for line in page.lines() {
            if line.starts_with('#') {
                heading = line.trim_start_matches(['#', ' ']);
            }
            let Some(cells) = line.strip_prefix('|').filter(|_| headings.contains(&heading)) else {
                continue;
            };
            let cells: Vec<&str> = cells.split('|').collect();
            let names: Vec<&str> = cells[0].split('`').skip(1).step_by(2).collect();
            let types: Vec<&str> =
                cells[1].split(',').map(str::trim).filter(|part| TYPES.contains(part)).collect();
            // Of the attribute columns, only those of numbers are marked with a type.
            let in_columns = if cells[0].contains("(long)") { "long" } else { "word" };
            let elsewhere = ["spans", "logs"].into_iter().find(|other| *other != table).unwrap();
            let is_null =
                cells[1].contains("null") && !cells[1].contains(&format!("`{elsewhere}`"));
            for (place, name) in names.into_iter().enumerate() {
                let described = match types[..] {
                    [] => (in_columns.to_owned(), true),
                    [one] => (one.to_owned(), is_null),
                    _ => (types[place].to_owned(), is_null),
                };
                let earlier = found.insert(name.to_owned(), described);
                assert_eq!(earlier, None, "{name} is described twice");
            }
        }
        found
    }

    fn specified(columns: &[ColumnSpec]) -> BTreeMap<String, ColumnType> {
        let of = |column: &ColumnSpec| {
            let kind = match column.kind {
                ColumnKind::Long => "long",
                ColumnKind::Int => "int",
                ColumnKind::Bool => "bool",
                ColumnKind::Text => "string",
                ColumnKind::Word => "word",
                ColumnKind::Binary => "binary",
                ColumnKind::Attributes => "map",
                ColumnKind::Events | ColumnKind::Links => "list of struct",
            };
            (column.name.to_owned(), (kind.to_owned(), column.nullable))
        };
        columns.iter().map(of).collect()
    }

    #[test]
    fn the_page_of_the_tables_describes_every_column() {
        let spans = ["Columns of both tables", "Spans", "Attributes in columns"];
        assert_eq!(described(&spans, "spans"), specified(SPAN_COLUMNS));
        let logs = ["Columns of both tables", "Logs"];
        assert_eq!(described(&logs, "logs"), specified(LOG_COLUMNS));
    }
}
