//! `GET` as an event stream: where it begins, what it keeps, what its head says.

use tidings_hub::Limits;
use tidings_server::ServerConfig;

use crate::world::{World, only};

#[tokio::test]
async fn a_stream_says_what_it_is() {
    let world = World::new();
    let answer = world.ask("GET /topics/t").await;
    assert_eq!(answer.status(), 200);
    for (name, value) in [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-store"),
        ("x-accel-buffering", "no"),
        ("x-content-type-options", "nosniff"),
        ("tidings-resume", "tail"),
        ("tidings-position", &format!("{}0", world.store.prefix())),
    ] {
        assert_eq!(answer.headers()[name], value, "{name}");
    }
}

#[tokio::test]
async fn a_stream_begins_where_it_is_asked_to() {
    let world = World::new();
    world.publish(&["one", "two", "three"]).await;
    for (request, resume, blocks) in [
        ("GET /topics/t", "tail", vec!["id: @3"]),
        ("GET /topics/t?from=tail", "tail", vec!["id: @3"]),
        ("GET /topics/t?from=start", "exact", vec!["id: @0", "id: @1\ndata: one", "id: @2\ndata: two"]),
        ("GET /topics/t?from=id:@2", "exact", vec!["id: @2", "id: @3\ndata: three"]),
        ("GET /topics/t?last_event_id=@1~x&from=tail", "exact", vec!["id: @1", "id: @2\ndata: two"]),
        ("GET /topics/t?from=start\nLast-Event-ID: @2~p", "exact", vec!["id: @2", "id: @3\ndata: three"]),
        ("GET /topics/t?from=start\nLast-Event-ID: ", "exact", vec!["id: @0"]),
        ("GET /events?topic=t&from=start", "exact", vec!["id: @0", "id: @1\ndata: one"]),
    ] {
        let answer = world.ask(request).await;
        assert_eq!(answer.headers()["tidings-resume"], resume, "{request}");
        let mut stream = world.open(request).await;
        stream.check(&["retry: 2000"]).await;
        stream.check(&blocks).await;
    }
    let mut last = world.open("GET /topics/t?from=last").await;
    let blocks = last.blocks(3).await;
    assert!(blocks.contains(&"id: @3\ndata: three".to_owned()), "{blocks:?}");
    assert!(!blocks.concat().contains("two"), "{blocks:?}");
}

#[tokio::test]
async fn an_id_that_cannot_be_resumed_is_a_told_gap() {
    let world = World::new();
    world.publish(&["one", "two"]).await;
    let huge = format!("Last-Event-ID: {}", "x".repeat(1 << 20));
    for (header, reason) in [
        ("Last-Event-ID: 42", "foreign"),
        ("Last-Event-ID: @9", "future"),
        ("Last-Event-ID: 7.1", "epoch"),
        ("Last-Event-ID: ü", "foreign"),
        (huge.as_str(), "foreign"),
    ] {
        let request = format!("GET /topics/t\n{header}");
        assert_eq!(world.ask(&request).await.headers()["tidings-resume"], "gap");
        let mut stream = world.open(&request).await;
        stream.check(&["retry: 2000"]).await;
        let block = stream.blocks(1).await.remove(0);
        assert!(
            block.contains("event: tidings.gap\n") && block.contains(&format!("\"reason\":\"{reason}\"")),
            "{block}"
        );
    }
    world.check("DELETE /topics/t", 204, "").await;
    world.publish(&["three"]).await;
    let mut stream = world.open("GET /topics/t\nLast-Event-ID: @1").await;
    let blocks = stream.blocks(3).await;
    assert!(blocks[1].contains("\"reason\":\"trimmed\""), "{blocks:?}");
    assert!(blocks[2].ends_with("data: three"), "{blocks:?}");
}

#[tokio::test]
async fn a_stream_keeps_what_it_is_asked_to() {
    let world = World::new();
    for (topic, event, data) in
        [("a", "x", 1), ("b/1", "y", 2), ("b/1/c", "x", 3), ("a", "message", 4), ("c", "x", 5)]
    {
        world.check(&format!("POST /topics/{topic}?event={event}\n\n{data}"), 200, "{}").await;
    }
    world.check("POST /topics/a\n\n6", 200, "{}").await;
    for (request, kept) in [
        ("GET /topics/a?from=start", "146"),
        ("GET /topics/a?from=start&event=message", "46"),
        ("GET /topics/a?from=start&event=x&event=message", "146"),
        ("GET /events?topic=a&topic=b/*&from=start", "1246"),
        ("GET /events?topic=b/**&from=start", "23"),
        ("GET /events?topic=**&event=x&from=start", "135"),
    ] {
        let mut stream = world.open(request).await;
        let mut found = String::new();
        for block in stream.blocks(2 + kept.len()).await.iter().skip(2) {
            found.extend(block.split_once("data: ").map(|(_, data)| data));
        }
        assert_eq!(found, kept, "{request}");
    }
}

