"""Holds the rows of Delta tables against what clients sent, and prints what it finds as JSON.

chaos.py ROOT BOOKS TABLE...: ROOT is a directory, or s3://BUCKET/PREFIX with AWS_* in the environment; BOOKS
says of each game how many events were sent, and how many of them acknowledged.
"""

import json
import os
import sys
from urllib.parse import urlparse

import duckdb
from deltalake import DeltaTable, QueryBuilder
from duckdb_extensions import import_extension

ROWS = "SELECT id, game, n, _partition, _offset, _raw_offset FROM delta_scan('{path}')"
EXAMPLES = 5

# Each finds rows, with their count in the first column and a name to look for in the second.
CHECKS = {
    "lost": """
        SELECT g.acknowledged - count(DISTINCT r.n), g.game || ' has ' || count(DISTINCT r.n) || ' of ' || g.acknowledged
        FROM games g LEFT JOIN events r ON r.game = g.game AND r.n < g.acknowledged
        GROUP BY g.game, g.acknowledged HAVING count(DISTINCT r.n) < g.acknowledged""",
    "doubled": """
        SELECT count(*) - 1, id || ' stands ' || count(*) || ' times' FROM events GROUP BY id HAVING count(*) > 1
        UNION ALL
        SELECT count(*) - 1, 'offset ' || _offset || ' of ' || _partition FROM events
        GROUP BY _partition, _offset HAVING count(*) > 1
        UNION ALL
        SELECT count(*) - 1, 'raw offset ' || _raw_offset || ' of ' || _partition FROM events
        GROUP BY _partition, _raw_offset HAVING count(*) > 1""",
    "unknown": """
        SELECT 1, r.id FROM events r LEFT JOIN games g ON r.game = g.game
        WHERE g.game IS NULL OR r.n NOT BETWEEN 0 AND g.sent - 1 OR r.id <> r.game || ':' || r.n""",
    "disorder": """
        SELECT 1, id || ' behind ' || before FROM (
            SELECT id, n, lag(n) OVER (PARTITION BY game ORDER BY _partition, _offset) AS before FROM events)
        WHERE n <= before""",
}


def connect(root: str) -> duckdb.DuckDBPyConnection:
    """DuckDB with its Delta reader, and with the store's address and key if there is one."""
    connection = duckdb.connect()
    names = ["delta"] if not root.startswith("s3://") else ["httpfs", "delta"]
    for name in names:
        import_extension(name)
        connection.load_extension(name)
    if root.startswith("s3://"):
        endpoint = urlparse(os.environ["AWS_ENDPOINT_URL"])
        connection.execute(
            "CREATE SECRET (TYPE s3, KEY_ID $key, SECRET $secret, REGION $region, ENDPOINT $endpoint, "
            "URL_STYLE 'path', USE_SSL $tls)",
            {
                "key": os.environ["AWS_ACCESS_KEY_ID"],
                "secret": os.environ["AWS_SECRET_ACCESS_KEY"],
                "region": os.environ["AWS_REGION"],
                "endpoint": endpoint.netloc,
                "tls": endpoint.scheme == "https",
            },
        )
    return connection


def by_delta_rs(path: str) -> int:
    """Rows of a table, counted by delta-rs; it takes its options from the environment."""
    builder = QueryBuilder().register("rows", DeltaTable(path))
    batches = builder.execute("SELECT count(*) AS n FROM rows").read_all()
    return int(batches.column(0)[0].as_py())


def main() -> None:
    root, books, tables = sys.argv[1], sys.argv[2], sys.argv[3:]
    paths = [f"{root}/{table}" for table in tables]
    connection = connect(root)
    rows = " UNION ALL ".join(ROWS.format(path=path) for path in paths)
    connection.execute(f"CREATE TABLE events AS {rows}")
    connection.execute("CREATE TABLE games AS SELECT * FROM read_csv(?, header = true)", [books])
    found = {"rows_by_delta_rs": sum(by_delta_rs(path) for path in paths), "examples": []}
    found["rows"], found["ids"] = connection.execute("SELECT count(*), count(DISTINCT id) FROM events").fetchone()
    for name, query in CHECKS.items():
        wrong = connection.execute(query).fetchall()
        found[name] = sum(count for count, _ in wrong)
        found["examples"] += [f"{name}: {example}" for _, example in wrong[:EXAMPLES]]
    print(json.dumps(found))


main()
