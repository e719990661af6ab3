//! Bodies of many events: appended as they arrive, in order, and what is told when they stop.

use std::ops::Range;
use std::time::Duration;

use axum::response::Response;
use bytes::Bytes;
use tidings_hub::ports::Refusal;
use tidings_hub::{Limits, Selectors};
use tidings_server::ServerConfig;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::world::{World, only, piecemeal};

const SSE: &str = "POST /topics/t\nContent-Type: text/event-stream; charset=utf-8";
const LINES: &str = "POST /topics/t\nContent-Type: Application/X-NDJSON";

/// The data of all events of topic `t`.
async fn kept(world: &World) -> Vec<String> {
    let page = world.check("GET /topics/t?format=json&limit=1000", 200, "{\"more\":false}").await;
    page["events"].as_array().unwrap().iter().map(|e| e["data"].as_str().unwrap().to_owned()).collect()
}

/// A body of lines that is sent piece by piece, and what it will be answered.
fn publishing(world: &World) -> (mpsc::Sender<Result<Bytes, std::io::Error>>, JoinHandle<Response>) {
    let (sender, body) = piecemeal();
    let world = world.clone();
    (sender, tokio::spawn(async move { world.ask_with(LINES, body).await }))
}

#[tokio::test]
async fn blocks_are_appended_as_they_arrive() {
    let world = World::new();
    let mut stream = world.open("GET /topics/t").await;
    stream.blocks(2).await;
    let (sender, body) = piecemeal();
    let publisher = tokio::spawn({
        let world = world.clone();
        async move { world.ask_with(&SSE.replace("/t\n", "/t?event=e&private=false&retry=9\n"), body).await }
    });
    for (piece, blocks) in [
        ("data: one\n\ndata: t", vec!["id: @1\nevent: e\nretry: 9\ndata: one"]),
        ("wo\n", vec![]),
        (": keepalive\n\n", vec!["id: @2\nevent: e\nretry: 9\ndata: two"]),
        (
            "id: 7\nevent: x\nretry: 1\ndata: a\ndata: b\n\ndata\n\nid: lost\n\nda",
            vec!["id: @3~7\nevent: x\nretry: 1\ndata: a\ndata: b", "id: @4\nevent: e\nretry: 9\ndata:"],
        ),
    ] {
        sender.send(Ok(Bytes::from(piece))).await.unwrap();
        stream.check(&blocks).await;
    }
    drop(sender);
    let told = "{\"first_id\":\"@1\",\"last_id\":\"@4\",\"count\":4,\"held\":0,\"discarded\":true}";
    world.compare("sse", publisher.await.unwrap(), 200, told).await;
}

#[tokio::test]
async fn bodies_end_whole_or_are_told_not_to() {
    let world = World::new();
    world.check(&format!("{SSE}\n\ndata: a\n\n"), 200, "{\"count\":1,\"discarded\":null}").await;
    world
        .check(&format!("{SSE}\n\ndata: b\n"), 200, "{\"count\":0,\"first_id\":null,\"discarded\":true}")
        .await;
    world.check(&format!("{SSE}\n\n: nothing\n\n"), 200, "{\"count\":0,\"discarded\":null}").await;
    world.check(&format!("{LINES}\n\n{{\"n\":1}}\n\n \r\n2"), 200, "{\"count\":2,\"discarded\":null}").await;
    world.check(LINES, 200, "{\"count\":0,\"last_id\":null}").await;
    assert_eq!(kept(&world).await, ["a", "{\"n\":1}", "2"]);
    for request in [SSE, LINES] {
        let request = request.replace("/t\n", "/t?id=7\n");
        world.check(&request, 400, "{\"parameter\":\"id\"}").await;
    }
}

