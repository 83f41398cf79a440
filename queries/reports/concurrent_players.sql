-- title: Concurrent players
-- question: How many play at the same time, hour by hour at the peak?
-- param region text '' One region; empty for all
-- chart: line x=hour y=players
WITH played AS (
  SELECT
    CAST(CAST(time AS TIMESTAMP(6)) AS BIGINT) AS end_us,
    CAST(CAST(time AS TIMESTAMP(6)) AS BIGINT) - 1000000 * CAST(time_played AS BIGINT) AS start_us
  FROM lol_player_result
  WHERE time_played > 0 AND ($region = '' OR region = $region)
), changes AS (
  SELECT start_us AS at_us, 1 AS change FROM played
  UNION ALL
  SELECT end_us, -1 FROM played
), moments AS (
  -- Who goes from one game straight into the next is one player all the time.
  SELECT at_us, sum(change) AS change FROM changes GROUP BY at_us
), counted AS (
  SELECT
    at_us,
    -- Of its hour, the first microsecond; `%` follows the sign, which times before 1970 have.
    at_us - (at_us % 3600000000 + 3600000000) % 3600000000 AS hour_us,
    change,
    sum(change) OVER (ORDER BY at_us ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS players
  FROM moments
)
SELECT
  to_timestamp_micros(hour_us) AS hour,
  -- Those of the moment before count too, but for a change on the full hour.
  max(CASE WHEN at_us > hour_us THEN greatest(players, players - change) ELSE players END) AS players
FROM counted
GROUP BY hour_us
ORDER BY hour
