//! The page for people, made here and complete without any script; a script keeps it fresh.

use super::{Answer, answer, input::escaped, text, view};
use crate::node::Node;
use http::Method;
use net::edge::Asked;
use serde_json::Value;
use std::fmt::Write;

const STYLE: &str = include_str!("page/style.css");
const SCRIPT: &str = include_str!("page/script.js");
/// Incidents that have ended and are shown.
const ENDED_SHOWN: u32 = 10;

/// The overview: verdict, open incidents, the nodes by tier, jobs, channels.
pub(super) fn dashboard(node: &Node, asked: &Asked) -> Answer {
    if asked.parts.method != Method::GET && asked.parts.method != Method::HEAD {
        return text(405, "only GET");
    }
    let view = view::overview(node);
    let mut main = String::new();
    verdict(&mut main, &view);
    incidents(&mut main, &view);
    nodes(&mut main, &view, node);
    jobs(&mut main, &view);
    channels(&mut main, &view);
    ended(&mut main, node);
    let count = view["incidents"].as_array().map_or(0, Vec::len);
    let mark = if count == 0 { String::new() } else { format!("({count}) ") };
    let tree = escaped(str_of(&view["tree"])).into_owned();
    let body = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <noscript><meta http-equiv=\"refresh\" content=\"5\"></noscript>\
         <title>{mark}{tree} · tollgate</title><style>{STYLE}</style></head><body>\
         <header><h1>{tree}</h1><p id=\"age\" role=\"status\">as of {}</p></header>\
         <main>{main}</main><script>{SCRIPT}</script></body></html>",
        escaped(str_of(&view["at"]))
    );
    answer(200, "text/html; charset=utf-8", body)
}

fn str_of(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}

