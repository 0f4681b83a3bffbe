"""Asks over Flight SQL with ADBC's driver, as data tools do, and prints what came back as JSON.

Usage: client.py <address> <what>

`tour` is everything once; `endless` is a query that does not end by itself.
"""

import datetime
import json
import sys

import adbc_driver_flightsql.dbapi as flight_sql
import pyarrow
import pyarrow.flight


def refusal(cursor, query, parameters=None):
    """What a query that is refused is refused with."""
    try:
        cursor.execute(query, parameters)
        cursor.fetchall()
    except flight_sql.Error as error:
        return {"kind": type(error).__name__, "status": error.status_code.name, "said": str(error)}
    return None


def columns(catalog):
    """Each table's columns, out of the tree of objects."""
    return {
        table["table_name"]: [column["column_name"] for column in table["table_columns"]]
        for schema in catalog["catalog_db_schemas"]
        for table in schema["db_schema_tables"]
    }


def tour(address):
    found = {}
    with flight_sql.connect(f"grpc://{address}", autocommit=True) as connection:
        with connection.cursor() as cursor:
            cursor.execute("SELECT service, count(*) AS n FROM spans GROUP BY service")
            found["rows"] = cursor.fetchall()
            cursor.execute("SELECT * FROM spans")
            spans = cursor.fetch_arrow_table()
            found["spans"] = [spans.num_rows, len(set(spans["span_id"].to_pylist()))]
            schema = cursor.adbc_execute_schema("SELECT start_time, attributes FROM spans")
            found["schema"] = [[field.name, str(field.type)] for field in schema]
            cursor.execute(
                "SELECT count(*) FROM spans WHERE service = ? AND duration_nanos > ? AND start_time < ?",
                ("shop", 5, datetime.datetime(2100, 1, 1, tzinfo=datetime.timezone.utc)),
            )
            found["bound"] = cursor.fetchall()
            cursor.execute("SELECT depth, span_id FROM tree($1) ORDER BY position LIMIT $2", ("%032x" % 1, 2))
            found["tree"] = cursor.fetchall()
            cursor.execute("SELECT ?, ?, ?, ?, ?", (None, True, -7, 0.5, "it's $1"))
            found["values"] = cursor.fetchall()
            found["refused"] = [
                refusal(cursor, query)
                for query in [
                    "DROP TABLE spans",
                    "SELECT * FROM secret",
                    "SELECT servce FROM spans",
                    "SELECT * FROM spans a, spans b",
                ]
            ]
            found["several"] = refusal(cursor, "SELECT 1 WHERE 1 = ?", [])
        tree = connection.adbc_get_objects(depth="all").read_all().to_pylist()
        found["objects"] = {catalog["catalog_name"]: columns(catalog) for catalog in tree}
        found["logs"] = connection.adbc_get_table_schema("logs").names
        found["types"] = connection.adbc_get_table_types()
        info = connection.adbc_get_info()
        found["info"] = [info["vendor_name"], info["vendor_version"]]
    client = pyarrow.flight.connect(f"grpc://{address}")
    found["actions"] = [action.type for action in client.list_actions()]
    # The server requires no keys, so it accepts any credentials.
    client.authenticate_basic_token("anyone", "anything")
    print(json.dumps(found))


def endless(address):
    with flight_sql.connect(f"grpc://{address}", autocommit=True) as connection:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM spans a, spans b, spans c, spans d, spans e")
            cursor.fetchall()


if __name__ == "__main__":
    {"tour": tour, "endless": endless}[sys.argv[2]](sys.argv[1])
