//! `/api/v1/changes` and `/api/v1/deployments`.

use ::http::Uri;
use axum::{extract::State, response::Response};
use tidings_proto::api::{ChangeReport, VersionChangeList};
use tidings_query::{
    BaselineChoice, ChangeSearch, DeploymentSearch, QueryError, QueryService, analysis::deployments,
};

use super::{
    encoding,
    filters::{STEP, WINDOW, baseline_times},
    problem::{ApiError, Problems},
};
use crate::params::{
    Params,
    declared::{HasParameters, ParameterLists, ParametersOf, limit, query},
    form::ParameterForm::{Flag, Text, Time, Word},
};

endpoints![changes: __path_changes, deployments: __path_deployments];

/// The parameters of a query for changes.
pub(super) struct Changes;

/// The values of `baseline`.
const BASELINES: &[&str] = &["previous", "day", "week"];

impl HasParameters for Changes {
    const LISTS: ParameterLists = &[&[
        query(
            "start",
            Time,
            "At this time or later: Unix nanoseconds or RFC 3339; 30 minutes before the end when not given",
        ),
        query(
            "end",
            Time,
            "Before this time, which is later than `start`; the end of the data when neither is given, else now",
        ),
        query(
            "baseline",
            Word(BASELINES),
            "The time it is compared with: `previous`, as long a time right before the window (when not given); `day` or `week`, the same time a day or a week before",
        ),
        query(
            "baselineStart",
            Time,
            "Compared with the time from here on, whatever its length; needs `baselineEnd`",
        ),
        query("baselineEnd", Time, "To here, later than `baselineStart`"),
        STEP,
        query(
            "explain",
            Flag,
            "`true`: takes longer, looks at more traces, compares the attributes of more culprits and lists new patterns of log records",
        ),
        limit(50, 200, "At most so many transaction types, and so many services"),
    ]];
}

/// Changes of transactions and services, and their culprits.
///
/// Compares the window with a baseline. Transaction types and services are ranked by how much they
/// changed (durations, failures, calls, new exceptions and log patterns); only changes count that
/// are large enough and that chance does not explain (rank test, exact test of shares, test of
/// rates, corrected by Benjamini-Hochberg). Culprits are found in a sample of traces of both times:
/// each operation is compared with its own past without its waiting for others, and weighed by the
/// part of the transactions' change that it explains. When neither `start` nor `end` is given the
/// window is the last 30 minutes that have data.
#[utoipa::path(
    get,
    path = "/api/v1/changes",
    tag = "analysis",
    operation_id = "getChanges",
    params(ParametersOf<Changes>),
    responses((status = 200, body = ChangeReport), Problems)
)]
async fn changes(State(service): State<QueryService>, uri: Uri) -> Result<Response, ApiError> {
    let params = Params::read::<Changes>(&uri)?;
    let search = ChangeSearch {
        start: params.time_range()?,
        baseline: baseline(&params)?,
        step: params.step()?,
        explain: params.flag("explain"),
        limit: params.limit(),
    };
    let (service, admission) = service.holding_permits();
    Ok(encoding::json(admission, service.changes(search).await?).await?)
}

fn baseline(params: &Params) -> Result<BaselineChoice, QueryError> {
    let chosen = match params.text("baseline") {
        Some("day") => BaselineChoice::Day,
        Some("week") => BaselineChoice::Week,
        _ => BaselineChoice::Previous,
    };
    match baseline_times(params)? {
        None => Ok(chosen),
        Some(_) if params.text("baseline").is_some() => Err(QueryError::parameter(
            "baseline",
            "`baseline` and `baselineStart` are two ways to say the same: leave one out",
        )),
        Some((start, end)) => Ok(BaselineChoice::Between(start, end)),
    }
}

/// The parameters of a query for version changes.
pub(super) struct Deployments;

impl HasParameters for Deployments {
    const LISTS: ParameterLists = &[&[query("service", Text, "`service.name`").required()], WINDOW];
}

/// Version changes of a service.
///
/// The versions (`service.version` of the resource) that were first seen in the window after
/// another one. Of more than 65,536 spans of the service, versions are looked for in 16 samples of
/// the window: one that few spans have may be left out.
#[utoipa::path(
    get,
    path = "/api/v1/deployments",
    tag = "analysis",
    operation_id = "listDeployments",
    params(ParametersOf<Deployments>),
    responses((status = 200, body = VersionChangeList), Problems)
)]
async fn deployments(State(service): State<QueryService>, uri: Uri) -> Result<Response, ApiError> {
    let params = Params::read::<Deployments>(&uri)?;
    let search = DeploymentSearch {
        service: params.required("service")?.to_owned(),
        start: params.time_range()?,
    };
    let (service, admission) = service.holding_permits();
    let found = service.ask(move |reader| deployments::deployments(reader, &search)).await?;
    Ok(encoding::json(admission, found).await?)
}
