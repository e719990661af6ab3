//! The connector: plain TCP or TLS over ring, with the roots of the operating system.

use std::error::Error;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hyper_rustls::{ConfigBuilderExt as _, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ConfigBuilder, DigitallySignedStruct, RootCertStore, SignatureScheme, WantsVerifier,
};

/// A host that does not answer is given up after this; the next attempt asks the resolver again.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// A peer that vanished without a word is noticed by the kernel, even without a stall timer.
const TCP_KEEPALIVE: Duration = Duration::from_secs(60);

/// Whom to believe.
#[derive(Default)]
pub(crate) enum Trust {
    /// The operating system's roots.
    #[default]
    System,
    /// These roots and no others, in DER.
    Roots(Vec<Vec<u8>>),
    /// Everybody. Whoever is on the way can read and forge everything.
    Anybody,
}

/// A connector for http and https. `needs_tls`: the first URL is https, so roots must be there.
pub(super) fn connector(
    trust: Trust,
    needs_tls: bool,
) -> Result<HttpsConnector<HttpConnector>, Box<dyn Error + Send + Sync>> {
    let config = match trust {
        Trust::System => system(needs_tls)?,
        Trust::Roots(ders) => {
            let mut roots = RootCertStore::empty();
            for der in ders {
                roots.add(CertificateDer::from(der))?;
            }
            config()?.with_root_certificates(roots).with_no_client_auth()
        }
        Trust::Anybody => {
            let provider = rustls::crypto::ring::default_provider();
            config()?
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(BelieveAnybody(provider)))
                .with_no_client_auth()
        }
    };
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    tcp.set_keepalive(Some(TCP_KEEPALIVE));
    let https = HttpsConnectorBuilder::new().with_tls_config(config).https_or_http();
    Ok(https.enable_http1().enable_http2().wrap_connector(tcp))
}

fn config() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()
}

/// Reading the system's roots takes milliseconds of disk, so a process does it once.
fn system(needs_tls: bool) -> Result<ClientConfig, Box<dyn Error + Send + Sync>> {
    static SYSTEM: OnceLock<ClientConfig> = OnceLock::new();
    if let Some(config) = SYSTEM.get() {
        return Ok(config.clone());
    }
    match config()?.with_native_roots() {
        Ok(builder) => Ok(SYSTEM.get_or_init(|| builder.with_no_client_auth()).clone()),
        Err(error) if needs_tls => Err(error.into()),
        // A machine without roots can still speak plain HTTP; a redirect to https then fails by itself.
        Err(_) => Ok(config()?.with_root_certificates(RootCertStore::empty()).with_no_client_auth()),
    }
}

/// Believes any certificate, but still checks that the peer holds its key, so that nothing else breaks.
#[derive(Debug)]
struct BelieveAnybody(CryptoProvider);

impl ServerCertVerifier for BelieveAnybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
