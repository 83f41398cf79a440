//! What a server can be told: one definition that drives the flags, the environment, the config
//! file, and what `killfeed config` prints.

use crate::exit::Failure;
use clap::Args;
use edge::IpNet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Options of `up` and of the roles.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// Where the log, the tables, and schemas live unless told otherwise. One process at a time.
    #[arg(long, value_name = "DIR", default_value = "./killfeed-data", env = "KILLFEED_DATA_DIR")]
    pub(crate) data_dir: PathBuf,

    /// Address to serve HTTP on. Without API keys only loopback is allowed; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080", env = "KILLFEED_LISTEN")]
    pub(crate) listen: SocketAddr,

    /// Address to serve PostgreSQL's protocol on, for psql and other tools: by the roles that answer questions
    /// [default: 127.0.0.1:5433, or nowhere if that is taken].
    #[arg(long, value_name = "ADDRESS", env = "KILLFEED_PG_LISTEN")]
    pub(crate) pg_listen: Option<SocketAddr>,

    /// Certificate chain in PEM, with which PostgreSQL's protocol speaks TLS. An address beyond this machine needs one:
    /// the password is an API key.
    #[arg(long, value_name = "FILE", env = "KILLFEED_PG_TLS_CERT", requires = "pg_tls_key")]
    pub(crate) pg_tls_cert: Option<PathBuf>,

    /// The certificate's private key in PEM.
    #[arg(long, value_name = "FILE", env = "KILLFEED_PG_TLS_KEY", requires = "pg_tls_cert")]
    pub(crate) pg_tls_key: Option<PathBuf>,

    /// TOML file with these options, named as the flags are, and the API keys. Flags come before the
    /// environment, the environment before the file, the file before the defaults.
    #[arg(long, value_name = "FILE", env = "KILLFEED_CONFIG")]
    pub(crate) config: Option<PathBuf>,

    /// MaxMind database (.mmdb) to look client addresses up in; repeatable, reloaded on change. A file
    /// that isn't there yet is waited for; none means events without geography.
    #[arg(long, value_name = "FILE", env = "KILLFEED_GEOIP", value_delimiter = ',')]
    pub(crate) geoip: Vec<PathBuf>,

    /// Schemas, `<type>/<version>.json`, reloaded on change [default: <data-dir>/schemas].
    #[arg(long, value_name = "DIR", env = "KILLFEED_SCHEMAS")]
    pub(crate) schemas: Option<PathBuf>,

    /// The log: `embedded` keeps it in <data-dir>/log, one process at a time;
    /// `kafka://HOST:PORT[,HOST:PORT]...` keeps it on Apache Kafka, for any number of processes.
    #[arg(long, value_name = "LOG", default_value = "embedded", env = "KILLFEED_LOG", value_parser = parse_log)]
    pub(crate) log: LogKind,

    /// Kafka has one node only: topics have one replica, and what was acknowledged is lost with the node's
    /// disk. Without this, topics that could lose it are refused.
    #[arg(long, env = "KILLFEED_SINGLE_NODE")]
    pub(crate) single_node: bool,

    /// Stands before the names of topics, groups and transactional ids, for several killfeeds on one Kafka.
    #[arg(long, value_name = "PREFIX", default_value = "", env = "KILLFEED_KAFKA_PREFIX", value_parser = parse_prefix)]
    pub(crate) kafka_prefix: String,

    /// A setting of librdkafka for all of its clients, for example security.protocol=SASL_SSL; repeatable.
    #[arg(long, value_name = "NAME=VALUE", env = "KILLFEED_KAFKA_PROPERTY", value_delimiter = ';', hide_env_values = true,
          value_parser = parse_property)]
    pub(crate) kafka_property: Vec<(String, String)>,

    /// Where the Delta tables go: a directory, or `s3://BUCKET/PREFIX` on S3 and what speaks its protocol.
    /// Credentials and endpoint come from the environment (AWS_...) [default: <data-dir>/tables].
    #[arg(long, value_name = "DIR|URL", env = "KILLFEED_STORE")]
    pub(crate) store: Option<String>,

    /// A setting of the store on S3, for example region=eu-west-1 or allow_http=true; repeatable. It wins
    /// over the environment.
    #[arg(long, value_name = "NAME=VALUE", env = "KILLFEED_STORE_PROPERTY", value_delimiter = ';', hide_env_values = true,
          value_parser = parse_property)]
    pub(crate) store_property: Vec<(String, String)>,

    /// The stream to serve; its topics are <stream>.raw, .clean, .dead, .state and .ledger.
    #[arg(long, value_name = "NAME", default_value = "events", env = "KILLFEED_STREAM", value_parser = parse_stream)]
    pub(crate) stream: events::Stream,

    /// Partitions of each topic, fixed when the stream is made: more than cores, so that work can be
    /// spread later; few enough that each flush writes files of a good size.
    #[arg(long, value_name = "N", default_value_t = 8, env = "KILLFEED_PARTITIONS",
          value_parser = clap::value_parser!(i32).range(1..=1024))]
    pub(crate) partitions: i32,

    /// How long a row may wait before it is written to its table, where readers other than killfeed's queries
    /// see it; shorter means fresher tables, and more and smaller files.
    #[arg(long, value_name = "TIME", default_value = "5s", env = "KILLFEED_FLUSH_INTERVAL", value_parser = parse_time)]
    pub(crate) flush_interval: Duration,

    /// Rows received more than N days ago are removed from the tables, by date; for ever if not given.
    #[arg(long, value_name = "N", env = "KILLFEED_KEEP_DAYS", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) keep_days: Option<u32>,

    /// Unknown event types become dead letters instead of tables of their own.
    #[arg(long, env = "KILLFEED_NO_DISCOVERY")]
    pub(crate) no_discovery: bool,

    /// Network of proxies whose X-Forwarded-For is believed; repeatable. None by default: anybody can
    /// write that header.
    #[arg(long, value_name = "CIDR", env = "KILLFEED_TRUSTED_PROXY", value_delimiter = ',')]
    pub(crate) trusted_proxy: Vec<IpNet>,

    /// Origin whose web pages may send events from a browser, for example https://play.example.com; repeatable, * for
    /// any. None by default: then only pages that come from this address may.
    #[arg(long, value_name = "ORIGIN", env = "KILLFEED_CORS_ORIGIN", value_delimiter = ',')]
    pub(crate) cors_origin: Vec<ingest::Origin>,

    /// Ask client SDKs to send nothing: they count what the game reports as `sampled`. They ask once an hour.
    /// What comes all the same is taken.
    #[arg(long, env = "KILLFEED_CLIENTS_OFF")]
    pub(crate) clients_off: bool,

    /// Ask client SDKs to send one event in N of a type; repeatable. They count the others as `sampled`.
    #[arg(long, value_name = "TYPE=N", env = "KILLFEED_SAMPLING", value_delimiter = ',', value_parser = parse_sampling)]
    pub(crate) sampling: Vec<(String, u32)>,

    /// How long the log keeps events. Tables keep theirs. The embedded log never deletes what no reader has seen;
    /// Kafka does, and an alarm comes at 80 % of the time.
    #[arg(long, value_name = "TIME", default_value = "7d", env = "KILLFEED_RETENTION", value_parser = parse_time)]
    pub(crate) retention: Duration,

    /// What is left of a client's address once it has been looked up: nothing (`drop`), or its network
    /// (`truncate`: 24 bits of IPv4, 48 of IPv6) in clean records. No table gets it either way: an
    /// address is personal, and what analysts ask of it stands in the geo columns.
    #[arg(long, value_name = "POLICY", default_value = "drop", env = "KILLFEED_ADDRESS_POLICY")]
    pub(crate) address_policy: AddressKept,

    /// Bytes of records that the log may keep. Past it, what every reader has read goes first, however
    /// young; with only unread data left, events are refused with 503. As much as the disk takes if not
    /// given, less a reserve of 256 MiB.
    #[arg(long, value_name = "SIZE", env = "KILLFEED_LOG_SIZE_LIMIT", value_parser = parse_log_size)]
    pub(crate) log_size_limit: Option<u64>,

    /// Memory for the fingerprints by which duplicates are known, for each stream: some 20
    /// million fit into the default. Past it the oldest go to disk, where a look-up is slower.
    #[arg(long, value_name = "SIZE", default_value = "1GiB", env = "KILLFEED_DEDUPE_MEMORY", value_parser = parse_memory)]
    pub(crate) dedupe_memory: u64,

    /// Memory that all running queries share for sorts, joins and groups; past it they spill to
    /// <data-dir>/spill, or fail. Leave as much again free: not all that they hold is counted.
    #[arg(long, value_name = "SIZE", default_value = "1GiB", env = "KILLFEED_QUERY_MEMORY", value_parser = parse_memory)]
    pub(crate) query_memory: u64,

    /// How long a query may take, from its planning to its last row: one that takes longer keeps a
    /// place from others.
    #[arg(long, value_name = "TIME", default_value = "60s", env = "KILLFEED_QUERY_TIME", value_parser = parse_time)]
    pub(crate) query_time: Duration,

    /// Rows of an answer: who asks for more mostly forgot a LIMIT or a GROUP BY.
    #[arg(long, value_name = "N", default_value_t = 1_000_000, env = "KILLFEED_QUERY_ROWS",
          value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub(crate) query_rows: u64,

    /// Queries that run at once; 16 times as many wait for their turn, and a further one gets 503. Each
    /// uses all cores, so that more of them only share.
    #[arg(long, value_name = "N", default_value_t = 4, env = "KILLFEED_QUERY_CONCURRENCY",
          value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(crate) query_concurrency: u32,

    /// Answers have only what is in the tables, and not what stands in the log still: queries then read no
    /// log, and are up to a flush interval late.
    #[arg(long, env = "KILLFEED_NO_FRESH")]
    pub(crate) no_fresh: bool,

    /// The same for one stream; repeatable. Each process that answers queries reads the whole clean topic of
    /// every other stream.
    #[arg(long, value_name = "NAME", env = "KILLFEED_NO_FRESH_STREAM", value_delimiter = ',', value_parser = parse_stream)]
    pub(crate) no_fresh_stream: Vec<events::Stream>,

    /// Memory for what stands in the log and in no table yet. Past it, answers say up to when they are
    /// complete (`killfeed-fresh-to`) until the sinks have caught up.
    #[arg(long, value_name = "SIZE", default_value = "256MiB", env = "KILLFEED_FRESH_MEMORY", value_parser = parse_memory)]
    pub(crate) fresh_memory: u64,

    /// How long an event may wait for its table before queries read no further ahead of the sinks.
    #[arg(long, value_name = "TIME", default_value = "10m", env = "KILLFEED_FRESH_AGE", value_parser = parse_time)]
    pub(crate) fresh_age: Duration,

    /// Connections at once; a further one waits to be accepted.
    #[arg(long, value_name = "N", default_value_t = 4096, env = "KILLFEED_CONNECTIONS_MAX",
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) connections_max: u32,

    /// From the end of one request to the whole head of the next on the same connection: what takes
    /// longer only keeps the place from others.
    #[arg(long, value_name = "TIME", default_value = "30s", env = "KILLFEED_HEADER_TIMEOUT", value_parser = parse_time)]
    pub(crate) header_timeout: Duration,

    /// After SIGTERM: how long to answer what is in flight and to write what was accepted to its
    /// tables. What is left then stands in the log, and goes on at the next start.
    #[arg(long, value_name = "TIME", default_value = "25s", env = "KILLFEED_DRAIN_TIMEOUT", value_parser = parse_time)]
    pub(crate) drain_timeout: Duration,

    /// A collector of traces, by OTLP over HTTP: they go to URL/v1/traces. Without it, and without
    /// OpenTelemetry's own OTEL_EXPORTER_OTLP_ENDPOINT, nothing is traced, at no cost.
    #[arg(long, value_name = "URL", env = "KILLFEED_OTLP_ENDPOINT", value_parser = parse_url)]
    pub(crate) otlp_endpoint: Option<String>,

    /// The share of traces that are taken, of those that begin here; of one that a client began, the client
    /// decides.
    #[arg(long, value_name = "RATIO", default_value_t = 0.01, env = "KILLFEED_OTLP_SAMPLE_RATIO", value_parser = parse_ratio)]
    pub(crate) otlp_sample_ratio: f64,

    /// How logs look on stderr: `text` for people, `json` for machines. RUST_LOG filters them.
    #[arg(long, value_name = "FORMAT", default_value = "text", env = "KILLFEED_LOG_FORMAT")]
    pub(crate) log_format: LogFormat,
}

