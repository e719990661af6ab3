//! A hub somewhere else, over HTTP: where it is, who we are there, one request and its answer.
//! Decides nothing about retries; that is the client.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clap::{Arg, ArgAction, ArgMatches, Command};
use http::header::{ACCEPT, AUTHORIZATION, HeaderValue, USER_AGENT};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tidings_client::EventSourceBuilder;
use tidings_client::publisher::Producer;
use tokio::time::timeout;
use url::Url;

use crate::deliver;
use crate::failure::{Failure, chain};
use crate::trust::BelieveAnybody;

const DEFAULT_URL: &str = "http://127.0.0.1:4000";
const AGENT: &str = concat!("tidings/", env!("CARGO_PKG_VERSION"));

/// An answer that takes longer counts as lost. Long enough for a slow disk, short enough to notice a dead link.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A page of history is about a MiB of data, base64 and JSON around it.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// The arguments that say where the hub is. Added to each command that talks to one.
pub(crate) fn arguments(command: Command) -> Command {
    command
        .arg(
            Arg::new("url")
                .long("url")
                .value_name("URL")
                .help(format!("Where the hub is [env: TIDINGS_URL] [default: {DEFAULT_URL}]")),
        )
        .arg(
            Arg::new("key").long("key").value_name("KEY").help(
                "The API key; other users of this machine can see arguments, so rather [env: TIDINGS_KEY]",
            ),
        )
        .arg(
            Arg::new("insecure")
                .long("insecure")
                .action(ArgAction::SetTrue)
                .help("Take any certificate, such as one of --tls-self-signed: for trying things out"),
        )
}

/// Where a hub is, and who we are there.
#[derive(Clone)]
pub(crate) struct Remote {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    base: Url,
    authorization: Option<HeaderValue>,
    insecure: bool,
}

/// What a hub answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
}

impl Remote {
    /// Reads the arguments, and the environment where they say nothing.
    ///
    /// # Errors
    /// The URL or the key cannot be used, or TLS cannot be set up.
    pub(crate) fn new(matches: &ArgMatches) -> Result<Self, Failure> {
        let given = |argument: &str, variable: &str| {
            let argument = matches.get_one::<String>(argument).cloned();
            argument.or_else(|| std::env::var(variable).ok()).filter(|text| !text.is_empty())
        };
        let url = given("url", "TIDINGS_URL").unwrap_or_else(|| DEFAULT_URL.to_owned());
        let base = parse_base(&url)?;
        let authorization = given("key", "TIDINGS_KEY").map(|key| authorization(&key)).transpose()?;
        let insecure = matches.get_flag("insecure");
        let connector = connector(insecure, base.scheme() == "https")
            .map_err(|error| Failure::new(format!("TLS cannot be set up: {}", chain(error.as_ref()))))?;
        let client = Client::builder(TokioExecutor::new())
            // Idle connections are closed before a hub or a proxy closes them under the next request.
            .pool_idle_timeout(Duration::from_secs(20))
            .pool_max_idle_per_host(1)
            .build(connector);
        Ok(Self { client, base, authorization, insecure })
    }

    /// The URL of a resource of the hub, with its query.
    pub(crate) fn url(&self, path: &str, query: &[(&str, &str)]) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.base.path().trim_end_matches('/')));
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }

    /// A source of events at a URL of this hub, with our key.
    pub(crate) fn source(&self, url: &Url) -> EventSourceBuilder {
        let mut source = tidings_client::EventSource::builder(url.as_str());
        if let Some(value) = self.authorization.as_ref().and_then(|value| value.to_str().ok()) {
            source = source.header("authorization", value);
        }
        source.danger_accept_invalid_certs(self.insecure)
    }

    /// A producer that publishes to a URL of this hub, with our key.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub(crate) fn producer(&self, url: &Url, patience: Option<Duration>) -> Result<Producer, Failure> {
        let has_patience = patience.is_some();
        let mut producer = Producer::builder(url.as_str())
            .header("user-agent", AGENT)
            .danger_accept_invalid_certs(self.insecure)
            .notice(move |notice| deliver::tell(notice, has_patience));
        if let Some(value) = self.authorization.as_ref().and_then(|value| value.to_str().ok()) {
            producer = producer.header("authorization", value);
        }
        if let Some(patience) = patience {
            producer = producer.patience_ms(u64::try_from(patience.as_millis()).unwrap_or(u64::MAX));
        }
        producer.build().map_err(|error| Failure::new(chain(&error)))
    }

    /// Asks for a page of JSON.
    ///
    /// # Errors
    /// What happened to the connection, as a person would say it.
    pub(crate) async fn get(&self, url: &Url, accept: &'static str) -> Result<Answer, String> {
        let mut request = self.request(Method::GET, url, Bytes::new())?;
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static(accept));
        self.answer(request).await
    }

    fn request(&self, method: Method, url: &Url, body: Bytes) -> Result<Request<Full<Bytes>>, String> {
        let mut request = Request::builder()
            .method(method)
            .uri(url.as_str())
            .header(USER_AGENT, AGENT)
            .body(Full::new(body))
            .map_err(|error| error.to_string())?;
        if let Some(value) = &self.authorization {
            request.headers_mut().insert(AUTHORIZATION, value.clone());
        }
        Ok(request)
    }

    async fn answer(&self, request: Request<Full<Bytes>>) -> Result<Answer, String> {
        let exchange = async {
            let response = self.client.request(request).await.map_err(|error| innermost(&error))?;
            let (parts, body) = response.into_parts();
            let read = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
            let body = read.map_err(|error| innermost(error.as_ref()))?.to_bytes();
            Ok(Answer { status: parts.status, body })
        };
        timeout(ANSWER_TIMEOUT, exchange)
            .await
            .unwrap_or_else(|_| Err(format!("no answer within {} seconds", ANSWER_TIMEOUT.as_secs())))
    }

    /// The hub's host and port, for messages: without any secret that the URL may hold.
    pub(crate) fn place(&self) -> String {
        let host = self.base.host_str().unwrap_or_default();
        self.base.port_or_known_default().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }
}

