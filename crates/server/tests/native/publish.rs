//! `POST /topics/{topic}` with one event, and what is wrong with a request.

use axum::body::Body;
use http_body_util::Full;
use tidings_hub::Limits;
use tidings_hub::ports::Refusal;
use tidings_server::ServerConfig;

use crate::world::{World, only};

#[tokio::test]
async fn one_event_is_the_body_verbatim() {
    let world = World::new();
    let mut stream = world.open("GET /topics/t").await;
    stream.check(&["retry: 2000", "id: @0"]).await;
    world
        .check(
            "POST /topics/t\n\nhello",
            200,
            "Content-Type: application/json\nTidings-Id: @1\n{\"first_id\":\"@1\",\"last_id\":\"@1\",\"count\":1,\"held\":0,\"durability\":\"memory\",\"idempotency\":null,\"discarded\":null}",
        )
        .await;
    stream.check(&["id: @1\ndata: hello"]).await;
    let form = "POST /topics/t\nContent-Type: application/x-www-form-urlencoded\n\na=1&b=%20";
    world.check(form, 200, "Tidings-Id: @2\n{}").await;
    stream.check(&["id: @2\ndata: a=1&b=%20"]).await;
    world.check("POST /topics/t", 200, "Tidings-Id: @3\n{\"count\":1}").await;
    stream.check(&["id: @3\ndata:"]).await;
    let json = "POST /topics/t\nContent-Type: application/json\n\n{\n  broken";
    world.check(json, 200, "{\"count\":1}").await;
    stream.check(&["id: @4\ndata: {\ndata:   broken"]).await;
}

#[tokio::test]
async fn an_event_has_a_name_an_id_and_a_retry() {
    let world = World::new();
    let mut stream = world.open("GET /topics/t").await;
    stream.blocks(2).await;
    world
        .check(
            "POST /topics/t?event=paid&id=o-7&retry=500\n\nx",
            200,
            "Tidings-Id: @1~o-7\n{\"first_id\":\"@1~o-7\",\"last_id\":\"@1~o-7\"}",
        )
        .await;
    stream.check(&["id: @1~o-7\nevent: paid\nretry: 500\ndata: x"]).await;
    // A header cannot carry every id; the position is enough to resume.
    world.check("POST /topics/t?id=a%07b\n\nx", 200, "Tidings-Id: @2\n{\"last_id\":\"@2~a\\u0007b\"}").await;
    world.check("POST /topics/t?id=%C3%BC\n\nx", 200, "Tidings-Id: @3~ü\n{}").await;
}

#[tokio::test]
async fn a_name_is_in_the_path_or_in_the_query() {
    let world = World::new();
    let mut stream = world.open("GET /events?topic=**&label").await;
    stream.blocks(2).await;
    for (target, topic) in [
        ("/topics/a/b", "a/b"),
        ("/topics//a//b/", "/a//b/"),
        ("/topics/a%2Fb%20c", "a/b c"),
        ("/topics/a%252Fb", "a%2Fb"),
        ("/topics?topic=../x/./y", "../x/./y"),
        ("/topics/?topic=https://example.com/1%3Fa", "https://example.com/1?a"),
    ] {
        world.check(&format!("POST {target}\n\nx"), 200, "{}").await;
        let block = stream.blocks(1).await.remove(0);
        let data = serde_json::json!({ "topic": topic, "data": "x" });
        let found: serde_json::Value = serde_json::from_str(block.split_once("data: ").unwrap().1).unwrap();
        assert_eq!(found, data, "{target}");
    }
}

