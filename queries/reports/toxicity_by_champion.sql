-- title: Toxicity by champion
-- question: Players of which champion write toxic messages?
-- param min_messages int(0..) 1 Champions with fewer messages are left out
-- chart: bar x=champion y=rate unit=percent
WITH judged AS (
  SELECT game_id, player_id, toxicity(text)['score'] >= 0.5 AS is_toxic
  FROM chat_message
  WHERE text IS NOT NULL
), played AS (
  SELECT game_id, player_id, min(champion_name) AS champion
  FROM lol_player_result
  WHERE game_id IS NOT NULL AND player_id IS NOT NULL
  GROUP BY game_id, player_id
), counted AS (
  SELECT
    coalesce(champion, 'unknown') AS champion,
    count(*) AS messages,
    count(*) FILTER (WHERE is_toxic) AS toxic
  FROM judged
  LEFT JOIN played ON played.game_id = judged.game_id AND played.player_id = judged.player_id
  GROUP BY 1
)
SELECT champion, messages, toxic, round(CAST(toxic AS DOUBLE) / CAST(messages AS DOUBLE), 4) AS rate
FROM counted
WHERE messages >= $min_messages
ORDER BY rate DESC, messages DESC, champion
