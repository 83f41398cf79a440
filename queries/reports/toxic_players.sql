-- title: Players by repeated offence
-- question: Who writes toxic messages again and again, and which?
-- param min_toxic int(1..) 2 Players with fewer toxic messages are left out
-- param evidence int(0..1000) 5 How many of the newest toxic messages to show
-- param player text '' One player's id; empty for all
-- chart: bar x=player_id y=toxic
WITH judged AS (
  SELECT player_id, game_id, time, id, text, toxicity(text)['score'] >= 0.5 AS is_toxic
  FROM chat_message
  WHERE text IS NOT NULL AND player_id IS NOT NULL AND ($player = '' OR player_id = $player)
), ranked AS (
  SELECT
    player_id,
    game_id,
    time,
    id,
    text,
    is_toxic,
    row_number() OVER (PARTITION BY player_id, is_toxic ORDER BY time DESC, id DESC) AS place
  FROM judged
), counted AS (
  SELECT
    player_id,
    count(*) AS messages,
    count(*) FILTER (WHERE is_toxic) AS toxic,
    count(DISTINCT game_id) FILTER (WHERE is_toxic) AS games,
    max(time) FILTER (WHERE is_toxic) AS last,
    array_agg(text ORDER BY time DESC, id DESC) FILTER (WHERE is_toxic AND place <= $evidence) AS evidence
  FROM ranked
  GROUP BY player_id
)
SELECT
  player_id,
  toxic,
  messages,
  round(CAST(toxic AS DOUBLE) / CAST(messages AS DOUBLE), 4) AS rate,
  games,
  last,
  evidence
FROM counted
WHERE toxic >= $min_toxic
ORDER BY toxic DESC, rate DESC, player_id
