//! Flight SQL in its frames: commands, tickets, handles, statuses.

use std::{collections::BTreeMap, io::Write};

use arrow_array::{RecordBatch, cast::AsArray};
use arrow_ipc::reader::StreamReader;
use arrow_schema::Schema;
use axum::{Router, body::Body};
use bytes::{BufMut, Bytes, BytesMut};
use flate2::{Compression, write::GzEncoder};
use http::Request;
use http_body_util::BodyExt;
use tidings_apis::BodyMemory;
use tidings_sql::{SqlLimits, SubmittedStatement, router};
use tonic::{Code, Status};
use tower::ServiceExt;

use crate::harness::{Harness, span, story};

const PACKAGE: &str = "type.googleapis.com/arrow.flight.protocol.sql.";
const INVALID: i32 = 3;
const EXHAUSTED: i32 = 8;
const UNIMPLEMENTED: i32 = 12;

/// Encodes a message of fields that are all bytes or texts, by their numbers.
fn message(fields: &[(u32, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (number, content) in fields {
        prost::encoding::bytes::encode(*number, &content.to_vec(), &mut bytes);
    }
    bytes
}

/// Decodes the fields of a message that are bytes, texts or messages, the last of each number.
fn fields(bytes: &[u8]) -> BTreeMap<u32, Bytes> {
    use prost::encoding::{DecodeContext, WireType, decode_key, skip_field};
    let (mut rest, mut found) = (bytes, BTreeMap::new());
    while !rest.is_empty() {
        let (number, kind) = decode_key(&mut rest).unwrap();
        if kind == WireType::LengthDelimited {
            let mut content = Bytes::new();
            prost::encoding::bytes::merge(kind, &mut content, &mut rest, DecodeContext::default())
                .unwrap();
            found.insert(number, content);
        } else {
            skip_field(kind, number, &mut rest, DecodeContext::default()).unwrap();
        }
    }
    found
}

fn any(name: &str, value: &[u8]) -> Vec<u8> {
    message(&[(1, format!("{PACKAGE}{name}").as_bytes()), (2, value)])
}

fn descriptor(command: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x08, 2];
    bytes.extend(message(&[(2, command)]));
    bytes
}

fn frame(messages: &[Vec<u8>]) -> Bytes {
    let mut framed = BytesMut::new();
    for message in messages {
        framed.put_u8(0);
        framed.put_u32(u32::try_from(message.len()).unwrap());
        framed.put_slice(message);
    }
    framed.freeze()
}

/// The messages of the answer, or the status and its message.
type Called = Result<Vec<Bytes>, (i32, String)>;

async fn call(router: &Router, method: &str, messages: &[Vec<u8>]) -> Called {
    send(router, method, frame(messages)).await
}

/// Sends the frames of a request, whose encoding is gzip where they are flagged as compressed.
async fn send(router: &Router, method: &str, frames: Bytes) -> Called {
    let response = respond(router, method, frames).await;
    assert_eq!(response.status(), 200);
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap();
    // A call without a response has its status in the head.
    let status = body.trailers().and_then(Status::from_header_map);
    let status = status.or_else(|| Status::from_header_map(&head.headers)).unwrap();
    if status.code() != Code::Ok {
        return Err((status.code().into(), status.message().to_owned()));
    }
    let (mut rest, mut messages) = (body.to_bytes(), Vec::new());
    while !rest.is_empty() {
        let length = u32::from_be_bytes(rest[1..5].try_into().unwrap());
        messages.push(rest.slice(5..5 + length as usize));
        rest = rest.slice(5 + length as usize..);
    }
    Ok(messages)
}

async fn respond(router: &Router, method: &str, frames: Bytes) -> http::Response<Body> {
    let request = Request::post(format!("/arrow.flight.protocol.FlightService/{method}"))
        .header("content-type", "application/grpc")
        .header("grpc-encoding", "gzip")
        .body(Body::from(frames));
    router.clone().oneshot(request.unwrap()).await.unwrap()
}

/// Frames a message that is compressed.
fn gzip_frame(message: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(message).unwrap();
    let mut framed = frame(&[encoder.finish().unwrap()]).to_vec();
    framed[0] = 1;
    framed.into()
}

async fn one(router: &Router, method: &str, message: Vec<u8>) -> Result<Bytes, (i32, String)> {
    call(router, method, &[message]).await.map(|mut messages| messages.pop().unwrap_or_default())
}

/// Reads columns in the form that Flight has outside of data.
fn schema(message: &[u8]) -> Schema {
    arrow_ipc::convert::try_schema_from_ipc_buffer(message).unwrap()
}

/// Reads the rows of a stream of data.
fn batches(messages: &[Bytes]) -> Vec<RecordBatch> {
    let mut stream = Vec::new();
    for message in messages {
        let fields = fields(message);
        let (header, body) = (&fields[&2], fields.get(&1000).cloned().unwrap_or_default());
        let padding = header.len().next_multiple_of(8) - header.len();
        stream.extend([0xff; 4]);
        stream.extend(u32::try_from(header.len() + padding).unwrap().to_le_bytes());
        stream.extend(header);
        stream.extend(vec![0; padding]);
        stream.extend(body);
    }
    stream.extend([0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
    StreamReader::try_new(stream.as_slice(), None).unwrap().map(Result::unwrap).collect()
}

/// Returns the columns of a command and its rows.
async fn rows(router: &Router, command: Vec<u8>) -> (Schema, Vec<RecordBatch>) {
    let info = one(router, "GetFlightInfo", descriptor(&command)).await.unwrap();
    let info = fields(&info);
    let ticket = fields(&fields(&info[&3])[&1])[&1].clone();
    let data = call(router, "DoGet", &[message(&[(1, &ticket)])]).await.unwrap();
    let columns = schema(&info[&1]);
    let found = batches(&data);
    assert!(found.iter().all(|batch| *batch.schema() == columns));
    let told = one(router, "GetSchema", descriptor(&command)).await.unwrap();
    assert_eq!(schema(&fields(&told)[&1]), columns);
    (columns, found)
}

fn query(text: &str) -> Vec<u8> {
    any("CommandStatementQuery", &message(&[(1, text.as_bytes())]))
}

fn texts(batch: &RecordBatch, column: usize) -> Vec<&str> {
    batch.column(column).as_string::<i32>().iter().map(Option::unwrap_or_default).collect()
}

#[tokio::test]
async fn a_query_is_described_and_then_read() {
    let harness = Harness::new().await;
    story(&harness).await;
    let router = router(Some(harness.service.clone()));
    let text = "SELECT service, count(*) AS n, max(start_time) AS last, first_value(attributes) AS a \
                FROM spans GROUP BY service ORDER BY service";
    let (schema, found) = rows(&router, query(text)).await;
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["service", "n", "last", "a"]);
    assert_eq!(texts(&found[0], 0), ["payment", "shop"]);
    let (_, none) = rows(&router, query("SELECT * FROM logs WHERE false")).await;
    assert!(none.iter().all(|batch| batch.num_rows() == 0));
    // Tools write names like this.
    let (_, count) =
        rows(&router, query("SELECT count(*) FROM \"tidings\".\"views\".\"spans\"")).await;
    assert_eq!(count[0].column(0).as_primitive::<arrow_array::types::Int64Type>().value(0), 7);
    assert_eq!(harness.service.running(), 0);
}

#[tokio::test]
async fn an_answer_comes_in_messages_of_a_bounded_size() {
    let harness = Harness::new().await;
    let name = "n".repeat(8_000);
    harness.send("shop", (1..=500).map(|id| span(1, id, &name)).collect()).await;
    let router = router(Some(harness.service.clone()));
    let info = one(&router, "GetFlightInfo", descriptor(&query("SELECT operation FROM spans")));
    let info = fields(&info.await.unwrap());
    let ticket = fields(&fields(&info[&3])[&1])[&1].clone();
    let data = call(&router, "DoGet", &[message(&[(1, &ticket)])]).await.unwrap();
    assert!(data.len() > 4 && data.iter().all(|message| message.len() < 2 << 20), "{}", data.len());
    let said = fields(&data[0])[&3].clone();
    let said: serde_json::Value = serde_json::from_slice(&said).unwrap();
    assert_eq!((&said["read"]["rows"], &said["repeatsCounted"]), (&500.into(), &false.into()));
    let found = batches(&data);
    assert_eq!(found.iter().map(RecordBatch::num_rows).sum::<usize>(), 500);
}

#[tokio::test]
async fn an_answer_that_would_be_cut_is_refused() {
    let harness = Harness::with(SqlLimits { rows_max: 5, ..SqlLimits::default() }).await;
    story(&harness).await;
    let router = router(Some(harness.service.clone()));
    let ticket = any(
        "CommandPreparedStatementQuery",
        &message(&[(1, &message(&[(1, b"SELECT * FROM spans")]))]),
    );
    let (status, said) = one(&router, "DoGet", message(&[(1, &ticket)])).await.unwrap_err();
    assert_eq!((status, said.contains("more than 5 rows")), (EXHAUSTED, true), "{said}");
}

#[tokio::test]
async fn a_refusal_has_the_text_that_http_has() {
    let harness = Harness::new().await;
    let router = router(Some(harness.service.clone()));
    for text in ["DROP TABLE spans", "SELECT * FROM secret", "SELEC 1", "SELECT $1", ""] {
        let expected = harness.refusal(text).await.to_string();
        for method in ["GetFlightInfo", "GetSchema"] {
            let (status, said) = one(&router, method, descriptor(&query(text))).await.unwrap_err();
            assert_eq!((status, said), (INVALID, expected.clone()), "{method} {text}");
        }
    }
}

#[tokio::test]
async fn unsupported_calls_are_refused_by_name() {
    let harness = Harness::new().await;
    let router = router(Some(harness.service.clone()));
    let put = |name: &str| {
        let of = any(name, &message(&[(1, b"DELETE FROM spans")]));
        message(&[(1, &descriptor(&of))])
    };
    let action = |name: &str| message(&[(1, name.as_bytes())]);
    let in_transaction =
        any("CommandStatementQuery", &message(&[(1, b"SELECT 1"), (2, b"transaction")]));
    for (method, message, named) in [
        ("DoPut", put("CommandStatementUpdate"), "CommandStatementUpdate"),
        ("DoPut", put("CommandStatementIngest"), "CommandStatementIngest"),
        ("DoPut", put("CommandPreparedStatementUpdate"), "CommandPreparedStatementUpdate"),
        ("DoAction", action("BeginTransaction"), "BeginTransaction"),
        ("DoAction", action("CancelFlightInfo"), "CancelFlightInfo"),
        ("GetFlightInfo", descriptor(&any("CommandStatementSubstraitPlan", b"")), "Substrait"),
        ("GetFlightInfo", descriptor(&in_transaction), "a transaction"),
        ("ListFlights", Vec::new(), "ListFlights"),
        ("DoExchange", Vec::new(), "DoExchange"),
        ("PollFlightInfo", descriptor(&query("SELECT 1")), "PollFlightInfo"),
        ("DoNothing", Vec::new(), "DoNothing"),
    ] {
        let (status, said) = one(&router, method, message).await.unwrap_err();
        assert_eq!((status, said.contains(named)), (UNIMPLEMENTED, true), "{method}: {said}");
    }
    for (method, message) in [
        ("GetFlightInfo", descriptor(b"\xff\xff")),
        ("GetFlightInfo", descriptor(&message(&[(1, b"elsewhere.Command")]))),
        ("GetFlightInfo", message(&[(3, b"path")])),
        ("DoGet", message(&[(1, b"nothing")])),
        ("DoGet", message(&[(1, &any("TicketStatementQuery", &message(&[(1, b"\x0a\xff")])))])),
        ("DoPut", message(&[(1, &descriptor(&any("CommandPreparedStatementQuery", b"")))])),
        ("DoAction", message(&[(1, b"CreatePreparedStatement"), (2, b"?")])),
    ] {
        let (status, said) = one(&router, method, message).await.unwrap_err();
        assert_eq!(status, INVALID, "{method}: {said}");
    }
    let (status, _) = call(&router, "GetFlightInfo", &[vec![], vec![]]).await.unwrap_err();
    assert_eq!(status, UNIMPLEMENTED);
}

#[tokio::test]
async fn the_catalog_is_the_views() {
    let harness = Harness::new().await;
    let router = router(Some(harness.service.clone()));
    let (_, catalogs) = rows(&router, any("CommandGetCatalogs", b"")).await;
    assert_eq!(texts(&catalogs[0], 0), ["tidings"]);
    let (_, schemas) = rows(&router, any("CommandGetDbSchemas", b"")).await;
    assert_eq!((texts(&schemas[0], 0), texts(&schemas[0], 1)), (vec!["tidings"], vec!["views"]));
    let (_, types) = rows(&router, any("CommandGetTableTypes", b"")).await;
    assert_eq!(texts(&types[0], 0), ["VIEW"]);
    let mut with_schema = message(&[(3, b"%s")]);
    with_schema.extend([0x28, 1]);
    let (_, tables) = rows(&router, any("CommandGetTables", &with_schema)).await;
    assert_eq!(texts(&tables[0], 2), ["edges", "logs", "spans", "traces"]);
    for (row, name) in texts(&tables[0], 2).into_iter().enumerate() {
        let told = schema(tables[0].column(4).as_binary::<i32>().value(row));
        let (columns, _) = rows(&router, query(&format!("SELECT * FROM {name} LIMIT 0"))).await;
        assert_eq!(told, columns, "{name}");
    }
    for elsewhere in
        [message(&[(1, b"other")]), message(&[(2, b"other")]), message(&[(4, b"TABLE")])]
    {
        let (_, none) = rows(&router, any("CommandGetTables", &elsewhere)).await;
        assert_eq!(none[0].num_rows(), 0);
    }
    for command in ["PrimaryKeys", "ExportedKeys", "ImportedKeys", "CrossReference"] {
        let (columns, none) = rows(&router, any(&format!("CommandGet{command}"), b"")).await;
        assert!(columns.fields().len() >= 6 && none[0].num_rows() == 0, "{command}");
    }
    let (columns, types) = rows(&router, any("CommandGetXdbcTypeInfo", b"")).await;
    assert_eq!((columns.fields().len(), types[0].num_rows()), (19, 7));
    let (_, info) = rows(&router, any("CommandGetSqlInfo", b"")).await;
    assert!(info[0].num_rows() > 40);
    let (_, some) = rows(&router, any("CommandGetSqlInfo", &message(&[(1, &[0, 3])]))).await;
    let values = some[0].column(1).as_union();
    assert_eq!(values.value(0).as_string::<i32>().value(0), "Tidings");
    assert!(values.value(1).as_boolean().value(0));
    let actions = call(&router, "ListActions", &[Vec::new()]).await.unwrap();
    let names: Vec<Bytes> = actions.iter().map(|action| fields(action)[&1].clone()).collect();
    assert_eq!(names, ["CreatePreparedStatement", "ClosePreparedStatement"]);
    assert!(call(&router, "Handshake", &[Vec::new()]).await.is_ok());
}

#[tokio::test]
async fn a_request_has_a_limit_for_all_its_messages_as_they_are_sent_and_decompressed() {
    let harness = Harness::new().await;
    let router = router(Some(harness.service.clone()));
    let asked = descriptor(&query("SELECT 1"));
    assert_eq!(send(&router, "GetFlightInfo", gzip_frame(&asked)).await.unwrap().len(), 1);
    let info = respond(&router, "GetFlightInfo", frame(std::slice::from_ref(&asked))).await;
    assert!(info.extensions().get::<BodyMemory>().is_some(), "it is counted until it is read");
    // Field 3 of the messages is no part of a row.
    let large = gzip_frame(&message(&[(3, &vec![0; 200 << 10])]));
    assert!(large.len() < 4 << 10, "{}", large.len());
    let (status, said) = send(&router, "DoPut", large.clone()).await.unwrap_err();
    assert_eq!((status, said.as_str()), (INVALID, "there is no descriptor"));
    let (status, said) = send(&router, "DoPut", large.repeat(2).into()).await.unwrap_err();
    assert_eq!((status, said.contains("more than 262144 bytes")), (EXHAUSTED, true), "{said}");
    // Nothing reads field 9.
    let unread = gzip_frame(&message(&[(9, &vec![0; 200 << 10])]));
    let (status, said) = send(&router, "DoPut", unread.repeat(65).into()).await.unwrap_err();
    assert_eq!((status, said.contains("more than 64 messages")), (EXHAUSTED, true), "{said}");
    let alone = gzip_frame(&message(&[(3, &vec![0; 300 << 10])]));
    let (status, said) = send(&router, "DoPut", alone).await.unwrap_err();
    assert_eq!(status, EXHAUSTED, "{said}");
    for method in ["DoPut", "DoGet", "Handshake"] {
        let long = vec![message(&[(3, &vec![0; 100 << 10])]); 3];
        let (status, said) = call(&router, method, &long).await.unwrap_err();
        assert_eq!(status, EXHAUSTED, "{method}: {said}");
    }
}

#[tokio::test]
async fn a_response_has_the_text_of_its_query_whether_it_is_answered_or_refused() {
    let harness = Harness::new().await;
    let router = router(Some(harness.service.clone()));
    for text in ["SELECT 1 AS one", "SELEC 1"] {
        let ticket = message(&[(1, &query(text))]);
        let response = respond(&router, "DoGet", frame(&[ticket])).await;
        let told = response.extensions().get::<SubmittedStatement>();
        assert_eq!(told, Some(&SubmittedStatement(text.to_owned())));
    }
}

#[tokio::test]
async fn where_queries_are_switched_off_flight_says_so() {
    let router = router(None);
    let (status, said) =
        one(&router, "GetFlightInfo", descriptor(&query("SELECT 1"))).await.unwrap_err();
    assert_eq!((status, said.contains("`sql`")), (7, true), "{said}");
}

/// Prepares a query. Returns its handle, its columns and its placeholders.
async fn prepare(router: &Router, text: &str) -> Result<(Bytes, Schema, Schema), (i32, String)> {
    let request = any("ActionCreatePreparedStatementRequest", &message(&[(1, text.as_bytes())]));
    let action = message(&[(1, b"CreatePreparedStatement"), (2, &request)]);
    let result = fields(&one(router, "DoAction", action).await?);
    let created = fields(&fields(&result[&1])[&2]);
    let parameters = created.get(&3).map_or_else(Schema::empty, |told| schema(told));
    Ok((created[&1].clone(), schema(&created[&2]), parameters))
}

#[tokio::test]
async fn a_prepared_query_takes_values_where_it_has_placeholders() {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, Int64Array, StringArray};

    let harness = Harness::new().await;
    story(&harness).await;
    let router = router(Some(harness.service.clone()));
    let text = "SELECT operation FROM spans WHERE service = ? AND duration_nanos >= ? \
                AND operation LIKE ? ORDER BY operation LIMIT ?";
    let (handle, columns, parameters) = prepare(&router, text).await.unwrap();
    assert_eq!(columns.fields().len(), 1);
    let types: Vec<String> =
        parameters.fields().iter().map(|field| field.data_type().to_string()).collect();
    assert_eq!(types, ["Utf8", "Int64", "Utf8", "Int64"]);
    let unbound = any("CommandPreparedStatementQuery", &message(&[(1, &handle)]));
    let (status, said) = one(&router, "GetFlightInfo", descriptor(&unbound)).await.unwrap_err();
    assert!(status == INVALID && said.contains("a placeholder"), "{said}");

    let values: [(&str, ArrayRef); 4] = [
        ("1", Arc::new(StringArray::from(vec!["shop"]))),
        ("2", Arc::new(Int64Array::from(vec![50_000_000]))),
        ("3", Arc::new(StringArray::from(vec!["%check%"]))),
        ("4", Arc::new(Int64Array::from(vec![1]))),
    ];
    let put = put(&unbound, &RecordBatch::try_from_iter(values).unwrap());
    let bound = call(&router, "DoPut", &put).await.unwrap();
    let handle = fields(&fields(&bound[0])[&1])[&1].clone();
    let bound = any("CommandPreparedStatementQuery", &message(&[(1, &handle)]));
    let (_, found) = rows(&router, bound).await;
    assert_eq!(texts(&found[0], 0), ["POST /checkout"]);
    let close = any("ActionClosePreparedStatementRequest", &message(&[(1, &handle)]));
    let close = message(&[(1, b"ClosePreparedStatement"), (2, &close)]);
    assert_eq!(call(&router, "DoAction", &[close]).await.unwrap(), Vec::<Bytes>::new());
}

/// Builds the messages that put a row of values.
fn put(command: &[u8], row: &RecordBatch) -> Vec<Vec<u8>> {
    let mut stream = Vec::new();
    let mut writer = arrow_ipc::writer::StreamWriter::try_new(&mut stream, &row.schema()).unwrap();
    writer.write(row).unwrap();
    writer.finish().unwrap();
    let (mut rest, mut messages) = (stream.as_slice(), Vec::new());
    while rest.len() > 8 {
        let length = u32::from_le_bytes(rest[4..8].try_into().unwrap()) as usize;
        let header = &rest[8..8 + length];
        let body = arrow_ipc::root_as_message(header).unwrap().bodyLength();
        let body = &rest[8 + length..8 + length + usize::try_from(body).unwrap()];
        let mut data = match messages.is_empty() {
            true => message(&[(1, &descriptor(command))]),
            false => Vec::new(),
        };
        data.extend(message(&[(2, header), (1000, body)]));
        messages.push(data);
        rest = &rest[8 + length + body.len()..];
    }
    messages
}

#[tokio::test]
async fn queries_with_placeholders_are_described_without_values() {
    let harness = Harness::new().await;
    let router = router(Some(harness.service.clone()));
    for (text, columns, parameters) in [
        ("SELECT 1 AS one", 1, 0),
        ("SELECT * FROM tree(?)", 28, 1),
        ("SELECT * FROM matching_logs(?)", 15, 1),
        ("SELECT service FROM spans WHERE start_time > $1 AND start_time < $2", 1, 2),
        ("SELECT attributes[?] FROM spans", 1, 1),
        ("SELECT 1 FROM spans WHERE service IN (?, ?) OR duration_nanos BETWEEN ? AND ?", 1, 4),
        ("SELECT ? AS given", 1, 1),
    ] {
        let (_, described, placeholders) =
            prepare(&router, text).await.unwrap_or_else(|error| panic!("{text}: {error:?}"));
        assert_eq!(
            (described.fields().len(), placeholders.fields().len()),
            (columns, parameters),
            "{text}"
        );
    }
    for text in [
        "SELECT ? FROM secret",
        "SELECT servce FROM spans WHERE service = ?",
        "SELECT ?, $1",
        "SELECT $a",
    ] {
        let (status, said) = prepare(&router, text).await.unwrap_err();
        assert_eq!(status, INVALID, "{text}: {said}");
    }
}
