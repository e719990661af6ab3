//! What the harness asks for, as JSON; and the source that it means. `null` is the same as absent.

use std::collections::BTreeMap;

use axum::http::{Method, Uri};
use serde::Deserialize;
use tidings_client::{EventId, EventSource};

/// The sweep over payload sizes ends one byte past 128 MiB, far past what a source takes by itself.
const EVENT_BYTES_MAX: usize = 256 << 20;

/// The body of `POST /`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Params {
    stream_url: String,
    callback_url: String,
    tag: Option<String>,
    initial_delay_ms: Option<u64>,
    read_timeout_ms: Option<u64>,
    last_event_id: Option<String>,
    headers: Option<BTreeMap<String, String>>,
    method: Option<String>,
    body: Option<String>,
}

/// A stream to start.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) source: EventSource,
    /// Without a slash at its end.
    pub(crate) callback_url: String,
    /// For the log.
    pub(crate) tag: String,
}

/// What can be told to a stream that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Restart,
    /// Our sources tell events of every type.
    Listen,
}

impl Params {
    pub(crate) fn parse(json: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(json).map_err(|error| error.to_string())
    }

    /// The source, with all that was asked for.
    pub(crate) fn order(self) -> Result<Order, String> {
        let callback: Uri = self
            .callback_url
            .parse()
            .map_err(|error| format!("callbackUrl {:?}: {error}", self.callback_url))?;
        if callback.scheme_str() != Some("http") || callback.authority().is_none() {
            return Err(format!(
                "callbackUrl {:?}: it must begin with http:// and a host",
                self.callback_url
            ));
        }
        let mut builder =
            EventSource::builder(&self.stream_url).comments(true).event_bytes_max(EVENT_BYTES_MAX);
        if let Some(delay_ms) = self.initial_delay_ms {
            builder = builder.retry_ms(delay_ms);
        }
        match self.read_timeout_ms {
            Some(0) => return Err("readTimeoutMs: a positive number".to_owned()),
            Some(timeout_ms) => builder = builder.stall_timeout_ms(timeout_ms),
            None => {}
        }
        if let Some(id) = self.last_event_id {
            builder =
                builder.last_event_id(EventId::parse(&id).map_err(|error| format!("lastEventId: {error}"))?);
        }
        if let Some(method) = self.method {
            let parsed = Method::from_bytes(method.as_bytes());
            builder = builder.method(parsed.map_err(|error| format!("method {method:?}: {error}"))?);
        }
        let headers = self.headers.unwrap_or_default();
        if let Some(body) = self.body {
            builder = builder.body(body);
            if !headers.keys().any(|name| name.eq_ignore_ascii_case("content-type")) {
                builder = builder.header("content-type", "text/plain");
            }
        }
        for (name, value) in &headers {
            builder = builder.header(name, value);
        }
        let source = builder.build().map_err(|error| error.to_string())?;
        let callback_url = self.callback_url.trim_end_matches('/').to_owned();
        Ok(Order { source, callback_url, tag: self.tag.unwrap_or_default() })
    }
}

impl Command {
    pub(crate) fn parse(json: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Sent {
            command: String,
            listen: Option<Listen>,
        }
        #[derive(Deserialize)]
        struct Listen {
            #[serde(rename = "type")]
            _event: String,
        }
        let sent: Sent = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        match (sent.command.as_str(), sent.listen) {
            ("restart", _) => Ok(Self::Restart),
            ("listen", Some(_)) => Ok(Self::Listen),
            ("listen", None) => Err("`listen` must say to what: {\"listen\": {\"type\": …}}".to_owned()),
            (command, _) => Err(format!("there is no command {command:?}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(json: &str) -> Result<Order, String> {
        Params::parse(json.as_bytes()).and_then(Params::order)
    }

    #[test]
    fn a_stream_needs_two_urls_and_takes_what_else_there_is() {
        let order = order(
            r#"{"streamUrl":"http://127.0.0.1:1/a","callbackUrl":"http://127.0.0.1:1/back/","tag":null,
                "initialDelayMs":0,"readTimeoutMs":500,"lastEventId":"abc","headers":{"x-a":"1"},
                "method":"REPORT","body":"{}","somethingNew":[]}"#,
        );
        let order = order.unwrap();
        assert_eq!((order.callback_url.as_str(), order.tag.as_str()), ("http://127.0.0.1:1/back", ""));
        assert_eq!(order.source.last_event_id().as_str(), "abc");
    }

    #[tokio::test]
    async fn what_cannot_be_meant_is_refused() {
        let with = |more: &str| {
            let urls = r#""streamUrl":"http://127.0.0.1:1/a","callbackUrl":"http://127.0.0.1:1/b""#;
            order(&format!("{{{urls}{more}}}"))
        };
        assert!(with("").is_ok());
        assert!(
            with(r#","headers":null,"method":null,"body":null,"lastEventId":null,"readTimeoutMs":null"#)
                .is_ok()
        );
        for more in [
            r#","initialDelayMs":-1"#,
            r#","initialDelayMs":"1""#,
            r#","initialDelayMs":1.5"#,
            r#","readTimeoutMs":0"#,
            r#","readTimeoutMs":-500"#,
            r#","lastEventId":"a\nb""#,
            r#","lastEventId":"a\u0000b""#,
            r#","lastEventId":7"#,
            r#","headers":{"a b":"c"}"#,
            r#","headers":{"a":"b\r\nc: d"}"#,
            r#","headers":{"a":1}"#,
            r#","headers":[]"#,
            r#","method":"""#,
            r#","method":"GET /""#,
            r#","body":{}"#,
            r#","tag":1"#,
        ] {
            assert!(with(more).is_err(), "{more}");
        }
        for json in [
            "",
            "x",
            "[]",
            "{}",
            r#"{"streamUrl":"http://a/"}"#,
            r#"{"callbackUrl":"http://a/"}"#,
            r#"{"streamUrl":null,"callbackUrl":"http://a/"}"#,
            r#"{"streamUrl":"/a","callbackUrl":"http://a/"}"#,
            r#"{"streamUrl":"","callbackUrl":"http://a/"}"#,
            r#"{"streamUrl":"ftp://a/","callbackUrl":"http://a/"}"#,
            r#"{"streamUrl":"http://a/","callbackUrl":"a"}"#,
            r#"{"streamUrl":"http://a/","callbackUrl":""}"#,
            r#"{"streamUrl":"http://a/","callbackUrl":"ftp://a/"}"#,
        ] {
            assert!(order(json).is_err(), "{json}");
        }
    }

    #[test]
    fn commands_are_two() {
        let parse = |json: &str| Command::parse(json.as_bytes());
        assert_eq!(parse(r#"{"command":"restart"}"#), Ok(Command::Restart));
        assert_eq!(parse(r#"{"command":"listen","listen":{"type":"a"}}"#), Ok(Command::Listen));
        for json in ["", "{}", r#"{"command":"dance"}"#, r#"{"command":"listen"}"#, r#"{"command":1}"#, "[]"]
        {
            assert!(parse(json).is_err(), "{json}");
        }
    }
}