impl Answer {
    /// What a problem document says, or the status if it is none.
    pub(crate) fn detail(&self) -> String {
        let problem: Option<serde_json::Value> = serde_json::from_slice(&self.body).ok();
        let detail = problem.as_ref().and_then(|problem| problem.get("detail")?.as_str());
        detail.map_or_else(
            || format!("the hub answered {}", self.status),
            |detail| format!("{detail} ({})", self.status.as_u16()),
        )
    }
}

fn parse_base(text: &str) -> Result<Url, Failure> {
    let wrong = |why: &str| Failure::usage(format!("--url {text:?} {why}, as in {DEFAULT_URL}"));
    let url = Url::parse(text).map_err(|_| wrong("is no URL; write scheme, host and port"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(wrong("must be http:// or https:// and a host"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("must be the hub's address only"));
    }
    Ok(url)
}

fn authorization(key: &str) -> Result<HeaderValue, Failure> {
    let value = HeaderValue::from_str(&format!("Bearer {}", key.trim()));
    let mut value = value.map_err(|_| Failure::usage("the key has characters that no header can carry"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Only the innermost cause tells a person something: `Connection refused`.
fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    innermost.to_string()
}

fn connector(
    insecure: bool,
    needs_tls: bool,
) -> Result<HttpsConnector<HttpConnector>, Box<dyn Error + Send + Sync>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config =
        rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let config = if insecure {
        config
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(BelieveAnybody::new()))
            .with_no_client_auth()
    } else if needs_tls {
        config.with_native_roots()?.with_no_client_auth()
    } else {
        // Plain HTTP asks for no roots; a machine may have none.
        config.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth()
    };
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    let https = HttpsConnectorBuilder::new().with_tls_config(config).https_or_http();
    Ok(https.enable_http1().wrap_connector(tcp))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_checked_and_put_together() {
        let matches = |url: &str| {
            let command = arguments(Command::new("x"));
            command.try_get_matches_from(["x", "--url", url, "--key", "k"]).unwrap()
        };
        let check = |base: &str, expected: &str| {
            let remote = Remote::new(&matches(base)).unwrap();
            assert_eq!(remote.url("/topics", &[("topic", "a//b &c")]).as_str(), expected);
        };
        check("http://127.0.0.1:4000", "http://127.0.0.1:4000/topics?topic=a%2F%2Fb+%26c");
        check("http://h/hub/", "http://h/hub/topics?topic=a%2F%2Fb+%26c");
        for bad in ["localhost:4000", "ftp://h", "", "http://h?x=y", "h"] {
            // An empty URL is none, so the default holds.
            assert_eq!(Remote::new(&matches(bad)).is_err(), !bad.is_empty(), "{bad:?}");
        }
    }

    #[test]
    fn a_problem_is_told_in_its_own_words() {
        let answer = |body: &'static str| Answer {
            status: StatusCode::FORBIDDEN,
            body: Bytes::from_static(body.as_bytes()),
        };
        assert_eq!(answer("{\"detail\":\"ask for a grant\"}").detail(), "ask for a grant (403)");
        assert_eq!(answer("<html>").detail(), "the hub answered 403 Forbidden");
    }
}
