"""Damages one row of a Delta table behind killfeed's back: `TABLE delete|double|restore WHERE-OR-VERSION`.

Prints the version from before, which `restore` takes."""

import sys

from deltalake import DeltaTable, QueryBuilder, write_deltalake


def place_of_one(table: DeltaTable, where: str) -> str:
    sql = f"SELECT _partition, _offset FROM rows WHERE {where} ORDER BY _partition, _offset LIMIT 1"
    found = QueryBuilder().register("rows", table).execute(sql).read_all()
    return f"_partition = {found.column(0)[0].as_py()} AND _offset = {found.column(1)[0].as_py()}"


def main() -> None:
    path, what, detail = sys.argv[1:]
    table = DeltaTable(path)
    version = table.version()
    if what == "delete":
        deleted = table.delete(f"({detail}) AND {place_of_one(table, detail)}")
        assert deleted["num_deleted_rows"] == 1, deleted
    elif what == "double":
        sql = f"SELECT * FROM rows WHERE ({detail}) AND {place_of_one(table, detail)}"
        write_deltalake(table, QueryBuilder().register("rows", table).execute(sql).read_all(), mode="append")
    elif what == "restore":
        table.restore(int(detail))
    print(version)


main()