impl Options {
    /// Where the schemas are.
    pub(crate) fn schemas_dir(&self) -> PathBuf {
        self.schemas.clone().unwrap_or_else(|| self.data_dir.join("schemas"))
    }

    /// How to reach Kafka.
    ///
    /// # Errors
    /// The log is not on Kafka.
    pub(crate) fn kafka(&self) -> Result<kafka_log::Config, Failure> {
        let LogKind::Kafka(brokers) = &self.log else { return Err(Failure::usage("the log is not on Kafka")) };
        Ok(kafka_log::Config {
            prefix: self.kafka_prefix.clone(),
            single_node: self.single_node,
            properties: self.kafka_property.iter().cloned().collect(),
            ..kafka_log::Config::new(brokers)
        })
    }

    /// The store that holds the tables; nothing is asked of it yet.
    ///
    /// # Errors
    /// The location or a setting is wrong.
    pub(crate) fn open_store(&self) -> Result<tables::Store, Failure> {
        let access = tables::Access::from_environment().with(self.store_property.iter().cloned());
        tables::Store::open_with(&self.store_location(), &access).map_err(Failure::usage)
    }

    /// Where the tables are.
    pub(crate) fn store_location(&self) -> String {
        self.store.clone().unwrap_or_else(|| self.data_dir.join("tables").to_string_lossy().into_owned())
    }
}

