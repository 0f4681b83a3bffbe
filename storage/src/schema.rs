//! The columns of the two tables: the one definition that writer, reader and Delta share.
//!
//! Every column is listed once, in [`SPAN_COLUMNS`] or [`LOG_COLUMNS`]. Three Arrow schemas follow
//! from the lists: the table's (what Delta declares: all columns), memory's (without the columns
//! that a flush derives or that copy attributes; repetitive texts and the keys of attributes are
//! dictionaries, values of attributes are packed), and the data files' (without the partition column)
//! as they are read, with a column for each type of value. `docs/formats/tables.md`
//! says what each column means.

use std::sync::{Arc, LazyLock};

use arrow_array::{ArrayRef, MapArray, RecordBatch, StructArray};
use arrow_buffer::OffsetBuffer;
use arrow_schema::{ArrowError, DataType, Field, FieldRef, Fields, Schema, SchemaRef};

use crate::Detail;

/// One column of a table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    pub(crate) name: &'static str,
    kind: Kind,
    nullable: bool,
    stage: Stage,
    /// The attributes that fill it: the first key that has a value of its type.
    pub(crate) keys: &'static [&'static str],
    /// From which detail on rows carry it; `None`: only filters and SQL read it.
    pub(crate) detail: Option<Detail>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Long,
    Int,
    Bool,
    /// Text that differs from row to row.
    Text,
    /// Text that repeats: a dictionary once it is not in a file.
    Word,
    Binary,
    Attributes,
    Events,
    Links,
}

/// When a column comes into being.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// With the row.
    Row,
    /// When a flush sorts the rows.
    Flush,
    /// When the file is written.
    File,
    /// By the folder the file is in.
    Partition,
}

const fn column(name: &'static str, kind: Kind, detail: Option<Detail>) -> Column {
    Column { name, kind, nullable: false, stage: Stage::Row, keys: &[], detail }
}

