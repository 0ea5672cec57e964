//! What may be shown to anybody: badges, and the state of everything in one file.

use super::{Answer, answer, api::measured, error, input::escaped, json_answer};
use crate::{core::check::State, node::Node};
use serde_json::json;
use std::fmt::Write;

/// Width of a character in a badge, in pixels: about that of 11-pixel Verdana.
const CHAR_WIDTH: usize = 7;
const HOURS_SHOWN: u64 = 24;

/// `/badge/NAME`, or with `.svg` or `.json` after it.
pub(super) fn badge(node: &Node, file: &str) -> Answer {
    let name = file.strip_suffix(".svg").or_else(|| file.strip_suffix(".json")).unwrap_or(file);
    let book = node.book.borrow();
    let Some(check) = book.named(name).and_then(|id| book.get(id)) else {
        return error(404, "no such check");
    };
    let state = node.detector.borrow().state(check.id).unwrap_or(State::New);
    if file.ends_with(".json") {
        let body =
            json!({"status": state.text(), "total": 1, "down": u8::from(state.is_trouble())});
        return json_answer(200, &body);
    }
    answer(200, "image/svg+xml", svg(&check.plan.name, state))
}

/// State in colour and in words: blue and orange tell apart for everybody.
fn svg(name: &str, state: State) -> String {
    let colour = match state {
        State::Up => "#1f6feb",
        State::Down | State::Sick => "#c2410c",
        State::Late | State::Strained => "#a16207",
        State::New | State::Starting | State::Draining | State::Stopped | State::Paused => {
            "#57606a"
        }
    };
    let width = |text: &str| text.chars().count() * CHAR_WIDTH + 12;
    let (left, right) = (width(name), width(state.text()));
    let whole = left + right;
    let (name, state) = (escaped(name), state.text());
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{whole}\" height=\"20\" role=\"img\" \
         aria-label=\"{name}: {state}\"><title>{name}: {state}</title>\
         <rect width=\"{left}\" height=\"20\" fill=\"#24292f\"/>\
         <rect x=\"{left}\" width=\"{right}\" height=\"20\" fill=\"{colour}\"/>\
         <g fill=\"#fff\" font-family=\"Verdana,sans-serif\" font-size=\"11\" \
         text-anchor=\"middle\">"
    );
    for (middle, text) in [(left / 2, &*name), (left + right / 2, state)] {
        // A string takes all.
        _ = write!(out, "<text x=\"{middle}\" y=\"14\">{text}</text>");
    }
    out + "</g></svg>"
}

/// `/status.json`, in the shape that status pages read.
pub(super) fn status(node: &Node) -> Answer {
    let (book, detector) = (node.book.borrow(), node.detector.borrow());
    let desk = node.desk.borrow();
    let components = book.iter().map(|check| {
        let state = detector.state(check.id).unwrap_or(State::New);
        let word = match state {
            State::Up | State::Late | State::New => "operational",
            State::Strained => "degraded_performance",
            State::Sick => "partial_outage",
            State::Down => "major_outage",
            State::Starting | State::Draining | State::Stopped | State::Paused => {
                "under_maintenance"
            }
        };
        let ppm = measured(node, check.id, HOURS_SHOWN).ok().and_then(|it| it.available_ppm());
        json!({"name": check.plan.name, "status": word, "available_24h_ppm": ppm})
    });
    let components: Vec<_> = components.collect();
    let incidents: Vec<_> = desk
        .open()
        .map(|it| {
            json!({
                "id": it.id.to_string(),
                "name": format!("{} {}", desk.name(it.first().check), it.kind.text()),
                "created_at": it.opened_at.to_string(),
                "status": if it.ack.is_some() { "identified" } else { "investigating" },
            })
        })
        .collect();
    let indicator = if incidents.is_empty() { "none" } else { "major" };
    json_answer(
        200,
        &json!({
            "page": {"name": node.config().tree, "url": node.url},
            "status": {"indicator": indicator},
            "components": components,
            "incidents": incidents,
            "scheduled_maintenances": [],
        }),
    )
}
