//! Latencies as a picture: the share of deliveries that took longer, on a scale that shows the rare ones.

use std::fmt::Write as _;

use hdrhistogram::Histogram;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 360.0;
const LEFT: f64 = 70.0;
const BOTTOM: f64 = 50.0;
const TOP: f64 = 40.0;
/// The percentiles that are named.
const MARKS: [(f64, &str); 6] =
    [(0.0, "0 %"), (50.0, "50 %"), (90.0, "90 %"), (99.0, "99 %"), (99.9, "99.9 %"), (99.99, "99.99 %")];

/// An SVG of its own: no script, no font, no colour that a dark page would swallow.
pub(super) fn latency(latency_us: &Histogram<u64>, title: &str) -> String {
    let max_ms = (latency_us.max() as f64 / 1_000.0).max(0.001);
    let width = WIDTH - LEFT - 20.0;
    let height = HEIGHT - TOP - BOTTOM;
    // 0 % to 99.99 %: each step to the right, a tenth is left.
    let x = |percentile: f64| LEFT + width * -(1.0 - percentile.min(99.99) / 100.0).log10() / 4.0;
    let y = |ms: f64| TOP + height * (1.0 - ms / max_ms);
    let mut out = String::new();
    let text = |out: &mut String, x: f64, y: f64, anchor: &str, text: &str| {
        // Into memory: it cannot fail.
        _ = writeln!(out, r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{}</text>"#, escape(text));
    };
    _ = writeln!(
        out,
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12" fill="#777">"##
    );
    text(&mut out, LEFT, 20.0, "start", &format!("Latency from planned publishing to arrival: {title}"));
    for part in 0..=4 {
        let ms = max_ms * f64::from(part) / 4.0;
        text(&mut out, LEFT - 8.0, y(ms) + 4.0, "end", &format!("{ms:.2} ms"));
        _ = writeln!(
            out,
            r##"<line x1="{LEFT}" x2="{:.1}" y1="{:.1}" y2="{1:.1}" stroke="#777" stroke-opacity="0.3"/>"##,
            LEFT + width,
            y(ms)
        );
    }
    for (percentile, name) in MARKS {
        text(&mut out, x(percentile), HEIGHT - BOTTOM + 20.0, "middle", name);
    }
    text(&mut out, LEFT + width / 2.0, HEIGHT - 10.0, "middle", "share of deliveries that were not slower");
    let mut points = String::new();
    for step in 0..=400 {
        let percentile = 100.0 * (1.0 - 10f64.powf(-f64::from(step) / 100.0));
        let ms = latency_us.value_at_percentile(percentile) as f64 / 1_000.0;
        _ = write!(points, "{:.1},{:.1} ", x(percentile), y(ms));
    }
    _ = writeln!(
        out,
        r##"<polyline fill="none" stroke="#2a7" stroke-width="2" points="{}"/>"##,
        points.trim_end()
    );
    out.push_str("</svg>\n");
    out
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_well_made_whatever_it_is_called() {
        let mut latency_us = Histogram::<u64>::new(3).unwrap();
        for us in 1..10_000 {
            latency_us.record(us).unwrap();
        }
        let svg = latency(&latency_us, "<script>&");
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n") && !svg.contains("<script"));
        assert!(svg.contains("99.99 %") && !svg.contains("NaN") && !svg.contains("inf"));
        assert!(!latency(&Histogram::<u64>::new(3).unwrap(), "").contains("NaN"));
    }
}
