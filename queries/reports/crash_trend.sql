-- title: Crashes by day
-- question: Since when does the client crash there, and is it getting better?
-- param signature text '' One signature; empty for all
-- param version text '' One version of the client; empty for all
-- chart: line x=day y=crashes by=signature
SELECT
  CAST(time AS DATE) AS day,
  coalesce(signature, 'unknown') AS signature,
  count(*) AS crashes,
  count(DISTINCT player_id) AS players
FROM client_crash
WHERE ($signature = '' OR signature = $signature) AND ($version = '' OR app_version = $version)
GROUP BY 1, 2
ORDER BY day, signature
