-- What Grafana's PostgreSQL data source asks: while it is set up, in the query builder, and for a panel.
-- Blocks are a name, a statement, and rows that must be in the answer; `(none)` says that there is no row.

-- the saved data source is tested
SELECT 1
--> 1

-- which PostgreSQL it is, as a number
SELECT current_setting('server_version_num')::int / 100 AS version
--> 1600

-- whether TimescaleDB is there
SELECT e.extversion FROM pg_extension e WHERE e.extname = 'timescaledb'
--> (none)

-- the schemas to choose from
SELECT s.schema_name AS "name" FROM information_schema.schemata s
WHERE s.schema_name NOT IN ('pg_catalog', 'information_schema', 'pg_toast') ORDER BY s.schema_name
--> public

-- the tables of a schema
SELECT quote_ident(t.table_name) AS "table" FROM information_schema.tables t
WHERE quote_ident(t.table_schema) = 'public' ORDER BY 1
--> chat_message
--> game_score

-- the tables to choose from, without the schema where the search path has it
SELECT CASE WHEN quote_ident(table_schema) IN (
    SELECT CASE WHEN trim(part[n]) = '"$user"' THEN user ELSE trim(part[n]) END
    FROM generate_series(1, array_upper(string_to_array(current_setting('search_path'), ','), 1)) AS n,
         string_to_array(current_setting('search_path'), ',') part)
  THEN quote_ident(table_name) ELSE quote_ident(table_schema) || '.' || quote_ident(table_name) END AS "table"
FROM information_schema.tables WHERE quote_ident(table_schema) NOT IN ('information_schema', 'pg_catalog') ORDER BY 1
--> chat_message
--> game_score

-- the columns of a table by a name of one part
SELECT quote_ident(column_name) AS "column", data_type AS "type" FROM information_schema.columns
WHERE CASE WHEN array_length(parse_ident('chat_message'), 1) = 2
  THEN quote_ident(table_schema) = (parse_ident('chat_message'))[1]
    AND quote_ident(table_name) = (parse_ident('chat_message'))[2]
  ELSE quote_ident(table_name) = 'chat_message' AND quote_ident(table_schema) IN (
    SELECT trim(part) FROM unnest(string_to_array(current_setting('search_path'), ',')) part) END
--> received_at|timestamp with time zone
--> text|text
--> n|bigint
--> date|date

-- the columns of a table by a name of two parts
SELECT quote_ident(column_name) AS "column", data_type AS "type" FROM information_schema.columns
WHERE CASE WHEN array_length(parse_ident('public.game_score'), 1) = 2
  THEN quote_ident(table_schema) = (parse_ident('public.game_score'))[1]
    AND quote_ident(table_name) = (parse_ident('public.game_score'))[2]
  ELSE false END
--> score|double precision
--> won|boolean

-- a time series by minutes, in a range of times ($__timeGroupAlias, $__timeFilter)
SELECT floor(extract(epoch from received_at)/60)*60 >= 1000000000 AS "time", count(*) AS messages
FROM chat_message WHERE received_at BETWEEN '2020-01-01T00:00:00Z' AND '2100-01-01T00:00:00Z' GROUP BY 1 ORDER BY 1
--> t|50

-- a time series whose values are times in seconds ($__time, $__unixEpochFilter)
SELECT extract(epoch from received_at) > 0 AS "time", sum(n) AS n FROM chat_message
WHERE extract(epoch from received_at) >= 1500000000 AND extract(epoch from received_at) <= 4000000000 GROUP BY 1
--> t|1225

-- what the query builder makes
SELECT MAX("n") AS "max", AVG(score) AS "avg" FROM chat_message CROSS JOIN game_score LIMIT 50
--> 49|2.25

-- the values of a variable
SELECT DISTINCT won::text AS __text, won AS __value FROM public.game_score ORDER BY 1
--> false|f
--> true|t
