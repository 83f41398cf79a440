-- title: Health of the pipeline
-- question: How much came in, and what became of it?
-- chart: stacked x=stream y=clean,duplicates,conflicts,dead
WITH counted AS (
  SELECT
    stream,
    sum(coalesce(acknowledged, 0)) AS acknowledged,
    sum(CASE WHEN stage = 'process' THEN coalesce(accepted, 0) ELSE 0 END) AS accepted,
    sum(CASE WHEN stage = 'process' THEN coalesce(clean, 0) ELSE 0 END) AS clean,
    sum(CASE WHEN stage = 'process' THEN coalesce(duplicates, 0) ELSE 0 END) AS duplicates,
    sum(CASE WHEN stage = 'process' THEN coalesce(conflicts, 0) ELSE 0 END) AS conflicts,
    sum(CASE WHEN stage = 'process' THEN coalesce(dead, 0) ELSE 0 END) AS dead,
    max(time) AS newest
  FROM killfeed_ledger
  WHERE stream IS NOT NULL
  GROUP BY stream
)
SELECT
  stream,
  accepted,
  clean,
  duplicates,
  round(CAST(duplicates AS DOUBLE) / CAST(greatest(accepted, 1) AS DOUBLE), 4) AS duplicate_share,
  conflicts,
  dead,
  round(CAST(dead AS DOUBLE) / CAST(greatest(accepted, 1) AS DOUBLE), 4) AS dead_share,
  acknowledged,
  newest
FROM counted
ORDER BY stream
