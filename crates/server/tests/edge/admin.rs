//! The admin listener: alive, ready and why not, numbers.

use sha2::{Digest as _, Sha256};
use tidings_hub::Limits;
use tidings_hub::ports::Health;
use tidings_server::config::ShownSetting;
use tidings_server::gate::KeyConfig;
use tidings_server::{GateConfig, ServerConfig};
use tokio::io::AsyncReadExt as _;

use crate::support::{PATIENCE, Running, config, eventually, open_admin, read_until, start, start_with};

#[tokio::test]
async fn it_is_alive_and_says_what_there_is() {
    let server = start();
    let alive = server.ask_admin("GET /healthz").await;
    assert_eq!((alive.status, alive.body.as_str()), (200, "ok\n"));
    assert_eq!(alive.header("cache-control"), Some("no-store"));
    for path in ["/", "/console/console.js", "/console/console.css", "/healthz", "/readyz", "/metrics"] {
        let head = server.ask_admin(&format!("HEAD {path}")).await;
        assert_eq!((head.status, head.body.as_str()), (200, ""));
        let post = server.ask_admin(&format!("POST {path}")).await;
        assert_eq!((post.status, post.header("allow")), (405, Some("GET, HEAD")));
        assert_eq!(post.problem(), "method-not-allowed");
    }
    assert_eq!(server.ask_admin("GET /console/../healthz").await.problem(), "not-found");
    assert_eq!(server.ask_admin("GET /console/").await.problem(), "not-found");
}

#[tokio::test]
async fn the_console_runs_nothing_but_its_own() {
    let server = start();
    let page = server.ask_admin("GET /").await;
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let policy = page.header("content-security-policy").unwrap().to_owned();
    assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    for inline in ["<style", "style=", " onclick", "<script>"] {
        assert!(!page.body.contains(inline), "{inline}");
    }
    let tag = page.header("etag").unwrap();
    let again = server.ask_admin(&format!("GET /\r\nIf-None-Match: {tag}")).await;
    assert_eq!((again.status, again.body.as_str()), (304, ""));
}

fn key(name: &str, hash: &str, publish: &[&str], subscribe: &[&str], manage: &[&str]) -> KeyConfig {
    let list = |of: &[&str]| of.iter().map(ToString::to_string).collect();
    let (publish, subscribe, manage) = (list(publish), list(subscribe), list(manage));
    KeyConfig { name: name.into(), hash: format!("sha256:{hash}"), publish, subscribe, manage }
}

/// A hub where the key `root` may everything and the key `clerk` reads `open/**`.
fn with_keys() -> Running {
    let hash = |text: &str| Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let gate = GateConfig {
        keys: vec![
            key("root", &hash("root-key-which-is-long-enough-0123456789"), &["**"], &["**"], &["**"]),
            key("clerk", &hash("clerk-key-which-is-long-enough-0123456789"), &[], &["open/**"], &["own/*"]),
        ],
        ..GateConfig::default()
    };
    let shown = vec![ShownSetting {
        key: "listen".into(),
        section: "Listeners".into(),
        value: "127.0.0.1:4000".into(),
        origin: "--listen".into(),
        help: "Where.".into(),
    }];
    start_with(ServerConfig { gate, shown, ..config() }, Limits::default(), axum::Router::new())
}

const ROOT: &str = "\r\nAuthorization: Bearer root-key-which-is-long-enough-0123456789";
const CLERK: &str = "\r\nAuthorization: Bearer clerk-key-which-is-long-enough-0123456789";

#[tokio::test]
async fn without_a_key_there_are_numbers_and_nothing_else() {
    let server = with_keys();
    let mut overview = open_admin(&server, "GET /admin/overview").await;
    assert!(read_until(&mut overview, "\"ready\":true").await.contains("text/event-stream"));
    for path in [
        "/admin/settings",
        "/admin/connections",
        "/admin/topic?name=open/a",
        "/topics/open/a?format=json",
        "/events?topic=**",
    ] {
        assert_eq!(server.ask_admin(&format!("GET {path}")).await.status, 401, "{path}");
        let wrong = server.ask_admin(&format!("GET {path}\r\nAuthorization: Bearer wrong")).await;
        assert_eq!(wrong.status, 401, "{path}");
    }
    assert_eq!(server.ask_admin("DELETE /admin/connections/h.0").await.status, 401);
    let topics = server.ask_admin("GET /admin/topics").await;
    assert_eq!(topics.json()["topics"], serde_json::json!([]));
    assert_eq!(server.ask_admin("GET /admin/whoami").await.json()["key"], serde_json::Value::Null);
}

