-- title: Retention
-- question: How many of the players who came on a day are back 1, 7 and 30 days later?
-- param region text '' One region; empty for all
-- chart: line x=cohort y=day_1,day_7,day_30 unit=percent
WITH seen AS (
  SELECT DISTINCT player_id, CAST(CAST(time AS DATE) AS INT) AS day
  FROM lol_player_result
  WHERE player_id IS NOT NULL AND time IS NOT NULL AND ($region = '' OR region = $region)
), dated AS (
  SELECT
    player_id,
    day,
    min(day) OVER (PARTITION BY player_id) AS first,
    max(day) OVER () AS newest
  FROM seen
), counted AS (
  SELECT
    first,
    max(newest) AS newest,
    count(*) FILTER (WHERE day = first) AS players,
    count(*) FILTER (WHERE day = first + 1) AS day_1,
    count(*) FILTER (WHERE day = first + 7) AS day_7,
    count(*) FILTER (WHERE day = first + 30) AS day_30
  FROM dated
  GROUP BY first
)
SELECT
  CAST(CAST(first AS INT) AS DATE) AS cohort,
  players,
  CASE WHEN first + 1 < newest THEN round(CAST(day_1 AS DOUBLE) / CAST(players AS DOUBLE), 4) END AS day_1,
  CASE WHEN first + 7 < newest THEN round(CAST(day_7 AS DOUBLE) / CAST(players AS DOUBLE), 4) END AS day_7,
  CASE WHEN first + 30 < newest THEN round(CAST(day_30 AS DOUBLE) / CAST(players AS DOUBLE), 4) END AS day_30
FROM counted
ORDER BY cohort