fn list_of(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Adds text to a string, which takes all.
macro_rules! add {
    ($out:expr, $($words:tt)*) => { _ = write!($out, $($words)*) };
}

fn verdict(out: &mut String, view: &Value) {
    let count = |state: &str| view["states"][state].as_u64().unwrap_or(0);
    let open = list_of(&view["incidents"]).len();
    let (class, words) = match open {
        0 if count("down") + count("sick") == 0 => ("good", "All is well".to_owned()),
        0 => ("bad", "Not all is well".to_owned()),
        1 => ("bad", "1 open incident".to_owned()),
        open => ("bad", format!("{open} open incidents")),
    };
    add!(out, "<p class=\"verdict {class}\">{words}</p><ul class=\"counts\">");
    for (state, count) in view["states"].as_object().into_iter().flatten() {
        if count.as_u64() != Some(0) {
            add!(out, "<li>{} {} {state}</li>", sign(state), count);
        }
    }
    add!(out, "</ul>");
}

/// A shape for each state, so that colour is never alone.
fn sign(state: &str) -> String {
    let shape = match state {
        "up" => "●",
        "late" => "◐",
        "down" => "▲",
        "sick" => "◆",
        "stopped" | "paused" => "■",
        _ => "○",
    };
    format!("<span class=\"sign {state}\" aria-hidden=\"true\">{shape}</span>")
}

fn incidents(out: &mut String, view: &Value) {
    let open = list_of(&view["incidents"]);
    if open.is_empty() {
        return;
    }
    add!(out, "<section><h2>Open incidents</h2>");
    open.iter().for_each(|it| incident(out, it));
    add!(out, "</section>");
}

fn incident(out: &mut String, it: &Value) {
    let id = escaped(str_of(&it["id"]));
    let names: Vec<_> =
        list_of(&it["members"]).iter().map(|it| escaped(str_of(&it["name"]))).collect();
    let kind = str_of(&it["kind"]);
    add!(
        out,
        "<article id=\"{id}\" class=\"incident {}\"><h3>{} {} ",
        str_of(&it["state"]),
        sign(kind),
        names.join(", ")
    );
    add!(out, "<small>{id} · {kind}</small></h3><p>{}", escaped(str_of(&it["reason"])));
    add!(out, " · since <time>{}</time>", escaped(str_of(&it["opened_at"])));
    if let Some(at) = it["resolved_at"].as_str() {
        add!(out, " · resolved <time>{}</time>", escaped(at));
    }
    if let Some(by) = it["ack"]["by"].as_str() {
        let note = escaped(str_of(&it["ack"]["note"]));
        add!(out, " · taken care of by {} {note}", escaped(by));
    }
    add!(out, "</p></article>");
}

/// In the order of requests.
const ROLES: [(&str, &str); 4] = [
    ("balancer", "Balancers"),
    ("gateway", "Gateways"),
    ("account", "Account nodes"),
    ("monitor", "Monitors"),
];

fn nodes(out: &mut String, view: &Value, node: &Node) {
    for (role, title) in ROLES {
        let of_role: Vec<&Value> =
            list_of(&view["nodes"]).iter().filter(|it| it["role"] == role).collect();
        if of_role.is_empty() {
            continue;
        }
        let well = of_role.iter().filter(|it| it["state"] == "up").count();
        add!(out, "<section><h2>{title} <small>{well}/{} up</small></h2>", of_role.len());
        add!(out, "<div class=\"table\"><table><thead><tr><th>Node<th>State<th>Last beat<th>24 h");
        add!(out, "<th>Requests<th>What it says</tr></thead><tbody>");
        of_role.iter().for_each(|it| row(out, it, node));
        add!(out, "</tbody></table></div></section>");
    }
}

fn row(out: &mut String, it: &Value, node: &Node) {
    let (name, state) = (str_of(&it["name"]), str_of(&it["state"]));
    let requests = it["metrics"]["requests"].as_u64().map_or(String::new(), |it| it.to_string());
    let words = match (it["because_of"].as_str(), it["unwell"].as_str()) {
        (Some(cause), _) => format!("because of {cause}"),
        (None, Some(words)) => words.to_owned(),
        (None, None) => list_of(&it["checks"])
            .iter()
            .filter(|it| it["verdict"] != "pass")
            .map(|it| format!("{}: {}", str_of(&it["name"]), str_of(&it["detail"])))
            .collect::<Vec<_>>()
            .join("; "),
    };
    add!(out, "<tr class=\"{state}\"><th scope=\"row\">{}", escaped(name));
    add!(out, "<td>{} {state}<td>{}", sign(state), bar(it));
    add!(out, "<td>{}<td>{requests}<td>{}</tr>", available(node, name), escaped(&words));
}

/// The time since the last beat, on its way to the deadline.
fn bar(it: &Value) -> String {
    let (Some(age), Some(deadline)) = (it["age_ms"].as_u64(), it["deadline_ms"].as_u64()) else {
        return "–".to_owned();
    };
    let seconds = format!("{}.{} s ago", age / 1_000, age % 1_000 / 100);
    format!(
        "<meter min=\"0\" max=\"{deadline}\" value=\"{}\">{seconds}</meter> {seconds}",
        age.min(deadline)
    )
}

fn available(node: &Node, name: &str) -> String {
    let id = node.book.borrow().named(name);
    let report = id.and_then(|id| super::api::measured(node, id, 24).ok());
    let ppm = report.and_then(|it| it.available_ppm());
    ppm.map_or("–".to_owned(), |ppm| format!("{}.{:02} %", ppm / 10_000, ppm % 10_000 / 100))
}

fn jobs(out: &mut String, view: &Value) {
    let jobs = list_of(&view["jobs"]);
    if jobs.is_empty() {
        return;
    }
    add!(out, "<section><h2>Jobs</h2><div class=\"table\"><table><thead><tr><th>Job<th>State");
    add!(out, "<th>Last beat<th>Schedule<th>Beats</tr></thead><tbody>");
    for it in jobs {
        let state = str_of(&it["state"]);
        let schedule = match str_of(&it["schedule"]) {
            "" => format!("every {} s", it["every_ms"].as_u64().unwrap_or(0) / 1_000),
            schedule => escaped(schedule).into_owned(),
        };
        add!(out, "<tr class=\"{state}\"><th scope=\"row\">{}", escaped(str_of(&it["name"])));
        let last = escaped(it["last_beat"].as_str().unwrap_or("–"));
        add!(
            out,
            "<td>{} {state}<td><time>{last}</time><td>{schedule}<td>{}</tr>",
            sign(state),
            it["beats"]
        );
    }
    add!(out, "</tbody></table></div></section>");
}

fn channels(out: &mut String, view: &Value) {
    add!(out, "<section><h2>Who is told</h2>");
    let channels = list_of(&view["channels"]);
    if channels.is_empty() {
        add!(out, "<p>Nobody: start with <code>--notify URL</code>.</p>");
    }
    add!(out, "<ul class=\"channels\">");
    for it in channels {
        let state = if it["sick"] == true { "sick" } else { "up" };
        let (name, place) = (escaped(str_of(&it["name"])), escaped(str_of(&it["place"])));
        add!(out, "<li>{} {name} <small>{place}</small>", sign(state));
        if it["waiting"] != 0 || it["dead"] != 0 {
            add!(out, " · {} waiting, {} given up", it["waiting"], it["dead"]);
        }
        if let Some(why) = it["last_error"].as_str() {
            add!(out, " · {}", escaped(why));
        }
        add!(out, "</li>");
    }
    add!(out, "</ul></section>");
}

fn ended(out: &mut String, node: &Node) {
    let Ok(incidents) = node.history.incidents(ENDED_SHOWN) else { return };
    let ended: Vec<_> = incidents.iter().filter(|it| it.resolved_at.is_some()).collect();
    if ended.is_empty() {
        return;
    }
    add!(out, "<section><h2>Lately</h2>");
    ended.iter().for_each(|it| incident(out, &view::incident(node, it)));
    add!(out, "</section>");
}
