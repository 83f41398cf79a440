-- What the JDBC driver of PostgreSQL asks for DatabaseMetaData and for types: DBeaver, Metabase and others stand on it.

-- on connecting
SET extra_float_digits = 3

-- who connects
SET application_name = 'a tool'

-- the level of isolation
SHOW TRANSACTION ISOLATION LEVEL
--> read committed

-- where one is
SELECT current_schema()
--> public

-- the database and its user
SELECT current_database()
--> killfeed

-- words that are no standard SQL
SELECT string_agg(k.word, ',') <> '' FROM pg_catalog.pg_get_keywords() k
WHERE k.word <> ALL ('{a,abs,absolute,action,select,zone}'::text[])
--> t

-- how long a name may be
SELECT t.typlen FROM pg_catalog.pg_type t, pg_catalog.pg_namespace n
WHERE t.typnamespace = n.oid AND t.typname = 'name' AND n.nspname = 'pg_catalog'
--> 64

-- how many columns an index may have
SELECT s.setting FROM pg_catalog.pg_settings s WHERE s.name = 'max_index_keys'
--> 32

-- schemas
SELECT nspname AS TABLE_SCHEM, current_database() AS TABLE_CATALOG FROM pg_catalog.pg_namespace
WHERE nspname <> 'pg_toast' AND (nspname !~ '^pg_temp_' OR nspname = (pg_catalog.current_schemas(true))[1])
  AND (nspname !~ '^pg_toast_temp_' OR nspname = replace((pg_catalog.current_schemas(true))[1], 'pg_temp_', 'pg_toast_temp_'))
ORDER BY TABLE_SCHEM
--> public|killfeed
--> pg_catalog|killfeed

-- databases
SELECT d.datname AS TABLE_CAT FROM pg_catalog.pg_database d WHERE d.datallowconn = true ORDER BY d.datname
--> killfeed

-- tables by kind, with remarks
SELECT current_database() AS "TABLE_CAT", space.nspname AS "TABLE_SCHEM", rel.relname AS "TABLE_NAME",
  CASE space.nspname ~ '^pg_' OR space.nspname = 'information_schema'
    WHEN true THEN CASE WHEN space.nspname = 'pg_catalog' THEN CASE rel.relkind WHEN 'r' THEN 'SYSTEM TABLE' ELSE NULL END ELSE NULL END
    WHEN false THEN CASE rel.relkind WHEN 'r' THEN 'TABLE' WHEN 'v' THEN 'VIEW' ELSE NULL END
    ELSE NULL END AS "TABLE_TYPE",
  note.description AS "REMARKS", '' AS "TYPE_CAT"
FROM pg_catalog.pg_namespace space, pg_catalog.pg_class rel
LEFT JOIN pg_catalog.pg_description note ON (rel.oid = note.objoid AND note.objsubid = 0 AND note.classoid = 'pg_class'::regclass)
WHERE rel.relnamespace = space.oid AND space.nspname LIKE 'public' AND rel.relname LIKE 'chat%'
  AND (false OR (rel.relkind = 'r' AND space.nspname !~ '^pg_' AND space.nspname <> 'information_schema'))
ORDER BY "TABLE_TYPE", "TABLE_SCHEM", "TABLE_NAME"
--> killfeed|public|chat_message|TABLE||

