//! The page for people, made here and complete without any script; a script keeps it fresh.

mod past;
mod words;

pub(crate) use past::Past;

use super::{Answer, answer, input::escaped, text, view};
use crate::{
    book::{Kind, parse_uuid},
    core::check::CheckId,
    node::Node,
};
use http::{HeaderValue, Method, header};
use net::edge::Asked;
use serde_json::Value;
use std::fmt::Write;

const STYLE: &str = include_str!("page/style.css");
const SCRIPT: &str = include_str!("page/script.js");
/// Names of one incident that are shown; the rest is a count.
const NAMES_SHOWN_MAX: usize = 8;
/// What a page may do: its own style and script, and nothing from elsewhere.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'self'; \
                      connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

/// Adds text to a string, which takes all.
macro_rules! add {
    ($out:expr, $($words:tt)*) => { _ = write!($out, $($words)*) };
}

/// The overview: verdict, open incidents, the nodes by tier, jobs, channels.
pub(super) async fn dashboard(node: &Node, asked: &Asked) -> Answer {
    if let Some(refusal) = other_than_get(asked) {
        return refusal;
    }
    let of = |kind: Kind| -> Vec<CheckId> {
        let book = node.book.borrow();
        book.iter().filter(|it| it.plan.kind == kind).map(|it| it.id).collect()
    };
    let past = past::of(node, of(Kind::Node), view::jobs_shown(node)).await;
    let view = view::overview(node);
    let (class, words) = judged(&view);
    let mut main = String::new();
    verdict(&mut main, &view, class, &words);
    incidents(&mut main, &view);
    nodes(&mut main, &view, node, &past);
    jobs(&mut main, &view, node, &past);
    channels(&mut main, &view);
    ended(&mut main, node, &view, &past);
    let at = str_of(&view["at"]);
    let tree = escaped(str_of(&view["tree"]));
    let head = "<noscript><meta http-equiv=\"refresh\" content=\"5\"></noscript>\
                <script src=\"/page.js\" defer></script>";
    let title = format!("{words} · {tree} monitor");
    let body = format!(
        "<header><h1>{tree}</h1><p id=\"age\">as of {}</p></header><main>{main}</main>",
        words::time(at, at)
    );
    page(200, class, &title, head, &body)
}

/// The script that keeps the page fresh.
pub(super) fn script(asked: &Asked) -> Answer {
    let script = || answer(200, "text/javascript; charset=utf-8", SCRIPT.to_owned());
    other_than_get(asked).unwrap_or_else(script)
}

/// Nothing is here: a page for who reads pages, a word for the rest.
pub(super) fn missing(asked: &Asked) -> Answer {
    let accepted = asked.parts.headers.get(header::ACCEPT).and_then(|it| it.to_str().ok());
    if !accepted.is_some_and(|it| it.contains("text/html")) {
        return text(404, "not found");
    }
    let body = "<main><h1>There is no such page</h1>\
                <p><a href=\"/\">The monitor's page</a> shows all that is watched.</p></main>";
    page(404, "warn", "not found · monitor", "", body)
}

fn other_than_get(asked: &Asked) -> Option<Answer> {
    if asked.parts.method == Method::GET || asked.parts.method == Method::HEAD {
        return None;
    }
    let mut refusal = text(405, "only GET");
    refusal.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    Some(refusal)
}

/// A whole page; the parts are HTML already. The icon tells the class in colour and in shape.
fn page(status: u16, class: &str, title: &str, head: &str, body: &str) -> Answer {
    let icon = match class {
        "good" => "%3Ccircle cx='8' cy='8' r='7' fill='%231f6feb'/%3E",
        "warn" => "%3Cpath d='M8 0l8 8-8 8-8-8z' fill='%23a16207'/%3E",
        _ => "%3Cpath d='M8 0l8 15H0z' fill='%23c2410c'/%3E",
    };
    let html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>{title}</title><link rel=\"icon\" href=\"data:image/svg+xml,%3Csvg \
         xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E{icon}%3C/svg%3E\">\
         <style>{STYLE}</style>{head}</head><body>{body}</body></html>"
    );
    let mut page = answer(status, "text/html; charset=utf-8", html);
    let headers = page.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    page
}

fn str_of(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}

