//! `--name value` pairs and nothing else.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;

pub struct Arguments(BTreeMap<String, String>);

impl Arguments {
    pub fn parse(words: &[String]) -> Result<Self, String> {
        let pair = |pair: &[String]| match pair {
            [name, value] if name.starts_with("--") => Ok((name[2..].to_owned(), value.clone())),
            other => Err(format!("expected --name value, got {other:?}")),
        };
        words.chunks(2).map(pair).collect::<Result<_, _>>().map(Self)
    }

    pub fn dir(&self) -> Result<PathBuf, String> {
        self.0.get("dir").map(PathBuf::from).ok_or_else(|| "say where: --dir DIR".to_owned())
    }

    pub fn number<T: FromStr>(&self, name: &str, default: T) -> Result<T, String> {
        match self.0.get(name) {
            None => Ok(default),
            Some(text) => text.parse().map_err(|_| format!("--{name} {text}: not a number")),
        }
    }

    pub fn text<'a>(&'a self, name: &str, default: &'a str) -> &'a str {
        self.0.get(name).map_or(default, String::as_str)
    }
}
