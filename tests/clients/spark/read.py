"""Reads the tables with Spark and Delta's own library, and prints what it found.

Usage: read.py <data directory>/tables <span id> <folder for Delta's jars>

Prints one line like those of `engines/read.py`.
"""

import json
import sys
from urllib.parse import unquote

from delta import configure_spark_with_delta_pip
from pyspark.sql import SparkSession, functions

TYPES = ["string", "int", "double", "bool", "bytes"]


def session(jars):
    """One thread, no web page, nothing outside of the folder."""
    settings = {
        "spark.jars.ivy": jars,
        "spark.local.dir": f"{jars}/local",
        "spark.sql.warehouse.dir": f"{jars}/warehouse",
        "spark.ui.enabled": "false",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.memory": "1g",
        "spark.sql.shuffle.partitions": "1",
        "spark.databricks.delta.snapshotPartitions": "1",
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    }
    builder = SparkSession.builder.master("local[1]")
    for name, value in settings.items():
        builder = builder.config(name, value)
    return configure_spark_with_delta_pip(builder).getOrCreate()


def attribute(key, value):
    """An attribute as [key, type, value]; of several types there is at most one."""
    typed = [(name, value[name]) for name in TYPES if value is not None and value[name] is not None]
    assert len(typed) < 2, (key, value)
    return [key, *(typed[0] if typed else (None, None))]


def attributes(row):
    """The attributes of a row: those of its columns and those of the map."""
    found = [attribute(entry["key"], entry["value"]) for entry in row["entries"]]
    for name, value in row.asDict().items():
        kind, dot, key = name.partition(".")
        if dot and kind in TYPES and value is not None:
            found.append([unquote(key), kind, value.hex() if kind == "bytes" else value])
    return sorted(found, key=lambda one: json.dumps(one[0]))


def spans(table, span):
    """What the other engines are asked for, too."""
    unique = table.dropDuplicates(["trace_id", "span_id", "content_hash"])
    per_service = unique.groupBy("service").agg(
        functions.count("*").alias("spans"), functions.sum("duration_nanos").alias("nanos")
    )
    services = {row["service"]: [row["spans"], row["nanos"]] for row in per_service.collect()}
    facts = table.agg(
        functions.count("*").alias("rows"),
        functions.countDistinct("span_id").alias("span_ids"),
        functions.min("start_unix_nanos").alias("first"),
        functions.max("start_unix_nanos").alias("last"),
        functions.countDistinct("hour").alias("hours"),
    ).first()
    given = table.filter(table["span_id"] == functions.lit(span)).withColumn(
        "entries", functions.map_entries("attributes")
    )
    return {
        "rows": facts["rows"],
        "unique": sum(count for count, _ in services.values()),
        "span_ids": facts["span_ids"],
        "duration": sum(nanos for _, nanos in services.values()),
        "services": services,
        "start": [facts["first"], facts["last"]],
        "hours": facts["hours"],
        "attributes": attributes(given.first()),
    }


def logs(table):
    """The texts, each with how often it is there."""
    texts = {row["text"]: row["count"] for row in table.groupBy("text").count().collect()}
    return {"rows": sum(texts.values()), "texts": texts}


def main():
    tables, span, jars = sys.argv[1], bytearray.fromhex(sys.argv[2]), sys.argv[3]
    spark = session(jars)
    read = spark.read.format("delta")
    found = {
        "engine": "spark",
        "spans": spans(read.load(f"{tables}/spans"), span),
        "logs": logs(read.load(f"{tables}/logs")),
    }
    spark.stop()
    print(json.dumps(found))


main()