#[tokio::test]
async fn a_key_sees_what_it_may_and_no_more() {
    let server = with_keys();
    for topic in ["open/a", "own/b", "secret/c"] {
        let head = format!("POST /topics/{topic}{ROOT}");
        let answer = server.ask(&head, "x").await;
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
    let names = |answer: &serde_json::Value| -> Vec<String> {
        let rows = answer["topics"].as_array().unwrap();
        rows.iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect()
    };
    let all = server.ask_admin(&format!("GET /admin/topics{ROOT}")).await.json();
    assert_eq!(names(&all), ["open/a", "own/b", "secret/c"]);
    let some = server.ask_admin(&format!("GET /admin/topics{CLERK}")).await.json();
    assert_eq!((names(&some), &some["matched"]), (vec!["open/a".to_owned(), "own/b".into()], &2.into()));
    let recent = server.ask_admin(&format!("GET /admin/topics?sort=recent&q=a{CLERK}")).await.json();
    assert_eq!(names(&recent), ["open/a"]);
    for (path, status) in [
        ("/admin/topic?name=open/a", 200),
        ("/admin/topic?name=own/b", 200),
        ("/admin/topic?name=secret/c", 403),
        // Whether it exists is not told.
        ("/admin/topic?name=secret/none", 403),
        ("/admin/topic?name=open/none", 404),
        ("/admin/settings", 403),
        ("/admin/connections", 403),
        ("/topics/open/a?format=json", 200),
        ("/topics/secret/c?format=json", 403),
        ("/events?topic=**&format=json", 403),
    ] {
        assert_eq!(server.ask_admin(&format!("GET {path}{CLERK}")).await.status, status, "{path}");
    }
    let settings = server.ask_admin(&format!("GET /admin/settings{ROOT}")).await.json();
    assert_eq!(settings["settings"][0]["origin"], "--listen");
}

#[tokio::test]
async fn topics_are_found_page_by_page() {
    let server = start();
    for number in 0..25 {
        assert_eq!(server.ask(&format!("POST /topics/t/{number:02}"), "x").await.status, 200);
    }
    assert_eq!(server.ask("DELETE /topics/t/24", "").await.status, 204);
    let (mut after, mut found) = (String::new(), Vec::new());
    loop {
        let page = server.ask_admin(&format!("GET /admin/topics?limit=7&after={after}")).await.json();
        found.extend(
            page["topics"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap().to_owned()),
        );
        match page["next"].as_str() {
            Some(next) => after = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(found, (0..24).map(|number| format!("t/{number:02}")).collect::<Vec<_>>());
    let one = server.ask_admin("GET /admin/topics?q=/07").await.json();
    assert_eq!((one["matched"].as_u64(), &one["topics"][0]["name"]), (Some(1), &"t/07".into()));
    let glob = server.ask_admin("GET /admin/topics?q=t/1*").await.json();
    assert_eq!(glob["matched"], 10);
    let newest = server.ask_admin("GET /admin/topics?sort=recent&limit=1").await.json();
    assert_eq!(newest["topics"][0]["name"], "t/23");
    for _ in 0..5 {
        assert_eq!(server.ask("POST /topics/t/07", "x").await.status, 200);
    }
    let rate = async |name: &str| {
        server.ask_admin(&format!("GET /admin/topics?q={name}")).await.json()["topics"][0]["per_second"]
            .as_f64()
    };
    assert_eq!(
        (rate("t/07").await, rate("t/08").await),
        (Some(6.0 / 60.0), Some(1.0 / 60.0)),
        "of the last minute"
    );
    for _ in 0..200 {
        assert_eq!(server.ask("POST /topics/t/09", "x").await.status, 200);
    }
    assert!(
        rate("t/09").await.unwrap() > 3.4,
        "of the newest hundred, which came faster than a hundred a minute"
    );
    for wrong in ["limit=0", "limit=501", "limit=x", "sort=size"] {
        let answer = server.ask_admin(&format!("GET /admin/topics?{wrong}")).await;
        assert_eq!(answer.problem(), "invalid-parameter", "{wrong}");
    }
}

#[tokio::test]
async fn connections_are_shown_and_cut() {
    let server = start();
    let mut reader = server.open("GET /topics/a\r\nAccept: text/event-stream").await;
    read_until(&mut reader, "id: ").await;
    let peer = reader.local_addr().unwrap().to_string();
    let listed = server.ask_admin("GET /admin/connections").await.json();
    let rows = listed["connections"].as_array().unwrap().clone();
    let row = rows.iter().find(|row| row["peer"] == peer.as_str()).expect("the reader is listed");
    assert_eq!((&row["doing"], &row["reads"]), (&"stream".into(), &"a".into()));
    assert!(row["age_ms"].as_u64().unwrap() < 60_000);
    assert!(rows.iter().any(|row| row["by"] == "admin"), "who asks is listed, too");
    let topic = server.ask("POST /topics/a", "x").await;
    assert_eq!(topic.status, 200);
    assert_eq!(server.ask_admin("GET /admin/topic?name=a").await.json()["subscribers"], 1);

    let id = row["id"].as_str().unwrap();
    assert_eq!(server.ask_admin(&format!("DELETE /admin/connections/{id}")).await.status, 200);
    // It ends: no orderly end, and no hang.
    let mut rest = Vec::new();
    tokio::time::timeout(PATIENCE, reader.read_to_end(&mut rest)).await.unwrap().unwrap();
    eventually("who was cut is not counted", || server.app.hub.stats().subscribers == 0).await;
    for gone in [id, "h.999", "r.9.1", "x", ""] {
        let answer = server.ask_admin(&format!("DELETE /admin/connections/{gone}")).await;
        assert_eq!(answer.problem(), "not-found", "{gone}");
    }
    assert_eq!(server.ask_admin("POST /admin/connections").await.status, 405);
}

#[tokio::test]
async fn a_connection_of_the_library_is_shown_and_cut() {
    let server = start_with(ServerConfig { reactors: 0, ..config() }, Limits::default(), axum::Router::new());
    let mut reader = server.open("GET /events?topic=a/*&topic=b\r\nAccept: text/event-stream").await;
    read_until(&mut reader, "id: ").await;
    let listed = server.ask_admin("GET /admin/connections").await.json();
    let rows = listed["connections"].as_array().unwrap();
    let row = rows.iter().find(|row| row["doing"] == "stream").expect("the reader is listed");
    assert_eq!((&row["reads"], &row["by"]), (&"b, a/*".into(), &"public".into()));
    let id = row["id"].as_str().unwrap();
    assert_eq!(server.ask_admin(&format!("DELETE /admin/connections/{id}")).await.status, 200);
    let mut rest = Vec::new();
    _ = tokio::time::timeout(PATIENCE, reader.read_to_end(&mut rest)).await.unwrap();
}

#[tokio::test]
async fn a_stream_of_the_library_says_how_far_it_is_behind_and_is_cut_when_it_takes_nothing() {
    let limits = Limits { lag_bytes_max: 1 << 20, ..Limits::default() };
    let server = start_with(ServerConfig { reactors: 0, ..config() }, limits, axum::Router::new());
    let mut reader = server.open("GET /topics/a\r\nAccept: text/event-stream").await;
    read_until(&mut reader, "id: ").await;
    let rows = async || server.ask_admin("GET /admin/connections").await.json()["connections"].clone();
    let slowest =
        async || server.ask_admin("GET /admin/connections?sort=slowest").await.json()["connections"].clone();
    let lag = |rows: &serde_json::Value| {
        let row = rows.as_array().unwrap().iter().find(|row| row["doing"] == "stream").cloned();
        row.map(|row| row["lag"].clone())
    };
    assert_eq!(lag(&rows().await), Some(0.into()), "it lacks nothing");
    let data = "x".repeat(64 << 10);
    let mut behind = 0;
    // It never reads: sockets and buffers fill up, then places count.
    for _ in 0..400 {
        assert_eq!(server.ask("POST /topics/a", &data).await.status, 200);
        let seen = lag(&rows().await).and_then(|lag| lag.as_u64()).unwrap_or(behind);
        if behind == 0 && seen > 0 {
            assert!(lag(&slowest().await).is_some(), "it is among the slowest");
        }
        behind = seen;
    }
    assert!(behind > 0, "it was seen behind");
    eventually("who takes nothing is cut", || server.app.hub.stats().subscribers == 0).await;
}

#[tokio::test]
async fn the_overview_goes_on_where_a_reader_was() {
    let server = start();
    let mut first = open_admin(&server, "GET /admin/overview").await;
    let seen = read_until(&mut first, "\"reasons\":[]}").await;
    let id = seen.lines().find_map(|line| line.strip_prefix("id: ")).unwrap().to_owned();
    drop(first);
    let mut second = open_admin(&server, &format!("GET /admin/overview\r\nLast-Event-ID: {id}")).await;
    let seen = read_until(&mut second, "\"reasons\":[]}").await;
    assert!(!seen.contains(&format!("id: {id}\n")), "{seen}");
    let mut third = open_admin(&server, "GET /admin/overview\r\nLast-Event-ID: other-7").await;
    let seen = read_until(&mut third, "\"reasons\":[]}").await;
    assert!(seen.contains(&format!("id: {id}\n")), "{seen}");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn it_checks_host_and_origin_too() {
    let server = start();
    assert_eq!(server.ask_admin("GET /metrics\r\nHost: evil.com").await.problem(), "foreign-host");
    assert_eq!(server.ask_admin("GET /metrics\r\nHost: localhost").await.status, 200);
    let write = server.ask_admin("POST /metrics\r\nOrigin: https://evil.com").await;
    assert_eq!(write.problem(), "foreign-origin");
}

#[tokio::test]
async fn readiness_follows_the_store_and_the_number_of_streams() {
    let limits = Limits { subscribers_max: 10, ..Limits::default() };
    let server = start_with(config(), limits, axum::Router::new());
    assert_eq!(server.ask_admin("GET /readyz").await.json()["ready"], true);

    server.store.set_health(Health::Full { message: "disk is full".into() });
    let answer = server.ask_admin("GET /readyz").await;
    assert_eq!((answer.status, &answer.json()["reasons"][0]["reason"]), (503, &"store-full".into()));
    assert!(answer.body.contains("disk is full"));
    server.store.set_health(Health::Ready);
    assert_eq!(server.ask_admin("GET /readyz").await.status, 200);

    let mut streams = Vec::new();
    for _ in 0..9 {
        let mut stream = server.open("GET /topics/a\r\nAccept: text/event-stream").await;
        assert!(read_until(&mut stream, "\r\n\r\n").await.starts_with("HTTP/1.1 200"));
        streams.push(stream);
    }
    let answer = server.ask_admin("GET /readyz").await;
    assert_eq!((answer.status, &answer.json()["reasons"][0]["reason"]), (503, &"subscribers".into()));
    drop(streams);
    eventually("left streams are noticed", || server.app.hub.stats().subscribers == 0).await;
    assert_eq!(server.ask_admin("GET /readyz").await.status, 200);
}

#[tokio::test]
async fn metrics_count_what_happened() {
    let server = start();
    for _ in 0..3 {
        assert_eq!(server.ask("POST /topics/a", "hello").await.status, 200);
    }
    assert_eq!(server.ask("GET /nothing", "").await.status, 404);
    let metrics = server.ask_admin("GET /metrics").await;
    assert_eq!(metrics.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    for line in [
        "tidings_events_in_total 3",
        "tidings_http_requests_total{class=\"publish\",status=\"200\"} 3",
        "tidings_http_requests_total{class=\"read\",status=\"404\"} 1",
        "tidings_store_ready 1",
        "# TYPE tidings_subscribers gauge",
    ] {
        assert!(metrics.body.lines().any(|found| found == line), "{line}\n{}", metrics.body);
    }
}
