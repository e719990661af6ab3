//! Over TLS: whom to believe, and HTTP/2.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header::CONTENT_TYPE};
use http_body_util::Full;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tidings_client::{EventSource, ReadyState};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::{ServerConfig, crypto::ring, pki_types::PrivateKeyDer};

use crate::server::STREAM;
use crate::{tells, told};

/// A configuration with a certificate of its own making for `localhost`, and the certificate.
fn own_certificate() -> (ServerConfig, Vec<u8>) {
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let der = own.cert.der().clone();
    let key = PrivateKeyDer::try_from(own.signing_key.serialize_der()).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![der.clone()], key)
        .expect("a configuration");
    (config, der.to_vec())
}

/// A server that speaks HTTP/1.1; gives its URL and its certificate.
async fn start() -> (String, Vec<u8>) {
    let (config, der) = own_certificate();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port on loopback");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // A client that does not believe hangs up in the handshake.
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(format!("{STREAM}data: a\n\n").as_bytes()).await;
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
    });
    (format!("https://localhost:{port}/"), der)
}

/// A server that speaks HTTP/2 and nothing else. Each stream tells the `Last-Event-ID` it was asked with, and
/// ends.
async fn start_http2() -> (String, Vec<u8>) {
    let (mut config, der) = own_certificate();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port on loopback");
    let port = listener.local_addr().expect("an address").port();
    let answer = async |request: Request<Incoming>| {
        let last = request.headers().get("last-event-id").map_or("none".as_bytes(), HeaderValue::as_bytes);
        let text = format!("id: {:?}\ndata: {}\n\n", request.version(), String::from_utf8_lossy(last));
        let mut answer = Response::new(Full::new(Bytes::from(text)));
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        Ok::<_, Infallible>(answer)
    };
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let stream = acceptor.accept(stream).await.expect("a handshake");
            let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(server.serve_connection(TokioIo::new(stream), service_fn(answer)));
        }
    });
    (format!("https://localhost:{port}/"), der)
}

#[tokio::test]
async fn http2_is_spoken_where_it_is_offered() {
    let (url, der) = start_http2().await;
    let mut source = EventSource::builder(&url).retry_ms(5).trust_certificate(der).build().expect("a source");
    let lost = "lost: the stream ended, again in 5";
    tells(&mut source, &["open 200", "message \"none\" after \"HTTP/2.0\"", lost]).await;
    tells(&mut source, &["open 200", "message \"HTTP/2.0\" after \"HTTP/2.0\"", lost]).await;
}

#[tokio::test]
async fn a_certificate_that_is_trusted_is_believed() {
    let (url, der) = start().await;
    let mut source = EventSource::builder(&url).trust_certificate(der).build().expect("a source");
    tells(&mut source, &["open 200", "message \"a\" after \"\""]).await;
}

#[tokio::test]
async fn another_certificate_is_not() {
    let (url, _) = start().await;
    let (_, other) = start().await;
    let mut source =
        EventSource::builder(&url).retry_ms(5).trust_certificate(other).build().expect("a source");
    assert_eq!(told(&mut source).await, "lost while connecting, again in 5");
    assert_eq!(source.ready_state(), ReadyState::Connecting);
}

#[tokio::test]
async fn anybody_is_believed_if_asked_for() {
    let (url, _) = start().await;
    let mut source = EventSource::builder(&url).danger_accept_invalid_certs(true).build().expect("a source");
    tells(&mut source, &["open 200", "message \"a\" after \"\""]).await;
}
