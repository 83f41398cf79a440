//! Rows per second through one relay and two, with an API that takes everything at once. `make bench` runs it.

use crate::server::{Collector, Postgres, relay, table};
use outbox::Settings;
use std::time::{Duration, Instant};
use tokio::sync::watch;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement, which `make bench` takes"]
async fn rows_per_second() {
    let postgres = Postgres::start("throughput");
    let client = postgres.with_table(&table()).await;
    for (relays, batch) in [(1, 500), (1, 2_000), (2, 500), (4, 500)] {
        let rows = 50_000_i64;
        client
            .execute(
                "INSERT INTO killfeed_outbox (key, source, type, attributes, data) \
             SELECT 'game-' || n % 1000, '/chess', 'chess.move', jsonb_build_object('gameid', 'game-' || n % 1000), \
                    json_build_object('move', n, 'text', repeat('x', 200)) FROM generate_series(1, $1::int8) AS n",
                &[&rows],
            )
            .await
            .unwrap();
        let api = Collector::start(1, 0.0).await;
        let (stopping, stop) = watch::channel(false);
        let settings = Settings { batch, ..Settings::default() };
        let start = Instant::now();
        let running: Vec<_> = (0..relays).map(|n| relay(&postgres, &api, settings, n, &stop)).collect();
        while client.query_one("SELECT count(*) FROM killfeed_outbox", &[]).await.unwrap().get::<_, i64>(0) > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let rate = f64::from(u32::try_from(rows).unwrap()) / start.elapsed().as_secs_f64();
        println!("{relays} relays, batches of {batch}: {rate:.0} rows/s");
        stopping.send(true).unwrap();
        for relay in running {
            relay.await.unwrap();
        }
    }
}
