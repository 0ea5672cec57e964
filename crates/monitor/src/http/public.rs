//! What may be shown to anybody: badges, and the state of everything in one file.

use super::{
    Answer, answer,
    api::{last, unmeasured},
    error,
    input::escaped,
    json_answer,
};
use crate::{
    book::{Check, Kind},
    core::check::{CheckId, State},
    node::Node,
};
use serde_json::{Value, json};
use std::{collections::BTreeSet, fmt::Write};

/// Width of a character in a badge, in pixels: about that of 11-pixel Verdana.
const CHAR_WIDTH: usize = 7;
/// Tags whose badges are listed.
const TAGS_MAX: usize = 1_000;
/// Checks of a status page: each takes a look at its last day.
const COMPONENTS_MAX: usize = 500;
const HOURS_SHOWN: u64 = 24;

/// `/badge/NAME` of a check, `/badge/@TAG` of the jobs of a tag, `/badge/@*` of everything; with
/// `.svg` after it, `.json`, or `.shields` for shields.io.
pub(super) fn badge(node: &Node, file: &str) -> Answer {
    let (name, form) = match file.rsplit_once('.') {
        Some((name, form @ ("svg" | "json" | "shields"))) => (name, form),
        Some(_) | None => (file, "svg"),
    };
    let Some((label, states)) = shown(node, name) else { return error(404, "no such check") };
    let down = states.iter().filter(|it| it.is_trouble()).count();
    let state = worst(&states);
    match form {
        "json" => {
            let body = json!({"status": state.text(), "total": states.len(), "down": down});
            json_answer(200, &body)
        }
        "shields" => {
            let colour = match state {
                State::Up => "success",
                State::Down | State::Sick => "critical",
                State::Late | State::Strained => "important",
                State::New | State::Starting | State::Draining | State::Stopped | State::Paused => {
                    "inactive"
                }
            };
            let body = json!({
                "schemaVersion": 1, "label": label, "message": state.text(), "color": colour,
            });
            json_answer(200, &body)
        }
        _ => answer(200, "image/svg+xml", svg(&label, state)),
    }
}

/// What a badge is of: its label, and the states behind it.
fn shown(node: &Node, name: &str) -> Option<(String, Vec<State>)> {
    let (book, detector) = (node.book.borrow(), node.detector.borrow());
    let state = |check: &Check| detector.state(check.id).unwrap_or(State::New);
    match name.strip_prefix('@') {
        Some("*") => {
            let all = book.iter().filter(|it| it.plan.kind != Kind::Channel);
            Some((node.config().tree.clone(), all.map(state).collect()))
        }
        Some(tag) => {
            let is_of = |check: &&Check| has_tag(check, tag);
            let states: Vec<State> = book.iter().filter(is_of).map(state).collect();
            (!states.is_empty()).then(|| (tag.to_owned(), states))
        }
        None => {
            let check = book.named(name).and_then(|id| book.get(id))?;
            Some((check.plan.name.clone(), vec![state(check)]))
        }
    }
}

fn has_tag(check: &Check, tag: &str) -> bool {
    check.plan.tags.split_ascii_whitespace().any(|it| it == tag)
}

/// The one that a person would want to know of first.
fn worst(states: &[State]) -> State {
    let order =
        [State::Down, State::Sick, State::Strained, State::Late, State::Up, State::Starting];
    let found = order.into_iter().find(|it| states.contains(it));
    found.or_else(|| states.first().copied()).unwrap_or(State::New)
}

/// The addresses of every tag's badges, as `GET /api/v3/badges/` of Healthchecks lists them.
pub(super) fn badges(node: &Node) -> Value {
    let book = node.book.borrow();
    let tags = book.iter().flat_map(|it| it.plan.tags.split_ascii_whitespace());
    let tags: BTreeSet<&str> = tags.chain(["*"]).take(TAGS_MAX).collect();
    let mut badges = serde_json::Map::new();
    for tag in tags {
        let mut forms = serde_json::Map::new();
        for form in ["svg", "json", "shields"] {
            // With `3` those that tell late from up: ours always do.
            for name in [form.to_owned(), format!("{form}3")] {
                forms.insert(name, json!(format!("{}/badge/@{tag}.{form}", node.url)));
            }
        }
        badges.insert(tag.to_owned(), forms.into());
    }
    json!({"badges": badges})
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
pub(super) async fn status(node: &Node) -> Answer {
    let ids: Vec<CheckId> = {
        let book = node.book.borrow();
        let ids = book.iter().filter(|it| it.plan.kind != Kind::Channel).map(|it| it.id);
        ids.take(COMPONENTS_MAX).collect()
    };
    let (asked, window) = (ids.clone(), last(HOURS_SHOWN));
    let reports = node.history.ask(move |it| it.reports(&asked, window)).await;
    let reports = reports.map_or_else(|err| unmeasured(&err, ids.len()), |it| it.1);
    let (book, detector) = (node.book.borrow(), node.detector.borrow());
    let desk = node.desk.borrow();
    let components = ids.iter().zip(reports).filter_map(|(id, report)| {
        let check = book.get(*id)?;
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
        let ppm = report.available_ppm();
        Some(json!({"name": check.plan.name, "status": word, "available_24h_ppm": ppm}))
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
