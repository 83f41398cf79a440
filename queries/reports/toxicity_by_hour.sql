-- title: Toxicity by hour
-- question: When is chat toxic?
-- param region text '' One region; empty for all
-- param channel text '' One channel of chat; empty for all
-- chart: line x=hour y=rate unit=percent
WITH judged AS (
  SELECT date_trunc('hour', time) AS hour, toxicity(text)['score'] >= 0.5 AS is_toxic
  FROM chat_message
  WHERE text IS NOT NULL
    AND time IS NOT NULL
    AND ($region = '' OR region = $region)
    AND ($channel = '' OR channel = $channel)
), counted AS (
  SELECT hour, count(*) AS messages, count(*) FILTER (WHERE is_toxic) AS toxic
  FROM judged
  GROUP BY hour
)
SELECT hour, messages, toxic, round(CAST(toxic AS DOUBLE) / CAST(messages AS DOUBLE), 4) AS rate
FROM counted
ORDER BY hour
