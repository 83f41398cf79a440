-- title: Client crashes
-- question: Where does the client crash, and in which version?
-- param version text '' One version of the client; empty for all
-- chart: stacked x=version y=crashes by=signature
SELECT
  signature,
  app_version AS version,
  count(*) AS crashes,
  count(DISTINCT player_id) AS players
FROM client_crash
WHERE $version = '' OR app_version = $version
GROUP BY signature, app_version
ORDER BY crashes DESC, signature, version