#[tokio::test]
async fn an_event_of_several_topics_arrives_once() {
    let world = World::new();
    let mut stream = world.open("GET /events?topic=a&topic=b&label=true").await;
    stream.blocks(2).await;
    world
        .check(
            "POST /events\n\n{\"topic\":[\"a\",\"b\"],\"data\":1}\n{\"topic\":\"b\",\"data\":2}",
            200,
            "{}",
        )
        .await;
    stream
        .check(&[
            "id: @1\ndata: {\"topic\":\"a\",\"topics\":[\"a\",\"b\"],\"data\":\"1\"}",
            "id: @2\ndata: {\"topic\":\"b\",\"data\":\"2\"}",
        ])
        .await;
}

#[tokio::test]
async fn cursor_blocks_suit_the_browser() {
    let world = World::new();
    let firefox = "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
    for (request, block) in [
        (format!("GET /topics/t\n{firefox}"), "event: tidings.cursor\nid: @0\ndata:"),
        (format!("GET /topics/t?cursor=id\n{firefox}"), "id: @0"),
        ("GET /topics/t?cursor=event".to_owned(), "event: tidings.cursor\nid: @0\ndata:"),
    ] {
        let blocks = world.open(&request).await.blocks(2).await;
        let mut lines: Vec<_> = blocks[1].lines().collect();
        lines.sort_unstable();
        let mut expected: Vec<_> = block.lines().collect();
        expected.sort_unstable();
        assert_eq!(lines, expected, "{request}");
    }
}

#[tokio::test]
async fn a_closed_topic_ends_its_streams_and_then_says_204() {
    let world = World::new();
    world.publish(&["one"]).await;
    let stream = world.open("GET /topics/t?from=start").await;
    world.check("PUT /topics/t?closed", 200, "{\"closed\":true,\"position\":\"@2\"}").await;
    let text = stream.rest().await;
    assert!(text.contains("data: one\n\n") && text.ends_with("id: @2\n\n"), "{text}");
    world.check("GET /topics/t\nLast-Event-ID: @2", 204, "Tidings-Position: @2\n").await;
    world.check("GET /topics/t", 204, "Tidings-Position: @2\n").await;
    let again = world.open("GET /topics/t\nLast-Event-ID: @0").await.rest().await;
    assert!(again.contains("data: one\n\n"), "what was not seen yet still comes: {again}");
    let page = "{\"events\":[{\"data\":\"one\"}],\"closed\":true,\"more\":false}";
    world.check("GET /topics/t?format=json", 200, page).await;
    let page = "{\"events\":[],\"closed\":true,\"more\":false,\"next\":\"@2\"}";
    world.check("GET /topics/t?format=json&last_event_id=@2&wait=5", 200, page).await;
}

#[tokio::test]
async fn private_events_need_a_grant() {
    let world = World::new();
    world.check("POST /topics/t?private\n\nsecret", 200, "{}").await;
    world.check("POST /topics/t?private=false\n\npublic", 200, "{}").await;
    let anybody = world.as_(only("", "**", "", "other"));
    let friend = world.as_(only("", "**", "", "t"));
    let mut stream = anybody.open("GET /topics/t?from=start").await;
    stream.check(&["retry: 2000", "id: @0", "id: @2\ndata: public"]).await;
    let mut stream = friend.open("GET /topics/t?from=start").await;
    stream.check(&["retry: 2000", "id: @0", "id: @1\ndata: secret", "id: @2\ndata: public"]).await;
    anybody
        .check("GET /topics/t?format=json", 200, "{\"events\":[{\"data\":\"public\",\"private\":null}]}")
        .await;
    let both = "{\"events\":[{\"data\":\"secret\",\"private\":true},{\"data\":\"public\"}]}";
    friend.check("GET /topics/t?format=json", 200, both).await;
}

#[tokio::test]
async fn reading_needs_a_grant_whether_the_topic_is_there_or_not() {
    let world = World::new();
    world.check("POST /topics/secret\n\nx", 200, "{}").await;
    let reader = world.as_(only("", "mine/**", "", ""));
    let forbidden = "{\"type\":\"urn:tidings:problem:forbidden\"}";
    for request in [
        "GET /topics/secret",
        "GET /topics/nothing",
        "GET /topics/secret?format=json",
        "GET /events?topic=mine/a&topic=secret",
        "GET /events?topic=**",
    ] {
        reader.check(request, 403, forbidden).await;
    }
    let (there, not) = (reader.ask("HEAD /topics/secret").await, reader.ask("HEAD /topics/nothing").await);
    assert_eq!((there.status().as_u16(), there.headers().len()), (403, not.headers().len()));
    assert_eq!(reader.ask("GET /events?topic=mine/*&topic=mine/a/**").await.status(), 200);
}

