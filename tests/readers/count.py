"""Counts the rows of Delta tables with readers that aren't ours, and prints them as JSON."""

import json
import sys
from pathlib import Path

import duckdb
from deltalake import DeltaTable, QueryBuilder
from duckdb_extensions import import_extension


def by_delta_rs(path: Path) -> int:
    builder = QueryBuilder().register("rows", DeltaTable(str(path)))
    batches = builder.execute("SELECT count(*) AS n FROM rows").read_all()
    return int(batches.column(0)[0].as_py())


def by_duckdb(path: Path) -> int:
    return duckdb.execute("SELECT count(*) FROM delta_scan(?)", [str(path)]).fetchone()[0]


def main() -> None:
    import_extension("delta")
    duckdb.load_extension("delta")
    root = Path(sys.argv[1])
    tables = sorted(path.parent for path in root.glob("*/_delta_log"))
    print(json.dumps({path.name: {"delta_rs": by_delta_rs(path), "duckdb": by_duckdb(path)} for path in tables}))


main()
