"""Counts the rows of Delta tables with readers that aren't ours, and prints them as JSON.

The tables lie in a directory or at `s3://BUCKET/PREFIX`; endpoint and keys then come from the environment."""

import json
import os
import sys
from pathlib import Path
from urllib.parse import urlsplit

import duckdb
from deltalake import DeltaTable, QueryBuilder
from duckdb_extensions import import_extension


def by_delta_rs(table: str) -> int:
    builder = QueryBuilder().register("rows", DeltaTable(table))
    batches = builder.execute("SELECT count(*) AS n FROM rows").read_all()
    return int(batches.column(0)[0].as_py())


def by_duckdb(table: str) -> int:
    return duckdb.execute("SELECT count(*) FROM delta_scan(?)", [table]).fetchone()[0]


def open_s3() -> None:
    """Teaches DuckDB the store that the environment names."""
    import_extension("httpfs")
    duckdb.load_extension("httpfs")
    endpoint = urlsplit(os.environ["AWS_ENDPOINT_URL"])
    secret = (
        "CREATE SECRET (TYPE s3, KEY_ID '{AWS_ACCESS_KEY_ID}', SECRET '{AWS_SECRET_ACCESS_KEY}', "
        "REGION '{AWS_REGION}', URL_STYLE 'path', "
    ).format(**os.environ)
    duckdb.execute(f"{secret} ENDPOINT '{endpoint.netloc}', USE_SSL {str(endpoint.scheme == 'https').lower()})")


def tables_on_s3(root: str) -> list[str]:
    found = duckdb.execute("SELECT DISTINCT file FROM glob(?)", [f"{root}/*/_delta_log/*.json"]).fetchall()
    return sorted({file.split("/_delta_log/")[0] for (file,) in found})


def main() -> None:
    import_extension("delta")
    duckdb.load_extension("delta")
    root = sys.argv[1]
    if root.startswith("s3://"):
        open_s3()
        tables = tables_on_s3(root)
    else:
        tables = sorted(str(path.parent) for path in Path(root).glob("*/_delta_log"))
    counts = {table: {"delta_rs": by_delta_rs(table), "duckdb": by_duckdb(table)} for table in tables}
    print(json.dumps({table.rsplit("/", 1)[1]: count for table, count in counts.items()}))


main()
