-- title: Connection types by region
-- question: How are the players of each region connected?
-- chart: share x=region y=players by=connection
WITH seen AS (
  SELECT DISTINCT
    coalesce(region, 'unknown') AS region,
    coalesce(geo_connection, 'unknown') AS connection,
    player_id
  FROM network_quality
  WHERE player_id IS NOT NULL
), counted AS (
  SELECT region, connection, count(*) AS players
  FROM seen
  GROUP BY region, connection
)
SELECT
  region,
  connection,
  round(CAST(players AS DOUBLE) / CAST(sum(players) OVER (PARTITION BY region) AS DOUBLE), 4) AS share,
  players
FROM counted
ORDER BY region, players DESC, connection
