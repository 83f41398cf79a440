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
), lengths AS (
  SELECT coalesce(mode, 'unknown') AS mode, duration_s, count(*) AS games
  FROM lol_game_result AS ended
  LEFT JOIN started ON started.game_id = ended.game_id
  WHERE duration_s IS NOT NULL
    AND ($version = '' OR version = $version)
    AND ($region = '' OR ended.region = $region)
  GROUP BY 1, 2
), ranked AS (
  SELECT
    mode,
    duration_s,
    games,
    sum(games) OVER (PARTITION BY mode ORDER BY duration_s ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS place,
    sum(games) OVER (PARTITION BY mode) AS of_mode
  FROM lengths
)
SELECT
  mode,
  CAST(sum(games) AS BIGINT) AS games,
  min(duration_s) AS shortest_s,
  -- Nearest rank: the smallest length that so many percent don't exceed.
  min(duration_s) FILTER (WHERE place >= (of_mode * 50 + 99) / 100) AS median_s,
  min(duration_s) FILTER (WHERE place >= (of_mode * 90 + 99) / 100) AS p90_s,
  max(duration_s) AS longest_s,
  round(CAST(sum(duration_s * games) AS DOUBLE) / CAST(sum(games) AS DOUBLE), 1) AS mean_s
FROM ranked
GROUP BY mode
ORDER BY mode
