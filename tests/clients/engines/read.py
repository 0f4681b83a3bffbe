"""Reads the tables with engines that know nothing of Tidings, and prints what each one found.

Usage: read.py <data directory>/tables <span id>

One line per engine: {"engine": …, "spans": …, "logs": …}. A span that was sent twice is two rows;
`unique` counts rows that differ in what the sender said. The span id names the span whose attributes
are printed, ordered by key, as [key, type, value].
"""

import json
import sys
from urllib.parse import unquote

import duckdb
import polars
import pyarrow
import pyarrow.compute as compute
from deltalake import DeltaTable

TYPES = ["string", "int", "double", "bool", "bytes"]


def attribute(key, value):
    """An attribute as [key, type, value]; of several types there is at most one."""
    typed = [(name, value[name]) for name in TYPES if value is not None and value[name] is not None]
    assert len(typed) < 2, (key, value)
    if not typed:
        return [key, None, None]
    name, given = typed[0]
    return [key, name, given.hex() if name == "bytes" else given]


def attributes(columns, entries):
    """The attributes of a row: those of its columns and those of the map."""
    found = [attribute(*entry) for entry in entries]
    for name, value in columns.items():
        kind, dot, key = name.partition(".")
        if dot and kind in TYPES and value is not None:
            found.append([unquote(key), kind, value.hex() if kind == "bytes" else value])
    return sorted(found, key=lambda one: json.dumps(one[0]))


def with_deltalake(tables, span):
    """`deltalake`, and Arrow for the sums."""
    spans = DeltaTable(f"{tables}/spans").to_pyarrow_table()
    identity = ["trace_id", "span_id", "content_hash", "duration_nanos", "service"]
    unique = spans.select(identity).group_by(identity).aggregate([])
    per_service = unique.group_by("service").aggregate([("duration_nanos", "sum"), ([], "count_all")])
    one = spans.filter(compute.equal(spans["span_id"], pyarrow.scalar(span, pyarrow.binary())))
    logs = DeltaTable(f"{tables}/logs").to_pyarrow_table()
    texts = logs.group_by("text").aggregate([([], "count_all")]).sort_by("text")
    return {
        "spans": {
            "rows": spans.num_rows,
            "unique": unique.num_rows,
            "span_ids": compute.count_distinct(spans["span_id"]).as_py(),
            "duration": compute.sum(unique["duration_nanos"]).as_py(),
            "services": {
                row["service"]: [row["count_all"], row["duration_nanos_sum"]]
                for row in per_service.to_pylist()
            },
            "start": [
                compute.min(spans["start_unix_nanos"]).as_py(),
                compute.max(spans["start_unix_nanos"]).as_py(),
            ],
            "hours": compute.count_distinct(spans["hour"]).as_py(),
            "attributes": attributes(one.to_pylist()[0], one["attributes"][0].as_py()),
        },
        "logs": {
            "rows": logs.num_rows,
            "texts": {row["text"]: row["count_all"] for row in texts.to_pylist()},
        },
    }


def with_polars(tables, span):
    """Polars, lazily."""
    spans = polars.scan_delta(f"{tables}/spans")
    unique = spans.unique(["trace_id", "span_id", "content_hash"])
    per_service = unique.group_by("service").agg(polars.len(), polars.col("duration_nanos").sum())
    start = polars.col("start_unix_nanos")
    facts = spans.select(
        rows=polars.len(),
        span_ids=polars.col("span_id").n_unique(),
        first=start.min(),
        last=start.max(),
        hours=polars.col("hour").n_unique(),
    ).collect()
    one = spans.filter(polars.col("span_id") == span).head(1).collect()
    logs = polars.scan_delta(f"{tables}/logs")
    texts = logs.group_by("text").agg(polars.len()).collect()
    per_service = per_service.collect().rows()
    return {
        "spans": {
            "rows": facts["rows"][0],
            "unique": sum(count for _, count, _ in per_service),
            "span_ids": facts["span_ids"][0],
            "duration": sum(duration for _, _, duration in per_service),
            "services": {name: [count, duration] for name, count, duration in per_service},
            "start": [facts["first"][0], facts["last"][0]],
            "hours": facts["hours"][0],
            "attributes": attributes(
                one.drop("attributes").row(0, named=True), entries(one.select("attributes").to_arrow())
            ),
        },
        "logs": {"rows": sum(count for _, count in texts.rows()), "texts": dict(texts.rows())},
    }


def entries(table):
    """Key and value of the entries of the map in the first row of a table's only column."""
    given = table.column(0)[0].as_py()
    return [(one["key"], one["value"]) if isinstance(one, dict) else one for one in given]


def with_duckdb(tables, span):
    """DuckDB. Its reader of Delta tables is not part of it and would have to be fetched, so it is
    told which files the tables have."""

    def of(table):
        files = DeltaTable(f"{tables}/{table}").file_uris()
        return f"read_parquet({files!r}, hive_partitioning = true, union_by_name = true)"

    def rows(sql, *values):
        return duckdb.execute(sql, list(values)).fetchall()

    spans = of("spans")
    unique = f"(select distinct on (trace_id, span_id, content_hash) * from {spans})"
    facts = rows(
        f"select count(*), count(distinct span_id), min(start_unix_nanos), max(start_unix_nanos), "
        f"count(distinct hour) from {spans}"
    )[0]
    per_service = rows(
        f"select service, count(*), sum(duration_nanos)::bigint from {unique} group by service"
    )
    one = duckdb.execute(
        f"select *, map_entries(attributes) as entries from {spans} where span_id = ? limit 1", [span]
    )
    given = dict(zip([column[0] for column in one.description], one.fetchone()))
    in_map = [(entry["key"], entry["value"]) for entry in given["entries"]]
    texts = dict(rows(f"select text, count(*) from {of('logs')} group by text"))
    return {
        "spans": {
            "rows": facts[0],
            "unique": sum(count for _, count, _ in per_service),
            "span_ids": facts[1],
            "duration": sum(duration for _, _, duration in per_service),
            "services": {name: [count, duration] for name, count, duration in per_service},
            "start": [facts[2], facts[3]],
            "hours": facts[4],
            "attributes": attributes(given, in_map),
        },
        "logs": {"rows": sum(texts.values()), "texts": texts},
    }


def main():
    tables, span = sys.argv[1], bytes.fromhex(sys.argv[2])
    for engine in (with_deltalake, with_polars, with_duckdb):
        name = engine.__name__.removeprefix("with_")
        print(json.dumps({"engine": name, **engine(tables, span)}))


main()
