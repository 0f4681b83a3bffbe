//! Random valid queries in TraceQL, PromQL and the log query language. Most mutated inputs end in a
//! parser. These queries read data and compute results.

use fastrand::Rng;

/// Maximum nesting depth.
const DEPTH: usize = 3;

fn one<'a>(rng: &mut Rng, of: &[&'a str]) -> &'a str {
    of[rng.usize(..of.len())]
}

/// Returns a TraceQL query that finds traces.
pub(super) fn traceql(rng: &mut Rng) -> String {
    const STAGES: [&str; 7] = [
        " | count() > 1",
        " | avg(duration) > 1us",
        " | max(duration) > 3 * min(duration)",
        " | by(resource.service.name) | count() >= 2",
        " | select(span.http.route, status)",
        " | coalesce()",
        "",
    ];
    spansets(rng, DEPTH) + one(rng, &STAGES)
}

fn spansets(rng: &mut Rng, depth: usize) -> String {
    const BETWEEN: [&str; 12] =
        ["&&", "||", ">>", "<<", ">", "<", "~", "!>>", "!<<", "!~", "&>>", "&~"];
    if depth == 0 || rng.u8(..3) == 0 {
        return match rng.u8(..8) {
            0 => "{}".to_owned(),
            _ => format!("{{ {} }}", span_condition(rng, DEPTH)),
        };
    }
    let (left, right) = (spansets(rng, depth - 1), spansets(rng, depth - 1));
    format!("({left}) {} ({right})", one(rng, &BETWEEN))
}

fn span_condition(rng: &mut Rng, depth: usize) -> String {
    const TEXTS: [&str; 7] = [
        "name",
        "statusMessage",
        "resource.service.name",
        "span.http.route",
        "parent.span.http.route",
        ".http.route",
        "trace:rootService",
    ];
    const NUMBERS: [&str; 5] = [
        "span.http.response.status_code",
        "childCount",
        "trace:spanCount",
        ".x",
        "2 * nestedSetLeft",
    ];
    const LENGTHS: [&str; 3] = ["duration", "traceDuration", "parent.duration"];
    const ORDERS: [&str; 6] = ["=", "!=", ">", ">=", "<", "<="];
    if depth > 0 && rng.bool() {
        let (left, right) = (span_condition(rng, depth - 1), span_condition(rng, depth - 1));
        return match rng.u8(..3) {
            0 => format!("!({left})"),
            1 => format!("({left} && {right})"),
            _ => format!("({left} || {right})"),
        };
    }
    let order = one(rng, &ORDERS);
    let equal = one(rng, &ORDERS[..2]);
    match rng.u8(..7) {
        0 => format!("{} {equal} {}", one(rng, &TEXTS), one(rng, &["\"shop\"", "\"/r/1\"", "``"])),
        1 => format!("{} =~ {}", one(rng, &TEXTS), one(rng, &["\"op.*[0-9]\"", "\".*\""])),
        2 => format!("{} {order} {}", one(rng, &NUMBERS), rng.u32(..1_000)),
        3 => format!("{} {order} {}ms", one(rng, &LENGTHS), rng.u32(..10)),
        4 => format!("status {equal} {}", one(rng, &["error", "ok", "unset"])),
        5 => format!("kind {equal} {}", one(rng, &["server", "client", "internal"])),
        _ => format!("{} {equal} nil", one(rng, &["span.x", "parent", "span.http.route"])),
    }
}

/// Returns a PromQL query.
pub(super) fn promql(rng: &mut Rng) -> String {
    vector(rng, DEPTH)
}

fn selector(rng: &mut Rng) -> String {
    const METRICS: [&str; 4] = [
        "traces_spanmetrics_calls_total",
        "traces_spanmetrics_latency_count",
        "traces_spanmetrics_latency_bucket",
        "traces_service_graph_request_total",
    ];
    const MATCHERS: [&str; 6] = [
        "",
        "{service=\"shop\"}",
        "{service=~\"sh.*|stock\"}",
        "{span_kind!=\"SPAN_KIND_SERVER\"}",
        "{status_code!~\".*ERROR\"}",
        "{client=\"shop\",server!=\"\"}",
    ];
    format!("{}{}", one(rng, &METRICS), one(rng, &MATCHERS))
}

fn vector(rng: &mut Rng, depth: usize) -> String {
    const OVER_TIME: [&str; 6] =
        ["rate", "increase", "delta", "max_over_time", "count_over_time", "changes"];
    const AGGREGATES: [&str; 5] = ["sum", "avg", "max", "count", "stddev"];
    const LABELS: [&str; 4] = ["service", "span_name", "service,status_code", "le"];
    const FUNCTIONS: [&str; 5] = ["abs", "ceil", "sqrt", "sort_desc", "ln"];
    const BETWEEN: [&str; 8] = ["+", "-", "*", "/", "%", "and", "unless", "> bool"];
    if depth == 0 {
        return selector(rng);
    }
    let depth = depth - 1;
    match rng.u8(..9) {
        0 => selector(rng),
        1 | 2 => {
            let range = one(rng, &["1m", "5m", "1h"]);
            format!("{}({}[{range}])", one(rng, &OVER_TIME), selector(rng))
        }
        3 | 4 => {
            let (aggregate, labels) = (one(rng, &AGGREGATES), one(rng, &LABELS));
            format!("{aggregate} by ({labels}) ({})", vector(rng, depth))
        }
        5 => format!("topk({}, {})", rng.u8(1..5), vector(rng, depth)),
        6 => format!("{}({})", one(rng, &FUNCTIONS), vector(rng, depth)),
        7 => {
            let (left, right) = (vector(rng, depth), vector(rng, depth));
            let between = one(rng, &BETWEEN);
            format!("sum by (service) ({left}) {between} sum by (service) ({right})")
        }
        _ => format!("({}) {} {}", vector(rng, depth), one(rng, &BETWEEN[..5]), rng.u32(1..1_000)),
    }
}

/// Returns a query for log records.
pub(super) fn log_query(rng: &mut Rng) -> String {
    log_terms(rng, DEPTH)
}

fn log_terms(rng: &mut Rng, depth: usize) -> String {
    const TERMS: [&str; 16] = [
        "line",
        "\"line 7\"",
        "li*",
        "lnie~1",
        "/line [0-9]+/",
        "*ine*",
        "service:shop",
        "service:s*",
        "severity:>=warn",
        "severity:info",
        "trace_id:00000000000000000000000000000007",
        "order.id:*",
        "status:>=500",
        "took:[10 TO 20}",
        "body:\"of stock\"",
        "*",
    ];
    if depth == 0 || rng.u8(..3) == 0 {
        return one(rng, &TERMS).to_owned();
    }
    let (left, right) = (log_terms(rng, depth - 1), log_terms(rng, depth - 1));
    match rng.u8(..4) {
        0 => format!("{left} {right}"),
        1 => format!("({left} OR {right})"),
        2 => format!("{left} AND NOT ({right})"),
        _ => format!("{{service=\"shop\"}} |= \"{}\"", rng.u32(..100)),
    }
}
