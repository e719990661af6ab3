//! A topic's declaration as JSON: what is written, what it means, and back.

use serde::{Deserialize, Serialize};
use tidings_hub::{Retention, TopicConfig, TopicName};

use super::object::Object;
use super::params;
use crate::problem::{self, Problem};

/// Longest media type, in bytes.
const CONTENT_TYPE_BYTES_MAX: usize = 255;

/// A declaration as it is written. A `PUT` says all: what is left out is the default.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    content_type: Option<String>,
    #[serde(default)]
    retention: Option<Object<WrittenRetention>>,
    #[serde(default)]
    ephemeral: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRetention {
    #[serde(default)]
    age: Option<Amount>,
    #[serde(default)]
    bytes: Option<Amount>,
    #[serde(default)]
    count: Option<u64>,
    #[serde(default)]
    keep_last: bool,
}

/// A plain number, or one with its unit.
#[derive(Deserialize)]
#[serde(untagged, expecting = "an amount is a number, or a text like \"7d\" or \"10MiB\"")]
enum Amount {
    Whole(u64),
    Fraction(f64),
    Text(String),
}

/// A configuration for its readers, in the form in which it can be declared again.
#[derive(Serialize)]
pub(super) struct Declaration<'a> {
    topic: &'a str,
    content_type: &'a str,
    retention: Limits,
    ephemeral: bool,
}

#[derive(Serialize)]
struct Limits {
    #[serde(skip_serializing_if = "Option::is_none")]
    age: Option<serde_json::Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    keep_last: bool,
}

impl<'a> Declaration<'a> {
    pub(super) fn of(topic: &'a TopicName, config: &'a TopicConfig) -> Self {
        let Retention { age_ms, bytes, count, keep_last } = config.retention;
        Self {
            topic: topic.as_str(),
            content_type: &config.content_type,
            retention: Limits { age: age_ms.map(in_seconds), bytes, count, keep_last },
            ephemeral: config.ephemeral,
        }
    }
}

/// Reads a declaration; an empty body is the default one.
///
/// # Errors
/// `invalid-json` for what is no declaration, `invalid-parameter` for a value that cannot be.
pub(super) fn parse(body: &[u8]) -> Result<TopicConfig, Problem> {
    if body.trim_ascii().is_empty() {
        return Ok(TopicConfig::default());
    }
    let Object(written): Object<Written> = serde_json::from_slice(body).map_err(|error| {
        let detail = format!("the declaration cannot be read: {error}");
        Problem::new(&problem::INVALID_JSON, detail).with("line", error.line())
    })?;
    let mut config = TopicConfig { ephemeral: written.ephemeral, ..TopicConfig::default() };
    if let Some(content_type) = written.content_type {
        if !is_media_type(&content_type) {
            let detail = "content_type is a media type like text/plain, application/json or image/png";
            return Err(params::invalid("content_type", detail));
        }
        config.content_type = content_type.into();
    }
    if let Some(Object(retention)) = written.retention {
        config.retention = Retention {
            age_ms: retention.age.map(age_ms).transpose()?,
            bytes: retention.bytes.map(bytes).transpose()?,
            count: retention.count.map(|count| at_least_one(count, "retention.count")).transpose()?,
            keep_last: retention.keep_last,
        };
    }
    Ok(config)
}

fn age_ms(amount: Amount) -> Result<u64, Problem> {
    let ms = match amount {
        Amount::Whole(seconds) => seconds.checked_mul(1_000),
        Amount::Fraction(seconds) => std::time::Duration::try_from_secs_f64(seconds)
            .ok()
            .and_then(|age| u64::try_from(age.as_millis()).ok()),
        Amount::Text(text) => with_unit(&text, |unit| match unit {
            "s" => Some(1_000),
            "m" => Some(60_000),
            "h" => Some(3_600_000),
            "d" => Some(86_400_000),
            _ => None,
        }),
    };
    let ms = ms.ok_or_else(|| {
        params::invalid(
            "retention.age",
            "retention.age is a number of seconds, or a text like 45s, 30m, 12h or 7d",
        )
    })?;
    at_least_one(ms, "retention.age")
}

fn bytes(amount: Amount) -> Result<u64, Problem> {
    let bytes = match amount {
        Amount::Whole(bytes) => Some(bytes),
        Amount::Fraction(_) => None,
        Amount::Text(text) => with_unit(&text, |unit| match unit {
            "B" => Some(1),
            "kB" => Some(1_000),
            "KiB" => Some(1 << 10),
            "MB" => Some(1_000_000),
            "MiB" => Some(1 << 20),
            "GB" => Some(1_000_000_000),
            "GiB" => Some(1 << 30),
            "TB" => Some(1_000_000_000_000),
            "TiB" => Some(1 << 40),
            _ => None,
        }),
    };
    let bytes = bytes.ok_or_else(|| {
        params::invalid(
            "retention.bytes",
            "retention.bytes is a number of bytes, or a text like 500kB, 10MiB or 2GiB",
        )
    })?;
    at_least_one(bytes, "retention.bytes")
}