#[tokio::test]
async fn what_is_wrong_is_said() {
    let limits = Limits { event_bytes_max: 64, ..Limits::default() };
    let world = World::with(limits, ServerConfig::default());
    let problem = |slug: &str, members: &str| format!("{{\"type\":\"urn:tidings:problem:{slug}\"{members}}}");
    let long = "x".repeat(257);
    let (topic_max, topic_over) = ("t".repeat(1_024), "t".repeat(1_025));
    world.check(&format!("POST /topics/{topic_max}\n\nx"), 200, "{}").await;
    for (request, status, slug, members) in [
        ("POST /topics\n\nx", 400, "invalid-topic", ""),
        ("POST /topics/\n\nx", 400, "invalid-topic", ""),
        ("POST /topics/a?topic=b\n\nx", 400, "invalid-parameter", ",\"parameter\":\"topic\""),
        ("POST /topics?topic=a&topic=b\n\nx", 400, "invalid-parameter", ",\"parameter\":\"topic\""),
        ("POST /topics/a/../b\n\nx", 400, "invalid-topic", ""),
        ("POST /topics/%2e%2E/b\n\nx", 400, "invalid-topic", ""),
        ("POST /topics/./b\n\nx", 400, "invalid-topic", ""),
        ("POST /topics/a%0Ab\n\nx", 400, "invalid-topic", ""),
        ("POST /topics/a%0Db\n\nx", 400, "invalid-topic", ""),
        ("POST /topics/a%00b\n\nx", 400, "invalid-topic", ""),
        ("POST /topics/a*\n\nx", 400, "invalid-topic", ""),
        (&format!("POST /topics/{topic_over}\n\nx"), 400, "invalid-topic", ""),
        ("POST /topics/a%\n\nx", 400, "invalid-encoding", ""),
        ("POST /topics/a%f\n\nx", 400, "invalid-encoding", ""),
        ("POST /topics/a%ff\n\nx", 400, "invalid-encoding", ""),
        ("POST /topics/a?event=%zz\n\nx", 400, "invalid-encoding", ""),
        ("POST /topics/a?id=%ff\n\nx", 400, "invalid-encoding", ""),
        ("POST /topics/a?evnt=x\n\nx", 400, "invalid-parameter", ",\"parameter\":\"evnt\""),
        ("POST /topics/a?event=\n\nx", 400, "invalid-event", ",\"field\":\"event\""),
        ("POST /topics/a?event=a%0Ab\n\nx", 400, "invalid-event", ",\"field\":\"event\""),
        ("POST /topics/a?event=tidings.gap\n\nx", 400, "invalid-event", ",\"field\":\"event\""),
        (&format!("POST /topics/a?event={long}\n\nx"), 400, "invalid-event", ",\"limit_bytes\":256"),
        ("POST /topics/a?event=a&event=b\n\nx", 400, "invalid-parameter", ",\"parameter\":\"event\""),
        ("POST /topics/a?id=\n\nx", 400, "invalid-event", ",\"field\":\"id\""),
        ("POST /topics/a?id=a%0D\n\nx", 400, "invalid-event", ",\"field\":\"id\""),
        ("POST /topics/a?id=a%00\n\nx", 400, "invalid-event", ",\"field\":\"id\""),
        (&format!("POST /topics/a?id={long}\n\nx"), 400, "invalid-event", ",\"limit_bytes\":256"),
        ("POST /topics/a?retry=5s\n\nx", 400, "invalid-event", ",\"field\":\"retry\""),
        ("POST /topics/a?retry=-1\n\nx", 400, "invalid-event", ",\"field\":\"retry\""),
        ("POST /topics/a?private=yes\n\nx", 400, "invalid-parameter", ",\"parameter\":\"private\""),
        ("POST /topics/a\nIdempotency-Key: a b\n\nx", 400, "invalid-parameter", ""),
        ("POST /topics/a\nIdempotency-Key: \n\nx", 400, "invalid-parameter", ""),
        (&format!("POST /topics/a\nIdempotency-Key: {long}\n\nx"), 400, "invalid-parameter", ""),
        (&format!("POST /topics/a\n\n{}", "x".repeat(65)), 413, "event-too-large", ",\"limit_bytes\":64"),
        ("POST /topics/a?access_token=secret&evnt=1\n\nx", 400, "invalid-parameter", ""),
    ] {
        let answer = world.check(request, status, &problem(slug, members)).await;
        assert!(!answer.to_string().contains("secret"), "{answer}");
    }
    let hint = world.check("POST /topics/a?privte\n\nx", 400, "{}").await;
    assert!(hint["detail"].as_str().unwrap().contains("private"), "{hint}");
    world.check(&format!("POST /topics/a\n\n{}", "x".repeat(64)), 200, "{}").await;
    world.check("POST /topics/a?access_token=secret\n\nx", 200, "{}").await;
    assert_eq!(world.store.submissions(), [1, 1, 1], "nothing that was refused reached the store");
}