#[tokio::test]
async fn a_bad_item_stops_the_body_and_what_precedes_it_stays() {
    let limits = Limits { event_bytes_max: 16, ..Limits::default() };
    let world = World::with(limits, ServerConfig::default());
    let told = "{\"type\":\"urn:tidings:problem:invalid-json\",\"line\":3,\"item\":2,\"count\":2,\"held\":0,\"last_id\":\"@2\"}";
    world.check(&format!("{LINES}\n\n1\n2\nx\n3\n"), 400, told).await;
    let told = "{\"type\":\"urn:tidings:problem:invalid-json\",\"line\":2,\"item\":1,\"count\":1,\"last_id\":\"@3\"}";
    world.check(&format!("{LINES}\n\n3\n{{"), 400, told).await;
    let large = "x".repeat(17);
    let told =
        "{\"type\":\"urn:tidings:problem:event-too-large\",\"limit_bytes\":16,\"item\":1,\"last_id\":\"@4\"}";
    world.check(&format!("{SSE}\n\ndata: 4\n\ndata: {large}\n\ndata: no\n\n"), 413, told).await;
    let told = "{\"limit_bytes\":16,\"line\":1,\"item\":0,\"count\":0,\"last_id\":null}";
    world.check(&format!("{LINES}\n\n\"{large}\"\n5\n"), 413, told).await;
    let told = "{\"type\":\"urn:tidings:problem:invalid-event\",\"item\":0}";
    world.check(&format!("{SSE}\n\nid: {}\ndata: no\n\n", "i".repeat(257)), 400, told).await;
    world.check(&format!("{SSE}\n\nevent: tidings.gap\ndata: no\n\n"), 400, told).await;
    assert_eq!(kept(&world).await, ["1", "2", "3", "4"]);
}

#[tokio::test]
async fn a_broken_body_leaves_what_was_complete() {
    let world = World::new();
    for (head, pieces, count) in
        [(SSE, ["data: a\n\ndata: b\n\ndata: c", "\n"], 2), (LINES, ["\"d\"\n12", "34"], 1)]
    {
        let (sender, body) = piecemeal();
        for piece in pieces {
            sender.send(Ok(Bytes::from(piece))).await.unwrap();
        }
        sender.send(Err(std::io::ErrorKind::ConnectionReset.into())).await.unwrap();
        let answer = world.ask_with(head, body).await;
        let told = format!("{{\"type\":\"urn:tidings:problem:body-broken\",\"count\":{count}}}");
        world.compare("broken", answer, 400, &told).await;
    }
    assert_eq!(kept(&world).await, ["a", "b", "\"d\""]);
}

#[tokio::test]
async fn a_body_that_breaks_during_a_submission_loses_nothing_that_arrived() {
    let world = World::new();
    world.store.hold();
    let (sender, publisher) = publishing(&world);
    sender.send(Ok(Bytes::from("1\n"))).await.unwrap();
    world.until("it is submitted", |world| world.store.submissions() == [1]).await;
    sender.send(Ok(Bytes::from("2\n3"))).await.unwrap();
    sender.send(Err(std::io::ErrorKind::ConnectionReset.into())).await.unwrap();
    world.until("the break is read", |_| sender.capacity() == sender.max_capacity()).await;
    world.store.go_on();
    world.compare("broken", publisher.await.unwrap(), 400, "{\"count\":2,\"last_id\":\"@2\"}").await;
    assert_eq!(kept(&world).await, ["1", "2"]);
}

#[tokio::test]
async fn arrivals_during_a_submission_are_the_next_one() {
    let world = World::new();
    world.store.hold();
    let (sender, publisher) = publishing(&world);
    sender.send(Ok(Bytes::from("0\n1"))).await.unwrap();
    world.until("the first arrival is submitted", |world| world.store.submissions() == [1]).await;
    for n in 2..10 {
        sender.send(Ok(Bytes::from(format!("\n{n}")))).await.unwrap();
    }
    drop(sender);
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(world.store.submissions(), [1], "one at a time");
    world.store.go_on();
    world.compare("lines", publisher.await.unwrap(), 200, "{\"count\":10,\"last_id\":\"@a\"}").await;
    let submissions = world.store.submissions();
    assert_eq!(submissions.iter().sum::<usize>(), 10);
    assert!(submissions.len() <= 3, "{submissions:?}");
    let expected: Vec<_> = std::iter::once("0".to_owned())
        .chain(["1".to_owned()])
        .chain((2..10).map(|n| n.to_string()))
        .collect();
    assert_eq!(kept(&world).await, expected);
}