-- columns with numbers, types, defaults and remarks
SELECT c.attname, c.atttypid, c.attnotnull, c.atttypmod, c.typtype FROM (
  SELECT space.nspname, rel.relname, col.attname, col.atttypid,
    col.attnotnull OR (kind.typtype = 'd' AND kind.typnotnull) AS attnotnull, col.atttypmod, col.attlen,
    kind.typtypmod, row_number() OVER (PARTITION BY col.attrelid ORDER BY col.attnum) AS attnum,
    nullif(col.attidentity, '') AS attidentity, nullif(col.attgenerated, '') AS attgenerated,
    pg_catalog.pg_get_expr(preset.adbin, preset.adrelid) AS adsrc, note.description, kind.typbasetype, kind.typtype
  FROM pg_catalog.pg_namespace space JOIN pg_catalog.pg_class rel ON (rel.relnamespace = space.oid)
  JOIN pg_catalog.pg_attribute col ON (col.attrelid = rel.oid) JOIN pg_catalog.pg_type kind ON (col.atttypid = kind.oid)
  LEFT JOIN pg_catalog.pg_attrdef preset ON (col.attrelid = preset.adrelid AND col.attnum = preset.adnum)
  LEFT JOIN pg_catalog.pg_description note ON (rel.oid = note.objoid AND col.attnum = note.objsubid)
  LEFT JOIN pg_catalog.pg_class dc ON (dc.oid = note.classoid AND dc.relname = 'pg_class')
  LEFT JOIN pg_catalog.pg_namespace dn ON (dc.relnamespace = dn.oid AND dn.nspname = 'pg_catalog')
  WHERE rel.relkind IN ('r', 'p', 'v', 'f', 'm') AND col.attnum > 0 AND NOT col.attisdropped
    AND space.nspname LIKE 'public' AND rel.relname LIKE 'chat_message') c
WHERE true ORDER BY nspname, c.relname, attnum
--> n|20|f|-1|b
--> text|25|f|-1|b
--> received_at|1184|f|-1|b

-- primary keys
SELECT r."TABLE_NAME", r."COLUMN_NAME", r."KEY_SEQ", r."PK_NAME" FROM (
  SELECT space.nspname AS "TABLE_SCHEM", rel.relname AS "TABLE_NAME", col.attname AS "COLUMN_NAME",
    (information_schema._pg_expandarray(i.indkey)).n AS "KEY_SEQ", keyrel.relname AS "PK_NAME",
    information_schema._pg_expandarray(i.indkey) AS keys, col.attnum AS a_attnum, i.indnkeyatts AS key_count
  FROM pg_catalog.pg_class rel JOIN pg_catalog.pg_attribute col ON (rel.oid = col.attrelid)
  JOIN pg_catalog.pg_namespace space ON (rel.relnamespace = space.oid) JOIN pg_catalog.pg_index i ON (col.attrelid = i.indrelid)
  JOIN pg_catalog.pg_class keyrel ON (keyrel.oid = i.indexrelid)
  WHERE true AND space.nspname = 'public' AND rel.relname = 'chat_message' AND i.indisprimary) r
WHERE r.a_attnum = (r.keys).x AND r."KEY_SEQ" <= r.key_count ORDER BY r."TABLE_NAME", r."PK_NAME", r."KEY_SEQ"
--> (none)

-- what type a number stands for
SELECT n.nspname = ANY(current_schemas(true)), n.nspname, t.typname FROM pg_catalog.pg_type t
JOIN pg_catalog.pg_namespace n ON t.typnamespace = n.oid WHERE t.oid = 1184
--> t|pg_catalog|timestamptz

-- where a result's columns come from
SELECT c.oid, a.attnum, a.attname, c.relname, n.nspname, a.attnotnull OR (t.typtype = 'd' AND t.typnotnull),
  a.attidentity <> '' OR pg_catalog.pg_get_expr(d.adbin, d.adrelid) LIKE '%nextval(%'
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON (c.relnamespace = n.oid)
JOIN pg_catalog.pg_attribute a ON (c.oid = a.attrelid) JOIN pg_catalog.pg_type t ON (a.atttypid = t.oid)
LEFT JOIN pg_catalog.pg_attrdef d ON (d.adrelid = a.attrelid AND d.adnum = a.attnum)
JOIN (SELECT {chat_message} AS oid, 1 AS attnum) vals ON (c.oid = vals.oid AND a.attnum = vals.attnum)
--> ~*|1|*|chat_message|public|*|*
