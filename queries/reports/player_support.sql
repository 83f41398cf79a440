-- title: Notes of players about crashes
-- question: What do players say about their crashes, and who wants an answer?
-- param signature text '' One signature; empty for all
-- param player text '' One player's id; empty for all
SELECT
  time,
  signature,
  app_version AS version,
  gpu,
  driver,
  player_id,
  note,
  CASE WHEN consent THEN name END AS name,
  CASE WHEN consent THEN mail END AS mail
FROM client_crash
WHERE note IS NOT NULL
  AND ($signature = '' OR signature = $signature)
  AND ($player = '' OR player_id = $player)
ORDER BY time DESC, player_id, id
