-- title: Internet providers by connection quality
-- question: With which provider do players have the best connection?
-- param city text '' City in English; empty for all
-- param sort one-of(score,share) score What to order by
-- param min_players int(0..) 1 Providers with fewer players are left out
-- chart: share x=provider y=great,good,ok,poor
WITH graded AS (
  SELECT
    geo_isp AS provider,
    player_id,
    -- 1 is poor, 4 great: numbers are compared in less time than words.
    CASE
      WHEN latency_ms > 140 OR jitter_ms > 30 OR loss_pct > 2.0 THEN 1
      WHEN latency_ms > 80 OR jitter_ms > 15 OR loss_pct > 0.5 THEN 2
      WHEN latency_ms > 40 OR jitter_ms > 8 OR loss_pct > 0.1 THEN 3
      ELSE 4
    END AS grade
  FROM network_quality
  WHERE geo_isp IS NOT NULL
    AND ($city = '' OR geo_city = $city)
    AND coalesce(CAST(latency_ms AS DOUBLE), CAST(jitter_ms AS DOUBLE), CAST(loss_pct AS DOUBLE)) IS NOT NULL
), counted AS (
  SELECT
    provider,
    count(*) AS samples,
    count(DISTINCT player_id) AS players,
    count(*) FILTER (WHERE grade = 4) AS great,
    count(*) FILTER (WHERE grade = 3) AS good,
    count(*) FILTER (WHERE grade = 2) AS ok,
    count(*) FILTER (WHERE grade = 1) AS poor
  FROM graded
  GROUP BY provider
), scored AS (
  SELECT
    provider,
    round(CAST(100 * great + 75 * good + 40 * ok AS DOUBLE) / CAST(samples AS DOUBLE), 1) AS score,
    round(CAST(players AS DOUBLE) / CAST(greatest(sum(players) OVER (), 1) AS DOUBLE), 4) AS share,
    round(CAST(great AS DOUBLE) / CAST(samples AS DOUBLE), 4) AS great,
    round(CAST(good AS DOUBLE) / CAST(samples AS DOUBLE), 4) AS good,
    round(CAST(ok AS DOUBLE) / CAST(samples AS DOUBLE), 4) AS ok,
    round(CAST(poor AS DOUBLE) / CAST(samples AS DOUBLE), 4) AS poor,
    players,
    samples
  FROM counted
)
SELECT provider, score, share, great, good, ok, poor, players, samples
FROM scored
WHERE players >= $min_players
ORDER BY CASE WHEN $sort = 'share' THEN share ELSE score END DESC, provider
