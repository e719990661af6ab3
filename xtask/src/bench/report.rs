//! What a run said, as it said it, and a table of its figures.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Choice, said};
use crate::Failure;

pub(super) struct Report {
    dir: PathBuf,
    /// What is measured: the files' name, and their title.
    what: (&'static str, &'static str),
    root: String,
    raw: String,
    /// Figures in the order in which they first came, each with its values over the rounds.
    figures: Vec<Figure>,
    /// Peers that are not installed, and how they would be.
    absent: Vec<String>,
    /// Some cases were left out: it is kept beside the run that has all.
    is_part: bool,
}

struct Figure {
    name: String,
    unit: String,
    values: Vec<f64>,
}

impl Report {
    pub(super) fn new(
        root: &Path,
        what: (&'static str, &'static str),
        choice: &Choice,
    ) -> Result<Self, Failure> {
        let date = said(Command::new("date").args(["-u", "+%F"]))?;
        let dir = root.join(format!("bench/runs/{}-{}", date.trim(), choice.host));
        let mut report = Self {
            dir,
            what,
            root: format!("{}/", root.display()),
            raw: String::new(),
            figures: Vec::new(),
            absent: Vec::new(),
            is_part: false,
        };
        report.note(&format!("cargo xtask bench {} {choice}", what.0));
        report.is_part = !choice.only.is_empty();
        report.note(&machine());
        Ok(report)
    }

    pub(super) fn note(&mut self, text: &str) {
        println!("{text}");
        self.raw.push_str(text);
        self.raw.push('\n');
    }

    /// Says what is started, without where this repository stands.
    pub(super) fn command(&mut self, command: &Command) {
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let words: Vec<_> = words.map(|word| word.to_string_lossy().replace(&self.root, "")).collect();
        // A path of a URL stays.
        let is_file = |word: &str| word.starts_with('/') && Path::new(word).exists();
        let home = |word: &String| if is_file(word) { file_name(word) } else { word.clone() };
        let words: Vec<_> = words.iter().map(home).collect();
        self.note(&format!("$ {}", words.join(" ")));
    }

    /// Runs a program and takes its figures, `prefix` before their names.
    pub(super) fn run(&mut self, prefix: &str, command: &mut Command) -> Result<(), Failure> {
        self.take(command, |name| format!("{prefix}{name}"))
    }

    /// The same with what was measured behind their names.
    pub(super) fn run_as(&mut self, of: &str, command: &mut Command) -> Result<(), Failure> {
        self.take(command, |name| format!("{name}/{of}"))
    }

    fn take(&mut self, command: &mut Command, name: impl Fn(&str) -> String) -> Result<(), Failure> {
        self.command(command);
        let text = said(command)?;
        for line in text.lines() {
            self.note(line);
            if let Some((figure, value, unit)) = figure(line) {
                self.add(&name(figure), value, unit);
            }
        }
        Ok(())
    }

    /// Says that a peer is not here.
    pub(super) fn absent(&mut self, peer: &str, how: &str) {
        let line = format!("{peer} is absent: {how}");
        if !self.absent.contains(&line) {
            self.note(&line);
            self.absent.push(line);
        }
    }

    /// What a figure was in this round.
    pub(super) fn newest(&self, name: &str) -> Option<f64> {
        self.figures.iter().find(|figure| figure.name == name)?.values.last().copied()
    }

    pub(super) fn add(&mut self, name: &str, value: f64, unit: &str) {
        match self.figures.iter_mut().find(|figure| figure.name == name) {
            Some(figure) => figure.values.push(value),
            None => self.figures.push(Figure {
                name: name.to_owned(),
                unit: unit.to_owned(),
                values: vec![value],
            }),
        }
    }

    /// Adds how many times one figure is another, round by round.
    pub(super) fn ratio(&mut self, name: &str, of: &str, to: &str) {
        let values = |name: &str| {
            let figure = self.figures.iter().find(|figure| figure.name == name);
            figure.map(|figure| figure.values.clone()).unwrap_or_default()
        };
        for (of, to) in values(of).into_iter().zip(values(to)) {
            self.add(name, of / to, "x");
        }
    }

