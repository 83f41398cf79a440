-- title: Key bindings
-- question: Which keys do players put a summoner spell on?
-- param spell text '' The spell's name; empty for all
-- chart: share x=spell y=players by=key
WITH ranked AS (
  SELECT
    spell,
    "key",
    row_number() OVER (PARTITION BY player_id, spell ORDER BY time DESC, received_at DESC, _offset DESC) AS place
  FROM settings_key_binding
  WHERE player_id IS NOT NULL AND spell IS NOT NULL AND "key" IS NOT NULL AND ($spell = '' OR spell = $spell)
), counted AS (
  SELECT spell, "key", count(*) AS players
  FROM ranked
  WHERE place = 1
  GROUP BY spell, "key"
)
SELECT
  spell,
  "key",
  round(CAST(players AS DOUBLE) / CAST(sum(players) OVER (PARTITION BY spell) AS DOUBLE), 4) AS share,
  players
FROM counted
ORDER BY spell, players DESC, "key"
