-- Small tables for the reports, with the corners in which a count goes wrong.
CREATE TABLE lol_player_result AS SELECT * FROM (VALUES
  ('g1', 'ann', 'Ahri',  5, 0, 3, true),
  ('g1', 'bob', 'Ahri',  1, 6, 0, false), -- the same champion on both sides: one game of it
  ('g1', 'cas', 'Zed',   2, 4, 4, true),
  ('g2', 'ann', 'Ahri',  1, 3, 1, false),
  ('g2', 'bob', 'Zed',   NULL, 2, 1, true),
  ('g3', 'ann', 'Zed',   0, 0, 0, true),
  ('g3', NULL,  'Garen', 1, 1, 1, false)  -- nobody's result still is a game of Garen
) AS t(game_id, player_id, champion_name, kills, deaths, assists, win);
CREATE TABLE lol_champion_special_kill AS SELECT * FROM (VALUES
  ('g1', 'KILL_FIRST_BLOOD', 'Ahri'),
  ('g1', 'KILL_MULTI',       'Zed'),
  ('g2', 'KILL_FIRST_BLOOD', 'Zed'),
  ('g9', 'KILL_FIRST_BLOOD', 'Zed')       -- a game that never finished
) AS t(game_id, kill_type, killer_champion);
CREATE TABLE network_quality AS SELECT * FROM (VALUES
  ('EUW1', 'ann', 'Berlin', 'Fiber',  'Cable/DSL', 40,   8,    0.1),  -- great, on each threshold
  ('EUW1', 'ann', 'Berlin', 'Fiber',  'Cable/DSL', 41,   1,    0.0),  -- good
  ('EUW1', 'bob', 'Berlin', 'Fiber',  'Cable/DSL', 20,   16,   0.0),  -- OK by its jitter alone
  ('EUW1', 'bob', 'Paris',  'Radio',  'Cellular',  20,   1,    2.1),  -- poor by its loss alone
  ('EUW1', 'cas', 'Paris',  'Radio',  'Cellular',  141,  1,    0.0),  -- poor
  ('EUW1', 'dan', 'Paris',  'Radio',  'Cellular',  NULL, NULL, NULL), -- measured nothing
  ('EUW1', 'eve', 'Berlin', 'Copper', 'Cable/DSL', 80,   NULL, 0.5),  -- good, by what was measured
  ('KR',   'fox', NULL,     NULL,     NULL,        5,    1,    0.0)   -- an address that no database knows
) AS t(region, player_id, geo_city, geo_isp, geo_connection, latency_ms, jitter_ms, loss_pct);
CREATE TABLE settings_key_binding AS SELECT * FROM (VALUES
  ('ann', 'Flash',  'D', 1, 1, 1),
  ('ann', 'Flash',  'F', 3, 3, 2),
  ('ann', 'Flash',  'T', 2, 9, 3),        -- older than F, though it arrived later
  ('bob', 'Flash',  'F', 1, 1, 4),
  ('cas', 'Flash',  'D', 1, 1, 5),
  ('cas', 'Ignite', 'F', 1, 1, 6)
) AS t(player_id, spell, "key", time, received_at, _offset);
CREATE TABLE client_crash AS SELECT * FROM (VALUES
  ('render', '1.0', 'ann'),
  ('render', '1.0', 'ann'),
  ('render', '1.1', 'bob'),
  ('audio',  '1.0', 'cas'),
  ('audio',  '1.0', 'bob')
) AS t(signature, app_version, player_id);
CREATE TABLE killfeed_tables AS
  SELECT 'stale' AS "table", 7 AS rows, now() - INTERVAL '2 hours' AS newest
  UNION ALL SELECT 'fresh', 9, now() - INTERVAL '1 hour'
  UNION ALL SELECT 'empty', 0, NULL;
