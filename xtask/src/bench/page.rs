//! `cargo xtask bench page RUN…`: the figures of runs into `docs/src/benchmarks.md`, and its plots.
//!
//! The page's text is written by hand; between `<!-- figures: NAME -->` and `<!-- end -->` stands what comes from here.
//! **Invariant:** no figure without a run: what no run has is marked as to be measured.

mod tables;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use super::chart::{self, Kind, Row};
use crate::Failure;
use tables::{CHARTS, Chart, TABLES, Table};

const PAGE: &str = "docs/src/benchmarks.md";
const IMAGES: &str = "docs/src/images";
const REPOSITORY: &str = "https://github.com/tidings-sse/tidings/tree/main";
/// What stands where a figure is missing.
const OPEN: &str = "*to be measured*";
/// What stands where all of a table is missing.
const OPEN_TABLE: &str = "**To be measured**: no run of this table is kept yet.";

/// Medians by their names, and which run each is from.
#[derive(Default)]
struct Figures {
    medians: BTreeMap<String, (f64, String)>,
}

/// Writes page and plots from the runs in these directories; of two that have a figure the later one counts.
///
/// # Errors
/// A file that cannot be read or written, or a place in the page that is not marked.
pub(crate) fn run(root: &Path, runs: &[&str]) -> Result<(), Failure> {
    let mut figures = Figures::default();
    for run in runs {
        let run = run.trim_end_matches('/');
        let tables: Vec<_> = ["fanout.md", "fanout-part.md", "compare.md", "compare-part.md"]
            .iter()
            .filter_map(|name| {
                Some((format!("{run}/{name}"), std::fs::read_to_string(root.join(run).join(name)).ok()?))
            })
            .collect();
        if tables.is_empty() {
            return Err(format!("{run} has neither fanout.md nor compare.md"));
        }
        tables.iter().for_each(|(file, text)| figures.read(file, text));
    }
    let path = root.join(PAGE);
    let failed = |error: std::io::Error| format!("{PAGE}: {error}");
    let mut page = std::fs::read_to_string(&path).map_err(failed)?;
    for table in TABLES {
        page = filled(&page, table.name, &figures.table(table))?;
    }
    std::fs::write(&path, page).map_err(failed)?;
    for chart in CHARTS {
        let file = root.join(IMAGES).join(format!("{}.svg", chart.name));
        std::fs::write(&file, figures.chart(chart))
            .map_err(|error| format!("{}: {error}", file.display()))?;
    }
    Ok(())
}

impl Figures {
    /// Takes the rows of a run's table.
    fn read(&mut self, file: &str, text: &str) {
        for line in text.lines() {
            let mut cells = line.split('|').skip(1).map(str::trim);
            let (Some(name), Some(median)) = (cells.next(), cells.next()) else { continue };
            if let Ok(median) = median.parse() {
                self.medians.insert(name.to_owned(), (median, file.to_owned()));
            }
        }
    }

    /// The figure that a pattern means for a row.
    fn get(&self, pattern: &str, key: &str) -> Option<&(f64, String)> {
        self.medians.get(&pattern.replace("{}", key))
    }

    fn table(&self, table: &Table) -> String {
        let mut text = format!("| {} |", table.head);
        table.columns.iter().for_each(|(title, ..)| text += &format!(" {title} |"));
        text += "\n|---|";
        text += &"---|".repeat(table.columns.len());
        let mut files: Vec<&str> = Vec::new();
        for (label, key) in table.rows {
            // Into a string nothing fails.
            _ = write!(text, "\n| {label} |");
            for (_, pattern, unit) in table.columns {
                let cell = match self.get(pattern, key) {
                    Some((value, file)) => {
                        if !files.contains(&file.as_str()) {
                            files.push(file);
                        }
                        format!("{} {unit}", chart::number_of(*value))
                    }
                    // A row that a run left out has a reason there; a table without a run has none.
                    None if table.is_never(pattern, key) => "–".to_owned(),
                    None => OPEN.to_owned(),
                };
                _ = write!(text, " {} |", cell.trim_end());
            }
        }
        if files.is_empty() {
            return format!("{OPEN_TABLE} It will show: {}.", table.titles());
        }
        let links: Vec<_> = files.iter().map(|file| format!("[`{file}`]({REPOSITORY}/{file})")).collect();
        _ = write!(text, "\n\nMedians; spread and raw output: {}.", links.join(", "));
        text
    }

