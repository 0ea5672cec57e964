//! Availability of one check or of all, as JSON and as CSV: the same numbers.

use super::{Answer, TARGET_PPM, WINDOW_HOURS_MAX, error, json_answer, page, unreadable};
use crate::{
    core::{availability::Report, check::CheckId, window::Span},
    http::input::Query,
    node::{Node, now},
    store::StoreError,
};
use serde_json::{Value, json};
use std::{rc::Rc, time::Duration};
use wire::Timestamp;

const COLUMNS: &str = "check,from,to,available_ppm,up_s,down_s,unknown_s,away_s,maintenance_s,\
                       outages,outage_longest_s,mttr_s,mtbf_s,target_ppm,budget_left_ms\n";

/// The last `hours`.
pub(crate) fn last(hours: u64) -> Span {
    let to = now();
    (to.wall_before(Duration::from_secs(hours.min(WINDOW_HOURS_MAX) * 3_600)), to.wall)
}

/// Where the history cannot be read, nothing is known of anything.
pub(crate) fn unmeasured(err: &StoreError, count: usize) -> Vec<Report> {
    tracing::error!(%err, "cannot read what was kept");
    vec![Report::default(); count]
}

/// The window that is asked for: `from` and `to`, or the last `hours`.
pub(super) fn window(query: &Query) -> Result<Span, &'static str> {
    let time = |name: &str| match query.get(name) {
        None => Ok(None),
        Some(text) => {
            let want = "from, to: a time, as in 2026-11-22T11:00:00Z";
            Timestamp::parse(text).map(Some).ok_or(want)
        }
    };
    let hours = query.get("hours").map_or(Ok(24), str::parse);
    let hours: u64 = hours.map_err(|_| "hours: a whole number")?;
    let (first, now) = last(hours);
    let to = time("to")?.unwrap_or(now).min(now);
    let from = time("from")?.unwrap_or(first);
    let longest = i64::try_from(WINDOW_HOURS_MAX * 3_600_000_000).unwrap_or(i64::MAX);
    match from < to && to.0 - from.0 <= longest {
        true => Ok((from, to)),
        false => Err("from, to: a stretch of time of at most 3660 days, from before to"),
    }
}

/// Of one check, or of all.
pub(super) async fn of(node: &Rc<Node>, query: &Query, name: Option<&str>) -> Answer {
    let window = match window(query) {
        Ok(window) => window,
        Err(want) => return error(400, want),
    };
    let target = query.get("target_ppm").map_or(Ok(TARGET_PPM), str::parse);
    let Some(target) = target.ok().filter(|it| *it <= 1_000_000) else {
        return error(400, "target_ppm: a whole number up to 1000000");
    };
    let found: Vec<(CheckId, String)> = {
        let book = node.book.borrow();
        match name {
            None => book.iter().map(|it| (it.id, it.plan.name.clone())).collect(),
            Some(name) => match book.named(name) {
                Some(id) => vec![(id, name.to_owned())],
                None => return error(404, "no such check"),
            },
        }
    };
    let ids: Vec<CheckId> = found.iter().map(|it| it.0).collect();
    let (window, reports) = match node.history.ask(move |it| it.reports(&ids, window)).await {
        Ok(found) => found,
        Err(err) => return unreadable(&err),
    };
    let rows = found.into_iter().zip(reports);
    let rows = rows.map(|((_, name), report)| Row { name, window, target, report });
    let rows: Vec<Row> = rows.collect();
    match (query.get("format"), name) {
        (Some("csv"), _) => {
            let lines: String = rows.iter().map(Row::csv).collect();
            page(200, "text/csv", COLUMNS.to_owned() + &lines)
        }
        (_, Some(_)) => json_answer(200, &rows[0].json()),
        (_, None) => {
            json_answer(200, &json!({"data": rows.iter().map(Row::json).collect::<Vec<_>>()}))
        }
    }
}

/// What is told of one check.
struct Row {
    name: String,
    window: Span,
    target: u64,
    report: Report,
}

impl Row {
    fn budget_left_ms(&self) -> i64 {
        i64::try_from(self.report.budget_left(self.target) / 1_000).unwrap_or(i64::MAX)
    }

    fn json(&self) -> Value {
        let it = &self.report;
        let seconds = |it: Duration| it.as_secs_f64();
        json!({
            "check": self.name,
            "from": self.window.0.to_string(),
            "to": self.window.1.to_string(),
            "hours": seconds(crate::core::check::between(self.window.0, self.window.1)) / 3_600.0,
            "rule": "up / (up + down); unknown, away and maintenance are left out of both",
            "available_ppm": it.available_ppm(),
            "up_s": seconds(it.up),
            "down_s": seconds(it.down),
            "unknown_s": seconds(it.unknown),
            "away_s": seconds(it.away),
            "maintenance_s": seconds(it.maintenance),
            "outages": it.outages,
            "outage_longest_s": seconds(it.outage_longest),
            "mttr_s": it.mttr().map(seconds),
            "mtbf_s": it.mtbf().map(seconds),
            "target_ppm": self.target,
            "budget_left_ms": self.budget_left_ms(),
        })
    }

    fn csv(&self) -> String {
        let it = &self.report;
        let seconds = |it: Duration| it.as_secs_f64().to_string();
        let maybe = |it: Option<String>| it.unwrap_or_default();
        let columns = [
            field(&self.name),
            self.window.0.to_string(),
            self.window.1.to_string(),
            maybe(it.available_ppm().map(|it| it.to_string())),
            seconds(it.up),
            seconds(it.down),
            seconds(it.unknown),
            seconds(it.away),
            seconds(it.maintenance),
            it.outages.to_string(),
            seconds(it.outage_longest),
            maybe(it.mttr().map(seconds)),
            maybe(it.mtbf().map(seconds)),
            self.target.to_string(),
            self.budget_left_ms().to_string(),
        ];
        columns.join(",") + "\n"
    }
}

/// Quoted where it has to be (RFC 4180).
fn field(text: &str) -> String {
    match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_where_they_have_to_be() {
        for (name, want) in [("a-1", "a-1"), ("a, b", "\"a, b\""), ("a\"b", "\"a\"\"b\"")] {
            assert_eq!(field(name), want);
        }
    }
}
