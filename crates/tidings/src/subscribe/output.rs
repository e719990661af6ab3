//! Events on standard output: text for people and pipes, JSON for programs. Counts what was shown.
//! **Invariant:** an event is written whole, and shown before anybody waits.

use std::io::{self, BufWriter, ErrorKind, Stdout, Write};

use serde::Serialize;

use crate::failure::{Failure, say};

/// An event to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) id: String,
    /// None: of the one topic that was asked for.
    pub(crate) topics: Vec<String>,
    pub(crate) event: String,
    pub(crate) data: String,
    pub(crate) encoding: Encoding,
}

/// How the data is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// As published.
    Text,
    /// In base64: the topic is binary.
    Base64,
}

impl Encoding {
    pub(crate) fn of(name: Option<&str>) -> Self {
        if name == Some("base64") { Self::Base64 } else { Self::Text }
    }
}

/// Where events go.
pub(crate) struct Output<W: Write = Stdout> {
    out: BufWriter<W>,
    json: bool,
    /// The one topic, if there is only one.
    topic: Option<String>,
    /// Events that may still be shown.
    left: Option<u64>,
}

#[derive(Serialize)]
struct Line<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    topics: Option<&'a [String]>,
    event: &'a str,
    data: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding: Option<&'static str>,
}

impl Output {
    /// Standard output.
    pub(crate) fn new(json: bool, topic: Option<&str>, count: Option<u64>) -> Self {
        Self::onto(io::stdout(), json, topic, count)
    }
}

impl<W: Write> Output<W> {
    fn onto(out: W, json: bool, topic: Option<&str>, count: Option<u64>) -> Self {
        Self { out: BufWriter::new(out), json, topic: topic.map(str::to_owned), left: count }
    }

    /// Whether data comes with its topic around it.
    pub(crate) fn is_labelled(&self) -> bool {
        self.topic.is_none()
    }

    /// Shows an event. `true`: it was the last one that was wanted.
    ///
    /// # Errors
    /// Whoever reads is gone.
    pub(crate) fn event(&mut self, event: &Shown) -> Result<bool, Failure> {
        let written = if self.json { self.write_json(event) } else { self.write_text(event) };
        written.map_err(|error| closed(&error))?;
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(1);
            if *left == 0 {
                self.flush()?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Tells that something is missing, and why, as the hub says it.
    ///
    /// # Errors
    /// Whoever reads is gone.
    pub(crate) fn gap(&mut self, gap: &str) -> Result<(), Failure> {
        say(&format!(
            "a gap: history was removed or is not this hub's; what was missed must be fetched anew: {gap}"
        ));
        if self.json {
            let gap: serde_json::Value = serde_json::from_str(gap).unwrap_or_else(|_| gap.into());
            let line = serde_json::json!({ "gap": gap });
            writeln!(self.out, "{line}").map_err(|error| closed(&error))?;
        }
        Ok(())
    }

    /// Shows what was written.
    ///
    /// # Errors
    /// Whoever reads is gone.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        self.out.flush().map_err(|error| closed(&error))
    }

    fn write_json(&mut self, event: &Shown) -> io::Result<()> {
        let (topic, topics) = match (event.topics.as_slice(), &self.topic) {
            ([], topic) => (topic.as_deref(), None),
            ([one], _) => (Some(one.as_str()), None),
            (several, _) => (None, Some(several)),
        };
        let encoding = (event.encoding == Encoding::Base64).then_some("base64");
        let line = Line { id: &event.id, topic, topics, event: &event.event, data: &event.data, encoding };
        serde_json::to_writer(&mut self.out, &line)?;
        self.out.write_all(b"\n")
    }

    fn write_text(&mut self, event: &Shown) -> io::Result<()> {
        if self.topic.is_some() {
            return writeln!(self.out, "{}", event.data);
        }
        let topics = event.topics.join(",");
        // Each line of the data gets the name, so that `grep` finds all of an event.
        for line in event.data.split('\n') {
            writeln!(self.out, "{topics}: {line}")?;
        }
        Ok(())
    }
}

/// `sub … | head -1` is an orderly end.
fn closed(error: &io::Error) -> Failure {
    match error.kind() {
        ErrorKind::BrokenPipe => Failure::quiet(),
        _ => Failure::new(format!("standard output: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(topics: &[&str], data: &str) -> Shown {
        Shown {
            id: "1.a~x".into(),
            topics: topics.iter().map(|topic| (*topic).to_owned()).collect(),
            event: "message".into(),
            data: data.into(),
            encoding: Encoding::Text,
        }
    }

    #[track_caller]
    fn check(json: bool, topic: Option<&str>, events: &[Shown], expected: &str) {
        let mut output = Output::onto(Vec::new(), json, topic, None);
        for event in events {
            assert_eq!(output.event(event), Ok(false));
        }
        output.flush().unwrap();
        assert_eq!(String::from_utf8_lossy(output.out.get_ref()), expected);
    }

    #[test]
    fn text_is_the_data_behind_its_topic_if_there_are_several() {
        check(false, Some("a"), &[event(&[], "x"), event(&[], "y\nz")], "x\ny\nz\n");
        check(false, None, &[event(&["a"], "y\nz"), event(&["a", "b"], "")], "a: y\na: z\na,b: \n");
    }

    #[test]
    fn json_is_one_object_a_line() {
        let x = r#"{"id":"1.a~x","topic":"a","event":"message","data":"x\ny"}"#;
        check(true, Some("a"), &[event(&[], "x\ny")], &format!("{x}\n"));
        check(true, None, &[event(&["a"], "x\ny")], &format!("{x}\n"));
        let two = r#"{"id":"1.a~x","topics":["a","b"],"event":"message","data":"","encoding":"base64"}"#;
        let binary = Shown { encoding: Encoding::Base64, ..event(&["a", "b"], "") };
        check(true, None, &[binary], &format!("{two}\n"));
    }

    #[test]
    fn the_last_wanted_event_is_shown_and_told() {
        let mut output = Output::onto(Vec::new(), false, Some("a"), Some(2));
        assert_eq!(output.event(&event(&[], "x")), Ok(false));
        assert_eq!(output.event(&event(&[], "y")), Ok(true));
        assert_eq!(output.out.get_ref(), b"x\ny\n");
    }

    #[test]
    fn a_closed_pipe_is_a_quiet_end() {
        assert_eq!(closed(&ErrorKind::BrokenPipe.into()), Failure::quiet());
        assert_ne!(closed(&ErrorKind::StorageFull.into()), Failure::quiet());
    }
}
