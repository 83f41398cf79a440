-- title: Champion mastery
-- question: How well does each player do with each champion?
-- param player text '' One player's id; empty for all
-- param min_games int(0..) 1 Pairs of player and champion with fewer games are left out
-- chart: bar x=player_id,champion y=games
WITH summed AS (
  SELECT
    player_id,
    champion_name AS champion,
    count(*) AS games,
    count(*) FILTER (WHERE win) AS wins,
    sum(coalesce(kills, 0)) AS kills,
    sum(coalesce(deaths, 0)) AS deaths,
    sum(coalesce(assists, 0)) AS assists
  FROM lol_player_result
  WHERE player_id IS NOT NULL AND champion_name IS NOT NULL AND ($player = '' OR player_id = $player)
  GROUP BY player_id, champion_name
)
SELECT
  player_id,
  champion,
  games,
  round(CAST(wins AS DOUBLE) / CAST(games AS DOUBLE), 4) AS win_rate,
  round(CAST(kills + assists AS DOUBLE) / CAST(greatest(deaths, 1) AS DOUBLE), 2) AS kda,
  kills,
  deaths,
  assists
FROM summed
WHERE games >= $min_games
ORDER BY games DESC, win_rate DESC, kda DESC, player_id, champion
