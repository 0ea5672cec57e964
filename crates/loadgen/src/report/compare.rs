//! Two reports side by side.

use super::{Report, rate, rounded};
use serde_json::Value;
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
    row("errors", first.errors() as f64, second.errors() as f64, &rate);
    let quantiles = |it: &Report| {
        let it = it.latency;
        [("p50", it.p50), ("p90", it.p90), ("p99", it.p99), ("p99.9", it.p999), ("max", it.max)]
    };
    for ((name, a), (_, b)) in quantiles(first).into_iter().zip(quantiles(second)) {
        row(name, a as f64, b as f64, &rounded);
    }
    for difference in differences(first, second) {
        out.write_fmt(format_args!("{difference}\n")).expect("a String takes everything");
    }
    out
}

/// What the two runs were not asked for alike.
fn differences(first: &Report, second: &Report) -> Vec<String> {
    let fields = |it: &Report| serde_json::to_value(&it.asked).unwrap_or_default();
    let (a, b) = (fields(first), fields(second));
    let shown = |it: &Value| it.as_str().map_or_else(|| it.to_string(), str::to_owned);
    let names = a.as_object().into_iter().flat_map(serde_json::Map::keys);
    let other = names.filter(|name| a[*name] != b[*name]);
    let told = other.map(|name| format!("  {name}: {}, {}", shown(&a[name]), shown(&b[name])));
    let told: Vec<String> = told.collect();
    let begin = (!told.is_empty()).then(|| "\nNot asked for alike:".to_owned());
    begin.into_iter().chain(told).collect()
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
        assert!(text.contains("0.50\n") && !text.contains("alike"), "{text}");
        second.asked.connections += 1;
        let text = compare(&first, &second);
        assert!(text.ends_with("\nNot asked for alike:\n  connections: 4, 5\n"), "{text}");
    }
}