/// What is left of a client's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum AddressKept {
    /// Nothing.
    Drop,
    /// Its network.
    Truncate,
}

/// Which log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LogKind {
    /// In this process, on the local disk.
    Embedded,
    /// On the cluster that these brokers belong to: `host:port`, separated by commas.
    Kafka(String),
}

fn parse_log(text: &str) -> Result<LogKind, String> {
    const HOW: &str = "there are `embedded` and `kafka://HOST:PORT[,HOST:PORT]...`";
    if text == "embedded" {
        return Ok(LogKind::Embedded);
    }
    let brokers = text.strip_prefix("kafka://").ok_or(HOW)?;
    for broker in brokers.split(',') {
        let (host, port) = broker.rsplit_once(':').ok_or(HOW)?;
        if host.is_empty() || host.contains('/') || port.parse::<u16>().map_or(true, |port| port == 0) {
            return Err(format!("{broker:?} is no HOST:PORT; {HOW}"));
        }
    }
    Ok(LogKind::Kafka(brokers.to_owned()))
}

fn parse_prefix(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if text.len() <= 100 && text.chars().all(fits) {
        return Ok(text.to_owned());
    }
    Err("give at most 100 characters of a-z, A-Z, 0-9, . _ and -, as Kafka's names allow".into())
}

