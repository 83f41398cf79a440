-- title: Freshness of tables
-- question: How long ago did each table last receive an event?
SELECT
  table_name AS "table",
  newest_received_at AS newest,
  round(date_part('epoch', now()) - date_part('epoch', newest_received_at), 1) AS age_s
FROM killfeed_tables
ORDER BY newest NULLS FIRST, "table"
