-- title: Sessions
-- question: How often and how long do people play in one sitting?
-- param gap_min int(0..10080) 30 Minutes without a game that end a session
-- param region text '' One region; empty for all
-- chart: line x=day y=sessions,players
WITH played AS (
  SELECT
    player_id,
    CAST(CAST(time AS TIMESTAMP(6)) AS BIGINT) AS end_us,
    CAST(CAST(time AS TIMESTAMP(6)) AS BIGINT) - 1000000 * CAST(time_played AS BIGINT) AS start_us
  FROM lol_player_result
  WHERE player_id IS NOT NULL AND time_played > 0 AND ($region = '' OR region = $region)
), marked AS (
  SELECT
    player_id,
    start_us,
    end_us,
    CASE
      WHEN start_us - lag(end_us) OVER (PARTITION BY player_id ORDER BY end_us, start_us) <= 60000000 * $gap_min THEN 0
      ELSE 1
    END AS opens
  FROM played
), numbered AS (
  SELECT
    player_id,
    start_us,
    end_us,
    sum(opens) OVER (
      PARTITION BY player_id ORDER BY end_us, start_us ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS number
  FROM marked
), summed AS (
  SELECT player_id, min(start_us) AS start_us, max(end_us) AS end_us, count(*) AS games
  FROM numbered
  GROUP BY player_id, number
), counted AS (
  SELECT
    CAST(to_timestamp_micros(start_us) AS DATE) AS day,
    count(*) AS sessions,
    count(DISTINCT player_id) AS players,
    sum(games) AS games,
    sum(end_us - start_us) AS length_us
  FROM summed
  GROUP BY 1
)
SELECT
  day,
  sessions,
  players,
  games,
  round(CAST(length_us AS DOUBLE) / CAST(sessions * 60000000 AS DOUBLE), 1) AS minutes,
  round(CAST(games AS DOUBLE) / CAST(sessions AS DOUBLE), 2) AS games_per_session
FROM counted
ORDER BY day