fn parse_property(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.trim().to_owned(), value.to_owned())),
        _ => Err("give it as NAME=VALUE".into()),
    }
}

fn parse_sampling(text: &str) -> Result<(String, u32), String> {
    let told = || "give it as TYPE=N, N from 1 on".to_owned();
    let (event_type, one_in) = text.split_once('=').ok_or_else(told)?;
    let one_in = one_in.parse().ok().filter(|one_in| *one_in > 0).ok_or_else(told)?;
    if event_type.is_empty() { Err(told()) } else { Ok((event_type.to_owned(), one_in)) }
}

fn parse_url(text: &str) -> Result<String, String> {
    match reqwest::Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(text.to_owned()),
        _ => Err("give it as http://HOST:PORT or https://HOST:PORT".into()),
    }
}

fn parse_ratio(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio)).ok_or_else(|| "give a number from 0 to 1".into())
}

fn parse_stream(text: &str) -> Result<events::Stream, String> {
    events::Stream::new(text)
}

/// How logs look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One object a line.
    Json,
}

/// A time with its unit: `250ms`, `5s`, `10m`, `12h`, `7d`.
pub(crate) fn parse_time(text: &str) -> Result<Duration, String> {
    const HOW: &str = "give a number and a unit of ms, s, m, h or d, for example 5s";
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).ok_or(HOW)?;
    let (number, unit) = text.split_at(unit_at);
    let number: u64 = number.parse().map_err(|_| HOW)?;
    let unit_ms: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(HOW.into()),
    };
    match number.checked_mul(unit_ms) {
        Some(0) => Err("must be longer than nothing".into()),
        Some(ms) if ms <= 3_650 * 86_400_000 => Ok(Duration::from_millis(ms)),
        _ => Err("must be at most 3650d".into()),
    }
}

