-- What Metabase asks by the JDBC driver: on connecting, for its sync of tables and fields, and for a question.
-- The driver's own questions about metadata are those of jdbc.sql.

-- the connection is tested
SELECT 1
--> 1

-- a session is read only
SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY

-- times in one zone
SET SESSION TIMEZONE TO 'UTC'

-- the zone of the server
SHOW timezone
--> UTC

-- tables with kind, description and an estimate of rows
SELECT n.nspname AS "schema", c.relname AS "name",
       CASE c.relkind WHEN 'r' THEN 'TABLE' WHEN 'p' THEN 'PARTITIONED TABLE' WHEN 'v' THEN 'VIEW'
                      WHEN 'f' THEN 'FOREIGN TABLE' WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE NULL END AS "type",
       d.description AS "description"
FROM "pg_catalog"."pg_class" AS "c" INNER JOIN "pg_catalog"."pg_namespace" AS "n" ON c.relnamespace = n.oid
LEFT JOIN "pg_catalog"."pg_description" AS "d"
  ON (c.oid = d.objoid) AND (d.objsubid = 0) AND (d.classoid = 'pg_class'::regclass)
LEFT JOIN "pg_stat_user_tables" AS "stat" ON (n.nspname = stat.schemaname) AND (c.relname = stat.relname)
WHERE (c.relnamespace = n.oid) AND (n.nspname !~ '^pg_') AND (n.nspname <> 'information_schema')
  AND c.relkind IN ('r', 'p', 'v', 'f', 'm') AND (n.nspname IN ('public'))
ORDER BY "type" ASC, "schema" ASC, "name" ASC
--> public|chat_message|TABLE|
--> public|game_score|TABLE|

-- what this user may do with each table
WITH rights AS (
  SELECT NULL AS role, t.schemaname AS schema, t.objectname AS "table",
    pg_catalog.has_any_column_privilege(current_user, '"' || t.schemaname || '"."' || t.objectname || '"', 'select') AS "select",
    pg_catalog.has_any_column_privilege(current_user, '"' || t.schemaname || '"."' || t.objectname || '"', 'update') AS "update",
    pg_catalog.has_table_privilege(current_user, '"' || t.schemaname || '"."' || t.objectname || '"', 'delete') AS "delete"
  FROM (SELECT schemaname, tablename AS objectname FROM pg_catalog.pg_tables
        UNION SELECT schemaname, viewname AS objectname FROM pg_views
        UNION SELECT schemaname, matviewname AS objectname FROM pg_matviews) t
  WHERE t.schemaname !~ '^pg_' AND t.schemaname <> 'information_schema'
    AND pg_catalog.has_schema_privilege(current_user, t.schemaname, 'usage'))
SELECT r."schema", r."table", r."select", r."update", r."delete" FROM rights r WHERE r."select" OR r."update" OR r."delete"
--> public|chat_message|t|f|f

-- fields with types, keys and descriptions, of tables and of materialized views
SELECT "c"."column_name" AS "name",
  CASE WHEN "c"."udt_schema" IN ('public', 'pg_catalog') THEN FORMAT('%s', "c"."udt_name")
       ELSE FORMAT('"%s"."%s"', "c"."udt_schema", "c"."udt_name") END AS "database-type",
  "c"."ordinal_position" - 1 AS "database-position", "c"."table_schema" AS "table-schema",
  "c"."table_name" AS "table-name", "pk"."column_name" IS NOT NULL AS "pk?",
  COL_DESCRIPTION(CAST(CAST(FORMAT('%I.%I', CAST("c"."table_schema" AS TEXT), CAST("c"."table_name" AS TEXT)) AS REGCLASS) AS OID),
                  "c"."ordinal_position") AS "field-comment",
  (("column_default" IS NULL) OR (LOWER("column_default") = 'null')) AND ("is_nullable" = 'NO')
    AND NOT ((("column_default" IS NOT NULL) AND ("column_default" LIKE '%nextval(%')) OR ("is_identity" <> 'NO'))
    AS "database-required"
FROM "information_schema"."columns" AS "c" LEFT JOIN (
  SELECT "tc"."table_schema", "tc"."table_name", "kc"."column_name"
  FROM "information_schema"."table_constraints" AS "tc" INNER JOIN "information_schema"."key_column_usage" AS "kc"
    ON ("tc"."constraint_name" = "kc"."constraint_name") AND ("tc"."table_schema" = "kc"."table_schema")
      AND ("tc"."table_name" = "kc"."table_name")
  WHERE "tc"."constraint_type" = 'PRIMARY KEY') AS "pk"
  ON ("c"."table_schema" = "pk"."table_schema") AND ("c"."table_name" = "pk"."table_name")
    AND ("c"."column_name" = "pk"."column_name")
