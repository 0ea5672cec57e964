//! A report as one HTML page that needs nothing else: no script, no font, no network.

mod comparison;
mod plot;

pub use self::comparison::comparison;

use self::plot::{Across, Line, Up, plot};
use super::{Report, latency, rate, text};
use crate::tally::Point;
use std::fmt::Write as _;
use stdx::grouped;

const STYLE: &str = include_str!("page/style.css");
/// Most points of a line: more than the page has pixels tell nothing.
const POINTS_MAX: usize = 800;

/// The page.
pub fn page(report: &Report) -> String {
    let asked = &report.asked;
    let title = format!("{}: {} a second", asked.workload, rate(report.achieved));
    let under = format!("{}, {}", begun(&report.started), asked.connections());
    let mut out = begin(&title, &asked.workload, &under);
    figures(&mut out, report);
    let line = |name, class, of: &dyn Fn(&Point, f64) -> Option<f64>| Line {
        name,
        class,
        points: points_of(report, of),
    };
    let over = Across::Seconds { warm_up: asked.warm_up_seconds };
    let per_second = |it: u64, ms: f64| Some(it as f64 * 1_000.0 / ms);
    let lines = [
        line("answered", "main", &|it, ms| per_second(it.counts.answered(), ms)),
        line("errors", "bad", &|it, ms| per_second(it.counts.errors(), ms)),
    ];
    plot(&mut out, "Operations a second", &lines, &over, &Up::Linear);
    let lines = [
        line("p50", "main", &|it, _| millis(it, it.p50)),
        line("p99", "warn", &|it, _| millis(it, it.p99)),
        line("max", "bad", &|it, _| millis(it, it.max)),
    ];
    let title = "Latency in ms over time, from when an operation was due";
    plot(&mut out, title, &lines, &over, &Up::Log);
    let lines = [Line { name: "latency", class: "main", points: curve_points(report) }];
    end(&mut out, &lines, &text(report));
    out
}

/// The end of a page: the whole curves of latency, and all figures as text.
fn end(out: &mut String, curves: &[Line<'_>], figures: &str) {
    let title = "Latency in ms that a share of the operations did not exceed";
    plot(out, title, curves, &Across::Nines, &Up::Log);
    let figures = escaped(figures);
    write(
        out,
        format_args!("<h2>All figures</h2><pre tabindex=\"0\">{figures}</pre></body></html>\n"),
    );
}

/// The beginning of a page: its title, its heading and what stands under that.
fn begin(title: &str, heading: &str, under: &str) -> String {
    let [title, heading, under] = [title, heading, under].map(escaped);
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <meta http-equiv=\"Content-Security-Policy\" \
         content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">\
         <title>{title} · Tollgate bench</title><link rel=\"icon\" href=\"data:,\">\
         <style>{STYLE}</style></head><body><h1>Tollgate bench: {heading}</h1><p>{under}</p>\n"
    )
}

/// The whole windows of a report, few enough: when each began, and what `of` makes of it and of its
/// length in milliseconds.
fn points_of(report: &Report, of: &dyn Fn(&Point, f64) -> Option<f64>) -> Vec<(f64, Option<f64>)> {
    let window = window_ms(&report.series);
    let measured_ms = (report.asked.warm_up_seconds + report.asked.seconds) * 1e3;
    // A window that was cut short has no rate: the last one, if it ends after the load did.
    let is_whole = |it: &&Point| it.at_ms as f64 + window <= measured_ms + 1.0;
    let series = thinned(&report.series);
    series.iter().filter(is_whole).map(|it| (it.at_ms as f64 / 1e3, of(it, window))).collect()
}

/// A latency of a window in milliseconds; one in which nothing was answered has none.
fn millis(it: &Point, micros: u64) -> Option<f64> {
    (it.counts.answered() != 0).then_some(micros as f64 / 1e3)
}

