//! History as JSON, and long polling.

use std::time::{Duration, Instant};

use tidings_hub::Limits;
use tidings_server::ServerConfig;

use crate::world::World;

#[tokio::test]
async fn a_page_has_events_and_where_to_go_on() {
    let world = World::new();
    world.check("POST /topics/t?event=e&id=p&retry=7\n\none\ntwo", 200, "{}").await;
    world.check("POST /events\n\n{\"topic\":[\"t\",\"u\"],\"data\":\"x\"}", 200, "{}").await;
    let page = world
        .check(
            "GET /topics/t\nAccept: application/json",
            200,
            "Content-Type: application/json\nTidings-Resume: exact\nTidings-Position: @2\n{\"events\":[{\"id\":\"@1~p\",\"topic\":\"t\",\"topics\":null,\"event\":\"e\",\"data\":\"one\\ntwo\",\"encoding\":null,\"retry\":7,\"private\":null},{\"id\":\"@2\",\"topic\":null,\"topics\":[\"t\",\"u\"],\"event\":null,\"data\":\"x\"}],\"next\":\"@2\",\"more\":false,\"closed\":false,\"gap\":null,\"resume\":\"exact\"}",
        )
        .await;
    let time = page["events"][0]["time"].as_str().unwrap();
    assert!(time.len() == 24 && time.starts_with("20") && time.ends_with('Z'), "{time}");
    world
        .check(
            "GET /topics/none?format=json",
            200,
            "{\"events\":[],\"next\":\"@2\",\"more\":false,\"closed\":false}",
        )
        .await;
}

#[tokio::test]
async fn pages_follow_each_other() {
    let world = World::new();
    world.publish(&["1", "2", "3", "4", "5"]).await;
    let (mut from, mut found, mut pages) = (String::new(), String::new(), 0);
    loop {
        let page = world.check(&format!("GET /topics/t?format=json&limit=2{from}"), 200, "{}").await;
        let events = page["events"].as_array().unwrap();
        found.extend(events.iter().map(|event| event["data"].as_str().unwrap()));
        from = format!("&last_event_id={}", page["next"].as_str().unwrap());
        pages += 1;
        if page["more"] == false {
            break;
        }
        assert_eq!(events.len(), 2);
    }
    assert_eq!((found.as_str(), pages), ("12345", 3));
    world.publish(&["6"]).await;
    let page = format!("GET /topics/t?format=json{from}");
    world.check(&page, 200, "{\"events\":[{\"data\":\"6\"}],\"more\":false}").await;
    world
        .check(
            "GET /topics/t?format=json&from=tail",
            200,
            "{\"events\":[],\"next\":\"@6\",\"resume\":\"tail\"}",
        )
        .await;
    world
        .check("GET /topics/t?format=json&from=last", 200, "{\"events\":[{\"data\":\"6\"}],\"next\":\"@6\"}")
        .await;
}

#[tokio::test]
async fn a_page_is_not_larger_than_about_its_limit() {
    let world = World::new();
    let large = "x".repeat(700 << 10);
    world.publish(&[&large, &large, &large]).await;
    let page = world.check("GET /topics/t?format=json", 200, "{\"more\":true,\"next\":\"@1\"}").await;
    assert_eq!(page["events"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_gap_is_told() {
    let world = World::new();
    world.publish(&["1"]).await;
    let gap = "Tidings-Resume: gap\n{\"events\":[],\"gap\":{\"reason\":\"foreign\",\"asked\":\"42\",\"resumes_after\":\"@1\"},\"next\":\"@1\",\"resume\":\"gap\"}";
    // At once, for it is something.
    world.check("GET /topics/t?format=json&last_event_id=42&wait=60", 200, gap).await;
}

#[tokio::test]
async fn a_long_poll_waits_for_an_event() {
    let world = World::new();
    world.publish(&["old"]).await;
    let started = Instant::now();
    let poll = "GET /topics/t?format=json&from=tail&event=e&wait=";
    world.check(&format!("{poll}0.1"), 200, "{\"events\":[],\"next\":\"@1\"}").await;
    assert!(started.elapsed() >= Duration::from_millis(100));
    let waiting = tokio::spawn({
        let (world, request) = (world.clone(), format!("{poll}60"));
        async move { world.ask(&request).await }
    });
    world.until("it reads", |world| world.app.hub.subscribers() == 1).await;
    // One that is not for it, and one that is.
    world.publish(&["new"]).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(!waiting.is_finished());
    world.check("POST /topics/t?event=e\n\nnew", 200, "{}").await;
    world
        .compare(
            "poll",
            waiting.await.unwrap(),
            200,
            "{\"events\":[{\"id\":\"@3\",\"data\":\"new\"}],\"next\":\"@3\"}",
        )
        .await;
    let waiting = tokio::spawn({
        let (world, request) = (world.clone(), format!("{poll}60"));
        async move { world.ask(&request).await }
    });
    world.until("it reads", |world| world.app.hub.subscribers() == 1).await;
    world.check("PUT /topics/t?closed", 200, "{}").await;
    world.compare("poll", waiting.await.unwrap(), 200, "{\"events\":[],\"closed\":true}").await;
}

#[tokio::test]
async fn history_that_cannot_be_read_is_told_without_secrets() {
    // A hot log that holds nothing: everything is read from the store.
    let limits = Limits { hot_log_bytes: 4 << 10, event_bytes_max: 1 << 10, ..Limits::default() };
    let world = World::with(limits, ServerConfig::default());
    let line = format!("\"{}\"\n", "x".repeat(1 << 9));
    let request = format!("POST /topics/t\nContent-Type: application/x-ndjson\n\n{}", line.repeat(1_000));
    world.check(&request, 200, "{\"count\":1000}").await;
    world.store.fail_reads();
    let problem = world
        .check("GET /topics/t?format=json&limit=1", 500, "{\"type\":\"urn:tidings:problem:internal\"}")
        .await;
    assert!(!problem.to_string().contains("/var/lib"), "{problem}");
}
