-- title: Toxicity before and after a patch
-- question: Did a version of the game change how toxic chat is?
-- param version text '' One version; empty for all
-- chart: bar x=version y=rate,before unit=percent
WITH started AS (
  SELECT game_id, min(version) AS version, min(time) AS time
  FROM lol_game_start
  WHERE game_id IS NOT NULL AND version IS NOT NULL
  GROUP BY game_id
), released AS (
  SELECT version, min(time) AS since FROM started GROUP BY version
), judged AS (
  SELECT game_id, toxicity(text)['score'] >= 0.5 AS is_toxic
  FROM chat_message
  WHERE text IS NOT NULL
), counted AS (
  SELECT version, count(*) AS messages, count(*) FILTER (WHERE is_toxic) AS toxic
  FROM judged
  JOIN started ON started.game_id = judged.game_id
  GROUP BY version
), rated AS (
  SELECT
    counted.version,
    since,
    messages,
    toxic,
    lag(toxic) OVER (ORDER BY since, counted.version) AS toxic_before,
    lag(messages) OVER (ORDER BY since, counted.version) AS messages_before
  FROM counted
  JOIN released ON released.version = counted.version
)
SELECT
  version,
  since,
  messages,
  toxic,
  round(CAST(toxic AS DOUBLE) / CAST(messages AS DOUBLE), 4) AS rate,
  round(CAST(toxic_before AS DOUBLE) / CAST(messages_before AS DOUBLE), 4) AS before,
  round(
    CAST(toxic * messages_before - toxic_before * messages AS DOUBLE) / CAST(messages * messages_before AS DOUBLE), 4
  ) AS change
FROM rated
WHERE $version = '' OR version = $version
ORDER BY since, version
