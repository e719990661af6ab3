//! Producers: events that are numbered by who publishes, over every kind of body.

use tidings_hub::ports::Refusal;

use crate::world::{World, only};

fn by(epoch: u64, seq: u64) -> String {
    format!("Producer-Id: p\nProducer-Epoch: {epoch}\nProducer-Seq: {seq}")
}

#[tokio::test]
async fn an_event_is_held_once_and_a_repetition_says_where() {
    let world = World::new();
    let first = "Tidings-Id: @1\n{\"first_id\":\"@1\",\"count\":1,\"held\":0,\"idempotency\":{\"age_ms\":86400000,\"keys\":1000000}}";
    world.check(&format!("POST /topics/t\n{}\n\na", by(0, 0)), 200, first).await;
    world.check(&format!("POST /topics/t\n{}\n\nb", by(0, 1)), 200, "Tidings-Id: @2\n{\"held\":0}").await;
    world
        .check(&format!("POST /topics/t\n{}\n\nb", by(0, 1)), 200, "Tidings-Id: @2\n{\"count\":1,\"held\":1}")
        .await;
    // Where an earlier one stands is not remembered, only that it is there.
    let earlier = "{\"first_id\":null,\"last_id\":null,\"count\":1,\"held\":1}";
    world.check(&format!("POST /topics/t\n{}\n\na", by(0, 0)), 200, earlier).await;
    assert_eq!(world.store.stored().await, 2);
    // Another topic, and another caller, are other producers.
    world.check(&format!("POST /topics/u\n{}\n\na", by(0, 0)), 200, "{\"held\":0}").await;
    let mut other = only("**", "**", "**", "**");
    other.scope = "key:other".into();
    world.as_(other).check(&format!("POST /topics/t\n{}\n\na", by(0, 0)), 200, "{\"held\":0}").await;
    // Closing the topic does not take the answer back.
    world.check("PUT /topics/t?closed", 200, "{}").await;
    world.check(&format!("POST /topics/t\n{}\n\nb", by(0, 1)), 200, "{\"held\":1}").await;
    world.check(&format!("POST /topics/t\n{}\n\nc", by(0, 2)), 409, "{\"topic\":\"t\"}").await;
}

#[tokio::test]
async fn what_is_out_of_order_or_outlived_is_refused_and_says_what_is_right() {
    let world = World::new();
    let problem = |slug: &str, members: &str| format!("{{\"type\":\"urn:tidings:problem:{slug}\"{members}}}");
    let ahead = |expected: u64, got: u64| {
        let headers = format!("Producer-Expected-Seq: {expected}\nProducer-Received-Seq: {got}\n");
        headers + &problem("producer-out-of-order", &format!(",\"expected\":{expected},\"got\":{got}"))
    };
    world.check(&format!("POST /topics/t\n{}\n\nx", by(5, 3)), 409, &ahead(0, 3)).await;
    world.check(&format!("POST /topics/t\n{}\n\nx", by(5, 0)), 200, "{}").await;
    world.check(&format!("POST /topics/t\n{}\n\nx", by(5, 2)), 409, &ahead(1, 2)).await;
    let not_at_zero = problem("epoch-not-at-zero", ",\"epoch\":6,\"got\":1");
    world.check(&format!("POST /topics/t\n{}\n\nx", by(6, 1)), 400, &not_at_zero).await;
    world.check(&format!("POST /topics/t\n{}\n\nx", by(6, 0)), 200, "{}").await;
    let stale = "Producer-Epoch: 6\n".to_owned() + &problem("stale-epoch", ",\"current\":6,\"got\":5");
    world.check(&format!("POST /topics/t\n{}\n\nx", by(5, 1)), 403, &stale).await;
    for (head, parameter) in [
        ("Producer-Id: p\nProducer-Seq: 1", "Producer-Epoch"),
        ("Producer-Epoch: 1\nProducer-Seq: 1", "Producer-Id"),
        ("Producer-Id: p\nProducer-Epoch: 1", "Producer-Seq"),
        ("Producer-Id: p\nProducer-Epoch: 1\nProducer-Seq: 9007199254740992", "Producer-Seq"),
        ("Producer-Id: p q\nProducer-Epoch: 1\nProducer-Seq: 1", "Producer-Id"),
        (&format!("Idempotency-Key: k\n{}", by(6, 1)), "Idempotency-Key"),
    ] {
        for target in ["/topics/t", "/events", "/events?atomic"] {
            let expected = problem("invalid-parameter", &format!(",\"parameter\":\"{parameter}\""));
            world.check(&format!("POST {target}\n{head}\n\n"), 400, &expected).await;
        }
    }
    assert_eq!(world.store.stored().await, 2);
}

#[tokio::test]
async fn the_items_of_a_body_are_numbered_on() {
    let world = World::new();
    let sse = |epoch, seq, body: &str| {
        format!("POST /topics/t\nContent-Type: text/event-stream\n{}\n\n{body}", by(epoch, seq))
    };
    let body = "data: a\n\n: not an item\n\ndata: b\n\ndata: c\n\n";
    world
        .check(&sse(1, 0, body), 200, "{\"first_id\":\"@1\",\"last_id\":\"@3\",\"count\":3,\"held\":0}")
        .await;
    world.check(&sse(1, 0, body), 200, "{\"first_id\":null,\"last_id\":\"@3\",\"count\":3,\"held\":3}").await;
    // A body that overlaps what is held goes on behind it.
    let lines = format!("POST /topics/t\nContent-Type: application/x-ndjson\n{}\n\n2\n3\n", by(1, 2));
    world.check(&lines, 200, "{\"first_id\":\"@3\",\"last_id\":\"@4\",\"count\":2,\"held\":1}").await;
    // It stops where it is refused, and says how far it came.
    world.check("PUT /topics/closed?closed", 200, "{}").await;
    let events = |query: &str, seq: u64, body: &str| format!("POST /events{query}\n{}\n\n{body}", by(1, seq));
    let routed = "{\"topic\":\"a\",\"data\":\"0\"}\n{\"topic\":\"closed\",\"data\":\"1\"}\n{\"topic\":\"b\",\"data\":\"2\"}\n";
    world.check(&events("?atomic", 0, routed), 409, "{\"item\":1}").await;
    world.check(&events("", 1, routed), 409, "{\"expected\":0,\"got\":1,\"count\":0}").await;
    world.check(&events("", 0, routed), 409, "{\"count\":1,\"held\":0,\"item\":1}").await;
    world.check("DELETE /topics/closed", 204, "").await;
    // One sequence over all topics of the body, and not that of the topic itself.
    world.check(&events("?atomic", 0, routed), 200, "{\"first_id\":\"@6\",\"count\":3,\"held\":1}").await;
    world.check(&format!("POST /topics/a\n{}\n\nx", by(1, 3)), 409, "{\"expected\":0}").await;
    world.check(&events("", 3, "{\"topic\":\"c\",\"data\":\"3\"}\n"), 200, "{\"count\":1,\"held\":0}").await;
}

#[tokio::test]
async fn what_was_not_stored_can_be_sent_again() {
    let world = World::new();
    world.check(&format!("POST /topics/t\n{}\n\na", by(0, 0)), 200, "{}").await;
    world.store.refuse(Refusal::Full);
    world.check(&format!("POST /topics/t\n{}\n\nb", by(0, 1)), 503, "{}").await;
}