#[tokio::test]
async fn what_cannot_be_subscribed_is_said() {
    let limits = Limits { selectors_max: 3, event_types_max: 2, last_topics_max: 2, ..Limits::default() };
    let world = World::with(limits, ServerConfig::default());
    for topic in ["a", "b", "c"] {
        world.check(&format!("POST /topics/{topic}\n\nx"), 200, "{}").await;
    }
    for (request, status, expected) in [
        ("GET /events", 400, "{\"parameter\":\"topic\"}"),
        ("GET /events?topic=", 400, "{\"type\":\"urn:tidings:problem:invalid-topic\"}"),
        ("GET /events?topic=a{b}", 400, "{\"type\":\"urn:tidings:problem:invalid-topic\"}"),
        ("GET /events?topic=a*{b}", 400, "{\"type\":\"urn:tidings:problem:invalid-selector\"}"),
        ("GET /events?topic=***", 400, "{\"type\":\"urn:tidings:problem:invalid-selector\"}"),
        ("GET /events?topic=a%00", 400, "{\"type\":\"urn:tidings:problem:invalid-topic\"}"),
        (
            "GET /events?topic=a&topic=b&topic=c&topic=d",
            400,
            "{\"type\":\"urn:tidings:problem:too-many-selectors\",\"limit\":3}",
        ),
        (
            "GET /events?topic=**&from=last",
            400,
            "{\"type\":\"urn:tidings:problem:too-many-topics\",\"limit\":2}",
        ),
        ("GET /topics/a?event=1&event=2&event=3", 400, "{\"parameter\":\"event\",\"limit\":2}"),
        ("GET /topics/a?event=%0A", 400, "{\"type\":\"urn:tidings:problem:invalid-event\"}"),
        ("GET /topics/a*", 400, "{\"type\":\"urn:tidings:problem:invalid-topic\"}"),
        ("GET /topics/a?label", 400, "{\"parameter\":\"label\"}"),
        ("GET /topics/a?from=first", 400, "{\"parameter\":\"from\"}"),
        ("GET /topics/a?from=start&from=tail", 400, "{\"parameter\":\"from\"}"),
        ("GET /topics/a?from=id:", 400, "{\"parameter\":\"from\"}"),
        ("GET /topics/a?last_event_id=%", 400, "{\"type\":\"urn:tidings:problem:invalid-encoding\"}"),
        ("GET /topics/a?lasteventid=1", 400, "{\"parameter\":\"lasteventid\"}"),
        ("GET /topics/a?cursor=x", 400, "{\"parameter\":\"cursor\"}"),
        ("GET /topics/a?limit=5", 400, "{\"parameter\":\"limit\"}"),
        ("GET /topics/a?wait=5", 400, "{\"parameter\":\"wait\"}"),
        ("GET /topics/a?format=xml", 400, "{\"parameter\":\"format\"}"),
        ("GET /topics/a?format=json&cursor=id", 400, "{\"parameter\":\"cursor\"}"),
        ("GET /topics/a?format=json&limit=0", 400, "{\"parameter\":\"limit\"}"),
        ("GET /topics/a?format=json&limit=1001", 400, "{\"parameter\":\"limit\"}"),
        ("GET /topics/a?format=json&wait=61", 400, "{\"parameter\":\"wait\"}"),
        ("GET /topics/a\nAccept: text/html", 406, "{\"type\":\"urn:tidings:problem:not-acceptable\"}"),
    ] {
        world.check(request, status, expected).await;
    }
}

#[tokio::test]
async fn a_full_hub_sends_event_sources_away_without_an_error() {
    let limits = Limits { subscribers_max: 1, ..Limits::default() };
    let world = World::with(limits, ServerConfig::default());
    let held = world.open("GET /topics/t").await;
    let text = world.open("GET /topics/t\nAccept: text/event-stream").await.rest().await;
    assert!(text.starts_with("retry: ") && text.ends_with("\n\n") && text.lines().count() == 2, "{text}");
    world.check("GET /topics/t", 503, "{\"type\":\"urn:tidings:problem:busy\"}").await;
    world.check("GET /topics/t?format=json", 503, "{\"type\":\"urn:tidings:problem:busy\"}").await;
    drop(held);
    world.until("the place is free", |world| world.app.hub.subscribers() == 0).await;
    drop(world.open("GET /topics/t").await);
}

#[tokio::test]
async fn a_draining_hub_ends_streams_and_long_polls() {
    let world = World::new();
    let stream = world.open("GET /topics/t").await;
    world.app.hub.drain(0);
    world.app.hub.tick();
    let text = stream.rest().await;
    assert!(text.contains("id: @0\n\nretry: "), "{text}");
    let text = world.open("GET /topics/t\nAccept: text/event-stream").await.rest().await;
    assert!(text.starts_with("retry: "), "{text}");
    world
        .check("GET /topics/t?format=json&wait=30", 503, "{\"type\":\"urn:tidings:problem:stopping\"}")
        .await;
}
