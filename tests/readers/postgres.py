"""Asks a killfeed that has chat_message and game_score by psycopg: postgres.py PORT"""

import datetime
import sys

import psycopg

target = f"host=127.0.0.1 port={sys.argv[1]} user=analyst dbname=killfeed"
with psycopg.connect(target) as connection:
    with connection.cursor() as cursor:
        cursor.execute("SELECT n, text, received_at FROM chat_message WHERE n < %s ORDER BY n", (3,))
        rows = cursor.fetchall()
        assert [row[:2] for row in rows] == [(0, "gg 0"), (1, "gg 1"), (2, "gg 2")], rows
        assert isinstance(rows[0][2], datetime.datetime), rows
        assert [column.name for column in cursor.description] == ["n", "text", "received_at"]
        cursor.execute("SELECT score, won FROM game_score ORDER BY score LIMIT 1")
        assert cursor.fetchall() == [(0.0, True)]
    connection.commit()
    # The same statement often enough to be prepared.
    for n in range(10):
        assert connection.execute("SELECT count(*) FROM chat_message WHERE n <= %s", (n,)).fetchone() == (n + 1,)
    with connection.cursor(binary=True) as cursor:
        assert cursor.execute("SELECT max(n) FROM chat_message").fetchone() == (49,)
    try:
        connection.execute("SELECT * FROM nowhere")
    except psycopg.errors.UndefinedTable as error:
        assert "nowhere" in str(error)
    else:
        raise AssertionError("a table that isn't there was read")
    connection.rollback()
    assert connection.execute("SELECT 1").fetchone() == (1,)