#[tokio::test]
async fn bytes_that_are_no_text_need_a_binary_topic() {
    let world = World::new();
    let bytes = || Body::new(Full::from(&b"\xff\x00\n"[..]));
    let answer = world.ask_with("POST /topics/t", bytes()).await;
    world.compare("bytes", answer, 415, "{\"type\":\"urn:tidings:problem:not-text\",\"topic\":\"t\"}").await;
    world.check("PUT /topics/t\n\n{\"content_type\":\"image/png\"}", 201, "{}").await;
    let answer = world.ask_with("POST /topics/t", bytes()).await;
    world.compare("bytes", answer, 200, "{\"count\":1}").await;
    let page = "{\"events\":[{\"data\":\"/wAK\",\"encoding\":\"base64\",\"topic\":\"t\"}]}";
    world.check("GET /topics/t?format=json", 200, page).await;
}

#[tokio::test]
async fn a_repetition_under_a_key_is_known() {
    let world = World::new();
    let first = "{\"first_id\":\"@1\",\"last_id\":\"@1\",\"count\":1,\"held\":0,\"idempotency\":{\"age_ms\":86400000,\"keys\":1000000}}";
    world.check("POST /topics/t\nIdempotency-Key: k\n\none", 200, first).await;
    let again = "Tidings-Id: @1\n{\"first_id\":\"@1\",\"last_id\":\"@1\",\"count\":1,\"held\":1}";
    world.check("POST /topics/t\nIdempotency-Key: k\n\none", 200, again).await;
    world.check("POST /topics/u\nIdempotency-Key: k\n\none", 200, "{\"last_id\":\"@2\",\"held\":0}").await;
    let mut other = only("**", "**", "**", "**");
    other.scope = "key:other".into();
    let other = world.as_(other);
    other.check("POST /topics/t\nIdempotency-Key: k\n\none", 200, "{\"last_id\":\"@3\",\"held\":0}").await;
    // Closing the topic does not take the answer back.
    world.check("PUT /topics/t?closed", 200, "{}").await;
    world.check("POST /topics/t\nIdempotency-Key: k\n\none", 200, again).await;
    world.check("POST /topics/t\nIdempotency-Key: l\n\none", 409, "{\"topic\":\"t\"}").await;
}

#[tokio::test]
async fn a_store_that_refuses_is_told_as_503() {
    for (refusal, slug) in
        [(Refusal::Full, "full"), (Refusal::Failed, "failed"), (Refusal::Stopped, "stopping")]
    {
        let world = World::new();
        world.store.refuse(refusal);
        let problem = format!("{{\"type\":\"urn:tidings:problem:{slug}\"}}");
        for request in ["POST /topics/t\n\nx", "PUT /topics/t", "PUT /topics/t?closed", "DELETE /topics/t"] {
            let answer = world.check(request, 503, &problem).await;
            assert!(answer["detail"].is_string());
        }
    }
}

#[tokio::test]
async fn other_methods_are_told_what_there_is() {
    let world = World::new();
    let topic =
        "Allow: GET, HEAD, POST, PUT, DELETE, OPTIONS\n{\"type\":\"urn:tidings:problem:method-not-allowed\"}";
    world.check("PATCH /topics/t", 405, topic).await;
    world.check("BREW /topics?topic=t", 405, topic).await;
    world.check("DELETE /events?topic=t", 405, "Allow: GET, HEAD, POST, OPTIONS\n{}").await;
}

#[tokio::test]
async fn publishing_needs_a_grant() {
    let world = World::new().as_(only("mine/*", "**", "", ""));
    world.check("POST /topics/mine/a\n\nx", 200, "{}").await;
    let forbidden = "{\"type\":\"urn:tidings:problem:forbidden\"}";
    world.check("POST /topics/yours/a\n\nx", 403, forbidden).await;
    world.check("PUT /topics/mine/a", 403, forbidden).await;
    world.check("PUT /topics/mine/a?closed", 403, forbidden).await;
    world.check("DELETE /topics/mine/a", 403, forbidden).await;
    assert_eq!(world.store.submissions(), [1]);
}

#[tokio::test]
async fn who_may_publish_nowhere_is_told_before_the_body_is_read() {
    let world = World::new().as_(only("", "**", "", "**"));
    let forbidden = "{\"type\":\"urn:tidings:problem:forbidden\"}";
    for target in ["POST /events", "POST /events?atomic"] {
        world.check(&format!("{target}\n\nthis is no JSON"), 403, forbidden).await;
    }
}