/// Digits and a unit: what that is in the smallest unit, if it is something and fits.
fn with_unit(text: &str, factor: impl Fn(&str) -> Option<u64>) -> Option<u64> {
    let text = text.trim();
    let digits_end = text.bytes().position(|byte| !byte.is_ascii_digit())?;
    let (digits, unit) = text.split_at_checked(digits_end)?;
    digits.parse::<u64>().ok()?.checked_mul(factor(unit.trim_start())?)
}

fn at_least_one(amount: u64, parameter: &str) -> Result<u64, Problem> {
    if amount == 0 {
        let detail = format!(
            "{parameter} must be more than nothing; for events that are not kept say \"ephemeral\": true"
        );
        return Err(params::invalid(parameter, detail));
    }
    Ok(amount)
}

/// Seconds, whole if they are.
fn in_seconds(ms: u64) -> serde_json::Number {
    let fraction = std::time::Duration::from_millis(ms).as_secs_f64();
    let whole = serde_json::Number::from(ms / 1_000);
    if ms.is_multiple_of(1_000) { whole } else { serde_json::Number::from_f64(fraction).unwrap_or(whole) }
}

/// `type/subtype` of token characters (RFC 9110, 8.3.1), then visible ASCII and spaces.
fn is_media_type(text: &str) -> bool {
    let token = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
    };
    let essence = text.split(';').next().unwrap_or("").trim_end();
    text.len() <= CONTENT_TYPE_BYTES_MAX
        && text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')
        && essence.split_once('/').is_some_and(|(kind, sub)| token(kind) && token(sub))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(written: &str, expected: &str) {
        let config = parse(written.as_bytes()).unwrap();
        let topic = TopicName::parse("t").unwrap();
        assert_eq!(serde_json::to_string(&Declaration::of(&topic, &config)).unwrap(), expected, "{written}");
    }

    #[test]
    fn a_declaration_is_read_and_can_be_declared_again() {
        let default = r#"{"topic":"t","content_type":"text/plain","retention":{},"ephemeral":false}"#;
        check("", default);
        check(" \n", default);
        check("{}", default);
        check(r#"{"content_type":null,"retention":null}"#, default);
        check(
            r#"{"content_type":"image/png","ephemeral":true,"retention":{"age":"7d","bytes":"10MiB","count":5,"keep_last":true}}"#,
            r#"{"topic":"t","content_type":"image/png","retention":{"age":604800,"bytes":10485760,"count":5,"keep_last":true},"ephemeral":true}"#,
        );
        check(
            r#"{"content_type":"text/plain; charset=utf-8","retention":{"age":1.5,"bytes":7}}"#,
            r#"{"topic":"t","content_type":"text/plain; charset=utf-8","retention":{"age":1.5,"bytes":7},"ephemeral":false}"#,
        );
    }

    #[test]
    fn what_is_none_is_refused() {
        for bad in [
            "x",
            "[]",
            "{",
            "7",
            r#"{"contenttype":"a/b"}"#,
            r#"{"retention":{"ages":1}}"#,
            r#"{"ephemeral":1}"#,
            r#"{"content_type":"html"}"#,
            r#"{"content_type":"a/"}"#,
            r#"{"content_type":"a/b\r\nx: y"}"#,
            r#"{"content_type":"a b/c"}"#,
            r#"{"retention":{"age":0}}"#,
            r#"{"retention":{"age":-1}}"#,
            r#"{"retention":{"age":"7"}}"#,
            r#"{"retention":{"age":"7w"}}"#,
            r#"{"retention":{"age":"d"}}"#,
            r#"{"retention":{"age":1e300}}"#,
            r#"{"retention":{"age":0.0001}}"#,
            r#"{"retention":{"age":"99999999999999999999d"}}"#,
            r#"{"retention":{"bytes":1.5}}"#,
            r#"{"retention":{"bytes":"10XB"}}"#,
            r#"{"retention":{"bytes":"0B"}}"#,
            r#"{"retention":{"count":0}}"#,
            r#"{"retention":{"count":-1}}"#,
            r#"{"retention":{"keep_last":1}}"#,
            r#"{"retention":[1]}"#,
            r#"["text/plain"]"#,
            r#"{"ephemeral":true,"ephemeral":true}"#,
            "{}{}",
            "\u{feff}{}",
        ] {
            assert_eq!(parse(bad.as_bytes()).unwrap_err().status(), 400, "{bad}");
        }
        assert_eq!(parse(b"{\"content_type\":\"a/\xff\"}").unwrap_err().status(), 400);
    }
}
