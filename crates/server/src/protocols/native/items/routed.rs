//! NDJSON in, to many topics: each line that is not blank is `{"topic", "data", …}`, or has `base64` for its data.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::value::SeqAccessDeserializer;
use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use tidings_hub::Topics;
use tidings_hub::ports::Publish;

use super::lines::{Line, LineTooLong, Lines};
use super::ndjson::{bad_line, is_blank};
use super::too_large;
use crate::gate::Access;
use crate::problem::{self, Problem};
use crate::protocols::native::object::Object;
use crate::protocols::native::{params, path};

/// Topics of one event.
const TOPICS_MAX: usize = 100;

/// What a line may have beside its event's data: names, topics, punctuation.
const FRAME_BYTES: usize = 128 * 1024;

/// A reader of lines that say where they go.
pub(in crate::protocols::native) struct RoutedLines {
    lines: Lines,
    rules: Rules,
}

/// What holds for every line.
struct Rules {
    access: Arc<Access>,
    event_bytes_max: usize,
}

/// A line as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written<'a> {
    #[serde(borrow)]
    topic: OneOrMany<'a>,
    #[serde(borrow, default, deserialize_with = "present")]
    data: Option<&'a RawValue>,
    #[serde(borrow, default)]
    base64: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    event: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    id: Option<Cow<'a, str>>,
    #[serde(default)]
    retry: Option<u64>,
    #[serde(default)]
    private: bool,
}

/// Data that is `null` is data all the same: the JSON text `null`.
fn present<'de: 'a, 'a, D: Deserializer<'de>>(input: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(input).map(Some)
}

enum OneOrMany<'a> {
    One(Cow<'a, str>),
    Many(Vec<Cow<'a, str>>),
}

/// By hand, because serde's own way for "this or that" keeps a copy of the value for each try.
impl<'de: 'a, 'a> Deserialize<'de> for OneOrMany<'a> {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct Topics;

        impl<'de> Visitor<'de> for Topics {
            type Value = OneOrMany<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("topic to be a name or a list of names")
            }

            fn visit_borrowed_str<E: de::Error>(self, name: &'de str) -> Result<Self::Value, E> {
                Ok(OneOrMany::One(Cow::Borrowed(name)))
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Self::Value, E> {
                Ok(OneOrMany::One(Cow::Owned(name.to_owned())))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, names: A) -> Result<Self::Value, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(names)).map(OneOrMany::Many)
            }
        }

        input.deserialize_any(Topics)
    }
}

impl RoutedLines {
    pub(in crate::protocols::native) fn new(access: Arc<Access>, event_bytes_max: usize) -> Self {
        // Escapes make data longer in JSON: twice as long covers all but the oddest text.
        let line_bytes_max = event_bytes_max.saturating_mul(2).saturating_add(FRAME_BYTES);
        Self { lines: Lines::new(line_bytes_max), rules: Rules { access, event_bytes_max } }
    }

    pub(super) fn next(&mut self, input: &mut &[u8]) -> Result<Option<Publish>, Problem> {
        loop {
            let line = match self.lines.next(input) {
                Ok(Some(line)) => line,
                Ok(None) => return Ok(None),
                Err(error @ LineTooLong { number, limit_bytes }) => {
                    return Err(Problem::new(&problem::EVENT_TOO_LARGE, error.to_string())
                        .with("limit_bytes", limit_bytes)
                        .with("line", number));
                }
            };
            if let Some(publish) = self.rules.publish(&line)? {
                return Ok(Some(publish));
            }
        }
    }

    pub(super) fn finish(&mut self) -> Result<Option<Publish>, Problem> {
        self.lines.finish().map_or(Ok(None), |line| self.rules.publish(&line))
    }
}

impl Rules {
    fn publish(&self, line: &Line<'_>) -> Result<Option<Publish>, Problem> {
        if is_blank(line.bytes) {
            return Ok(None);
        }
        let Object(written) =
            serde_json::from_slice(line.bytes).map_err(|error| bad_line(line.number, &error))?;
        self.check(written).map(Some).map_err(|problem| problem.with("line", line.number))
    }

    fn check(&self, written: Written<'_>) -> Result<Publish, Problem> {
        let topics = match &written.topic {
            OneOrMany::One(name) => self.topics(std::slice::from_ref(name))?,
            OneOrMany::Many(names) => self.topics(names)?,
        };
        let (data, utf8) = match (written.data, &written.base64) {
            (Some(written), None) => (data(written)?, true),
            (None, Some(text)) => binary(text)?,
            _ => {
                let detail = "a line has either data or base64";
                return Err(Problem::new(&problem::INVALID_JSON, detail));
            }
        };
        if data.len() > self.event_bytes_max {
            return Err(too_large(self.event_bytes_max));
        }
        let id = written.id.as_deref().map(|text| {
            params::event_id(text)?.ok_or_else(|| {
                Problem::new(&problem::INVALID_EVENT, "id must not be empty; leave it out instead")
            })
        });
        Ok(Publish {
            // The hub knows which topics are never stored.
            ephemeral: false,
            topics,
            private: written.private,
            id: id.transpose()?,
            event: written.event.as_deref().map(params::own_event_name).transpose()?,
            retry_ms: written.retry,
            data,
            utf8,
            once: None,
        })
    }

    /// The names, each once, each allowed.
    fn topics(&self, names: &[Cow<'_, str>]) -> Result<Topics, Problem> {
        if names.len() > TOPICS_MAX {
            let detail = format!("an event may have at most {TOPICS_MAX} topics, not {}", names.len());
            return Err(Problem::new(&problem::TOO_MANY_TOPICS, detail).with("limit", TOPICS_MAX));
        }
        let mut topics = Topics::new();
        for name in names {
            let topic = path::topic_name(name)?;
            if !topics.contains(&topic) {
                self.access.may_publish(&topic)?;
                topics.push(topic);
            }
        }
        if topics.is_empty() {
            return Err(Problem::new(&problem::INVALID_TOPIC, "topic is an empty list; name at least one"));
        }
        Ok(topics)
    }
}

/// Any bytes; whether they are text.
fn binary(text: &str) -> Result<(Bytes, bool), Problem> {
    let bytes = STANDARD
        .decode(text)
        .map_err(|error| Problem::new(&problem::INVALID_JSON, format!("base64 is none: {error}")))?;
    let utf8 = simdutf8::basic::from_utf8(&bytes).is_ok();
    Ok((bytes.into(), utf8))
}

/// A string is its text, anything else its JSON as it stands in the line.
fn data(written: &RawValue) -> Result<Bytes, Problem> {
    let json = written.get();
    if !json.starts_with('"') {
        return Ok(Bytes::copy_from_slice(json.as_bytes()));
    }
    let text: Cow<'_, str> = match serde_json::from_str::<&str>(json) {
        Ok(plain) => Cow::Borrowed(plain),
        // It has escapes, or half a surrogate pair, which is no text.
        Err(_) => serde_json::from_str::<String>(json).map(Cow::Owned).map_err(|error| {
            let message = error.to_string();
            let said = message.rsplit_once(" at line ").map_or(message.as_str(), |(said, _)| said);
            Problem::new(&problem::INVALID_JSON, format!("data is a string that is no text: {said}"))
        })?,
    };
    Ok(Bytes::copy_from_slice(text.as_bytes()))
}