    /// Writes it all down.
    pub(super) fn finish(&self) -> Result<(), Failure> {
        let table = self.table();
        println!("\n{table}");
        let name = self.name();
        let write = || {
            std::fs::create_dir_all(&self.dir)?;
            std::fs::write(self.dir.join(format!("{name}.txt")), &self.raw)?;
            std::fs::write(self.dir.join(format!("{name}.md")), &table)
        };
        write().map_err(|error| format!("{}: {error}", self.dir.display()))
    }

    fn name(&self) -> String {
        format!("{}{}", self.what.0, if self.is_part { "-part" } else { "" })
    }

    fn table(&self) -> String {
        let (name, title) = (self.name(), self.what.1);
        let mut table = format!(
            "# {title}\n\nMedian of the rounds, with the lowest and the highest. What was run, on what, and all it said: `{name}.txt`.\n\n| | median | lowest | highest | unit |\n|---|---|---|---|---|\n",
        );
        for figure in &self.figures {
            let mut values = figure.values.clone();
            values.sort_by(f64::total_cmp);
            let at = |at: usize| number(values.get(at).copied().unwrap_or(f64::NAN));
            let median = number(median(&values));
            let last = values.len().saturating_sub(1);
            let (name, unit) = (&figure.name, &figure.unit);
            // Into a string nothing fails.
            _ = writeln!(table, "| {name} | {median} | {} | {} | {unit} |", at(0), at(last));
        }
        for (number, line) in self.absent.iter().enumerate() {
            _ = writeln!(table, "{}- {line}", if number == 0 { "\n" } else { "" });
        }
        table
    }
}

/// The middle of sorted values, or between the two in the middle.
fn median(values: &[f64]) -> f64 {
    let at = |at: usize| values.get(at).copied().unwrap_or(f64::NAN);
    match values.len() {
        0 => f64::NAN,
        count if count.is_multiple_of(2) => (at(count / 2 - 1) + at(count / 2)) / 2.0,
        count => at(count / 2),
    }
}

/// A line `name value unit`, if it is one.
fn figure(line: &str) -> Option<(&str, f64, &str)> {
    let (name, rest) = line.split_once(' ')?;
    let (value, unit) = rest.split_once(' ')?;
    Some((name, value.parse().ok()?, unit))
}

fn number(value: f64) -> String {
    if value.abs() >= 1_000.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

fn file_name(path: &str) -> String {
    Path::new(path).file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

/// Processor, memory and system, as far as the system tells.
fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let value = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_once(':').map_or_else(|| "?".to_owned(), |(_, value)| value.trim().to_owned())
    };
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let processor = value(&read("/proc/cpuinfo"), "model name");
    let memory = value(&read("/proc/meminfo"), "MemTotal");
    format!("{cores} x {processor}, {memory}, Linux {}", read("/proc/sys/kernel/osrelease").trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_medians_and_ratios_by_round() {
        let figures = Vec::new();
        let mut report = Report {
            dir: PathBuf::new(),
            what: ("log", "The log"),
            root: String::new(),
            raw: String::new(),
            figures,
            absent: Vec::new(),
            is_part: false,
        };
        for (name, value) in [("a", 2.0), ("b", 1.0), ("a", 9.0), ("b", 3.0), ("a", 4.0), ("b", 4.0)] {
            report.add(name, value, "per_s");
        }
        report.ratio("a to b", "a", "b");
        report.ratio("nothing", "a", "c");
        let table = report.table();
        assert!(table.contains("| a | 4.00 | 2.00 | 9.00 | per_s |"), "{table}");
        assert!(table.contains("| a to b | 2.00 | 1.00 | 3.00 | x |"), "{table}");
        assert!(!table.contains("nothing") && !table.contains("absent"));
        report.absent("one", "not here");
        report.absent("one", "not here");
        assert!(report.table().ends_with("| x |\n\n- one is absent: not here\n"), "{}", report.table());
        assert_eq!([report.newest("a"), report.newest("c")], [Some(4.0), None]);
        assert_eq!([median(&[1.0, 2.0]), median(&[1.0, 2.0, 9.0])], [1.5, 2.0]);
        assert_eq!(figure("append 12.5 events/s"), Some(("append", 12.5, "events/s")));
        assert_eq!(figure("$ taskset"), None);
    }
}
