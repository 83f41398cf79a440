-- title: Crashes by graphics driver
-- question: Which graphics cards and drivers do clients crash with?
-- param signature text '' One signature; empty for all
-- param version text '' One version of the client; empty for all
-- chart: bar x=driver y=crashes
WITH counted AS (
  SELECT
    coalesce(gpu, 'unknown') AS gpu,
    coalesce(driver, 'unknown') AS driver,
    count(*) AS crashes,
    count(DISTINCT player_id) AS players,
    count(DISTINCT signature) AS signatures
  FROM client_crash
  WHERE ($signature = '' OR signature = $signature) AND ($version = '' OR app_version = $version)
  GROUP BY 1, 2
)
SELECT
  gpu,
  driver,
  crashes,
  round(CAST(crashes AS DOUBLE) / CAST(sum(crashes) OVER () AS DOUBLE), 4) AS share,
  players,
  signatures
FROM counted
ORDER BY crashes DESC, gpu, driver
