//! Schedules over HTTP: who may ask, and what for.

use crate::support::{NoMail, http, schedule, scheduler};
use edge::{Keys, NewKey, Scope};
use object_store::memory::InMemory;
use serde_json::Value;
use std::sync::Arc;
use tokio::net::TcpListener;

#[tokio::test]
async fn queries_may_look_and_administrators_may_run() {
    let scheduler =
        scheduler(Arc::new(InMemory::new()), schedule("report = 'first_blood'"), http(None), Arc::new(NoMail));
    let (reader, admin) = (NewKey::random("reader", [Scope::Query]), NewKey::random("admin", [Scope::Admin]));
    let keys = Keys::from_config(&[reader.config, admin.config]).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/v1/schedules", listener.local_addr().unwrap());
    let router = schedules::router(scheduler, keys);
    tokio::spawn(async move { axum::serve(listener, router).await });
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let get = async |path: &str, key: &str| {
        let response = client.get(format!("{base}{path}")).bearer_auth(key).send().await.unwrap();
        (response.status().as_u16(), response.json::<Value>().await.unwrap())
    };
    let run = async |name: &str, key: &str| {
        let response = client.post(format!("{base}/{name}/run")).bearer_auth(key).send().await.unwrap();
        (response.status().as_u16(), response.json::<Value>().await.unwrap())
    };
    let (status, listed) = get("", &reader.secret).await;
    assert_eq!((status, listed[0]["name"].as_str()), (200, Some("morning")));
    assert_eq!(get("/history", &reader.secret).await, (200, Value::Array(Vec::new())));
    assert_eq!(run("morning", &reader.secret).await.0, 403);
    assert_eq!(get("", "wrong").await.0, 401);
    assert_eq!(run("evening", &admin.secret).await.0, 404);
    let (status, answer) = run("morning", &admin.secret).await;
    assert_eq!((status, answer["schedule"].as_str()), (202, Some("morning")));
    let (status, history) = get("/history?schedule=morning&limit=5", &reader.secret).await;
    assert_eq!((status, history[0]["outcome"].as_str()), (200, Some("running")));
    assert_eq!(history[0]["tick"], answer["tick"]);
    assert_eq!(get("/history?schedule=evening", &reader.secret).await.0, 404);
    assert_eq!(get("/history?limit=0", &reader.secret).await.0, 400);
    assert_eq!(get("/history?limit=", &reader.secret).await.0, 400);
    for (path, detail) in [
        ("/history?limits=1", "no option \"limits\"; there are: schedule, limit"),
        ("/history?limit=1&limit=2", "option \"limit\" is given more than once"),
        ("?schedule=morning", "no option \"schedule\"; none is taken here"),
    ] {
        let (status, problem) = get(path, &reader.secret).await;
        assert_eq!((status, problem["detail"].as_str()), (400, Some(detail)), "{path}");
    }
}
