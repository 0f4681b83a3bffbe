//! `/api/v1/logs/histogram`, `/api/v1/logs/patterns` and `/api/v1/logs/stats`.

use ::http::Uri;
use axum::{extract::State, response::Response};
use tidings_proto::api::{LogHistogram, LogPatternList, LogStats};
use tidings_query::{
    LogHistogramSearch, LogStatsSearch, PatternSearch, QueryService,
    analysis::{log_histogram::log_histogram, log_stats::log_stats, patterns},
};

use super::{
    encoding,
    filters::{LOG_FILTERS, STEP, WINDOW, baseline_times},
    log_search::log_filter,
    problem::{ApiError, Problems},
};
use crate::params::{
    Params,
    declared::{HasParameters, ParameterLists, ParametersOf, limit, query},
    form::ParameterForm::{Duration, Text, Time, Word},
};

endpoints![histogram: __path_histogram, patterns: __path_patterns, stats: __path_stats];

/// Parameters of a log histogram.
pub(super) struct LogHistogramParameters;

impl HasParameters for LogHistogramParameters {
    const LISTS: ParameterLists = &[LOG_FILTERS, WINDOW, &[STEP]];
}

const ALL: &str = "all";
const CHANGED: &str = "changed";

/// Parameters of a list of patterns.
pub(super) struct LogPatternParameters;

impl HasParameters for LogPatternParameters {
    const LISTS: ParameterLists = &[
        LOG_FILTERS,
        WINDOW,
        &[
            STEP,
            limit(100, 1_000, "At most so many patterns, the most frequent"),
            query(
                "baselineStart",
                Time,
                "Compared with the time from here on, instead of as long a time before the window; needs `baselineEnd`",
            ),
            query("baselineEnd", Time, "To here, later than `baselineStart`"),
            query(
                "list",
                Word(&[ALL, CHANGED]),
                "`all` patterns of the window (the default), or those that `changed`: new, gone, or at another rate, the greatest change first",
            ),
        ],
    ];
}

/// Parameters of counts by field.
pub(super) struct LogStatsParameters;

impl HasParameters for LogStatsParameters {
    const LISTS: ParameterLists = &[
        LOG_FILTERS,
        WINDOW,
        &[
            query(
                "by",
                Text,
                "A field to group by, as queries name it: `service`, `severity`, an attribute's key; repeat it for several",
            )
            .repeated(),
            query(
                "number",
                Text,
                "A field with numbers, whose percentiles are wanted for each group; or a field and a pattern whose first group captures them, as `body:/took (\\d+) ms/`",
            ),
            query(
                "step",
                Duration,
                "Count each group by steps of this length, as `1m`, too: at most 1,000 steps",
            ),
            limit(10, 1_000, "At most so many groups, the most frequent"),
        ],
    ];
}

/// Log records by step and severity.
///
/// Counts every record once that matches the filters in the window.
#[utoipa::path(
    get,
    path = "/api/v1/logs/histogram",
    tag = "logs",
    operation_id = "getLogHistogram",
    params(ParametersOf<LogHistogramParameters>),
    responses((status = 200, body = LogHistogram), Problems)
)]
async fn histogram(State(service): State<QueryService>, uri: Uri) -> Result<Response, ApiError> {
    let params = Params::read::<LogHistogramParameters>(&uri)?;
    let filter = log_filter(&service, &params).await?;
    let search = LogHistogramSearch { filter, step: params.step()? };
    let (service, admission) = service.holding_permits();
    Ok(encoding::json(admission, service.ask(move |reader| log_histogram(reader, &search)).await?)
        .await?)
}

/// Log messages that are alike.
///
/// Messages of one service that differ only in some words are a pattern. Each has its count and rate
/// in the window and in the time that the window is compared with: as long a time before it, unless
/// another one is given. A pattern is new when it is not seen in that time.
#[utoipa::path(
    get,
    path = "/api/v1/logs/patterns",
    tag = "logs",
    operation_id = "listLogPatterns",
    params(ParametersOf<LogPatternParameters>),
    responses((status = 200, body = LogPatternList), Problems)
)]
async fn patterns(State(service): State<QueryService>, uri: Uri) -> Result<Response, ApiError> {
    let params = Params::read::<LogPatternParameters>(&uri)?;
    let filter = log_filter(&service, &params).await?;
    let search = PatternSearch {
        filter,
        step: params.step()?,
        limit: params.limit(),
        base: baseline_times(&params)?,
        is_of_changes: params.text("list") == Some(CHANGED),
        is_without_examples: false,
    };
    let (service, admission) = service.holding_permits();
    let found = service.ask(move |reader| patterns::patterns(reader, &search)).await?;
    Ok(encoding::json(admission, found).await?)
}

/// Log records by the values of fields.
///
/// The most frequent values of a field, their counts over time, and the percentiles of a number in
/// an attribute or in the message. A record that came twice is counted once. Without `by` all records are one group.
#[utoipa::path(
    get,
    path = "/api/v1/logs/stats",
    tag = "logs",
    operation_id = "getLogStats",
    params(ParametersOf<LogStatsParameters>),
    responses((status = 200, body = LogStats), Problems)
)]
async fn stats(State(service): State<QueryService>, uri: Uri) -> Result<Response, ApiError> {
    let params = Params::read::<LogStatsParameters>(&uri)?;
    let search = LogStatsSearch {
        filter: log_filter(&service, &params).await?,
        by: params.texts("by").into_iter().map(str::to_owned).collect(),
        number: params.owned("number"),
        step: params.step()?,
        limit: params.limit(),
    };
    let (service, admission) = service.holding_permits();
    Ok(encoding::json(admission, service.ask(move |reader| log_stats(reader, &search)).await?)
        .await?)
}
