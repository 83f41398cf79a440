-- title: Crashes by signature
-- question: Which crashes hurt most, is it getting better, and whom do they hit?
-- param days int(1..3650) 7 Days of a window: the newest is `recent`, the one in front of it `before`
-- param version text '' One version of the client; empty for all
-- chart: bar x=signature y=recent,before
WITH crashed AS (
  SELECT
    coalesce(signature, 'unknown') AS signature,
    coalesce(app_version, 'unknown') AS version,
    coalesce(gpu, 'unknown') || ' ' || coalesce(driver, 'unknown') AS driver,
    player_id,
    time,
    CAST(CAST(time AS TIMESTAMP(6)) AS BIGINT) AS time_us
  FROM client_crash
  WHERE $version = '' OR app_version = $version
), aged AS (
  SELECT signature, version, driver, player_id, time, max(time_us) OVER () - time_us AS age_us FROM crashed
), counted AS (
  SELECT
    signature,
    count(*) AS crashes,
    count(DISTINCT player_id) AS players,
    count(*) FILTER (WHERE age_us < 86400000000 * $days) AS recent,
    count(*) FILTER (WHERE age_us >= 86400000000 * $days AND age_us < 172800000000 * $days) AS before,
    array_to_string(array_agg(DISTINCT version ORDER BY version), ', ') AS versions,
    array_to_string(array_agg(DISTINCT driver ORDER BY driver), ', ') AS drivers,
    min(time) AS first_seen,
    max(time) AS last_seen
  FROM aged
  GROUP BY signature
)
SELECT signature, crashes, players, recent, before, recent - before AS trend, versions, drivers, first_seen, last_seen
FROM counted
ORDER BY crashes DESC, signature