/// A column of attributes that are frequent and of few values: what people group by.
const fn shredded(name: &'static str, kind: Kind, keys: &'static [&'static str]) -> Column {
    Column { keys, ..column(name, kind, None).nullable().at(Stage::File) }
}

impl Column {
    fn is_of(&self, detail: Detail) -> bool {
        self.detail.is_some_and(|at| at <= detail)
    }

    const fn nullable(self) -> Self {
        Self { nullable: true, ..self }
    }

    const fn at(self, stage: Stage) -> Self {
        Self { stage, ..self }
    }
}

const IDS: Option<Detail> = Some(Detail::Ids);
const FACTS: Option<Detail> = Some(Detail::Facts);
const RESOURCES: Option<Detail> = Some(Detail::Resources);
const ATTRIBUTES: Option<Detail> = Some(Detail::Attributes);
const FULL: Option<Detail> = Some(Detail::Full);

/// What rows carry of how long traces are.
const TIMES: [&str; 3] = ["start_unix_nanos", "end_unix_nanos", "trace_id"];

/// What rows carry of a call.
const CALLS: [&str; 7] = [
    "start_unix_nanos",
    "duration_nanos",
    "name",
    "service",
    "kind",
    "status_code",
    "content_hash",
];

/// The partition column of both tables.
pub(crate) const HOUR: &str = "hour";

/// The resource attributes that have a column of their own, with the column's name. The first key
/// that has a value fills it.
pub(crate) const PROMOTED: [(&str, &[&str]); 6] = [
    ("service_namespace", &["service.namespace"]),
    ("service_version", &["service.version"]),
    ("service_instance_id", &["service.instance.id"]),
    ("host_name", &["host.name"]),
    ("k8s_pod_name", &["k8s.pod.name"]),
    ("deployment_environment", &["deployment.environment.name", "deployment.environment"]),
];

/// The spans table.
pub(crate) const SPAN_COLUMNS: &[Column] = &[
    column(HOUR, Kind::Long, None).at(Stage::Partition),
    column("start_unix_nanos", Kind::Long, IDS),
    column("end_unix_nanos", Kind::Long, FACTS),
    column("duration_nanos", Kind::Long, FACTS),
    column("trace_id", Kind::Binary, IDS),
    column("trace_id_low64", Kind::Long, None),
    column("span_id", Kind::Binary, IDS),
    column("parent_span_id", Kind::Binary, FACTS).nullable(),
    column("service", Kind::Word, FACTS),
    column("name", Kind::Word, FACTS),
    column("kind", Kind::Int, FACTS),
    column("status_code", Kind::Int, FACTS).nullable(),
    column("status_message", Kind::Word, FACTS),
    column("trace_state", Kind::Word, FULL),
    column("flags", Kind::Long, FULL),
    column("attributes", Kind::Attributes, ATTRIBUTES),
    column("dropped_attributes_count", Kind::Long, FULL),
    column("events", Kind::Events, FULL),
    column("event_count", Kind::Int, FACTS),
    column("has_exception", Kind::Bool, FACTS),
    column("dropped_events_count", Kind::Long, FULL),
    column("links", Kind::Links, FULL),
    column("link_count", Kind::Int, FACTS),
    column("dropped_links_count", Kind::Long, FULL),
    column("resource", Kind::Word, RESOURCES).nullable(),
    column("resource_schema_url", Kind::Word, FULL),
    column("scope", Kind::Word, FULL).nullable(),
    column("scope_schema_url", Kind::Word, FULL),
    column(PROMOTED[0].0, Kind::Word, None).nullable(),
    column(PROMOTED[1].0, Kind::Word, None).nullable(),
    column(PROMOTED[2].0, Kind::Word, None).nullable(),
    column(PROMOTED[3].0, Kind::Word, None).nullable(),
    column(PROMOTED[4].0, Kind::Word, None).nullable(),
    column(PROMOTED[5].0, Kind::Word, None).nullable(),
    column("received_unix_nanos", Kind::Long, FACTS),
    column("content_hash", Kind::Long, FACTS),
    column("self_nanos", Kind::Long, None).nullable().at(Stage::Flush),
    column("critical_nanos", Kind::Long, None).nullable().at(Stage::Flush),
    column("path_hash", Kind::Long, None).nullable().at(Stage::Flush),
    column("depth", Kind::Int, None).nullable().at(Stage::Flush),
    shredded("http_request_method", Kind::Word, &["http.request.method", "http.method"]),
    shredded("http_route", Kind::Word, &["http.route"]),
    shredded(
        "http_response_status_code",
        Kind::Long,
        &["http.response.status_code", "http.status_code"],
    ),
    shredded("rpc_system", Kind::Word, &["rpc.system", "rpc.system.name"]),
    shredded("rpc_service", Kind::Word, &["rpc.service"]),
    shredded("rpc_method", Kind::Word, &["rpc.method"]),
    shredded("db_system_name", Kind::Word, &["db.system.name", "db.system"]),
    shredded("db_namespace", Kind::Word, &["db.namespace", "db.name"]),
    shredded("db_operation_name", Kind::Word, &["db.operation.name", "db.operation"]),
    shredded("db_collection_name", Kind::Word, &["db.collection.name", "db.sql.table"]),
    shredded("messaging_system", Kind::Word, &["messaging.system"]),
    shredded(
        "messaging_destination_name",
        Kind::Word,
        &["messaging.destination.name", "messaging.destination"],
    ),
    shredded(
        "messaging_operation_type",
        Kind::Word,
        &["messaging.operation.type", "messaging.operation"],
    ),
    shredded("peer_service", Kind::Word, &["peer.service"]),
    shredded("server_address", Kind::Word, &["server.address", "net.peer.name"]),
    shredded("error_type", Kind::Word, &["error.type"]),
];

/// The logs table.
pub(crate) const LOG_COLUMNS: &[Column] = &[
    column(HOUR, Kind::Long, None).at(Stage::Partition),
    column("time_unix_nanos", Kind::Long, IDS),
    column("time_known", Kind::Bool, FULL),
    column("observed_unix_nanos", Kind::Long, FACTS),
    column("severity_number", Kind::Int, FACTS),
    column("severity_text", Kind::Word, FACTS),
    column("service", Kind::Word, FACTS),
    column("text", Kind::Text, FACTS).nullable(),
    column("body", Kind::Binary, FULL).nullable(),
    column("event_name", Kind::Word, FULL),
    column("trace_id", Kind::Binary, IDS).nullable(),
    column("trace_id_low64", Kind::Long, None).nullable(),
    column("span_id", Kind::Binary, IDS).nullable(),
    column("flags", Kind::Long, FULL),
    column("attributes", Kind::Attributes, ATTRIBUTES),
    column("dropped_attributes_count", Kind::Long, FULL),
    column("resource", Kind::Word, RESOURCES).nullable(),
    column("resource_schema_url", Kind::Word, FULL),
    column("scope", Kind::Word, FULL).nullable(),
    column("scope_schema_url", Kind::Word, FULL),
    column(PROMOTED[0].0, Kind::Word, None).nullable(),
    column(PROMOTED[1].0, Kind::Word, None).nullable(),
    column(PROMOTED[2].0, Kind::Word, None).nullable(),
    column(PROMOTED[3].0, Kind::Word, None).nullable(),
    column(PROMOTED[4].0, Kind::Word, None).nullable(),
    column(PROMOTED[5].0, Kind::Word, None).nullable(),
    column("received_unix_nanos", Kind::Long, None),
    column("content_hash", Kind::Long, IDS),
];

/// Which of the two tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Signal {
    Spans,
    Logs,
}

