"""Runs SQL on Parquet files with DuckDB. Takes one JSON object a line, and answers each with one.

duck.py THREADS MEMORY. {"tables": {NAME: [FILE, ...]}} makes views; {"run": SQL} says how many seconds it took
until the answer was whole in memory; {"compare": FILE} names rows in which that answer and a file differ.
"""

import json
import sys
import time

import duckdb

EXAMPLES = 3
# Sums are taken in another order by others: the last digits of a float may differ.
TOLERANCE = 1e-9


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def make_views(connection: duckdb.DuckDBPyConnection, tables: dict[str, list[str]]) -> None:
    """A view for each table. Files are united by name only where they have other columns than the first one."""
    for name, files in tables.items():
        columns = "SELECT count(DISTINCT c) FROM (SELECT list(name) AS c FROM parquet_schema(?) GROUP BY file_name)"
        by_name = connection.execute(columns, [files]).fetchone()[0] > 1
        listed = "[" + ", ".join("'" + file.replace("'", "''") + "'" for file in files) + "]"
        read = f"read_parquet({listed}, hive_partitioning = false, union_by_name = {by_name})"
        connection.execute(f"CREATE VIEW {quoted(name)} AS SELECT * FROM {read}")


def run(connection: duckdb.DuckDBPyConnection, sql: str) -> float:
    start = time.perf_counter()
    connection.execute(f"CREATE OR REPLACE TEMP TABLE answer AS {sql}")
    return time.perf_counter() - start


def is_same(name: str, kind: str) -> str:
    """The condition under which a column is the same in both."""
    a, b = f"duckdb_row.{quoted(name)}", f"killfeed_row.{quoted(name)}"
    if kind in ("DOUBLE", "FLOAT"):
        near = f"abs({a} - {b}) <= {TOLERANCE} * greatest(1, abs({a}))"
        return f"coalesce({near}, {a} IS NULL AND {b} IS NULL)"
    if kind.startswith("TIMESTAMP"):
        return f"CAST({a} AS TIMESTAMP) IS NOT DISTINCT FROM CAST({b} AS TIMESTAMP)"
    return f"CAST({a} AS VARCHAR) IS NOT DISTINCT FROM CAST({b} AS VARCHAR)"


def compare(connection: duckdb.DuckDBPyConnection, file: str) -> list[str]:
    """The first rows that differ, in their order; ours may have further columns behind."""
    columns = connection.execute("DESCRIBE answer").fetchall()
    same = " AND ".join(is_same(name, kind) for name, kind, *_ in columns)
    names = ", ".join(quoted(name) for name, *_ in columns)
    found = connection.execute(
        f"SELECT concat(CAST(duckdb_row AS VARCHAR), ' is not ', CAST(killfeed_row AS VARCHAR)) "
        f"FROM (SELECT {names}, true AS here FROM answer) duckdb_row "
        f"POSITIONAL JOIN (SELECT {names}, true AS here FROM read_parquet(?)) killfeed_row "
        f"WHERE duckdb_row.here IS NULL OR killfeed_row.here IS NULL OR NOT ({same}) LIMIT {EXAMPLES}",
        [file],
    ).fetchall()
    return [str(row[0]) for row in found]


def main() -> None:
    threads, memory = sys.argv[1:]
    connection = duckdb.connect(config={"threads": threads, "memory_limit": memory})
    connection.execute("SET TimeZone = 'UTC'")
    # Ours keeps the ends of files in memory, too.
    connection.execute("SET parquet_metadata_cache = true")
    for line in sys.stdin:
        asked = json.loads(line)
        said: dict[str, object] = {}
        try:
            if "tables" in asked:
                make_views(connection, asked["tables"])
            elif "run" in asked:
                said["seconds"] = run(connection, asked["run"])
            else:
                said["different"] = compare(connection, asked["compare"])
        except duckdb.Error as error:
            said["error"] = str(error)
        print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main()