    fn chart(&self, chart: &Chart) -> String {
        let mut rows = Vec::new();
        for (heading, pattern) in chart.groups {
            if !heading.is_empty() {
                rows.push(Row::Heading((*heading).to_owned()));
            }
            for (label, key) in chart.rows {
                let kind = match *key {
                    limit if limit.starts_with("bare") => Kind::Limit,
                    ours if chart.ours.contains(&ours) => Kind::Ours,
                    _ => Kind::Other,
                };
                let value = self.get(pattern, key).map(|(value, _)| *value);
                rows.push(Row::Bar { label: label.replace("**", ""), kind, value });
            }
        }
        chart::bars(chart.title, chart.unit, &rows)
    }
}

/// The page with a block's content exchanged.
fn filled(page: &str, name: &str, content: &str) -> Result<String, Failure> {
    const END: &str = "<!-- end -->";
    let mark = format!("<!-- figures: {name} -->\n");
    let parts = page.split_once(&mark).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let (before, after) =
        parts.ok_or_else(|| format!("{PAGE} has no place for {name}: {}", mark.trim_end()))?;
    Ok(format!("{before}{mark}\n{content}\n\n{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_exchanged_and_the_rest_stays() {
        let page = "a\n<!-- figures: x -->\nold\n<!-- end -->\nb\n<!-- figures: y -->\nkept\n<!-- end -->\n";
        let once = filled(page, "x", "new").unwrap();
        assert_eq!(
            once,
            "a\n<!-- figures: x -->\n\nnew\n\n<!-- end -->\nb\n<!-- figures: y -->\nkept\n<!-- end -->\n"
        );
        assert_eq!(filled(&once, "x", "new").unwrap(), once);
        assert!(filled(page, "z", "new").is_err());
    }

    #[test]
    fn what_no_run_has_is_marked() {
        let mut figures = Figures::default();
        let storm = TABLES.iter().find(|table| table.name == "storm").unwrap();
        assert!(figures.table(storm).starts_with(OPEN_TABLE));
        figures.read(
            "bench/runs/r/fanout.md",
            "| | median |\n|---|---|\n| storm/bare all | 1234 | 1 | 2 | ms |\n",
        );
        let text = figures.table(storm);
        assert!(
            text.contains("| 1,234 ms |") && text.contains(OPEN) && text.contains("runs/r/fanout.md"),
            "{text}"
        );
    }

    /// A table whose figures nobody measures would be open for ever.
    #[test]
    fn every_figure_of_the_page_is_one_that_a_run_has() {
        let cases = tables::measured();
        let patterns = TABLES.iter().flat_map(|table| {
            let keys = table.rows.iter().map(|(_, key)| key);
            keys.flat_map(move |key| table.columns.iter().map(move |(_, pattern, _)| (table, *pattern, *key)))
        });
        for (table, pattern, key) in patterns {
            let name = pattern.replace("{}", key);
            let case = name.rsplit_once(' ').unwrap().0;
            assert_eq!(cases.iter().any(|known| known == case), !table.is_never(pattern, key), "{name}");
        }
        for chart in CHARTS {
            for (_, pattern) in chart.groups {
                for (_, key) in chart.rows {
                    let name = pattern.replace("{}", key);
                    assert!(cases.contains(&name.rsplit_once(' ').unwrap().0.to_owned()), "{name}");
                }
            }
        }
    }
}