impl Signal {
    /// The name of the table.
    pub(crate) fn table(self) -> &'static str {
        match self {
            Self::Spans => "spans",
            Self::Logs => "logs",
        }
    }

    /// What Delta declares: all columns.
    pub(crate) fn table_schema(self) -> SchemaRef {
        table(self.columns())
    }

    pub(crate) fn columns(self) -> &'static [Column] {
        match self {
            Self::Spans => SPAN_COLUMNS,
            Self::Logs => LOG_COLUMNS,
        }
    }

    /// The column that orders rows and prunes files.
    pub(crate) fn time_column(self) -> &'static str {
        match self {
            Self::Spans => "start_unix_nanos",
            Self::Logs => "time_unix_nanos",
        }
    }

    /// The columns that rows of this detail carry.
    pub(crate) fn detail_columns(self, detail: Detail) -> impl Iterator<Item = &'static str> {
        self.columns()
            .iter()
            .filter(move |column| match detail {
                Detail::Events => column.kind == Kind::Events || column.is_of(Detail::Facts),
                Detail::Times => TIMES.contains(&column.name),
                Detail::Calls => CALLS.contains(&column.name),
                _ => column.is_of(detail),
            })
            .map(|column| column.name)
    }

    /// What rows of memory have when they are about to be written: the file's columns before
    /// [`Self::shreds`].
    pub(crate) fn sorted_schema(self) -> SchemaRef {
        self.sorted(Place::Memory)
    }

    /// The same of rows that were read.
    pub(crate) fn merged_schema(self) -> SchemaRef {
        self.sorted(Place::Read)
    }

    fn sorted(self, place: Place) -> SchemaRef {
        let is_there = |column: &&Column| matches!(column.stage, Stage::Row | Stage::Flush);
        let columns = self.columns().iter().filter(is_there);
        Arc::new(Schema::new(columns.map(|column| column.field(place)).collect::<Fields>()))
    }

    /// The data files' columns as they are read.
    pub(crate) fn written_schema(self) -> SchemaRef {
        let columns = self.columns().iter().filter(|column| column.stage != Stage::Partition);
        Arc::new(Schema::new(columns.map(Column::read_field).collect::<Fields>()))
    }

    /// The columns that attributes fill when a file is written: its last ones.
    pub(crate) fn shreds(self) -> impl Iterator<Item = &'static Column> {
        self.columns().iter().filter(|column| column.stage == Stage::File)
    }

    /// What chunks hold.
    pub(crate) fn memory_schema(self) -> SchemaRef {
        static SPANS: LazyLock<SchemaRef> = LazyLock::new(|| memory(Signal::Spans));
        static LOGS: LazyLock<SchemaRef> = LazyLock::new(|| memory(Signal::Logs));
        Arc::clone(match self {
            Self::Spans => &SPANS,
            Self::Logs => &LOGS,
        })
    }

    /// The column as it is read, where that is not as the file has it.
    pub(crate) fn read_field(self, name: &str) -> Option<Field> {
        let column = self.columns().iter().find(|column| column.name == name)?;
        matches!(column.kind, Kind::Word | Kind::Attributes).then(|| column.read_field())
    }

    /// The batch of these columns, which must be memory's, in order.
    pub(crate) fn batch(self, columns: Vec<(&str, ArrayRef)>) -> Result<RecordBatch, ArrowError> {
        let schema = self.memory_schema();
        let in_order = columns.len() == schema.fields().len()
            && columns.iter().zip(schema.fields()).all(|((name, _), field)| name == field.name());
        assert!(in_order, "invariant: columns come in the order of the schema");
        RecordBatch::try_new(schema, columns.into_iter().map(|(_, array)| array).collect())
    }
}

