//! A topic itself: HEAD, PUT, close, DELETE.

use crate::world::World;

#[tokio::test]
async fn head_gives_the_position_whether_the_topic_is_there_or_not() {
    let world = World::new();
    world.publish(&["1", "2"]).await;
    let head = "Content-Type: application/json\nTidings-Position: @2\nTidings-Content-Type: text/plain\nTidings-Closed: \n";
    for request in
        ["HEAD /topics/t", "HEAD /topics/none", "HEAD /topics?topic=t", "HEAD /topics/t?from=start"]
    {
        world.check(request, 200, head).await;
    }
    let (there, not) = (world.ask("HEAD /topics/t").await, world.ask("HEAD /topics/none").await);
    assert_eq!(there.headers(), not.headers());
    world
        .check("HEAD /events?topic=a&topic=b/*", 200, "Tidings-Position: @2\nTidings-Content-Type: \n")
        .await;
    world.check("PUT /topics/t\n\n{\"content_type\":\"application/json\"}", 200, "{}").await;
    world.check("PUT /topics/t?closed", 200, "{}").await;
    let head = "Tidings-Position: @4\nTidings-Content-Type: application/json\nTidings-Closed: true\n";
    world.check("HEAD /topics/t", 200, head).await;
    assert_eq!(world.ask("HEAD /topics/a*").await.status(), 400);
    assert_eq!(world.ask("HEAD /events").await.status(), 400);
}

#[tokio::test]
async fn a_position_is_where_to_subscribe_from() {
    let world = World::new();
    world.publish(&["1"]).await;
    let position =
        world.ask("HEAD /topics/t").await.headers()["tidings-position"].to_str().unwrap().to_owned();
    world.publish(&["2"]).await;
    let mut stream = world.open(&format!("GET /topics/t?last_event_id={position}")).await;
    stream.check(&["retry: 2000", "id: @1", "id: @2\ndata: 2"]).await;
}

#[tokio::test]
async fn a_declaration_is_made_changed_and_kept() {
    let world = World::new();
    let body = "{\"content_type\":\"application/json\",\"retention\":{\"age\":\"7d\",\"bytes\":\"10MiB\",\"count\":5}}";
    let config = "{\"topic\":\"t\",\"content_type\":\"application/json\",\"retention\":{\"age\":604800,\"bytes\":10485760,\"count\":5},\"ephemeral\":false,\"position\":\"@1\"}";
    world.check(&format!("PUT /topics/t\n\n{body}"), 201, config).await;
    world.check(&format!("PUT /topics/t\n\n{body}"), 200, config).await;
    let default = "{\"content_type\":\"text/plain\",\"retention\":{\"age\":null},\"position\":\"@2\"}";
    world.check("PUT /topics/t", 200, default).await;
    world
        .check("PUT /topics/u\n\n{\"ephemeral\":true}", 201, "{\"ephemeral\":true,\"position\":\"@3\"}")
        .await;
    world.check("POST /topics/u\n\nx", 200, "{}").await;
    assert_eq!(world.store.stored().await, 0);
}

#[tokio::test]
async fn a_declaration_that_cannot_be_is_refused() {
    let world = World::new();
    world.publish(&["text"]).await;
    let conflict = "{\"type\":\"urn:tidings:problem:content-type-conflict\",\"topic\":\"t\",\"declared\":\"text/plain\"}";
    world.check("PUT /topics/t\n\n{\"content_type\":\"image/png\"}", 409, conflict).await;
    let json = "{\"type\":\"urn:tidings:problem:invalid-json\"}";
    for body in ["x", "[]", "{\"contentType\":\"a/b\"}", "{\"retention\":{\"age\":[]}}", "{}{}"] {
        world.check(&format!("PUT /topics/t\n\n{body}"), 400, json).await;
    }
    world
        .check("PUT /topics/t\n\n{\"content_type\":\"html\"}", 400, "{\"parameter\":\"content_type\"}")
        .await;
    world
        .check("PUT /topics/t\n\n{\"retention\":{\"age\":\"7w\"}}", 400, "{\"parameter\":\"retention.age\"}")
        .await;
    world
        .check("PUT /topics/t\n\n{\"retention\":{\"count\":0}}", 400, "{\"parameter\":\"retention.count\"}")
        .await;
    let large = format!("PUT /topics/t\n\n{}", " ".repeat(65 << 10));
    world.check(&large, 413, "{\"type\":\"urn:tidings:problem:body-too-large\",\"limit_bytes\":65536}").await;
    world.check("PUT /topics/t?close", 400, "{\"parameter\":\"close\"}").await;
    world.check("PUT /topics/t?closed=1", 400, "{\"parameter\":\"closed\"}").await;
    world.check("PUT /topics/t?closed\n\n{}", 400, "{\"parameter\":\"closed\"}").await;
}

#[tokio::test]
async fn a_topic_ends_once_and_can_be_removed() {
    let world = World::new();
    world.publish(&["1"]).await;
    world.check("PUT /topics/t?closed", 200, "{\"closed\":true,\"position\":\"@2\"}").await;
    world.check("POST /topics/u\n\nx", 200, "{}").await;
    world.check("PUT /topics/t?closed=true", 200, "{\"closed\":true,\"position\":\"@2\"}").await;
    let closed = "{\"type\":\"urn:tidings:problem:topic-closed\",\"topic\":\"t\",\"closed_at\":\"@2\"}";
    world.check("POST /topics/t\n\nx", 409, closed).await;
    world.check("PUT /topics/t\n\n{\"ephemeral\":true}", 409, closed).await;
    world.check("PUT /topics/fresh?closed", 200, "{\"closed\":true}").await;
    world.check("DELETE /topics/t", 204, "").await;
    world.check("DELETE /topics/t", 204, "").await;
    world.check("DELETE /topics/never", 204, "").await;
    world.check("GET /topics/t?format=json", 200, "{\"events\":[],\"closed\":false}").await;
    world.publish(&["anew"]).await;
    world.check("GET /topics/t?format=json", 200, "{\"events\":[{\"data\":\"anew\"}]}").await;
}
