-- Small tables for the reports, with the corners in which a count goes wrong.
CREATE TABLE lol_player_result AS SELECT
  game_id, player_id, champion_name, kills, deaths, assists, win, CAST(time AS TIMESTAMP) AS time, time_played, region
FROM (VALUES
  ('g1', 'ann', 'Ahri',  5, 0, 3, true,  '2026-01-05T10:30:00', 1800, 'EUW1'),
  ('g1', 'bob', 'Ahri',  1, 6, 0, false, '2026-01-05T10:30:00', 1800, 'EUW1'), -- both sides: one game of Ahri
  ('g1', 'cas', 'Zed',   2, 4, 4, true,  '2026-01-05T10:30:00', 1800, 'EUW1'),
  ('g2', 'ann', 'Ahri',  1, 3, 1, false, '2026-01-05T11:05:00', 1800, 'EUW1'),
  ('g2', 'bob', 'Zed',   NULL, 2, 1, true, '2026-01-05T11:05:00', 1800, 'EUW1'),
  ('g3', 'ann', 'Zed',   0, 0, 0, true,  '2026-01-06T00:10:00', 1200, 'KR'),   -- past midnight
  ('g3', NULL,  'Garen', 1, 1, 1, false, '2026-01-06T00:10:00', 1200, 'KR'),   -- nobody's result, a game of Garen
  ('g4', 'cas', NULL,    0, 0, 0, true,  '2026-01-08T12:00:00', NULL, 'EUW1'), -- nobody knows how long
  ('g6', 'dan', NULL,    0, 0, 0, true,  '2026-01-12T20:00:00', 600,  'EUW1'), -- ends on the full hour
  ('g5', 'ann', NULL,    0, 0, 0, true,  '2026-01-13T09:00:00', 600,  'EUW1')
) AS t(game_id, player_id, champion_name, kills, deaths, assists, win, time, time_played, region);
CREATE TABLE lol_game_start AS SELECT game_id, mode, version, CAST(time AS TIMESTAMP) AS time FROM (VALUES
  ('g1', 'CLASSIC', '1.0', '2026-01-05T10:00:00'),
  ('g2', 'CLASSIC', '1.1', '2026-01-05T10:35:00'),
  ('g3', 'ARAM',    '1.1', '2026-01-05T23:50:00'),
  ('g7', 'ARAM',    '1.1', '2026-01-06T12:00:00') -- not over yet
) AS t(game_id, mode, version, time);
CREATE TABLE lol_game_result AS SELECT * FROM (VALUES
  ('g1', 'EUW1', 1800),
  ('g2', 'EUW1', 1801),
  ('g3', 'KR',   1200),
  ('g8', 'KR',   NULL),                   -- of no known length
  ('g9', 'KR',   900)                     -- nobody saw it start
) AS t(game_id, region, duration_s);
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
CREATE TABLE client_crash AS SELECT
  id, signature, app_version, player_id, CAST(time AS TIMESTAMP) AS time, gpu, driver, note, name, mail, consent
FROM (VALUES
  ('1', 'render', '1.0', 'ann', '2026-01-05T10:00:00', 'RTX', '5',  NULL,    NULL,  NULL,              NULL),
  ('2', 'render', '1.0', 'ann', '2026-01-10T10:00:00', 'RTX', '5',  'again', 'Ann', 'ann@example.com', true),
  ('3', 'render', '1.1', 'bob', '2026-01-19T10:00:00', 'RX',  NULL, 'bad',   'Bob', 'bob@example.com', false),
  ('4', 'audio',  '1.0', 'cas', '2026-01-12T10:00:00', 'RTX', '6',  NULL,    NULL,  NULL,              NULL), -- a week before
  ('5', 'audio',  '1.0', 'bob', '2026-01-13T10:00:00', NULL,  NULL, 'hm',    'Bob', 'bob@example.com', NULL)  -- said nothing
) AS t(id, signature, app_version, player_id, time, gpu, driver, note, name, mail, consent);
CREATE TABLE chat_message AS SELECT
  id, game_id, player_id, region, channel, CAST(time AS TIMESTAMP) AS time, text
FROM (VALUES
  ('1', 'g1', 'ann', 'EUW1', 'team', '2026-01-05T10:05:00', 'gg'),
  ('3', 'g1', 'bob', 'EUW1', 'team', '2026-01-05T10:06:00', 'noob team'),
  ('2', 'g1', 'ann', 'EUW1', 'all',  '2026-01-05T10:06:00', 'noob'),       -- came later, was said at the same time
  ('4', 'g2', 'ann', 'EUW1', 'team', '2026-01-05T10:40:00', 'noob again'),
  ('5', 'g2', 'bob', 'EUW1', 'team', '2026-01-05T10:41:00', NULL),         -- said nothing
  ('6', 'g2', NULL,  'EUW1', 'team', '2026-01-05T11:00:00', 'noob'),       -- nobody knows who
  ('7', 'g9', 'eve', NULL,   'team', '2026-01-06T11:00:00', 'hi')          -- nor where, in a game that nobody saw
) AS t(id, game_id, player_id, region, channel, time, text);
CREATE TABLE killfeed_ledger AS SELECT * FROM (VALUES
  ('events', 'ingest',  CAST('2026-01-05T10:00:00' AS TIMESTAMP), NULL, NULL, NULL, NULL, NULL, 9),
  ('events', 'process', CAST('2026-01-05T10:00:01' AS TIMESTAMP), 6, 4, 1, 1, 0, NULL),
  ('events', 'process', CAST('2026-01-05T10:00:02' AS TIMESTAMP), 3, 2, 0, 0, 1, NULL),
  ('events', 'sink',    CAST('2026-01-05T10:00:03' AS TIMESTAMP), NULL, NULL, NULL, NULL, NULL, NULL),
  ('quiet',  'process', CAST('2026-01-05T10:00:00' AS TIMESTAMP), 0, 0, 0, 0, 0, NULL)
) AS t(stream, stage, time, accepted, clean, duplicates, conflicts, dead, acknowledged);
CREATE TABLE killfeed_tables AS
  SELECT 'stale' AS "table", 7 AS rows, now() - INTERVAL '2 hours' AS newest
  UNION ALL SELECT 'fresh', 9, now() - INTERVAL '1 hour'
  UNION ALL SELECT 'empty', 0, NULL;