fn table(columns: &[Column]) -> SchemaRef {
    Arc::new(Schema::new(
        columns.iter().map(|column| column.field(Place::File)).collect::<Fields>(),
    ))
}

fn memory(signal: Signal) -> SchemaRef {
    let columns = signal.columns().iter().filter(|column| column.stage == Stage::Row);
    Arc::new(Schema::new(columns.map(|column| column.field(Place::Memory)).collect::<Fields>()))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    File,
    /// What is read of a file.
    Read,
    Memory,
}

impl Column {
    /// As it is when it was read.
    pub(crate) fn read_field(&self) -> Field {
        self.field(Place::Read)
    }

    fn field(&self, place: Place) -> Field {
        let data_type = match self.kind {
            Kind::Long => DataType::Int64,
            Kind::Int => DataType::Int32,
            Kind::Bool => DataType::Boolean,
            Kind::Text => DataType::Utf8,
            Kind::Word if place == Place::File => DataType::Utf8,
            Kind::Word => word(),
            Kind::Binary => DataType::Binary,
            Kind::Attributes => match place {
                Place::File => attributes(),
                Place::Read => coded_attributes(),
                Place::Memory => packed_attributes(),
            },
            Kind::Events => DataType::List(event()),
            Kind::Links => DataType::List(link()),
        };
        Field::new(self.name, data_type, self.nullable)
    }
}

/// Repetitive text.
pub(crate) fn word() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
}

/// What the entries of attributes are called, between the column and `key` or `value`.
pub(crate) const ENTRIES: &str = "key_value";

// One of each for the process: comparing two types is then comparing two addresses, where it would
// be going through forty fields, for every chunk and column that is put together.

/// Attributes in the sender's order. An entry whose value is null has no value at all; one whose
/// fields are all null has OTLP's empty value.
pub(crate) fn attributes() -> DataType {
    static ENTRY: LazyLock<FieldRef> =
        LazyLock::new(|| Arc::new(Field::new(ENTRIES, DataType::Struct(entry_fields()), false)));
    DataType::Map(Arc::clone(&ENTRY), false)
}

/// The same as they are read: the keys are a dictionary.
pub(crate) fn coded_attributes() -> DataType {
    static ENTRY: LazyLock<FieldRef> = LazyLock::new(|| {
        Arc::new(Field::new(ENTRIES, DataType::Struct(coded_entry_fields()), false))
    });
    DataType::Map(Arc::clone(&ENTRY), false)
}

/// The same in memory: of a value what it is and how it is written, as `crate::packed` says. It is
/// there for a minute or so, in all of its columns, and most are texts: a column for each type would
/// take more than the values.
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

/// A column of attributes of this type.
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

/// At most one is not null. `bytes` is OTLP's `AnyValue` in protobuf, for arrays, maps and bytes.
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

/// An event: the element of a list of structs.
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

/// A link.
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