WHERE c.table_schema !~ '^information_schema|catalog_history|pg_' AND ("c"."table_schema" IN ('public'))
  AND ("c"."table_name" = 'game_score') AND ("c"."column_name" IN ('score', 'won'))
UNION ALL
SELECT "pa"."attname" AS "name",
  CASE WHEN "ptn"."nspname" IN ('public', 'pg_catalog') THEN FORMAT('%s', "pt"."typname")
       ELSE FORMAT('"%s"."%s"', "ptn"."nspname", "pt"."typname") END AS "database-type",
  "pa"."attnum" - 1 AS "database-position", "pn"."nspname" AS "table-schema", "pc"."relname" AS "table-name",
  FALSE AS "pk?", NULL AS "field-comment", FALSE AS "database-required"
FROM "pg_catalog"."pg_class" AS "pc" INNER JOIN "pg_catalog"."pg_namespace" AS "pn" ON "pn"."oid" = "pc"."relnamespace"
INNER JOIN "pg_catalog"."pg_attribute" AS "pa" ON "pa"."attrelid" = "pc"."oid"
INNER JOIN "pg_catalog"."pg_type" AS "pt" ON "pt"."oid" = "pa"."atttypid"
INNER JOIN "pg_catalog"."pg_namespace" AS "ptn" ON "ptn"."oid" = "pt"."typnamespace"
WHERE ("pc"."relkind" = 'm') AND ("pa"."attnum" >= 1) AND ("pn"."nspname" IN ('public'))
ORDER BY "table-schema" ASC, "table-name" ASC, "database-position" ASC
--> ~score|float8|*|public|game_score|f||f
--> ~won|bool|*|public|game_score|f||f

-- indexes
SELECT "tmp"."table-schema", "tmp"."table-name",
  TRIM(BOTH '"' FROM pg_catalog.pg_get_indexdef("tmp"."ci_oid", "tmp"."pos", FALSE)) AS "field-name"
FROM (SELECT "n"."nspname" AS "table-schema", "ct"."relname" AS "table-name", "ci"."oid" AS "ci_oid",
        (information_schema._pg_expandarray("i"."indkey")).n AS "pos"
      FROM "pg_catalog"."pg_class" AS "ct" INNER JOIN "pg_catalog"."pg_namespace" AS "n" ON "ct"."relnamespace" = "n"."oid"
      INNER JOIN "pg_catalog"."pg_index" AS "i" ON "ct"."oid" = "i"."indrelid"
      INNER JOIN "pg_catalog"."pg_class" AS "ci" ON "ci"."oid" = "i"."indexrelid"
      WHERE (pg_catalog.pg_get_expr("i"."indpred", "i"."indrelid") IS NULL)) AS "tmp"
WHERE "tmp"."pos" = 1
--> (none)

-- enumerations
SELECT n.nspname, t.typname FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
WHERE t.oid IN (SELECT DISTINCT e.enumtypid FROM pg_enum e)
--> (none)

-- the first rows of a table
SELECT "public"."chat_message"."n" AS "n", "public"."chat_message"."text" AS "text"
FROM "public"."chat_message" WHERE "public"."chat_message"."n" = 7 LIMIT 2000
--> 7|gg 7

-- a question by days
SELECT DATE_TRUNC('day', "public"."chat_message"."received_at") > timestamp '2020-01-01' AS "received_at", COUNT(*) AS "count"
FROM "public"."chat_message"
WHERE ("public"."chat_message"."received_at" >= timestamp with time zone '2020-01-01 00:00:00.000Z')
  AND ("public"."chat_message"."received_at" < timestamp with time zone '2100-01-01 00:00:00.000Z')
GROUP BY DATE_TRUNC('day', "public"."chat_message"."received_at") > timestamp '2020-01-01' ORDER BY 1 ASC
--> t|50

-- what a field is like
SELECT SUBSTRING("public"."chat_message"."text", 1, 4) AS "text", CAST("public"."chat_message"."received_at" AS date) > DATE '2020-01-01' AS "day"
FROM "public"."chat_message" WHERE "public"."chat_message"."n" IN (3, 4) ORDER BY "public"."chat_message"."n"
--> gg 3|t
--> gg 4|t
