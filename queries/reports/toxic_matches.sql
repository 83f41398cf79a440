-- title: Most toxic matches
-- question: In which matches was chat worst, and what was said?
-- param matches int(1..1000) 10 How many
-- param region text '' One region; empty for all
-- chart: bar x=game_id y=toxic
WITH judged AS (
  SELECT
    game_id,
    region,
    time,
    id,
    coalesce(player_id, 'unknown') || ': ' || text AS line,
    toxicity(text)['score'] >= 0.5 AS is_toxic
  FROM chat_message
  WHERE text IS NOT NULL AND game_id IS NOT NULL AND ($region = '' OR region = $region)
), counted AS (
  SELECT
    game_id,
    min(region) AS region,
    min(time) AS "first",
    count(*) AS messages,
    count(*) FILTER (WHERE is_toxic) AS toxic
  FROM judged
  GROUP BY game_id
), ranked AS (
  SELECT
    game_id,
    region,
    "first",
    messages,
    toxic,
    row_number() OVER (ORDER BY toxic DESC, messages, game_id) AS place
  FROM counted
  WHERE toxic > 0
), worst AS (
  SELECT game_id, region, "first", messages, toxic, place FROM ranked WHERE place <= $matches
), said AS (
  -- Only of these: a transcript is long.
  SELECT
    judged.game_id,
    array_agg((CASE WHEN is_toxic THEN '! ' ELSE '' END) || line ORDER BY time, id) AS transcript
  FROM judged
  JOIN worst ON worst.game_id = judged.game_id
  GROUP BY judged.game_id
)
SELECT
  worst.game_id,
  region,
  "first",
  toxic,
  messages,
  round(CAST(toxic AS DOUBLE) / CAST(messages AS DOUBLE), 4) AS rate,
  transcript
FROM worst
JOIN said ON said.game_id = worst.game_id
ORDER BY place
