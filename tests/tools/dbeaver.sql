-- What DBeaver asks: on connecting, for its tree of objects, and for a table that is opened. The numbers in braces are
-- those of a table or of the schema `public`, which it has from an earlier answer. See jdbc.sql for the driver's own.

-- where one is, and who one is
SELECT current_schema(), session_user
--> ~public|*

-- the search path
SHOW search_path
--> public

-- the search path, from the table of settings
SELECT s.reset_val FROM pg_settings s WHERE s.name = 'search_path'
--> public

-- which server this is
SELECT version()
--> ~PostgreSQL 16*

-- the database
SELECT db.oid, db.* FROM pg_catalog.pg_database db WHERE db.datname = 'killfeed'

-- databases that one may connect to
SELECT db.datname FROM pg_catalog.pg_database db WHERE 1 = 1 AND datallowconn AND NOT datistemplate ORDER BY db.datname
--> killfeed

-- whether columns are there that older servers lack
SELECT 1 FROM pg_catalog.pg_attribute s JOIN pg_catalog.pg_class p ON s.attrelid = p.oid
JOIN pg_catalog.pg_namespace n ON p.relnamespace = n.oid
WHERE p.relname = 'pg_type' AND n.nspname = 'pg_catalog' AND s.attname = 'typcategory'

-- whether there are enumerations
SELECT * FROM pg_catalog.pg_enum WHERE 1 <> 1 LIMIT 1
--> (none)

-- whether classes have types
SELECT reltype FROM pg_catalog.pg_class WHERE 1 <> 1 LIMIT 1
--> (none)

-- schemas with descriptions
SELECT n.oid, n.*, d.description FROM pg_catalog.pg_namespace n
LEFT OUTER JOIN pg_catalog.pg_description d ON d.objoid = n.oid AND d.objsubid = 0 AND d.classoid = 'pg_namespace'::regclass
ORDER BY nspname
--> ~{public}|{public}|public|*

-- types
SELECT t.oid, t.*, c.relkind, format_type(nullif(t.typbasetype, 0), t.typtypmod) AS base_type_name, d.description
FROM pg_catalog.pg_type t LEFT OUTER JOIN pg_catalog.pg_type et ON et.oid = t.typelem
LEFT OUTER JOIN pg_catalog.pg_class c ON c.oid = t.typrelid LEFT OUTER JOIN pg_catalog.pg_description d ON t.oid = d.objoid
WHERE t.typname IS NOT NULL AND (c.relkind IS NULL OR c.relkind = 'c') AND (et.typcategory IS NULL OR et.typcategory <> 'C')
--> ~25|25|text|*

-- roles
SELECT a.oid, a.* FROM pg_catalog.pg_roles a ORDER BY a.rolname

-- access methods
SELECT am.oid, am.* FROM pg_catalog.pg_am am ORDER BY am.oid

-- encodings
SELECT c.contoencoding AS encid, pg_catalog.pg_encoding_to_char(c.contoencoding) AS encname FROM pg_catalog.pg_conversion c
GROUP BY c.contoencoding ORDER BY 2

-- languages
SELECT l.oid, l.* FROM pg_catalog.pg_language l ORDER BY l.oid

-- tablespaces
SELECT t.oid, t.* FROM pg_catalog.pg_tablespace t ORDER BY t.oid

-- extensions
SELECT e.oid, e.extname, n.nspname AS schema_name FROM pg_catalog.pg_extension e
JOIN pg_namespace n ON n.oid = e.extnamespace ORDER BY e.oid

-- all settings
SELECT * FROM pg_catalog.pg_settings
--> ~search_path|public|*

-- tables of a schema, with descriptions and partitions
SELECT c.oid, c.relname, c.relkind, d.description, pg_catalog.pg_get_expr(c.relpartbound, c.oid) AS partition_expr,
  pg_catalog.pg_get_partkeydef(c.oid) AS partition_key
FROM pg_catalog.pg_class c
LEFT OUTER JOIN pg_catalog.pg_description d ON d.objoid = c.oid AND d.objsubid = 0 AND d.classoid = 'pg_class'::regclass
WHERE c.relnamespace = {public} AND c.relkind NOT IN ('i', 'I', 'c')
--> ~{chat_message}|chat_message|r|*
--> ~*|game_score|r|*

