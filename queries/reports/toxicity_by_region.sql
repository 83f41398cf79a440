-- title: Toxicity by region
-- question: Where is chat toxic, and in which way?
-- param channel text '' One channel of chat; empty for all
-- chart: bar x=region y=rate unit=percent
WITH judged AS (
  SELECT coalesce(region, 'unknown') AS region, player_id, toxicity(text) AS verdict
  FROM chat_message
  WHERE text IS NOT NULL AND ($channel = '' OR channel = $channel)
), marked AS (
  SELECT region, player_id, verdict['score'] >= 0.5 AS is_toxic, verdict['labels'] AS labels
  FROM judged
), counted AS (
  SELECT
    region,
    count(*) AS messages,
    count(*) FILTER (WHERE is_toxic) AS toxic,
    count(DISTINCT player_id) FILTER (WHERE is_toxic) AS players,
    count(*) FILTER (WHERE array_has(labels, 'insult')) AS insult,
    count(*) FILTER (WHERE array_has(labels, 'hate')) AS hate,
    count(*) FILTER (WHERE array_has(labels, 'threat')) AS threat,
    count(*) FILTER (WHERE array_has(labels, 'sexual')) AS sexual,
    count(*) FILTER (WHERE array_has(labels, 'spam')) AS spam
  FROM marked
  GROUP BY region
)
SELECT
  region,
  messages,
  toxic,
  round(CAST(toxic AS DOUBLE) / CAST(messages AS DOUBLE), 4) AS rate,
  players,
  insult,
  hate,
  threat,
  sexual,
  spam
FROM counted
ORDER BY rate DESC, region
