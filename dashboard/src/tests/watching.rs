//! The live tail as it is streamed.

use super::support::{Fake, Site, keys};
use crate::live::{PAYLOAD_MAX, VIEWERS_MAX};
use axum::body::Body;
use edge::Keys;
use events::TopicPartition;
use events::headers::Headers;
use events::log::{Append, Durability, Log as _, NewRecord};
use futures::StreamExt as _;
use http::{Request, StatusCode};
use serde_json::Value;
use tower::ServiceExt as _;

async fn look(site: &Site, query: &str, key: Option<&str>) -> Messages {
    let mut request = Request::get(format!("/tail/stream{query}")).header("host", "127.0.0.1");
    if let Some(key) = key {
        request = request.header("x-api-key", key);
    }
    let response = site.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    Messages { body: response.into_body().into_data_stream(), rest: String::new() }
}

struct Messages {
    body: axum::body::BodyDataStream,
    rest: String,
}

impl Messages {
    /// The next message of this name; `None` at the end of the stream.
    async fn next(&mut self, name: &str) -> Option<Value> {
        loop {
            while let Some((message, rest)) = self.rest.split_once("\n\n") {
                let found = message.strip_prefix(&format!("event: {name}\ndata: ")).map(ToOwned::to_owned);
                self.rest = rest.to_owned();
                if let Some(found) = found {
                    return Some(serde_json::from_str(&found).unwrap());
                }
            }
            let bytes = self.body.next().await?.unwrap();
            self.rest.push_str(std::str::from_utf8(&bytes).unwrap());
        }
    }
}

async fn append(site: &Site, kind: &str, payload: usize, count: usize) {
    let headers = Headers::of([("ce_type", kind), ("ce_playerid", "p1")]);
    let record = NewRecord { headers, payload: Some(vec![b'7'; payload].into()), ..NewRecord::default() };
    let to = TopicPartition::new(site.stream.clean(), 0);
    let appends = vec![Append { to, records: vec![record; count] }];
    for answer in site.log.append(appends, Durability::All).await {
        answer.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn events_are_shown_from_now_on_filtered_and_as_the_key_may_see_them() {
    let site = Site::new(Fake::default(), keys()).await;
    append(&site, "old", 1, 3).await;
    let mut analyst = look(&site, "?type=chat.*", Some("analyst")).await;
    let mut officer = look(&site, "?text=P1", Some("officer")).await;
    // The reader has found the end once the first counts are there.
    assert_eq!(analyst.next("counts").await.unwrap()["seen"], 0);
    assert_eq!(officer.next("counts").await.unwrap()["seen"], 0);
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    append(&site, "lol.kill", 1, 1).await;
    append(&site, "chat.message", PAYLOAD_MAX + 1, 1).await;
    let event = analyst.next("event").await.unwrap();
    assert_eq!((&event["type"], &event["playerid"]), (&"chat.message".into(), &Value::Null));
    assert_eq!(event["data"], "16.0 KiB, too large to be shown here");
    let counts = analyst.next("counts").await.unwrap();
    assert_eq!((&counts["seen"], &counts["shown"], &counts["other"]), (&2.into(), &1.into(), &1.into()));
    assert_eq!(officer.next("event").await.unwrap()["playerid"], "p1");
    site.stop.cancel();
    while officer.next("counts").await.is_some() {}
}

#[tokio::test(start_paused = true)]
async fn who_may_not_see_a_field_does_not_find_it_either() {
    let site = Site::new(Fake::default(), keys()).await;
    let mut analyst = look(&site, "?text=p1", Some("analyst")).await;
    analyst.next("counts").await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    append(&site, "chat.message", 1, 1).await;
    let mut counts = analyst.next("counts").await.unwrap();
    while counts["seen"] == 0 {
        counts = analyst.next("counts").await.unwrap();
    }
    assert_eq!((&counts["shown"], &counts["other"]), (&0.into(), &1.into()));
}

#[tokio::test(start_paused = true)]
async fn what_is_too_much_to_be_shown_is_counted() {
    let site = Site::new(Fake::default(), Keys::none()).await;
    let mut viewer = look(&site, "", None).await;
    viewer.next("counts").await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    append(&site, "chat.message", 1, 5_000).await;
    let mut counts = viewer.next("counts").await.unwrap();
    while counts["seen"] != 5_000 {
        counts = viewer.next("counts").await.unwrap();
    }
    let number = |name: &str| counts[name].as_u64().unwrap();
    assert_eq!(number("shown") + number("left_out") + number("other"), 5_000, "{counts}");
    assert!(number("shown") > 0 && number("left_out") > 4_000, "{counts}");
}

#[tokio::test(start_paused = true)]
async fn no_more_look_at_once_than_there_is_room_for() {
    let site = Site::new(Fake::default(), Keys::none()).await;
    let mut viewers = Vec::new();
    for _ in 0..VIEWERS_MAX {
        viewers.push(look(&site, "", None).await);
    }
    assert_eq!(site.get("/tail/stream").await.0, StatusCode::SERVICE_UNAVAILABLE);
    viewers.pop();
    look(&site, "", None).await;
}
