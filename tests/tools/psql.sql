-- What psql asks, beside what tests/postgres.rs lets psql itself ask: completion by TAB, and descriptions.

-- completion of tables after FROM
SELECT c.relname, NULL::pg_catalog.text FROM pg_catalog.pg_class c
WHERE c.relkind IN ('r', 'S', 'v', 'm', 'f', 'p') AND (c.relname) LIKE 'game\_%'
  AND pg_catalog.pg_table_is_visible(c.oid) AND c.relnamespace <> (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = 'pg_catalog')
LIMIT 1000
--> game_score|

-- completion of schemas
SELECT n.nspname FROM pg_catalog.pg_namespace n WHERE n.nspname LIKE 'pub%' AND n.nspname NOT LIKE E'pg\\_temp\\_%'
--> public

-- completion of a table's columns
SELECT a.attname FROM pg_catalog.pg_attribute a, pg_catalog.pg_class c
WHERE c.oid = a.attrelid AND a.attnum > 0 AND NOT a.attisdropped AND a.attname LIKE 'sc%' AND c.relname = 'game_score'
  AND pg_catalog.pg_table_is_visible(c.oid)
--> score
--> schema_version

-- completion of settings
SELECT pg_catalog.lower(name) FROM pg_catalog.pg_settings WHERE pg_catalog.lower(name) LIKE 'search%'
--> search_path

-- a table by its name, as \d looks it up
SELECT c.oid, n.nspname, c.relname FROM pg_catalog.pg_class c
LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relname OPERATOR(pg_catalog.~) '^(chat_message)$' COLLATE pg_catalog.default AND pg_catalog.pg_table_is_visible(c.oid)
ORDER BY 2, 3
--> {chat_message}|public|chat_message

-- the description of a table
SELECT pg_catalog.obj_description({chat_message}, 'pg_class')
--> 

-- roles and what they are members of, as \du asks
SELECT r.rolname, ARRAY(SELECT b.rolname FROM pg_catalog.pg_auth_members m JOIN pg_catalog.pg_roles b ON (m.roleid = b.oid)
  WHERE m.member = r.oid) as memberof
FROM pg_catalog.pg_roles r WHERE r.rolname !~ '^pg_' ORDER BY 1

-- options of a table, as \d+ asks
SELECT c.relkind, pg_catalog.array_to_string(c.reloptions || array(select 'toast.' || x from pg_catalog.unnest(tc.reloptions) x), ', ')
FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_class tc ON (c.reltoastrelid = tc.oid) WHERE c.oid = '{chat_message}'
--> r|

-- the rights of a table
SELECT c.relname, c.relacl FROM pg_catalog.pg_class c WHERE c.relname = 'chat_message'
--> chat_message|

-- a function by its name
SELECT 'array_in'::regproc IS NOT NULL AS is_there
--> t