#[tokio::test]
async fn what_is_left_of_an_arrival_goes_with_the_next_ones() {
    let world = World::new();
    world.store.hold();
    let (sender, publisher) = publishing(&world);
    let lines = |range: Range<usize>| Ok(Bytes::from_iter(range.flat_map(|n| format!("{n}\n").into_bytes())));
    sender.send(lines(0..8_202)).await.unwrap();
    world.until("a full batch is submitted", |world| world.store.submissions() == [8_192]).await;
    sender.send(lines(8_202..8_302)).await.unwrap();
    world.until("more is read meanwhile", |_| sender.capacity() == sender.max_capacity()).await;
    sender.send(lines(8_302..8_303)).await.unwrap();
    drop(sender);
    world.store.go_on();
    world.compare("lines", publisher.await.unwrap(), 200, "{\"count\":8303}").await;
    let submissions = world.store.submissions();
    assert!(submissions[0] == 8_192 && submissions[1] >= 110, "{submissions:?}");
    let rest = "GET /topics/t?format=json&limit=1000&last_event_id=@668";
    let page = world.check(rest, 200, "{\"more\":false}").await;
    let rest: Vec<_> =
        page["events"].as_array().unwrap().iter().map(|event| event["data"].as_str()).collect();
    let expected: Vec<_> = (8_000..8_303).map(|n| n.to_string()).collect();
    assert_eq!(rest, expected.iter().map(|text| Some(text.as_str())).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_is_left_of_an_arrival_does_not_follow_a_refusal() {
    let world = World::new();
    world.store.hold();
    world.store.refuse(Refusal::Full);
    let (sender, publisher) = publishing(&world);
    sender.send(Ok(Bytes::from("1\n".repeat(8_202)))).await.unwrap();
    world.until("a full batch is submitted", |world| world.store.submissions() == [8_192]).await;
    sender.send(Ok(Bytes::from("2\n"))).await.unwrap();
    world.until("more is read meanwhile", |_| sender.capacity() == sender.max_capacity()).await;
    world.store.go_on();
    let told = "{\"item\":0,\"count\":0}";
    world.compare("lines", publisher.await.unwrap(), 503, told).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!((world.store.submissions(), world.store.stored().await), (vec![8_192], 0));
}

#[tokio::test]
async fn a_last_item_that_is_bad_does_not_hide_what_became_of_those_before_it() {
    let world = World::new();
    world.store.hold();
    world.store.refuse(Refusal::Full);
    let (sender, body) = piecemeal();
    let publisher = tokio::spawn({
        let world = world.clone();
        let head = format!("{LINES}\nProducer-Id: p\nProducer-Epoch: 1\nProducer-Seq: 9007199254740991");
        async move { world.ask_with(&head, body).await }
    });
    sender.send(Ok(Bytes::from("1\n2"))).await.unwrap();
    world.until("the first is submitted", |world| world.store.submissions() == [1]).await;
    // The second one would have a number that there is not.
    drop(sender);
    tokio::time::sleep(Duration::from_millis(20)).await;
    world.store.go_on();
    world.compare("lines", publisher.await.unwrap(), 503, "{\"item\":0,\"count\":0}").await;
}

#[tokio::test]
async fn submissions_are_bounded_and_in_order() {
    let world = World::new();
    let body: String = (0..20_000).map(|n| format!("{n}\n")).collect();
    world.check(&format!("{LINES}\n\n{body}"), 200, "{\"count\":20000,\"first_id\":\"@1\"}").await;
    assert_eq!(world.store.submissions(), [8_192, 8_192, 3_616]);
    let world = World::new();
    let line = format!("\"{}\"\n", "x".repeat(600 << 10));
    world.check(&format!("{LINES}\n\n{}", line.repeat(5)), 200, "{\"count\":5}").await;
    assert_eq!(world.store.submissions(), [4, 1]);
}

#[tokio::test]
async fn nothing_follows_a_refusal() {
    let world = World::new();
    world.store.hold();
    let (sender, publisher) = publishing(&world);
    sender.send(Ok(Bytes::from("1\n"))).await.unwrap();
    world.until("it is submitted", |world| world.store.submissions() == [1]).await;
    // More arrives while the first is on its way, and by then the topic is closed.
    let closer = tokio::spawn({
        let world = world.clone();
        async move { world.ask("PUT /topics/t?closed").await }
    });
    world.until("the close is submitted", |world| world.store.submissions() == [1, 1]).await;
    sender.send(Ok(Bytes::from("2\n3\n"))).await.unwrap();
    world.store.answer_one();
    world.until("the next are submitted", |world| world.store.submissions() == [1, 1, 2]).await;
    world.store.answer_one();
    world.compare("close", closer.await.unwrap(), 200, "{}").await;
    world.store.go_on();
    let told = "{\"type\":\"urn:tidings:problem:topic-closed\",\"item\":1,\"count\":1,\"last_id\":\"@1\",\"topic\":\"t\"}";
    world.compare("lines", publisher.await.unwrap(), 409, told).await;
    _ = sender.send(Ok(Bytes::from("4\n"))).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(world.store.submissions(), [1, 1, 2]);
    assert_eq!(kept(&world).await, ["1"]);
}

#[tokio::test]
async fn a_publisher_that_goes_away_loses_nothing_that_arrived() {
    let world = World::new();
    world.store.hold();
    let (sender, body) = piecemeal();
    let mut answer = Box::pin(world.ask_with(LINES, body));
    sender.send(Ok(Bytes::from("1\n2\n3"))).await.unwrap();
    tokio::select! {
        _ = &mut answer => panic!("answered before the end"),
        () = world.until("it is submitted", |world| world.store.submissions() == [2]) => {}
    }
    sender.send(Ok(Bytes::from("\n45"))).await.unwrap();
    // The connection is gone: first the handler, then the body, without an error.
    drop(answer);
    drop(sender);
    world.store.go_on();
    world.until("the rest is submitted", |world| world.store.submissions() == [2, 1]).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(kept(&world).await, ["1", "2", "3"], "45 may have been 456");
}

#[tokio::test]
async fn a_stream_goes_on_where_its_key_left_off() {
    let world = World::new();
    let request = |body: &str| format!("{}\nIdempotency-Key: k\n\n{body}", SSE);
    let told = "{\"count\":2,\"held\":0,\"item\":2,\"last_id\":\"@2~b\"}";
    let bad = format!("data: 1\n\nid: b\ndata: 2\n\nid: {}\ndata: 3\n\n", "i".repeat(257));
    world.check(&request(&bad), 400, told).await;
    let whole = "data: 1\n\nid: b\ndata: 2\n\nid: c\ndata: 3\n\ndata: 4\n\n";
    let told = "{\"first_id\":\"@1\",\"last_id\":\"@4\",\"count\":4,\"held\":2}";
    world.check(&request(whole), 200, told).await;
    let told = "{\"first_id\":\"@1\",\"last_id\":\"@4\",\"count\":4,\"held\":4}";
    world.check(&request(whole), 200, told).await;
    assert_eq!(kept(&world).await, ["1", "2", "3", "4"]);
}

#[tokio::test]
async fn lines_go_to_the_topics_they_name() {
    let world = World::new();
    let mut stream = world.open("GET /events?topic=**&label").await;
    stream.blocks(2).await;
    let body = concat!(
        "{\"topic\":\"a\",\"data\":\"x\"}\n",
        "{\"topic\":[\"b\",\"a\",\"b\"],\"data\":{\"n\": 1.0},\"event\":\"e\",\"id\":\"7\",\"retry\":5}\n",
    );
    let told = "{\"first_id\":\"@1\",\"last_id\":\"@2~7\",\"count\":2}";
    world.check(&format!("POST /events\n\n{body}"), 200, told).await;
    stream
        .check(&[
            "id: @1\ndata: {\"topic\":\"a\",\"data\":\"x\"}",
            "id: @2~7\nevent: e\nretry: 5\ndata: {\"topic\":\"b\",\"topics\":[\"b\",\"a\"],\"data\":\"{\\\"n\\\": 1.0}\"}",
        ])
        .await;
    let told = "{\"type\":\"urn:tidings:problem:invalid-topic\",\"line\":2,\"item\":1,\"count\":1,\"last_id\":\"@3\"}";
    let body = "{\"topic\":\"a\",\"data\":1}\n{\"topic\":\"a*\",\"data\":2}\n";
    world.check(&format!("POST /events\n\n{body}"), 400, told).await;
    world.check("POST /events?event=x\n\n{}", 400, "{\"parameter\":\"event\"}").await;
    let told = "{\"type\":\"urn:tidings:problem:forbidden\",\"line\":2,\"count\":1}";
    let body = "{\"topic\":\"a\",\"data\":1}\n{\"topic\":[\"a\",\"b\"],\"data\":2}\n";
    world.as_(only("a", "", "", "")).check(&format!("POST /events\n\n{body}"), 403, told).await;
}

#[tokio::test]
async fn atomic_is_all_or_nothing() {
    let config = ServerConfig { body_bytes_max: 256, ..ServerConfig::default() };
    let world = World::with(Limits::default(), config);
    world.check("PUT /topics/closed?closed", 200, "{}").await;
    let line = |topic: &str| format!("{{\"topic\":\"{topic}\",\"data\":\"x\"}}\n");
    let body = format!("{}{}{}", line("t"), line("closed"), line("t"));
    let told = "{\"type\":\"urn:tidings:problem:topic-closed\",\"item\":1,\"topic\":\"closed\"}";
    world.check(&format!("POST /events?atomic\n\n{body}"), 409, told).await;
    let told = "{\"type\":\"urn:tidings:problem:invalid-json\",\"item\":1,\"line\":2}";
    world.check(&format!("POST /events?atomic\n\n{}x", line("t")), 400, told).await;
    let told = "{\"type\":\"urn:tidings:problem:body-too-large\",\"limit_bytes\":256}";
    world.check(&format!("POST /events?atomic\n\n{}", line("t").repeat(20)), 413, told).await;
    assert_eq!(kept(&world).await, [""; 0]);
    let request = format!("POST /events?atomic=true\nIdempotency-Key: k\n\n{}{}", line("t"), line("u"));
    world.check(&request, 200, "{\"first_id\":\"@2\",\"last_id\":\"@3\",\"count\":2,\"held\":0}").await;
    world.check(&request, 200, "{\"first_id\":\"@2\",\"last_id\":\"@3\",\"count\":2,\"held\":2}").await;
    world.check("POST /events?atomic\n\n\n", 200, "{\"count\":0}").await;
    assert_eq!(kept(&world).await, ["x"]);
}

#[tokio::test]
async fn topics_of_a_configured_pattern_are_never_stored() {
    let typing = tidings_hub::Selector::parse("typing/*").unwrap();
    let ephemeral = Selectors::new(vec![typing]);
    let world = World::never_storing(ephemeral, Limits::default(), ServerConfig::default());
    let mut stream = world.open("GET /events?topic=**").await;
    stream.blocks(2).await;
    world.check("POST /topics/typing/a\n\nx", 200, "{\"durability\":\"none\"}").await;
    world.check("POST /topics/typing/a\nContent-Type: application/x-ndjson\n\n1\n", 200, "{}").await;
    let body = "{\"topic\":\"typing/b\",\"data\":2}\n{\"topic\":[\"typing/b\",\"t\"],\"data\":3}";
    world.check(&format!("POST /events\n\n{body}"), 200, "{\"count\":2}").await;
    stream.check(&["id: @1\ndata: x", "id: @2\ndata: 1", "id: @3\ndata: 2", "id: @4\ndata: 3"]).await;
    assert_eq!(world.store.stored().await, 1, "only the one that also belongs to another topic");
}
