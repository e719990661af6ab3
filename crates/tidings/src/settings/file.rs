//! The configuration file: TOML whose keys are the table's, and `[[keys]]`. Every complaint names its line.

use std::ops::Range;
use std::sync::Arc;

use tidings_server::gate::KeyConfig;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{SettingsError, nearest};
use super::layers::Layers;
use super::table::{ROWS, row};
use super::value::Kind;

/// Members of a `[[keys]]` table.
const KEY_MEMBERS: &[&str] = &["name", "hash", "publish", "subscribe", "manage"];

/// Members of a `[[topic_retention]]` table.
const TOPIC_LIMITS_MEMBERS: &[&str] = &["topics", "age", "bytes", "count", "keep_last"];

/// Reads the text of the file called `name` into `layers`, and gives its keys.
///
/// # Errors
/// [`SettingsError`] with file and line.
pub(super) fn read(name: &str, text: &str, layers: &mut Layers) -> Result<Vec<KeyConfig>, SettingsError> {
    let file = File { name: name.into(), text };
    let table = DeTable::parse(text).map_err(|error| {
        let at = error.span().unwrap_or_default();
        file.malformed(&at, error.message().to_owned())
    })?;
    let mut keys = Vec::new();
    for (key, value) in table.get_ref() {
        if key.get_ref() == "keys" {
            keys = file.keys(value)?;
            continue;
        }
        let Some(row) = row(key.get_ref()).filter(|row| row.is_in_file()) else {
            return Err(file.unknown_key(key));
        };
        let texts = match value.get_ref() {
            DeValue::Array(items) if row.kind == Kind::TopicLimits => {
                let texts = items.iter().map(|item| file.topic_limits(item));
                texts.collect::<Result<Vec<_>, _>>()?.concat()
            }
            DeValue::Array(items) if row.kind.is_list() => {
                items.iter().map(|item| file.scalar(item)).collect::<Result<_, _>>()?
            }
            _ => vec![file.scalar(value)?],
        };
        layers.file(row, texts, &file.name, file.line(&key.span()));
    }
    Ok(keys)
}

struct File<'a> {
    name: Arc<str>,
    text: &'a str,
}

impl File<'_> {
    fn line(&self, at: &Range<usize>) -> usize {
        let before = self.text.as_bytes().get(..at.start).unwrap_or_default();
        before.iter().filter(|byte| **byte == b'\n').count() + 1
    }

    fn malformed(&self, at: &Range<usize>, why: String) -> SettingsError {
        SettingsError::Malformed { file: self.name.to_string(), line: self.line(at), why }
    }

    fn unknown_key(&self, key: &Spanned<std::borrow::Cow<'_, str>>) -> SettingsError {
        let settings = ROWS.iter().filter(|row| row.is_in_file()).map(|row| row.key);
        let known = settings.chain(["keys"]).map(str::to_owned);
        SettingsError::UnknownKey {
            file: self.name.to_string(),
            line: self.line(&key.span()),
            key: key.get_ref().to_string(),
            nearest: nearest(key.get_ref(), known),
        }
    }

    fn scalar(&self, value: &Spanned<DeValue<'_>>) -> Result<String, SettingsError> {
        match value.get_ref() {
            DeValue::String(text) => Ok(text.to_string()),
            DeValue::Boolean(yes) => Ok(yes.to_string()),
            DeValue::Integer(number) => {
                u64::from_str_radix(number.as_str(), number.radix()).map(|number| number.to_string()).map_err(
                    |_| self.malformed(&value.span(), format!("{number} is no number that a setting can be")),
                )
            }
            other => {
                let kind = other.type_str();
                Err(self.malformed(&value.span(), format!("a {kind} cannot be the value of this setting")))
            }
        }
    }

    /// A `[[topic_retention]]` table, or a text, as it would be written in a flag: one for each selector.
    fn topic_limits(&self, value: &Spanned<DeValue<'_>>) -> Result<Vec<String>, SettingsError> {
        let Some(table) = value.get_ref().as_table() else { return Ok(vec![self.scalar(value)?]) };
        let (mut topics, mut limits) = (Vec::new(), String::new());
        for (member, value) in table {
            match member.get_ref().as_ref() {
                "topics" => topics = self.selectors(value)?,
                name @ ("age" | "bytes" | "count" | "keep_last") => {
                    limits.push_str(&format!(" {name}={}", self.scalar(value)?));
                }
                other => {
                    let known = TOPIC_LIMITS_MEMBERS.iter().map(|member| (*member).to_owned());
                    return Err(SettingsError::UnknownKey {
                        file: self.name.to_string(),
                        line: self.line(&member.span()),
                        key: format!("topic_retention.{other}"),
                        nearest: nearest(other, known),
                    });
                }
            }
        }
        if topics.is_empty() {
            let why = "this table has no topics: a selector, or several".to_owned();
            return Err(self.malformed(&value.span(), why));
        }
        Ok(topics.into_iter().map(|selector| selector + &limits).collect())
    }

    fn keys(&self, value: &Spanned<DeValue<'_>>) -> Result<Vec<KeyConfig>, SettingsError> {
        let shape =
            || "keys are written as [[keys]] tables, each with name, hash, publish, subscribe, manage";
        let array = value.get_ref().as_array();
        let array = array.ok_or_else(|| self.malformed(&value.span(), shape().to_owned()))?;
        let key = |item: &Spanned<DeValue<'_>>| {
            let table = item.get_ref().as_table();
            self.key(item, table.ok_or_else(|| self.malformed(&item.span(), shape().to_owned()))?)
        };
        array.iter().map(key).collect()
    }

    fn key(&self, at: &Spanned<DeValue<'_>>, table: &DeTable<'_>) -> Result<KeyConfig, SettingsError> {
        let mut key = KeyConfig::default();
        for (member, value) in table {
            match member.get_ref().as_ref() {
                "name" => key.name = self.scalar(value)?,
                "hash" => key.hash = self.scalar(value)?,
                "publish" => key.publish = self.selectors(value)?,
                "subscribe" => key.subscribe = self.selectors(value)?,
                "manage" => key.manage = self.selectors(value)?,
                other => {
                    let known = KEY_MEMBERS.iter().map(|member| (*member).to_owned());
                    return Err(SettingsError::UnknownKey {
                        file: self.name.to_string(),
                        line: self.line(&member.span()),
                        key: format!("keys.{other}"),
                        nearest: nearest(other, known),
                    });
                }
            }
        }
        for (member, text) in [("name", &key.name), ("hash", &key.hash)] {
            if text.is_empty() {
                let why =
                    format!("this key has no {member}; `tidings key new` makes a key and prints its table");
                return Err(self.malformed(&at.span(), why));
            }
        }
        Ok(key)
    }

    fn selectors(&self, value: &Spanned<DeValue<'_>>) -> Result<Vec<String>, SettingsError> {
        let texts: Vec<String> = match value.get_ref() {
            DeValue::Array(items) => items.iter().map(|item| self.scalar(item)).collect::<Result<_, _>>()?,
            _ => vec![self.scalar(value)?],
        };
        for text in &texts {
            if let Err(error) = tidings_hub::Selector::parse(text) {
                return Err(self.malformed(&value.span(), format!("{text:?}: {error}")));
            }
        }
        Ok(texts)
    }
}
