//! Requests over a service of the caller's: what it is asked, what its failures become, a body of its own type.

use std::io;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use futures_util::future::BoxFuture;
use http::{Request, Response, header::CONTENT_TYPE};
use http_body_util::{BodyExt as _, Full, StreamBody};
use tidings_client::EventSource;
use tidings_client::publisher::{Batch, Producer};
use tidings_codec::Event;
use tower_service::Service;

use crate::{tells, told};

/// A service that plays its answers in turn and writes down what it was asked.
#[derive(Clone)]
struct Played {
    seen: Arc<Mutex<Vec<String>>>,
    ready: bool,
}

type Chained = bytes::buf::Chain<Bytes, Bytes>;
type Answer = Response<http_body_util::combinators::UnsyncBoxBody<Chained, io::Error>>;

impl Service<Request<Full<Bytes>>> for Played {
    type Response = Answer;
    type Error = io::Error;
    type Future = BoxFuture<'static, Result<Answer, io::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !std::mem::replace(&mut self.ready, true) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        assert!(self.ready, "it is called before it is ready");
        let seen = Arc::clone(&self.seen);
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.expect("a body in memory").to_bytes();
            let line = format!("{} {} {:?}", head.method, head.uri, String::from_utf8_lossy(&body));
            let number = {
                let mut seen = seen.lock().expect("a list");
                seen.push(line);
                seen.len()
            };
            let chained =
                |a: &'static [u8], b: &'static [u8]| Bytes::from_static(a).chain(Bytes::from_static(b));
            let chunks: Vec<io::Result<_>> = match number {
                1 => return Err(io::Error::other("the layer says no")),
                2 => vec![
                    Ok(chained(b"id: 1\nda", b"ta: a\n\n")),
                    Err(io::Error::from(io::ErrorKind::ConnectionReset)),
                ],
                3 => vec![Ok(chained(b"{\"count\":1,", b"\"last_id\":\"1.1\"}"))],
                _ => vec![],
            };
            let body = StreamBody::new(futures_util::stream::iter(chunks).map_ok_frames());
            let answer = Response::builder().header(CONTENT_TYPE, "text/event-stream");
            Ok(answer.body(body.boxed_unsync()).expect("an answer"))
        })
    }
}

/// Chunks as frames.
trait Frames: Sized {
    fn map_ok_frames(self)
    -> futures_util::stream::BoxStream<'static, io::Result<http_body::Frame<Chained>>>;
}

impl<S: futures_util::Stream<Item = io::Result<Chained>> + Send + 'static> Frames for S {
    fn map_ok_frames(
        self,
    ) -> futures_util::stream::BoxStream<'static, io::Result<http_body::Frame<Chained>>> {
        use futures_util::StreamExt as _;
        self.map(|chunk| chunk.map(http_body::Frame::data)).boxed()
    }
}

#[tokio::test]
async fn any_service_carries_a_source_and_a_producer() {
    let played = Played { seen: Arc::default(), ready: false };
    let source = EventSource::builder("http://nowhere.test/a").retry_ms(5).transport(played.clone());
    let mut source = source.build().expect("a source");
    assert_eq!(told(&mut source).await, "lost while connected, again in 5");
    tells(&mut source, &["open 200", "message \"a\" after \"1\"", "lost while connected, again in 5"]).await;

    let producer = Producer::builder("http://nowhere.test/b").transport(played.clone());
    let mut batch = Batch::default();
    batch.push(&Event::new("x"), 0);
    let receipt = producer.build().expect("a producer").send(&batch).await.expect("it is held");
    assert_eq!(receipt.last_id.as_deref(), Some("1.1"));
    let expected = [
        "GET http://nowhere.test/a \"\"",
        "GET http://nowhere.test/a \"\"",
        "POST http://nowhere.test/b \"data: x\\n\\n\"",
    ];
    assert_eq!(*played.seen.lock().expect("a list"), expected);
}

#[cfg(feature = "reqwest")]
mod over_reqwest {
    use tidings_client::{EventSource, OverReqwest};

    use crate::server::{STREAM, Server, says, write};
    use crate::tells;

    #[tokio::test]
    async fn a_reqwest_client_carries_a_source() {
        let moved = "HTTP/1.1 307 Moved\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n";
        let scripts = vec![vec![write(moved)], says(STREAM, "id: 1\ndata: a\n\n"), says(STREAM, "")];
        let mut server = Server::start(scripts).await;
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build();
        let source = EventSource::builder(&server.url("/a")).method(http::Method::POST).body("q").retry_ms(5);
        let source = source.transport(OverReqwest(client.expect("a client")));
        let mut source = source.build().expect("a source");
        let lost = "lost: the stream ended, again in 5";
        tells(&mut source, &["open 200", "message \"a\" after \"1\"", lost, "open 200", lost]).await;
        for line in ["POST /a HTTP/1.1", "POST /b HTTP/1.1", "POST /a HTTP/1.1"] {
            let request = server.request().await;
            assert_eq!((request.line(), request.body()), (line, "q"));
        }
        // The server accepts no more.
        tells(&mut source, &["lost while connecting, again in 100"]).await;
    }
}
