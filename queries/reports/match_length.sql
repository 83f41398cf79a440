-- title: Match length
-- question: How long do matches take, by mode?
-- param version text '' One version of the game; empty for all
-- param region text '' One region; empty for all
-- chart: bar x=mode y=median_s,p90_s
WITH started AS (
  SELECT game_id, min(mode) AS mode, min(version) AS version
  FROM lol_game_start
  WHERE game_id IS NOT NULL
  GROUP BY game_id
), ranked AS (
  SELECT
    coalesce(mode, 'unknown') AS mode,
    duration_s,
    row_number() OVER (PARTITION BY coalesce(mode, 'unknown') ORDER BY duration_s) AS place,
    count(*) OVER (PARTITION BY coalesce(mode, 'unknown')) AS games
  FROM lol_game_result AS ended
  LEFT JOIN started ON started.game_id = ended.game_id
  WHERE duration_s IS NOT NULL
    AND ($version = '' OR version = $version)
    AND ($region = '' OR ended.region = $region)
)
SELECT
  mode,
  count(*) AS games,
  min(duration_s) AS shortest_s,
  -- Nearest rank: the smallest length that so many percent don't exceed.
  max(duration_s) FILTER (WHERE place = (games * 50 + 99) / 100) AS median_s,
  max(duration_s) FILTER (WHERE place = (games * 90 + 99) / 100) AS p90_s,
  max(duration_s) AS longest_s,
  round(CAST(sum(duration_s) AS DOUBLE) / CAST(count(*) AS DOUBLE), 1) AS mean_s
FROM ranked
GROUP BY mode
ORDER BY mode
