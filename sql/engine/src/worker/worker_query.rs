//! The query of a worker: it is planned and run, and its answer is written.

use std::{
    io,
    sync::{Arc, mpsc::Receiver},
};

use bytes::Bytes;
use datafusion::physical_plan::execute_stream;
use futures::StreamExt;
use tidings_sql::{
    AnswerFormat, Query, SqlError, SqlLimits,
    frame::MESSAGE_BYTES_MAX,
    message::{Task, WorkerMessage},
    meter::Meter,
    schema_message,
};
use tidings_storage::{Clock, SystemClock};
use tokio::runtime::{Builder, Runtime};

use super::Order;
use crate::{
    answer::{CollectedRows, Rows, arrow_parts, check_rows, csv_parts, flight_parts, json_parts},
    error::running,
    plan::{self, PlannedQuery, QuerySignature, plan},
    prescan::Placeholders,
    server_link::ServerLink,
    source::ServerRows,
    statement::{self, Values},
};

/// A query with the most common elements. It is planned before the real query arrives, because the
/// first plan of a process takes longer than others.
const USUAL: &str = "SELECT service, count(*) AS n, max(duration_nanos) FROM spans \
                     WHERE kind = 'server' AND attributes['a'] = 'b' AND operation LIKE 'a%' \
                     GROUP BY service ORDER BY n DESC LIMIT 10";

/// Runs the only query of the process.
pub(super) fn run(link: &Arc<ServerLink>, orders: &Receiver<Order>) -> io::Result<()> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let runtime = Builder::new_current_thread().build()?;
    let feed = |limits| ServerRows {
        link: Arc::clone(link),
        meter: Arc::new(Meter::new(Arc::clone(&clock), limits)),
    };
    warm_up(&runtime, feed(SqlLimits::default()));
    let Ok(Order::Job(job)) = orders.recv() else { return Ok(()) };
    let feed = feed(job.limits);
    link.send(&WorkerMessage::Begun).map_err(|error| io::Error::other(error.to_string()))?;
    let done = match job.task {
        Task::Answer(query) => answer(&runtime, query, feed, orders),
        Task::Describe(query) => described(&runtime, link, async {
            let values = Values::Given(&query.parameters);
            let (statement, _) = statement::parse(&query.text, values)?;
            plan::describe(statement, Placeholders::default(), feed).await
        }),
        Task::Prepare(text) => described(&runtime, link, async {
            let (statement, placeholders) = statement::parse(&text, Values::Later)?;
            plan::describe(statement, placeholders, feed).await
        }),
    };
    let Err(error) = done else { return Ok(()) };
    let told = link.send(&WorkerMessage::Failed(error));
    told.map_err(|error| io::Error::other(error.to_string()))
}

/// Initialises the parts that a process initialises once.
fn warm_up(runtime: &Runtime, feed: ServerRows) {
    let planned = statement::parse(USUAL, Values::Given(&[]))
        .and_then(|(statement, _)| runtime.block_on(plan(statement, feed)));
    debug_assert!(planned.is_ok(), "{:?}", planned.err());
}

fn answer(
    runtime: &Runtime,
    query: Query,
    feed: ServerRows,
    orders: &Receiver<Order>,
) -> Result<(), SqlError> {
    let link = Arc::clone(&feed.link);
    let collected = runtime.block_on(collect(query, feed))?;
    link.send(&WorkerMessage::Answered(collected.head()))?;
    let Ok(Order::Write(form, facts)) = orders.recv() else { return Ok(()) };
    for part in parts(collected.rows(facts), form) {
        link.send_parts(&part?)?;
    }
    link.send(&WorkerMessage::Written)
}

/// Returns the bytes of the answer in this format, part by part.
fn parts(rows: Rows, form: AnswerFormat) -> Box<dyn Iterator<Item = Result<Bytes, SqlError>>> {
    match form {
        AnswerFormat::Json => Box::new(json_parts(rows)),
        AnswerFormat::Csv => Box::new(csv_parts(rows)),
        AnswerFormat::Arrow => Box::new(arrow_parts(rows)),
        AnswerFormat::Flight => Box::new(flight_parts(rows)),
    }
}

async fn collect(query: Query, feed: ServerRows) -> Result<CollectedRows, SqlError> {
    let meter = Arc::clone(&feed.meter);
    let (mut statement, _) = statement::parse(&query.text, Values::Given(&query.parameters))?;
    let rows_max = query.rows_max.unwrap_or(usize::MAX).min(meter.limits.rows_max);
    statement::bound_limit(&mut statement, rows_max);
    let PlannedQuery { plan, session } = plan(statement, feed).await?;
    meter.check()?;
    let mut collected = CollectedRows::new(plan.schema(), rows_max, meter.limits.answer_bytes_max);
    let mut batches = execute_stream(plan, session.task_ctx()).map_err(running)?;
    while let Some(batch) = batches.next().await {
        let batch = batch.map_err(running)?;
        check_rows(&batch)?;
        if collected.add(batch).is_break() {
            break;
        }
    }
    Ok(collected)
}

fn described(
    runtime: &Runtime,
    link: &ServerLink,
    describe: impl Future<Output = Result<QuerySignature, SqlError>>,
) -> Result<(), SqlError> {
    let QuerySignature { columns, parameters } = runtime.block_on(describe)?;
    let schemas = [Some(columns), Some(parameters).filter(|known| !known.fields().is_empty())];
    for schema in schemas.into_iter().flatten() {
        let message = schema_message(&schema)?;
        if message.len() > MESSAGE_BYTES_MAX {
            return Err(SqlError::Cut {
                what: "bytes of names of columns".into(),
                max: MESSAGE_BYTES_MAX,
            });
        }
        link.send_parts(&message)?;
    }
    link.send(&WorkerMessage::Described)
}
