//! `tidings demo`: its pages are there under their policy, and its sources speak.

use std::net::SocketAddr;

use crate::process::request;
use crate::tool::Tool;

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_served_and_sources_publish() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().to_str().unwrap();
    let demo = Tool::start_with(&["demo", "--listen", "127.0.0.1:0", "--admin", "none", "--data", data], &[]);
    demo.until_said("curl -d 'hello'");
    let said = demo.said();
    let url = said.lines().find_map(|line| line.strip_prefix("tidings: listening on ")).unwrap();
    let addr: SocketAddr = url.strip_prefix("http://").unwrap().parse().unwrap();
    assert!(said.contains(&format!("open {url}/ in a browser")), "{said}");

    for (path, kind) in [
        ("/", "text/html"),
        ("/hello.html", "text/html"),
        ("/monitor.html", "text/html"),
        ("/connections.html", "text/html"),
        ("/kept.html", "text/html"),
        ("/prices.html", "text/html"),
        ("/scoreboard.html", "text/html"),
        ("/wall.html", "text/html"),
        ("/notifications.html", "text/html"),
        ("/progress.html", "text/html"),
        ("/tokens.html", "text/html"),
        ("/demo/exchange.rs", "text/plain"),
        ("/demo/client/shared.js", "text/javascript"),
        ("/demo/live.js", "text/javascript"),
        ("/demo/demo.css", "text/css"),
        ("/demo/icon.svg", "image/svg+xml"),
    ] {
        let page = request(addr, "GET", path, "", b"").await.unwrap();
        let head = page.head.to_ascii_lowercase();
        assert_eq!(page.status, 200, "{path}");
        assert!(head.contains(&format!("content-type: {kind}")), "{path}: {head}");
        assert!(
            head.contains("content-security-policy: default-src 'none'; script-src 'self'"),
            "{path}: {head}"
        );
    }
    assert_eq!(request(addr, "GET", "/demo/none.js", "", b"").await.unwrap().status, 404);

    let hello = Tool::start_with(&["sub", "demo/hello", "--count", "2", "--url", url], &[]).end().well();
    assert!(hello.iter().all(|line| line.starts_with("Hello, world!")), "{hello:?}");

    let args = ["sub", "demo/monitor", "--from", "start", "--count", "8", "--json", "--url", url];
    let events: Vec<serde_json::Value> = Tool::start_with(&args, &[])
        .end()
        .well()
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for name in ["machine", "connections", "requests", "uptime"] {
        let event =
            events.iter().rfind(|event| event["event"] == name).unwrap_or_else(|| panic!("no {name}"));
        let seen: serde_json::Value = serde_json::from_str(event["data"].as_str().unwrap()).unwrap();
        let number = |member: &str| seen[member].as_f64().unwrap_or_else(|| panic!("{name}: {seen}"));
        match name {
            "machine" => assert!(number("memory_used_bytes") > 0.0 && number("processes") > 0.0),
            "connections" => assert!(number("accepted") >= 7.0, "{seen}"),
            "requests" => assert!(number("total") >= 7.0, "{seen}"),
            _ => assert!(number("seconds") >= 0.0),
        }
    }
    demo.terminate();
    demo.end().well();
}