-- the same with all that there is of them
SELECT c.oid, c.*, d.description FROM pg_catalog.pg_class c
LEFT OUTER JOIN pg_catalog.pg_description d ON d.objoid = c.oid AND d.objsubid = 0 AND d.classoid = 'pg_class'::regclass
WHERE c.relnamespace = {public} AND c.relkind NOT IN ('i', 'I', 'c')
--> ~{chat_message}|{chat_message}|chat_message|*

-- their sizes
SELECT c.oid, pg_catalog.pg_total_relation_size(c.oid) AS total_rel_size, pg_catalog.pg_relation_size(c.oid) AS rel_size
FROM pg_class c WHERE c.relnamespace = {public}
--> ~{chat_message}|*

-- columns of a table
SELECT c.relname, a.attname, a.atttypid, pg_catalog.pg_get_expr(ad.adbin, ad.adrelid, true) AS def_value, dsc.description,
  dep.objid
FROM pg_catalog.pg_attribute a INNER JOIN pg_catalog.pg_class c ON (a.attrelid = c.oid)
LEFT OUTER JOIN pg_catalog.pg_attrdef ad ON (a.attrelid = ad.adrelid AND a.attnum = ad.adnum)
LEFT OUTER JOIN pg_catalog.pg_description dsc ON (c.oid = dsc.objoid AND a.attnum = dsc.objsubid)
LEFT OUTER JOIN pg_depend dep ON dep.refobjid = a.attrelid AND dep.deptype = 'i' AND dep.refobjsubid = a.attnum
  AND dep.classid = dep.refclassid
WHERE NOT a.attisdropped AND c.oid = {chat_message} ORDER BY a.attnum
--> chat_message|n|20|||
--> chat_message|text|25|||

-- the same with all that there is of them
SELECT c.relname, a.*, dsc.description FROM pg_catalog.pg_attribute a
INNER JOIN pg_catalog.pg_class c ON (a.attrelid = c.oid)
LEFT OUTER JOIN pg_catalog.pg_description dsc ON (c.oid = dsc.objoid AND a.attnum = dsc.objsubid)
WHERE NOT a.attisdropped AND c.oid = {chat_message} ORDER BY a.attnum
--> ~chat_message|{chat_message}|n|20|*

-- constraints
SELECT c.oid, c.*, t.relname AS tabrelname, rt.relnamespace AS refnamespace, d.description
FROM pg_catalog.pg_constraint c INNER JOIN pg_catalog.pg_class t ON t.oid = c.conrelid
LEFT OUTER JOIN pg_catalog.pg_class rt ON rt.oid = c.confrelid
LEFT OUTER JOIN pg_catalog.pg_description d ON d.objoid = c.oid AND d.objsubid = 0 AND d.classoid = 'pg_constraint'::regclass
WHERE c.conrelid = {chat_message} ORDER BY c.oid
--> (none)

-- indexes
SELECT i.*, i.indkey AS keys, c.relname, c.relnamespace, c.relam, tc.relname AS tabrelname, dsc.description,
  pg_catalog.pg_get_expr(i.indpred, i.indrelid) AS pred_expr, pg_catalog.pg_get_expr(i.indexprs, i.indrelid, true) AS expr
FROM pg_catalog.pg_index i INNER JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
INNER JOIN pg_catalog.pg_class tc ON tc.oid = i.indrelid
LEFT OUTER JOIN pg_catalog.pg_description dsc ON i.indexrelid = dsc.objoid
WHERE i.indrelid = {chat_message} ORDER BY tabrelname, c.relname
--> (none)

-- tables that inherit
SELECT i.*, c.relnamespace FROM pg_catalog.pg_inherits i, pg_catalog.pg_class c
WHERE i.inhrelid = {chat_message} AND c.oid = i.inhparent ORDER BY i.inhseqno
--> (none)

-- triggers
SELECT x.oid, x.* FROM pg_catalog.pg_trigger x WHERE x.tgrelid = {chat_message} AND NOT x.tgisinternal
--> (none)

-- functions of a schema
SELECT p.oid, p.proname, d.description FROM pg_catalog.pg_proc p
LEFT OUTER JOIN pg_catalog.pg_description d ON d.objoid = p.oid WHERE p.pronamespace = {public} ORDER BY p.proname
--> (none)

-- the rows of a table that is opened
SELECT * FROM public.chat_message WHERE n = 3 LIMIT 200
--> ~*gg 3*

-- the same with the number of rows
SELECT count(*) FROM public.chat_message
--> 50
