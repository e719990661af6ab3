//! Bars as an SVG of its own: no script, no font, no colour that a light or a dark page would swallow. Pure.

use std::fmt::Write as _;

const WIDTH: f64 = 720.0;
/// Where bars begin, and how long the longest is: behind it stands its number.
const LEFT: f64 = 230.0;
const LONGEST: f64 = 390.0;
const ROW: f64 = 24.0;
const TOP: f64 = 44.0;

/// What a bar stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Ours,
    /// Nothing can be better.
    Limit,
    Other,
}

pub(super) enum Row {
    Heading(String),
    /// A bar; without a value it says that it was not measured.
    Bar {
        label: String,
        kind: Kind,
        value: Option<f64>,
    },
}

/// Bars with their numbers, one scale for all.
pub(super) fn bars(title: &str, unit: &str, rows: &[Row]) -> String {
    let values = rows.iter().filter_map(|row| match row {
        Row::Bar { value, .. } => *value,
        Row::Heading(_) => None,
    });
    let max = values.fold(0.0, f64::max).max(f64::MIN_POSITIVE);
    let height = TOP + ROW * rows.len() as f64 + 12.0;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" font-family=\"sans-serif\" font-size=\"13\" fill=\"#777\">\n<title>{0}</title>\n<text x=\"0\" y=\"20\" font-size=\"15\">{0}</text>\n",
        escape(title)
    );
    for (number, row) in rows.iter().enumerate() {
        let y = TOP + ROW * number as f64;
        let base = y + 15.0;
        // Into a string nothing fails.
        _ = match row {
            Row::Heading(text) => {
                writeln!(out, "<text x=\"0\" y=\"{base}\" font-weight=\"bold\">{}</text>", escape(text))
            }
            Row::Bar { label, kind, value } => {
                let label = escape(label);
                _ = writeln!(
                    out,
                    "<text x=\"{}\" y=\"{base}\" text-anchor=\"end\">{label}</text>",
                    LEFT - 8.0
                );
                let length = value.map_or(0.0, |value| (LONGEST * value / max).max(1.0));
                let colour = match kind {
                    Kind::Ours => "fill=\"#2a7\"",
                    Kind::Limit => {
                        "fill=\"#777\" fill-opacity=\"0.15\" stroke=\"#777\" stroke-dasharray=\"4 2\""
                    }
                    Kind::Other => "fill=\"#68a\"",
                };
                if value.is_some() {
                    _ = writeln!(
                        out,
                        "<rect x=\"{LEFT}\" y=\"{y}\" width=\"{length:.1}\" height=\"{}\" {colour}/>",
                        ROW - 5.0
                    );
                }
                let text = value.map_or_else(
                    || "to be measured".to_owned(),
                    |value| format!("{} {unit}", number_of(value)),
                );
                writeln!(out, "<text x=\"{:.1}\" y=\"{base}\">{}</text>", LEFT + length + 6.0, escape(&text))
            }
        };
    }
    out.push_str("</svg>\n");
    out
}

/// A number as people read it.
pub(super) fn number_of(value: f64) -> String {
    match value {
        million if million >= 1e6 => format!("{:.2} M", million / 1e6),
        thousand if thousand >= 1e3 => {
            let text = format!("{thousand:.0}");
            let (head, tail) = text.split_at(text.len() - 3);
            format!("{head},{tail}")
        }
        hundred if hundred >= 100.0 => format!("{hundred:.0}"),
        ten if ten >= 10.0 => format!("{ten:.1}"),
        small => format!("{small:.2}"),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_bar_is_as_long_as_it_may_be_and_what_is_not_measured_has_none() {
        let bar = |label: &str, value| Row::Bar { label: label.to_owned(), kind: Kind::Ours, value };
        let svg = bars(
            "A <title>",
            "µs",
            &[Row::Heading("one".into()), bar("a", Some(8.0)), bar("b", Some(2.0)), bar("c", None)],
        );
        assert!(svg.contains("width=\"390.0\"") && svg.contains("width=\"97.5\""), "{svg}");
        assert_eq!(svg.matches("<rect").count(), 2);
        assert_eq!(svg.matches("to be measured").count(), 1);
        assert!(svg.contains("A &lt;title&gt;") && svg.ends_with("</svg>\n"));
        assert!(!bars("nothing", "", &[bar("a", None), bar("b", Some(0.0))]).contains("NaN"));
    }

    #[test]
    fn numbers_have_as_many_digits_as_they_are_worth() {
        let read = [0.171, 12.72, 469.0, 18_862.4, 999_999.0, 5_271_307.0].map(number_of);
        assert_eq!(read, ["0.17", "12.7", "469", "18,862", "999,999", "5.27 M"]);
    }
}
