//! The smallest program around the relay, for trials: `relay POSTGRES_URL API_URL`. SIGINT or SIGTERM stops it.

use outbox::{Delivered, Options, Settings, Table, run};
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let mut arguments = std::env::args().skip(1);
    let (Some(postgres), Some(url)) = (arguments.next(), arguments.next()) else {
        return Err("give a URL of PostgreSQL, and one of killfeed".into());
    };
    let (stopping, stop) = tokio::sync::watch::channel(false);
    let mut terminated = signal(SignalKind::terminate())?;
    tokio::spawn(async move {
        tokio::select! { _ = terminated.recv() => {} _ = tokio::signal::ctrl_c() => {} }
        stopping.send(true)
    });
    let options = Options {
        postgres,
        password: None,
        table: Table::DEFAULT.parse()?,
        delivered: Delivered::Delete,
        url,
        key: None,
        settings: Settings::default(),
        relays: 1,
        listen: None,
    };
    Ok(run(options, stop).await?)
}
