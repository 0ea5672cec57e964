//! What minutes, hours or days of a check were made of: availability, beats, and the numbers that
//! came with them.

use super::{Answer, availability::window, error, json_answer, unreadable};
use crate::{
    core::rollup::{Grain, Range, buckets_count},
    http::input::Query,
    node::Node,
    store::Bucket,
};
use serde_json::{Value, json};
use std::{rc::Rc, time::Duration};

/// Buckets of one answer.
const BUCKETS_MAX: u64 = 2_000;

/// Of one check.
pub(super) async fn of(node: &Rc<Node>, query: &Query, name: &str) -> Answer {
    let grain = query.get("by").map_or(Some(Grain::Hour), Grain::parse);
    let Some(grain) = grain else { return error(400, "by: minute, hour or day") };
    let window = match window(query) {
        Ok(window) => window,
        Err(want) => return error(400, want),
    };
    if BUCKETS_MAX < buckets_count(window.0, window.1, grain) {
        return error(400, "from, to: 2000 buckets at most");
    }
    let id = node.book.borrow().named(name);
    let Some(id) = id else { return error(404, "no such check") };
    match node.history.ask(move |it| it.bars(&[id], window, grain)).await {
        Ok(bars) => {
            let data: Vec<Value> = bars.iter().flatten().map(shown).collect();
            json_answer(200, &json!({"check": name, "by": grain.text(), "data": data}))
        }
        Err(err) => unreadable(&err),
    }
}

fn shown(it: &Bucket) -> Value {
    let seconds = |it: Duration| it.as_secs_f64();
    let range = |it: &Range| json!({"min": it.min, "mean": it.mean(), "max": it.max});
    let numbers = it.count.iter().flat_map(|it| &it.numbers);
    let numbers: serde_json::Map<String, Value> =
        numbers.map(|(name, it)| (name.clone(), range(it))).collect();
    let report = &it.report;
    json!({
        "at": it.at.to_string(),
        "beats": it.count.as_ref().map_or(0, |it| it.beats),
        "available_ppm": report.available_ppm(),
        "up_s": seconds(report.up),
        "down_s": seconds(report.down),
        "unknown_s": seconds(report.unknown),
        "away_s": seconds(report.away),
        "maintenance_s": seconds(report.maintenance),
        "outages": report.outages,
        "numbers": numbers,
    })
}
