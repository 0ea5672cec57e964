//! Two reports over each other, as one page.

use super::{
    begin, begun, curve_points, end, millis,
    plot::{Across, Line, Up, plot},
    points_of, write,
};
use crate::{
    report::{Report, compare, rate, rounded},
    tally::Point,
};
use stdx::grouped;

/// The page; the first is called A, the second B.
pub fn comparison(first: &Report, second: &Report) -> String {
    let under = format!("A: {} · B: {}", named(first), named(second));
    let mut out = begin("A and B", "A and B", &under);
    figures(&mut out, first, second);
    let both = [("A", "main", first), ("B", "warn", second)];
    let over = |of: &dyn Fn(&Point, f64) -> Option<f64>| {
        both.map(|(name, class, it)| Line { name, class, points: points_of(it, of) })
    };
    let warm_up = first.asked.warm_up_seconds.min(second.asked.warm_up_seconds);
    let seconds = Across::Seconds { warm_up };
    let answered = |it: &Point, ms: f64| Some(it.counts.answered() as f64 * 1_000.0 / ms);
    plot(&mut out, "Operations a second", &over(&answered), &seconds, &Up::Linear);
    let p99 = |it: &Point, _: f64| millis(it, it.p99);
    let title = "p99 in ms over time, from when an operation was due";
    plot(&mut out, title, &over(&p99), &seconds, &Up::Log);
    let lines = both.map(|(name, class, it)| Line { name, class, points: curve_points(it) });
    end(&mut out, &lines, &compare(first, second));
    out
}

fn named(report: &Report) -> String {
    let asked = &report.asked;
    let pace = match asked.rate {
        Some(rate) => format!("{} a second", grouped(rate.into())),
        None => "closed loop".to_owned(),
    };
    let begun = begun(&report.started);
    format!("{}, {pace}, {}, {begun}", asked.workload, asked.connections())
}

/// B's value of each figure, and what it is of A's.
fn figures(out: &mut String, first: &Report, second: &Report) {
    let of = |it: &Report| {
        (it.achieved, it.latency.p50 as f64, it.latency.p99 as f64, it.errors() as f64)
    };
    let ((rate_a, p50_a, p99_a, errors_a), (rate_b, p50_b, p99_b, errors_b)) =
        (of(first), of(second));
    out.push_str("<dl>");
    for (name, a, b, show) in [
        ("a second", rate_a, rate_b, &rate as &dyn Fn(f64) -> String),
        ("p50, from when due", p50_a, p50_b, &rounded),
        ("p99", p99_a, p99_b, &rounded),
        ("shed, failed, unknown or unsent", errors_a, errors_b, &rate),
    ] {
        let ratio = if a == 0.0 { "–".to_owned() } else { format!("{:.2} times A's", b / a) };
        write(
            out,
            format_args!(
                "<div><dt>{name}: B after A, {ratio}</dt><dd>{} → {}</dd></div>",
                show(a),
                show(b)
            ),
        );
    }
    out.push_str("</dl>\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn both_reports_are_in_every_plot() {
        let (first, mut second) = (samples::report(), samples::report());
        second.latency.p99 *= 2;
        second.asked.workload = "<script>".to_owned();
        let page = comparison(&first, &second);
        assert_eq!(page.matches("<svg").count(), 3);
        assert_eq!(page.matches("<path").count(), 6);
        assert!(page.contains("p99: B after A, 2.00 times A's"), "{page}");
        assert!(page.contains("workload: debits, &lt;script&gt;"), "{page}");
        for foreign in ["<script", "http:", "https:", " src=", "NaN", ">inf"] {
            assert!(!page.contains(foreign), "{foreign}");
        }
    }
}