/// Bytes with their unit: `512MiB`, `1GiB`, `1000000`.
fn parse_size(text: &str, least: u64) -> Result<u64, String> {
    const HOW: &str = "give a number of bytes, or one with a unit of KiB, MiB, GiB or TiB, for example 512MiB";
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let number: u64 = number.parse().map_err(|_| HOW)?;
    let shift = match unit {
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "TiB" => 40,
        _ => return Err(HOW.into()),
    };
    match number.checked_mul(1 << shift) {
        Some(bytes) if bytes > 1 << 50 => Err("must be at most 1024TiB".into()),
        Some(bytes) if bytes < least => Err(format!("must be at least {} MiB", least >> 20)),
        Some(bytes) => Ok(bytes),
        None => Err("must be at most 1024TiB".into()),
    }
}

/// Below 16 MiB hardly any query would run.
fn parse_memory(text: &str) -> Result<u64, String> {
    parse_size(text, 16 << 20)
}

/// One request may hold 32 MiB, and must fit.
fn parse_log_size(text: &str) -> Result<u64, String> {
    parse_size(text, 64 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units_and_bounds() {
        for (text, bytes) in [("67108864", 64 << 20), ("64MiB", 64 << 20), ("1GiB", 1 << 30), ("1024TiB", 1 << 50)] {
            assert_eq!(parse_size(text, 1 << 20), Ok(bytes), "{text}");
        }
        for text in ["", "MiB", "1 GiB", "-1", "1GB", "1.5GiB", "1023KiB", "1025TiB", "99999999999999TiB"] {
            assert!(parse_size(text, 1 << 20).is_err(), "{text}");
        }
        assert!(parse_memory("15MiB").unwrap_err().contains("at least 16 MiB"));
    }

    #[test]
    fn logs_are_embedded_or_on_brokers() {
        assert_eq!(parse_log("embedded"), Ok(LogKind::Embedded));
        assert_eq!(parse_log("kafka://a:1,b.c:9092"), Ok(LogKind::Kafka("a:1,b.c:9092".into())));
        for text in
            ["", "kafka", "kafka://", "kafka://a", "kafka://a:0", "kafka://a:1,", "kafka://a:1/x", "redis://a:1"]
        {
            assert!(parse_log(text).is_err(), "{text}");
        }
        assert_eq!(parse_property("sasl.password=a=b"), Ok(("sasl.password".into(), "a=b".into())));
        assert!(parse_property("=b").is_err() && parse_property("a").is_err() && parse_prefix("a/b").is_err());
    }

    #[test]
    fn traces_go_to_a_url_and_are_a_share() {
        assert!(parse_url("http://127.0.0.1:4318").is_ok() && parse_url("https://collector").is_ok());
        assert!(parse_url("collector:4318").is_err() && parse_url("ftp://a").is_err() && parse_url("").is_err());
        assert!(parse_ratio("0").is_ok() && parse_ratio("1").is_ok() && parse_ratio("0.25").is_ok());
        assert!(parse_ratio("1.1").is_err() && parse_ratio("-1").is_err() && parse_ratio("NaN").is_err());
    }

    #[test]
    fn sampling_is_one_in_so_many_of_a_type() {
        assert_eq!(parse_sampling("chat.message=10"), Ok(("chat.message".into(), 10)));
        for text in ["", "10", "a=", "=10", "a=0", "a=-1", "a=1.5"] {
            assert!(parse_sampling(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_have_units() {
        for (text, ms) in [("250ms", 250), ("5s", 5_000), ("10m", 600_000), ("1h", 3_600_000), ("7d", 604_800_000)] {
            assert_eq!(parse_time(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "5", "s", "5 s", "-1s", "1.5s", "0s", "5w", "99999999999999999999s", "4000d"] {
            assert!(parse_time(text).is_err(), "{text}");
        }
    }
}