fn list_of(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// The verdict over everything: its class, and the words, escaped.
fn judged(view: &Value) -> (&'static str, String) {
    let count = |state: &str| view["states"][state].as_u64().unwrap_or(0);
    let open = list_of(&view["incidents"]);
    let warnings = list_of(&view["nodes"]).iter().filter(|it| warns(it)).count();
    let watched: u64 =
        view["states"].as_object().into_iter().flatten().filter_map(|(_, it)| it.as_u64()).sum();
    match (open, count("down") + count("sick") + count("strained")) {
        ([], 0) if watched == 0 => ("warn", "Nothing is watched yet".to_owned()),
        ([], 0) if count("up") + count("late") == 0 => ("warn", "Nothing is up".to_owned()),
        ([], 0) if warnings == 1 => ("warn", "Up, with a warning".to_owned()),
        ([], 0) if warnings != 0 => ("warn", format!("Up, {warnings} nodes with warnings")),
        ([], 0) => ("good", "All is well".to_owned()),
        ([], 1) => ("bad", "1 is not well".to_owned()),
        ([], unwell) => ("bad", format!("{unwell} are not well")),
        ([one], _) => ("bad", format!("{} {}", names(one), kind_words(one))),
        (open, _) => ("bad", format!("{} open incidents", open.len())),
    }
}

fn verdict(out: &mut String, view: &Value, class: &str, words: &str) {
    add!(out, "<p class=\"verdict {class}\" role=\"status\">{words}</p><ul class=\"counts\">");
    for (state, count) in view["states"].as_object().into_iter().flatten() {
        if count.as_u64() != Some(0) {
            add!(out, "<li>{} {} {state}</li>", sign(state), count);
        }
    }
    add!(out, "</ul>");
}

/// A node that serves and has something to say.
fn warns(it: &Value) -> bool {
    let is_there = matches!(str_of(&it["state"]), "up" | "late" | "starting");
    is_there && list_of(&it["checks"]).iter().any(|it| it["verdict"] != "pass")
}

/// A shape for each state, so that colour is never alone.
fn sign(state: &str) -> String {
    let shape = match state {
        "up" => "●",
        "late" => "◐",
        "warn" | "strained" => "◇",
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
    open.iter().for_each(|it| incident(out, it, view));
    add!(out, "</section>");
}

/// The members of an incident, escaped; of many the first ones.
fn names(it: &Value) -> String {
    let members = list_of(&it["members"]);
    let shown: Vec<_> =
        members.iter().take(NAMES_SHOWN_MAX).map(|it| escaped(str_of(&it["name"]))).collect();
    match members.len().saturating_sub(NAMES_SHOWN_MAX) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

fn kind_words(it: &Value) -> &'static str {
    let is_one = list_of(&it["members"]).len() <= 1;
    match (str_of(&it["kind"]), is_one) {
        ("sick", true) => "is not well",
        ("sick", false) => "are not well",
        ("mass", _) => "fell silent at once",
        ("group", _) => "are not well",
        (_, true) => "is down",
        (_, false) => "are down",
    }
}

fn incident(out: &mut String, it: &Value, view: &Value) {
    let id = escaped(str_of(&it["id"]));
    let now = str_of(&view["at"]);
    let opened = str_of(&it["opened_at"]);
    let (state, kind, resolved) = (str_of(&it["state"]), str_of(&it["kind"]), &it["resolved_at"]);
    add!(out, "<article id=\"{id}\" class=\"incident {state}\"><h3>{} {} ", sign(kind), names(it));
    let words = if resolved.is_null() { kind_words(it) } else { "" };
    add!(out, "{words} <small>{id}</small></h3><p>{}", escaped(str_of(&it["reason"])));
    let until = resolved.as_str().unwrap_or(now);
    let lasted = words::millis_between(opened, until).map_or("–".to_owned(), words::length);
    match resolved.as_str() {
        Some(at) => add!(out, " · resolved {} after {lasted}", words::time(at, now)),
        None => add!(out, " · for {lasted}, since {}", words::time(opened, now)),
    }
    if let Some(by) = it["ack"]["by"].as_str() {
        let note = escaped(str_of(&it["ack"]["note"]));
        add!(out, " · taken care of by {} {note}", escaped(by));
    }
    add!(out, "</p>");
    if resolved.is_null() {
        next(out, it, view);
    }
    add!(out, "</article>");
}

/// What somebody who has just come can do.
fn next(out: &mut String, it: &Value, view: &Value) {
    let name = &it["name"];
    let is_node = list_of(&view["nodes"]).iter().any(|it| it["name"] == *name);
    let first = escaped(str_of(name));
    add!(out, "<p class=\"next\">");
    let channel = first.strip_prefix("channel ").filter(|_| !is_node);
    match (str_of(&it["kind"]), is_node) {
        (_, false) if channel.is_some() => add!(
            out,
            "Look at its receiver, then <code>tollgate alerts test {}</code>. ",
            channel.unwrap_or_default()
        ),
        ("mass", _) => add!(out, "First look at the network and at this monitor's machine. "),
        ("down", true) => add!(
            out,
            "If it has ended, <code>tollgate node {first} start</code>; if it hangs, \
             <code>tollgate node {first} resume</code>. "
        ),
        ("sick", true) => {
            add!(out, "Its row below names the check that fails or the rule that it breaks. ");
        }
        _ => add!(out, "Run the job and look at what it printed. "),
    }
    if it["ack"].is_null() {
        let id = escaped(str_of(&it["id"]));
        add!(out, "If you take care of it, <code>tollgate alerts ack {id}</code>.");
    }
    add!(out, "</p>");
}

/// In the order of requests.
const ROLES: [(&str, &str); 4] = [
    ("balancer", "Balancers"),
    ("gateway", "Gateways"),
    ("account", "Account nodes"),
    ("monitor", "Monitors"),
];

fn nodes(out: &mut String, view: &Value, node: &Node, past: &Past) {
    for (role, title) in ROLES {
        let of_role: Vec<&Value> =
            list_of(&view["nodes"]).iter().filter(|it| it["role"] == role).collect();
        if of_role.is_empty() {
            continue;
        }
        let well = of_role.iter().filter(|it| it["state"] == "up").count();
        add!(out, "<section><h2>{title} <small>{well}/{} up</small></h2>", of_role.len());
        add!(out, "<table><thead><tr><th>Node<th>State<th>Last beat<th>24 h");
        add!(out, "<th class=\"count\">Requests<th>What it says</tr></thead><tbody>");
        of_role.iter().for_each(|it| row(out, it, node, past, str_of(&view["at"])));
        add!(out, "</tbody></table></section>");
    }
}

fn row(out: &mut String, it: &Value, node: &Node, past: &Past, now: &str) {
    let (name, state) = (str_of(&it["name"]), str_of(&it["state"]));
    let requests = it["metrics"]["requests"].as_u64().map_or(String::new(), stdx::grouped);
    add!(out, "<tr class=\"{state}\"><th scope=\"row\">{}", escaped(name));
    add!(out, "<td>{} {state}<td>{}", sign(state), beat(it, now));
    add!(out, "<td class=\"past\" data-of=\"24 h\">");
    past.bar(out, node.book.borrow().node(name));
    add!(out, "<td class=\"count\" data-of=\"requests\">{requests}<td class=\"says\">");
    match (it["because_of"].as_str(), state) {
        (Some(cause), _) => add!(out, "because of {}", escaped(cause)),
        // What it said before it fell silent is no news.
        (None, "down") => add!(out, "silent: it has ended, hangs, or cannot be reached"),
        (None, _) => says(out, it, state),
    }
    add!(out, "</tr>");
}

/// The checks of its own that do not pass.
fn says(out: &mut String, it: &Value, state: &str) {
    let unwell = list_of(&it["checks"]).iter().filter(|it| it["verdict"] != "pass");
    let mut words: Vec<String> =
        unwell.map(|it| format!("{}: {}", str_of(&it["name"]), str_of(&it["detail"]))).collect();
    words.extend(it["broken"].as_str().map(str::to_owned));
    let words = words.join("; ");
    if !words.is_empty() {
        let sign = sign(if state == "sick" { "sick" } else { "warn" });
        add!(out, "{sign} {}", escaped(&words));
    }
}

/// The time since the last beat, on its way to the deadline; amber once the next one is due.
fn beat(it: &Value, now: &str) -> String {
    let last = it["last_beat"].as_str().and_then(|it| words::millis_between(it, now));
    let (Some(age), Some(deadline)) = (it["age_ms"].as_u64(), it["deadline_ms"].as_u64()) else {
        return last.map_or("–".to_owned(), |it| format!("{} ago", words::length(it)));
    };
    let due = it["every_ms"].as_u64().unwrap_or(deadline).saturating_mul(3) / 2;
    let ago = format!("{} ago", words::length(age));
    let age = age.min(deadline);
    let class = if due < age { " late" } else { "" };
    let percent = age.saturating_mul(100).checked_div(deadline).unwrap_or(100);
    format!(
        "<span class=\"way{class}\" role=\"meter\" aria-label=\"age\" aria-valuemin=\"0\" \
         aria-valuemax=\"{deadline}\" aria-valuenow=\"{age}\" aria-valuetext=\"{ago}\">\
         <i style=\"width:{percent}%\"></i></span> {ago}"
    )
}

fn jobs(out: &mut String, view: &Value, node: &Node, past: &Past) {
    let jobs = list_of(&view["jobs"]);
    if jobs.is_empty() {
        return;
    }
    let now = str_of(&view["at"]);
    add!(out, "<section><h2>Jobs</h2><table><thead><tr><th>Job<th>State<th>Last beat");
    add!(out, "<th>30 days<th class=\"count\">Beats<th>Schedule</tr></thead><tbody>");
    for it in jobs {
        let state = str_of(&it["state"]);
        let schedule = match str_of(&it["schedule"]) {
            "" => format!("every {}", words::length(it["every_ms"].as_u64().unwrap_or(0))),
            schedule => escaped(schedule).into_owned(),
        };
        add!(out, "<tr class=\"{state}\"><th scope=\"row\">{}", escaped(str_of(&it["name"])));
        add!(out, "<td>{} {state}<td>", sign(state));
        match it["last_beat"].as_str() {
            Some(at) => add!(out, "{}", words::time(at, now)),
            None => add!(out, "none yet"),
        }
        add!(out, "<td class=\"past\" data-of=\"30 days\">");
        past.bar(out, parse_uuid(str_of(&it["id"])).and_then(|it| node.book.borrow().by_uuid(it)));
        let beats = stdx::grouped(it["beats"].as_u64().unwrap_or(0));
        add!(out, "<td class=\"count\" data-of=\"beats\">{beats}<td class=\"says\">{schedule}");
        if let Some(broken) = it["broken"].as_str() {
            add!(out, "; {}", escaped(broken));
        }
        add!(out, "</tr>");
    }
    add!(out, "</tbody></table></section>");
}

fn channels(out: &mut String, view: &Value) {
    add!(out, "<section><h2>Who is told</h2>");
    let channels = list_of(&view["channels"]);
    if channels.is_empty() {
        add!(
            out,
            "<p>{} Nobody. Start with <code>--notify URL</code> or <code>--notify mailto:…</code>, \
             or incidents are seen here only.</p>",
            sign("warn")
        );
    }
    if view["tells"] == false {
        add!(
            out,
            "<p>{} Another monitor tells people as long as it is there.</p>",
            sign("stopped")
        );
    }
    add!(out, "<ul class=\"channels\">");
    for it in channels {
        let state = if it["sick"] == true { "sick" } else { "up" };
        let (name, place) = (escaped(str_of(&it["name"])), escaped(str_of(&it["place"])));
        add!(out, "<li>{} {name} <small>{place}</small>", sign(state));
        if it["fallback"] == true {
            add!(out, " · of what the others do not deliver");
        }
        if it["waiting"] != 0 || it["dead"] != 0 {
            add!(out, " · {} waiting, {} given up", it["waiting"], it["dead"]);
        }
        if let Some(why) = it["last_error"].as_str() {
            add!(out, " · {}", escaped(why));
        }
        add!(out, " <button type=\"button\" data-test=\"{name}\">Send a test</button>");
        add!(out, "</li>");
    }
    add!(out, "</ul></section>");
}

fn ended(out: &mut String, node: &Node, view: &Value, past: &Past) {
    if past.ended.is_empty() {
        return;
    }
    add!(out, "<section><h2>Lately</h2>");
    past.ended.iter().for_each(|it| incident(out, &view::incident(node, it), view));
    add!(out, "</section>");
}
