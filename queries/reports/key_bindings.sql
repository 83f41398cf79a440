-- title: Key bindings
-- question: Which keys do players put a summoner spell on?
-- param spell text '' The spell's name; empty for all
-- chart: share x=spell y=players by=key
WITH sorted AS (
  SELECT
    player_id,
    spell,
    "key",
    lag(player_id) OVER newest_first AS player_before,
    lag(spell) OVER newest_first AS spell_before
  FROM settings_key_binding
  WHERE player_id IS NOT NULL AND spell IS NOT NULL AND "key" IS NOT NULL AND ($spell = '' OR spell = $spell)
  WINDOW newest_first AS (ORDER BY player_id, spell, time DESC, received_at DESC, _offset DESC)
), counted AS (
  -- The first row of each player and spell. One window for all: a window each for many thousands takes twice as long.
  SELECT spell, "key", count(*) AS players
  FROM sorted
  WHERE player_before IS NULL OR player_before <> player_id OR spell_before <> spell
  GROUP BY spell, "key"
)
SELECT
  spell,
  "key",
  round(CAST(players AS DOUBLE) / CAST(sum(players) OVER (PARTITION BY spell) AS DOUBLE), 4) AS share,
  players
FROM counted
ORDER BY spell, players DESC, "key"
