"""What a description cannot say.

Values that are well formed are replaced by some that fit together and that are stored, so that the
answers have something in them; a refusal for a reason that no schema can express is no failure.
"""

import re

import schemathesis
from schemathesis.openapi.checks import RejectedPositiveData

TRACE = "0" * 31 + "3"
HEX = r"(?!0+$)([0-9a-fA-F]{32}|[0-9a-fA-F]{16})"
DURATION = r"[0-9]{1,19}|[0-9]{1,9}([.][0-9]{1,9})?(ns|us|µs|ms|s)|[0-9]{1,6}([.][0-9]{1,9})?(m|h)"
TIME = r"[0-9]{1,18}|20[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])T.*Z"

# By parameter, the pattern of a valid value, and the value that is sent in its place.
REPLACED = {
    "traceId": (HEX, TRACE),
    "spanId": (r"(?!0+$)[0-9a-fA-F]{16}", f"{300:016x}"),
    "tid": (r"[\w-]+", TRACE),
    "left": (HEX, TRACE),
    "right": (HEX, "0" * 31 + "4"),
    "wait": (DURATION, "10ms"),
    "step": (DURATION, "1h"),
    "start": (TIME, "0"),
    "minDuration": (DURATION, "0"),
    "selectStart": (TIME, "0"),
    "selectMinDuration": (DURATION, "0"),
    "query": (r"(?s).{1,8192}", "SELECT * FROM spans ORDER BY span_id LIMIT 20"),
}

# By parameter, the reasons why the server may refuse a request that the schema allows.
OUT_OF_RANGE = r"must be nanoseconds since 1970 or RFC 3339"  # 30 February, the year 2300
REASONS = {
    "start": rf"nothing lies before|{OUT_OF_RANGE}",
    "end": rf"must be later than `start`|{OUT_OF_RANGE}",
    "selectStart": OUT_OF_RANGE,
    "selectEnd": rf"must be later than|{OUT_OF_RANGE}",
    "time": OUT_OF_RANGE,
    "maxDuration": r"must not be less than `minDuration`",
    "selectMaxDuration": r"must not be less than",
    "selectMinDuration": r"one of the `select…` parameters must say",
    "step": r"must be at least 1 ms|steps",
    "compare": r"by an attribute are not compared",
    "beforeSteps": r"by an attribute are not compared",
    "wait": r"must be at most 60 s",
    "cursor": r"must be the `nextCursor`|is of a search with other filters",
    "Last-Event-ID": r"must be the `id` of an event",
    "baseline": r"two ways to say the same",
    "baselineStart": rf"needs `baselineStart`|go with `compare=true`|{OUT_OF_RANGE}",
    "baselineEnd": rf"must be later than|needs `baselineEnd`|{OUT_OF_RANGE}",
    "text": r"must be given",
    "q": r"at line \d+, column \d+|at character \d+",
    "spansPerSpanset": r"goes with `q`",
    "traceId": r"`traceId` stands alone",
    "left": r"must be 1 to 500 traces",
    "right": r"must be 1 to 500 traces|must be trace ids",
    "index": r"row",
    "body": r"are of keys with the role ingest|needs a name of 1 to|has a name of 1 to"
    r"|one of `traceId` and `attribute`",
    "tenants": r"a tenant has a name of|tenants to choose are others",
    "query": r"",  # Few texts are queries in SQL, or have 8 KiB where they have 8192 characters.
}
WITH_QUERY = r"does not go with `q`|`q` does not go with"


@schemathesis.hook
def before_call(context, case, kwargs):
    for given in (case.path_parameters, case.query):
        for name, (well_formed, real) in REPLACED.items():
            value = given.get(name) if given else None
            if isinstance(value, str) and re.fullmatch(well_formed, value):
                given[name] = real


@schemathesis.hook
def filter_failure(context, failure, case, response):
    if not isinstance(failure, RejectedPositiveData) or response.status_code != 400:
        return True
    problem = response.json()
    reason = REASONS.get(problem.get("parameter"))
    known = [WITH_QUERY] if reason is None else [WITH_QUERY, reason]
    return not any(re.search(pattern, problem["detail"]) for pattern in known)
