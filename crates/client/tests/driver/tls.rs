//! Over TLS: whom to believe.

use std::sync::Arc;
use std::time::Duration;

use tidings_client::{EventSource, ReadyState};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::{ServerConfig, crypto::ring, pki_types::PrivateKeyDer};

use crate::server::STREAM;
use crate::{tells, told};

/// A server with a certificate of its own making for `localhost`; gives its URL and the certificate.
async fn start() -> (String, Vec<u8>) {
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let der = own.cert.der().clone();
    let key = PrivateKeyDer::try_from(own.signing_key.serialize_der()).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![der.clone()], key)
        .expect("a configuration");
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
    (format!("https://localhost:{port}/"), der.to_vec())
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
