//! TLS: a certificate from PEM files, or one made at the start for development.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use sha2::{Digest as _, Sha256};
use tokio_rustls::TlsAcceptor;

use crate::config::TlsConfig;

const CERT_FILE: &str = "self-signed-cert.pem";
const KEY_FILE: &str = "self-signed-key.pem";

/// What a listener needs to speak TLS.
#[derive(Clone)]
pub struct Tls {
    pub(crate) acceptor: TlsAcceptor,
    fingerprint: String,
}

impl Tls {
    /// Loads or makes the certificate. Speaks HTTP/2 and HTTP/1.1, as ALPN finds.
    ///
    /// # Errors
    /// [`TlsError`] names the file and what to do.
    pub fn new(config: &TlsConfig) -> Result<Self, TlsError> {
        let (chain, key) = match config {
            TlsConfig::Files { cert, key } => (read_chain(cert)?, read_key(key)?),
            TlsConfig::SelfSigned { hosts, dir: None } => {
                let made = make(hosts)?;
                (vec![made.cert.der().clone()], PrivatePkcs8KeyDer::from(made.key.serialize_der()).into())
            }
            TlsConfig::SelfSigned { hosts, dir: Some(dir) } => kept(hosts, dir)?,
        };
        let fingerprint = chain.first().map(fingerprint).unwrap_or_default();
        let mut server = rustls::ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
            .map_err(|cause| TlsError::Unusable { config: config.clone(), cause })?;
        server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(server)), fingerprint })
    }

    /// The SHA-256 of the leaf certificate, as browsers show it: to be compared by eye where it is self-signed.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("fingerprint", &self.fingerprint).finish_non_exhaustive()
    }
}

struct Made {
    cert: rcgen::Certificate,
    key: KeyPair,
}

fn make(hosts: &[String]) -> Result<Made, TlsError> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    names.extend(hosts.iter().filter(|host| *host != "*").cloned());
    let make = || {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name.push(rcgen::DnType::CommonName, "Tidings, self-signed");
        Ok(Made { cert: params.self_signed(&key)?, key })
    };
    make().map_err(|cause: rcgen::Error| TlsError::Make { message: cause.to_string() })
}

/// The certificate of an earlier start, or a new one that later starts will find.
fn kept(
    hosts: &[String],
    dir: &Path,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
    let (cert, key) = (dir.join(CERT_FILE), dir.join(KEY_FILE));
    if !cert.exists() || !key.exists() {
        let made = make(hosts)?;
        write(&key, &made.key.serialize_pem())?;
        write(&cert, &made.cert.pem())?;
    }
    Ok((read_chain(&cert)?, read_key(&key)?))
}

/// Writes a file that only its owner may read.
fn write(path: &Path, text: &str) -> Result<(), TlsError> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let dir = path.parent().map_or(Ok(()), std::fs::create_dir_all);
    let written = dir
        .and_then(|()| options.open(path))
        .and_then(|mut file| io::Write::write_all(&mut file, text.as_bytes()));
    written.map_err(|cause| TlsError::Write { path: path.to_owned(), cause })
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let failed = |cause| pem_error(path, cause);
    let chain = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(failed)?;
    if chain.is_empty() {
        return Err(TlsError::Empty { path: path.to_owned(), wanted: "certificate" });
    }
    Ok(chain)
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(path).map_err(|cause| match cause {
        pem::Error::NoItemsFound => TlsError::Empty { path: path.to_owned(), wanted: "private key" },
        other => pem_error(path, other),
    })
}

fn pem_error(path: &Path, cause: pem::Error) -> TlsError {
    match cause {
        pem::Error::Io(cause) => TlsError::Read { path: path.to_owned(), cause },
        other => TlsError::Pem { path: path.to_owned(), message: other.to_string() },
    }
}

fn fingerprint(cert: &CertificateDer<'_>) -> String {
    let bytes = Sha256::digest(cert.as_ref());
    bytes.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
}

