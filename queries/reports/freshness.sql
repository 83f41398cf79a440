-- title: Freshness of tables
-- question: How long ago did each table last receive an event?
-- chart: bar x=table y=age_s
SELECT
  "table",
  newest,
  round(date_part('epoch', now()) - date_part('epoch', newest), 1) AS age_s
FROM killfeed_tables
WHERE right("table", 7) <> '_latest' -- Views: what they have, their tables have received.
ORDER BY newest NULLS FIRST, "table"
