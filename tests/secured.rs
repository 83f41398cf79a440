//! A Kafka that speaks TLS and asks for a password.

use crate::kafka::{TURN, args, assert_once, events, on, send};
use crate::support::{Home, text};
use chaos::Cluster;

const LOGIN: &str = "game:hush-hush";

/// What a process is told: where Kafka is, and these settings for its client.
fn told(cluster: &Cluster, prefix: &str, properties: &[&str]) -> Vec<String> {
    let properties = properties.iter().flat_map(|property| ["--kafka-property".to_owned(), (*property).to_owned()]);
    on(cluster, prefix).into_iter().chain(properties).collect()
}

#[tokio::test]
async fn kafka_is_spoken_to_by_tls_with_a_password() {
    let _turn = TURN.lock().await;
    let cluster = Cluster::secured(LOGIN);
    let authority = format!("ssl.ca.location={}", cluster.authority().display());
    let (tls, user) = ("security.protocol=SASL_SSL", "sasl.username=game");

    for mechanism in ["PLAIN", "SCRAM-SHA-512"] {
        let home = Home::new();
        let mechanism = format!("sasl.mechanisms={mechanism}");
        let properties = [tls, &authority, &mechanism, user, "sasl.password=hush-hush"];
        let on = told(&cluster, &format!("{}-", mechanism.len()), &properties);
        let server = home.up(&args(&on));
        send(&server, &events(0..300)).await;
        server.kill();
        let server = home.up(&args(&on));
        send(&server, &events(200..500)).await;
        assert_once(&server, 500).await;
        let told = server.run(&["config"]);
        assert!(!text(&told).contains("hush"), "a secret is shown: {}", text(&told));
    }

    // What is wrong is said in one line, without the secret.
    let home = Home::new();
    for (properties, part) in [
        (vec![tls, &authority, "sasl.mechanisms=PLAIN", user, "sasl.password=a-guess"], "uthentication failed"),
        (vec![tls, &authority, "sasl.mechanisms=SCRAM-SHA-512", user, "sasl.password=a-guess"], "uthentication failed"),
        (vec![tls, "sasl.mechanisms=PLAIN", user, "sasl.password=hush-hush"], "certificate"),
        (vec!["security.protocol=SSL", &authority], "ssl://127.0.0.1"),
        (vec![], "isconnected"),
    ] {
        let on = told(&cluster, "wrong-", &properties);
        let output = home.command(&args(&on)).stderr(std::process::Stdio::piped()).output().unwrap();
        let said = text(&output);
        assert_eq!(output.status.code(), Some(2), "{said}");
        let errors: Vec<&str> = said.lines().filter(|line| line.starts_with("error: ")).collect();
        assert!(errors.len() == 1 && errors[0].contains(part), "{properties:?}: {said}");
        assert!(!said.contains("guess") && !said.contains("hush"), "{said}");
    }
}