/// Why there is no TLS. All of it is for the operator to mend.
#[derive(Debug)]
#[non_exhaustive]
pub enum TlsError {
    /// A file could not be read.
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// A file could not be written.
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// A file is not PEM.
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// A file has nothing of what it is for.
    Empty {
        /// The file.
        path: PathBuf,
        /// What should be in it.
        wanted: &'static str,
    },
    /// Certificate and key cannot be used, or not together.
    Unusable {
        /// Where they came from.
        config: TlsConfig,
        /// What the library said.
        cause: rustls::Error,
    },
    /// No certificate could be made.
    Make {
        /// What the library said.
        message: String,
    },
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { path, .. } => {
                write!(f, "{} could not be read; check the path and who may read it", path.display())
            }
            Self::Write { path, .. } => {
                write!(f, "{} could not be written; check that its directory may be written", path.display())
            }
            Self::Pem { path, message } => write!(f, "{} is not valid PEM: {message}", path.display()),
            Self::Empty { path, wanted } => {
                write!(f, "{} has no {wanted} in it; give a PEM file that does", path.display())
            }
            Self::Unusable { config: TlsConfig::Files { cert, key }, .. } => write!(
                f,
                "the certificate {} and the key {} cannot be used together",
                cert.display(),
                key.display()
            ),
            Self::Unusable { config: TlsConfig::SelfSigned { dir, .. }, .. } => match dir {
                Some(dir) => write!(
                    f,
                    "the certificate kept in {} cannot be used; remove {CERT_FILE} and {KEY_FILE} there",
                    dir.display()
                ),
                None => f.write_str("the certificate that was made cannot be used"),
            },
            Self::Make { message } => write!(
                f,
                "no certificate could be made: {message}; every host must be a DNS name or an address"
            ),
        }
    }
}

impl std::error::Error for TlsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read { cause, .. } | Self::Write { cause, .. } => Some(cause),
            Self::Unusable { cause, .. } => Some(cause),
            Self::Pem { .. } | Self::Empty { .. } | Self::Make { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_self_signed_certificate_is_kept_where_a_directory_is_given() {
        let dir = tempfile::tempdir().unwrap();
        let config = |dir: Option<&Path>| TlsConfig::SelfSigned {
            hosts: vec!["hub.test".into()],
            dir: dir.map(Path::to_owned),
        };
        let first = Tls::new(&config(Some(dir.path()))).unwrap();
        assert_eq!(first.fingerprint().len(), 95);
        assert_eq!(Tls::new(&config(Some(dir.path()))).unwrap().fingerprint(), first.fingerprint());
        assert_ne!(Tls::new(&config(None)).unwrap().fingerprint(), first.fingerprint());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = std::fs::metadata(dir.path().join(KEY_FILE)).unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0);
        }
        let made = dir.path().join("made");
        Tls::new(&config(Some(&made))).expect("a directory that is not there is made");
        let file = Tls::new(&config(Some(&made.join(KEY_FILE)))).unwrap_err();
        assert!(matches!(file, TlsError::Write { .. }), "{file:?}");
    }

    #[test]
    fn errors_name_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let (one, other) = (make(&[]).unwrap(), make(&[]).unwrap());
        let cert = file("cert.pem", &one.cert.pem());
        let key = file("key.pem", &one.key.serialize_pem());
        let foreign = file("foreign.pem", &other.key.serialize_pem());
        let empty = file("empty.pem", "nothing here\n");
        let broken = file("broken.pem", "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n");
        let load = |cert: &Path, key: &Path| {
            Tls::new(&TlsConfig::Files { cert: cert.to_owned(), key: key.to_owned() })
        };
        assert!(load(&cert, &key).is_ok());
        let check = |cert: &Path, key: &Path, named: &str| {
            let message = load(cert, key).unwrap_err().to_string();
            assert!(message.contains(named), "{message}");
        };
        check(&dir.path().join("gone.pem"), &key, "gone.pem could not be read");
        check(&cert, &dir.path().join("gone.pem"), "gone.pem could not be read");
        check(&empty, &key, "empty.pem has no certificate");
        check(&cert, &empty, "empty.pem has no private key");
        check(&key, &key, "key.pem has no certificate");
        check(&broken, &key, "broken.pem is not valid PEM");
        check(&cert, &foreign, "foreign.pem cannot be used together");
    }
}
