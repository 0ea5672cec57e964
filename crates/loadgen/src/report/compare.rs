//! Two reports side by side.

use super::{Report, latency, rate};
use std::fmt::Write as _;

/// A table of both and of how the second relates to the first.
pub fn compare(first: &Report, second: &Report) -> String {
    let mut out = String::from("             A              B              B / A\n");
    let mut row = |name: &str, a: f64, b: f64, show: &dyn Fn(f64) -> String| {
        let ratio = if a == 0.0 { "-".to_owned() } else { format!("{:.2}", b / a) };
        let row = format!("{name:<12} {:<14} {:<14} {ratio}", show(a), show(b));
        out.write_fmt(format_args!("{}\n", row.trim_end())).expect("a String takes everything");
    };
    row("achieved/s", first.achieved, second.achieved, &rate);
    let of = |it: &Report| it.counts.errors() as f64;
    row("errors", of(first), of(second), &rate);
    let quantiles = |it: &Report| {
        let it = it.latency;
        [("p50", it.p50), ("p90", it.p90), ("p99", it.p99), ("p99.9", it.p999), ("max", it.max)]
    };
    for ((name, a), (_, b)) in quantiles(first).into_iter().zip(quantiles(second)) {
        let show = |it: f64| format!("{it:.0}").parse().map_or_else(|_| it.to_string(), latency);
        row(name, a as f64, b as f64, &show);
    }
    if first.asked != second.asked {
        out.push_str("\nThe two runs were asked for different things.\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn ratios_are_those_of_the_second_to_the_first() {
        let (first, mut second) = (samples::report(), samples::report());
        second.achieved *= 2.0;
        second.latency.p99 /= 2;
        let text = compare(&first, &second);
        assert!(text.contains("achieved/s   1,502          3,003          2.00\n"), "{text}");
        assert!(text.contains("0.50\n") && !text.contains("different"), "{text}");
        second.asked.connections += 1;
        assert!(compare(&first, &second).contains("different things"));
    }
}
