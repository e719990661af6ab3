//! Servers that mean harm: heads without end, answers packed up, redirects in a ring.

use crate::server::{Server, write};
use crate::{source, told};

#[tokio::test]
async fn a_head_without_end_is_given_up() {
    for line in
        ["x: y\r\n", "x: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy"]
    {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n{}", line.repeat(20_000));
        let server = Server::start(vec![vec![write(head), crate::server::Step::Hold]]).await;
        let mut source = source(&server).build().expect("a source");
        assert_eq!(told(&mut source).await, "lost while connected, again in 5");
    }
}

#[tokio::test]
async fn an_answer_that_is_packed_up_is_refused_before_a_byte_of_it_is_read() {
    for coding in ["gzip", "br", "deflate, gzip", "zstd"] {
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: {coding}\r\n\r\n\x1f\u{8b}bomb"
        );
        let server = Server::start(vec![vec![write(head)]]).await;
        let mut source = source(&server).build().expect("a source");
        let line = told(&mut source).await;
        assert_eq!(line, format!("error: the answer is encoded as {coding:?}, which was not asked for"));
    }
}

#[tokio::test]
async fn redirects_in_a_ring_are_left_and_tried_again_later() {
    let ring = "HTTP/1.1 302 Go\r\nLocation: /ring\r\nContent-Length: 0\r\n\r\n";
    let server = Server::start((0..42).map(|_| vec![write(ring)]).collect()).await;
    let mut source = source(&server).build().expect("a source");
    assert_eq!(told(&mut source).await, "lost: more than 20 redirects in a row, again in 5");
    assert_eq!(told(&mut source).await, "lost: more than 20 redirects in a row, again in 100");
}