/// The distribution of latencies, in milliseconds by nines.
fn curve_points(report: &Report) -> Vec<(f64, Option<f64>)> {
    // Each step to the right is a tenth of what is left: 90 %, 99 %, 99.9 %.
    let nines = |percent: f64| -((100.0 - percent) / 100.0).clamp(1e-5, 1.0).log10();
    let points = report.curve.iter();
    points.map(|(share, it)| (nines(*share).abs(), Some(*it as f64 / 1e3))).collect()
}

/// `2026-11-22 17:19:43 UTC`, of what a machine wrote.
fn begun(started: &str) -> String {
    match (started.get(..10), started.get(11..19)) {
        (Some(day), Some(clock)) => format!("{day} {clock} UTC"),
        (_, None) | (None, _) => started.to_owned(),
    }
}

/// What a reader wants first: the rate, the latencies, whether anything failed, and the books.
fn figures(out: &mut String, report: &Report) {
    let errors = report.errors();
    let of = match report.asked.rate {
        Some(asked) => format!("a second, of {} asked for", grouped(asked.into())),
        None => "a second, closed loop".to_owned(),
    };
    let (books, books_words) = match &report.audit {
        None => ("", "not audited"),
        Some(audit) if audit.is_clean() => ("", "right"),
        Some(_) => ("bad", "WRONG"),
    };
    let answered = |it: u64| if report.latency.count == 0 { "–".to_owned() } else { latency(it) };
    let figures = [
        ("", rate(report.achieved), of.as_str()),
        ("", answered(report.latency.p50), "p50, from when due"),
        ("", answered(report.latency.p99), "p99"),
        ("", answered(report.latency.max), "longest"),
        (if errors == 0 { "" } else { "bad" }, grouped(errors), "shed, failed, unknown or unsent"),
        (books, books_words.to_owned(), "the books, after the run"),
    ];
    out.push_str("<dl>");
    for (class, value, name) in &figures {
        write(out, format_args!("<div class=\"{class}\"><dt>{name}</dt><dd>{value}</dd></div>"));
    }
    out.push_str("</dl>\n");
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

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn write(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a String takes everything");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{report::samples, tally::Counts};

    #[test]
    fn a_page_needs_nothing_else_and_believes_nobody() {
        let mut report = samples::report();
        report.answers[0].what = "<script>".to_owned();
        (report.asked.workload, report.started) = ("<script>".to_owned(), "<script>".repeat(9));
        let page = page(&report);
        assert_eq!(page.matches("<svg").count(), 3);
        assert_eq!(page.matches("<path").count(), 6);
        assert!(page.contains("&lt;script&gt;"));
        for foreign in ["<script", "http:", "https:", " src=", "NaN", ">inf"] {
            assert!(!page.contains(foreign), "{foreign}");
        }
    }

    #[test]
    fn an_empty_run_has_a_page() {
        let mut report = samples::report();
        (report.series, report.curve) = (Vec::new(), Vec::new());
        let page = page(&report);
        assert!(!page.contains("NaN") && !page.contains(">inf"), "{page}");
        assert_eq!(page.matches("Nothing was answered.").count(), 3);
    }

    #[test]
    fn what_matters_comes_first() {
        let mut report = samples::report();
        let head = |report: &Report| page(report).split("</dl>").next().unwrap().to_owned();
        assert!(head(&report).contains("<dd>right</dd>"));
        // Three were shed and seven never went out.
        assert!(
            head(&report)
                .contains("<div class=\"bad\"><dt>shed, failed, unknown or unsent</dt><dd>10<")
        );
        report.audit = None;
        assert!(head(&report).contains("<dd>not audited</dd>"));
        assert_eq!(begun("2026-11-22T17:19:43.512147Z"), "2026-11-22 17:19:43 UTC");
    }

    #[test]
    fn a_window_cut_short_has_no_rate() {
        let mut report = samples::report();
        let lines = |report: &Report| page(report).matches(" d=\"M").count();
        let whole = page(&report);
        let last =
            Point { at_ms: 1_000_000, counts: Counts::default(), ..report.series[0].clone() };
        report.series.push(last);
        assert_eq!(lines(&report), 6);
        let plots = |page: &str| page.split("<h2>All").next().unwrap().to_owned();
        assert_eq!(plots(&page(&report)), plots(&whole));
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
