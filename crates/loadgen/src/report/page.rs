//! A report as one HTML page that needs nothing else: no script, no font, no network.

use super::{Report, text};
use crate::tally::Point;
use std::fmt::Write as _;

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 220.0;
/// Room for the figures of the axes.
const LEFT: f64 = 64.0;
const BOTTOM: f64 = 26.0;
/// Most points of a line: more than the page has pixels tell nothing.
const POINTS_MAX: usize = 800;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:56rem;margin:2rem auto;padding:0 1rem}\
svg{width:100%;height:auto}text{font-size:12px;fill:#777}line{stroke:#8884}pre{overflow-x:auto}\
polyline{fill:none;stroke-width:1.5}:root{color-scheme:light dark}";

/// A line of a plot.
struct Line<'a> {
    name: &'a str,
    colour: &'a str,
    points: Vec<(f64, f64)>,
}

/// The page.
pub fn page(report: &Report) -> String {
    let mut out = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Tollgate bench: {0}</title>\
         <style>{STYLE}</style><h1>{0}</h1><p>{1}</p>\n",
        escaped(&report.asked.workload),
        escaped(&report.started)
    );
    let windows = window_ms(&report.series);
    let per_second = |it: u64| it as f64 * 1_000.0 / windows;
    let series = thinned(&report.series);
    let line = |name, colour, of: &dyn Fn(&Point) -> f64| {
        let points = series.iter().map(|it| (it.at_ms as f64 / 1e3, of(it))).collect();
        Line { name, colour, points }
    };
    out.push_str("<h2>Operations a second</h2>\n");
    let lines = [
        line("answered", "#2a7de1", &|it| per_second(it.counts.ok + it.counts.refused)),
        line("errors", "#d33", &|it| per_second(it.counts.errors())),
    ];
    plot(&mut out, &lines, "s", false);
    out.push_str("<h2>Latency over time, ms, from when an operation was due</h2>\n");
    let lines = [
        line("p50", "#2a7de1", &|it| it.p50 as f64 / 1e3),
        line("p99", "#e8a200", &|it| it.p99 as f64 / 1e3),
        line("max", "#d33", &|it| it.max as f64 / 1e3),
    ];
    plot(&mut out, &lines, "s", true);
    out.push_str("<h2>Latency, ms, by share of the operations</h2>\n");
    // Each step to the right is a tenth of what is left: 90 %, 99 %, 99.9 %.
    let nines = |percent: f64| -((100.0 - percent) / 100.0).max(1e-5).log10();
    let points = report.curve.iter().map(|(share, it)| (nines(*share), *it as f64 / 1e3)).collect();
    plot(&mut out, &[Line { name: "latency", colour: "#2a7de1", points }], "nines", true);
    write(&mut out, format_args!("<pre>{}</pre></html>\n", escaped(&text(report))));
    out
}

fn window_ms(series: &[Point]) -> f64 {
    match series {
        [first, second, ..] => (second.at_ms - first.at_ms).max(1) as f64,
        [] | [_] => 1_000.0,
    }
}

/// Few enough points; of those that go together, the worst latency stands for all.
fn thinned(series: &[Point]) -> Vec<Point> {
    let each = series.len().div_ceil(POINTS_MAX).max(1);
    let thin = |points: &[Point]| {
        let worst = points.iter().max_by_key(|it| it.max).expect("a chunk is not empty");
        Point { at_ms: points[0].at_ms, ..worst.clone() }
    };
    series.chunks(each).map(thin).collect()
}

fn plot(out: &mut String, lines: &[Line<'_>], unit: &str, is_log: bool) {
    let scale = |value: f64| if is_log { value.max(0.01).log10() } else { value };
    let all = || lines.iter().flat_map(|it| &it.points);
    let (x_max, low, high) = all()
        .fold((1e-9, 0.0_f64, 1e-9_f64), |(x, low, high), (at, value)| {
            (at.max(x), scale(*value).min(low), scale(*value).max(high))
        });
    let x = |at: f64| LEFT + at / x_max * (WIDTH - LEFT);
    let y = |value: f64| (HEIGHT - BOTTOM) * (1.0 - (scale(value) - low) / (high - low)) + 4.0;
    write(out, format_args!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">"));
    for step in 0..=4 {
        let part = f64::from(step) / 4.0;
        let level = low + part * (high - low);
        let value = if is_log { 10_f64.powf(level) } else { level };
        let at = y(value);
        let shown = if value < 10.0 { format!("{value:.2}") } else { format!("{value:.0}") };
        write(
            out,
            format_args!(
                "<line x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
                 <text x=\"0\" y=\"{:.1}\">{shown}</text><text x=\"{:.1}\" y=\"{HEIGHT}\" \
                 text-anchor=\"{}\">{:.1} {unit}</text>",
                at + 4.0,
                x(part * x_max),
                if step == 4 { "end" } else { "start" },
                part * x_max
            ),
        );
    }
    for (place, Line { name, colour, points }) in lines.iter().enumerate() {
        let points: Vec<String> =
            points.iter().map(|(at, value)| format!("{:.1},{:.1}", x(*at), y(*value))).collect();
        let left = LEFT + 8.0 + 90.0 * place as f64;
        write(
            out,
            format_args!(
                "<polyline stroke=\"{colour}\" points=\"{}\"/>\
                 <text x=\"{left}\" y=\"14\" style=\"fill:{colour}\">{name}</text>",
                points.join(" ")
            ),
        );
    }
    out.push_str("</svg>\n");
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn write(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a String takes everything");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn a_page_needs_nothing_else_and_believes_nobody() {
        let mut report = samples::report();
        report.answers[0].what = "<script>".to_owned();
        let page = page(&report);
        assert_eq!(page.matches("<svg").count(), 3);
        assert_eq!(page.matches("<polyline").count(), 6);
        for foreign in ["<script", "http:", "https:", "src=", "NaN", "inf"] {
            assert!(!page.contains(foreign), "{foreign}");
        }
    }

    #[test]
    fn an_empty_run_has_a_page() {
        let mut report = samples::report();
        (report.series, report.curve) = (Vec::new(), Vec::new());
        let page = page(&report);
        assert!(!page.contains("NaN") && !page.contains("inf"), "{page}");
    }

    #[test]
    fn a_long_series_keeps_its_peaks() {
        let mut report = samples::report();
        let point = report.series[0].clone();
        report.series = (0..5_000).map(|at| Point { at_ms: at * 100, ..point.clone() }).collect();
        report.series[1_234].max = 99_000_000;
        let thin = thinned(&report.series);
        assert!(thin.len() <= POINTS_MAX);
        assert!(thin.iter().any(|it| it.max == 99_000_000));
    }
}
