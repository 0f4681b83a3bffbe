//! Records of the server's use: `/api/v1/audit` and `/api/v1/queries`.

use ::http::Uri;
use axum::{Json, extract::State, response::Response};
use tidings_audit::{AuditPosition, AuditQuery};
use tidings_proto::api::{AuditEventList, AuditOutcome, SlowQueryList};
use tidings_query::{QueryOrigin, QueryService};

use super::{
    encoding,
    problem::{ApiError, Problems},
};
use crate::params::{
    Params,
    declared::{HasParameters, ParameterLists, ParametersOf, limit, query},
    form::ParameterForm::{Cursor, Text, Time, Word},
};

endpoints![audit: __path_audit, queries: __path_queries];

/// The parameters of a search of the audit log.
pub(super) struct AuditSearchParameters;

impl HasParameters for AuditSearchParameters {
    const LISTS: ParameterLists = &[&[
        query("start", Time, "At this time or later: Unix nanoseconds or RFC 3339"),
        query("end", Time, "Before this time"),
        query("action", Text, "Action, or its part before a dot, as `key` or `key.create`"),
        query("outcome", Word(&["success", "denied", "failure"]), "Outcome"),
        query("actor", Text, "Id or name of the key, or number of the machine's user"),
        query("address", Text, "IP address of the client"),
        query("text", Text, "Part of the object or the details, in any case of letters"),
        limit(100, 1_000, "Events on a page"),
        query("cursor", Cursor, "`nextCursor` of the page before"),
    ]];
}

/// Changes, denied requests and reads: who, what, when and from where.
///
/// The newest event first. Needs a key of the role `admin`, where keys are required. Reads are in it
/// where the setting `audit-reads` is on.
#[utoipa::path(
    get,
    path = "/api/v1/audit",
    tag = "keys",
    operation_id = "listAuditEvents",
    params(ParametersOf<AuditSearchParameters>),
    responses((status = 200, body = AuditEventList), Problems)
)]
async fn audit(State(service): State<QueryService>, uri: Uri) -> Result<Response, ApiError> {
    let params = Params::read::<AuditSearchParameters>(&uri)?;
    let range = params.time_range()?;
    let search = AuditQuery {
        start: range.start,
        end: range.end,
        action: params.owned("action"),
        outcome: params.text("outcome").map(outcome),
        actor: params.owned("actor"),
        address: params.owned("address"),
        text: params.owned("text"),
        tenant: None,
        limit: params.limit(),
        position: params.cursor(AuditPosition::parse)?,
    };
    let (service, admission) = service.holding_permits();
    let page = service.audit(search).await?;
    let list = AuditEventList {
        events: page.events,
        next_cursor: page.next.map(|position| params.next_cursor(position.to_string())),
        unreadable_lines: page.unreadable_lines,
    };
    Ok(encoding::json(admission, list).await?)
}

fn outcome(word: &str) -> AuditOutcome {
    match word {
        "success" => AuditOutcome::Success,
        "denied" => AuditOutcome::Denied,
        _ => AuditOutcome::Failure,
    }
}

/// No parameters.
pub(super) struct SlowQueries;

impl HasParameters for SlowQueries {
    const LISTS: ParameterLists = &[];
}

/// The slowest queries of the last hour, and how quickly each API answers.
///
/// At most 50 queries, the slowest first, of the tenant of the key: those of the APIs to read, and
/// those in SQL. They are in memory only. Names of those who asked are for keys that may administer.
/// `kinds` are the times of all answers since the start of the process.
#[utoipa::path(
    get,
    path = "/api/v1/queries",
    tag = "server",
    operation_id = "listSlowQueries",
    responses((status = 200, body = SlowQueryList), Problems)
)]
async fn queries(
    State(service): State<QueryService>,
    uri: Uri,
) -> Result<Json<SlowQueryList>, ApiError> {
    Params::read::<SlowQueries>(&uri)?;
    let has_askers = QueryOrigin::current().is_some_and(|question| question.may_administer);
    let list = service.recent_queries().list(service.now(), has_askers);
    Ok(Json(SlowQueryList { kinds: service.answer_times(), ..list }))
}
