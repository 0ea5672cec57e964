//! A report for the terminal.

use super::{Report, latency, rate};
use crate::tally::{Point, Quantiles};
use std::fmt::Write as _;
use stdx::grouped;

/// Seconds of the series that are shown.
const SERIES_ROWS_MAX: usize = 20;

/// The tables.
pub fn text(report: &Report) -> String {
    let mut out = String::new();
    let asked = &report.asked;
    let pace = match asked.rate {
        Some(rate) => format!("{} a second", grouped(rate.into())),
        None => "closed loop".to_owned(),
    };
    put(
        &mut out,
        format_args!(
            "{}: {pace}, {}, {} accounts of {}, {} s after {} s of warm-up, {} keys\n\n",
            asked.workload,
            asked.connections(),
            grouped(asked.accounts.into()),
            asked.services.join(", "),
            asked.seconds,
            asked.warm_up_seconds,
            asked.keys
        ),
    );
    let counts = &report.counts;
    put(&mut out, format_args!("achieved   {} a second\n", rate(report.achieved)));
    let rows = [
        ("ok", counts.ok),
        ("refused", counts.refused),
        ("shed", counts.shed),
        ("failed", counts.failed),
        ("unknown", counts.unknown),
        ("unsent", report.unsent),
        ("repeats", counts.repeats),
    ];
    for (name, count) in rows.iter().filter(|(name, count)| *name == "ok" || *count != 0) {
        put(&mut out, format_args!("{name:<10} {}\n", grouped(*count)));
    }
    put(
        &mut out,
        format_args!("\nLATENCY        p50        p90        p99        p99.9      max\n"),
    );
    quantiles(&mut out, "from due", &report.latency);
    quantiles(&mut out, "from sending", &report.latency_sent);
    if report.latency_errors.count != 0 {
        quantiles(&mut out, "errors", &report.latency_errors);
    }
    put(&mut out, format_args!("\nANSWER\n"));
    for answers in &report.answers {
        put(&mut out, format_args!("{:>12}  {}\n", grouped(answers.count), answers.what));
    }
    series(&mut out, report);
    put(
        &mut out,
        format_args!("\ngenerator  {:.1} µs of processor time per request\n", report.generator_cpu),
    );
    audit(&mut out, report);
    out
}

fn quantiles(out: &mut String, name: &str, it: &Quantiles) {
    let values = [it.p50, it.p90, it.p99, it.p999, it.max].map(latency);
    let cells: Vec<String> = values.iter().map(|it| format!("{it:<10}")).collect();
    put(out, format_args!("{name:<14} {}\n", cells.join(" ").trim_end()));
}

/// The series, several windows to a row where there are many.
fn series(out: &mut String, report: &Report) {
    // What was answered after the load has a window of its own, which may have remained empty.
    let end_ms = (report.asked.warm_up_seconds + report.asked.seconds) * 1e3;
    let is_empty = |it: &Point| end_ms <= it.at_ms as f64 && it.counts.operations() == 0;
    let series = match report.series.split_last() {
        Some((last, others)) if is_empty(last) => others,
        Some(_) | None => &report.series,
    };
    let each = series.len().div_ceil(SERIES_ROWS_MAX).max(1);
    put(out, format_args!("\nFROM        ANSWERED   ERRORS     MAX\n"));
    for points in series.chunks(each) {
        let answered: u64 = points.iter().map(|it| it.counts.answered()).sum();
        let errors: u64 = points.iter().map(|it| it.counts.errors()).sum();
        let max = points.iter().map(|it| it.max).max().unwrap_or(0);
        let first = points.first().expect("a chunk is not empty");
        let warm = if first.is_warm_up { "  warm-up" } else { "" };
        let from = format!("{:.1} s", first.at_ms as f64 / 1e3);
        put(
            out,
            format_args!(
                "{from:<11} {:<10} {:<10} {}{warm}\n",
                grouped(answered),
                grouped(errors),
                latency(max)
            ),
        );
    }
}

fn audit(out: &mut String, report: &Report) {
    let Some(audit) = &report.audit else {
        put(out, format_args!("audit      none was asked for\n"));
        return;
    };
    let verdict = if audit.is_clean() { "the books are right" } else { "THE BOOKS ARE WRONG" };
    put(
        out,
        format_args!(
            "audit      {verdict}: {} writes and {} reads against {} entries\n           \
             of {} histories, {} balances and {} trial balances\n",
            grouped(audit.writes),
            grouped(audit.reads),
            grouped(audit.entries),
            grouped(audit.histories),
            grouped(audit.balances),
            audit.trials
        ),
    );
    let settled = audit.settled_executed + audit.settled_refused;
    if settled + audit.unknown != 0 {
        put(
            out,
            format_args!(
                "           unknown outcomes asked about again: {} executed, {} refused, {} still unknown\n",
                audit.settled_executed, audit.settled_refused, audit.unknown
            ),
        );
    }
    if audit.transfers != 0 {
        put(
            out,
            format_args!(
                "           {} transfers with both entries, {} of them seen to end after their answer\n",
                grouped(audit.transfers),
                grouped(audit.ended_later)
            ),
        );
    }
    for gap in &audit.gaps {
        put(out, format_args!("           not whole: {gap}\n"));
    }
    for fault in &audit.faults {
        put(out, format_args!("           {fault}\n"));
    }
    let listed = u64::try_from(audit.faults.len()).unwrap_or(u64::MAX);
    if listed < audit.faults_count {
        put(out, format_args!("           and {} more\n", grouped(audit.faults_count - listed)));
    }
}

fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a String takes everything");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn the_tables_say_what_matters() {
        let mut report = samples::report();
        let text = text(&report);
        for part in [
            "debits: 1,000 a second, 4 connections of HTTP/1.1, 4 accounts of a, b, 1 s after 0 s of",
            "achieved   1,502 a second\nok         3,003\nshed       3\nunsent     7\n",
            "1  503 overloaded",
            "0.0 s       1,000      0          20.0 ms  warm-up\n",
            "the books are right",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        let audit = report.audit.as_mut().unwrap();
        audit.fault("a/x: lost".to_owned());
        audit.faults_count = 5;
        let text = super::text(&report);
        assert!(text.contains("THE BOOKS ARE WRONG"), "{text}");
        assert!(text.contains("a/x: lost\n           and 4 more\n"), "{text}");
    }
}
