-- title: First blood rate by champion
-- question: Which champion draws first blood most often?
-- param min_games int(0..) 1 Champions with fewer finished games are left out
-- chart: bar x=champion y=rate unit=percent
WITH played AS (
  SELECT DISTINCT game_id, champion_name AS champion
  FROM lol_player_result
  WHERE game_id IS NOT NULL AND champion_name IS NOT NULL
), drawn AS (
  SELECT DISTINCT game_id, killer_champion AS champion
  FROM lol_champion_special_kill
  WHERE kill_type = 'KILL_FIRST_BLOOD'
), counted AS (
  SELECT played.champion, count(*) AS games, count(drawn.champion) AS first_bloods
  FROM played
  LEFT JOIN drawn ON drawn.game_id = played.game_id AND drawn.champion = played.champion
  GROUP BY played.champion
)
SELECT champion, games, first_bloods, round(CAST(first_bloods AS DOUBLE) / CAST(games AS DOUBLE), 4) AS rate
FROM counted
WHERE games >= $min_games
ORDER BY rate DESC, games DESC, champion
