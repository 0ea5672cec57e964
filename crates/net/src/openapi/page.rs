//! The description for people: one HTML page that needs nothing else, neither script nor font.

use super::{Answer, Api, Body, Call};
use serde_json::Value;
use std::fmt::Write;

const STYLE: &str = include_str!("page.css");

/// The page.
pub fn page(api: &Api) -> String {
    let mut out = Page(String::with_capacity(64 * 1024));
    out.raw("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">");
    out.raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>");
    out.text(api.title);
    out.raw("</title><style>");
    out.raw(STYLE);
    out.raw("</style></head><body>");
    out.contents(api);
    out.raw("<main><h1>");
    out.text(api.title);
    out.raw("</h1>");
    for paragraph in api.about.split("\n\n") {
        out.tag("p", paragraph);
    }
    api.calls.iter().for_each(|call| out.call(api, call));
    for (name, schema) in schemas(api) {
        out.schema(name, schema);
    }
    out.raw("</main></body></html>\n");
    out.0
}

/// Those that say something about fields.
fn schemas(api: &Api) -> impl Iterator<Item = (&str, &Value)> {
    let all = api.components["schemas"].as_object();
    all.into_iter().flatten().map(|(name, schema)| (name.as_str(), schema))
}

struct Page(String);

impl Page {
    fn raw(&mut self, html: &str) {
        self.0.push_str(html);
    }

    fn text(&mut self, text: &str) {
        for char in text.chars() {
            match char {
                '&' => self.raw("&amp;"),
                '<' => self.raw("&lt;"),
                '>' => self.raw("&gt;"),
                '"' => self.raw("&quot;"),
                other => self.0.push(other),
            }
        }
    }

    fn tag(&mut self, tag: &str, text: &str) {
        self.raw(&format!("<{tag}>"));
        self.text(text);
        self.raw(&format!("</{tag}>"));
    }

    fn contents(&mut self, api: &Api) {
        self.raw("<nav><h2>Calls</h2>");
        for call in api.calls {
            self.raw(&format!("<a href=\"#{}\">", anchor(call)));
            self.method(call);
            self.text(call.path);
            self.raw("</a>");
        }
        self.raw("<h2>Bodies</h2>");
        for (name, _) in schemas(api) {
            self.link(name);
        }
        self.raw("</nav>");
    }

    fn method(&mut self, call: &Call) {
        self.raw(&format!("<span class=\"method {0}\">{0}</span> ", call.method));
    }

    fn link(&mut self, schema: &str) {
        self.raw(&format!("<a href=\"#{schema}\">{schema}</a>"));
    }

    fn call(&mut self, api: &Api, call: &Call) {
        self.raw(&format!("<section id=\"{}\"><h2>", anchor(call)));
        self.method(call);
        self.raw("<span class=\"path\">");
        self.text(call.path);
        self.raw("</span></h2>");
        self.tag("p", call.summary);
        let names = call.variables().map(|it| ("path", it));
        let query = call.query.iter().map(|it| ("query", *it));
        let headers = call.headers.iter().map(|it| ("header", *it));
        let mut names = names.chain(query).chain(headers).peekable();
        if names.peek().is_some() {
            self.raw("<table>");
            for (place, name) in names {
                self.row(name, place, &api.components["parameters"][name]);
            }
            self.raw("</table>");
        }
        match call.body {
            Body::None => (),
            Body::Fields(fields) => {
                self.tag("h3", "Body");
                self.tag("p", &fields.join(", "));
            }
            Body::Schema(name) => self.example("Body: ", name, api),
        }
        match call.answer {
            Answer::Plain => (),
            Answer::Json { status, schema } => {
                self.example(&format!("Answer {status}: "), schema, api);
            }
            Answer::Media { schema, others } => {
                self.example("Answer 200: ", schema, api);
                self.tag("p", &format!("Or {}.", others.join(", ")));
            }
        }
        self.raw("</section>");
    }

    /// The schema's name, and what the schema gives as an example.
    fn example(&mut self, what: &str, name: &str, api: &Api) {
        self.raw("<h3>");
        self.text(what);
        self.link(name);
        self.raw("</h3>");
        let example = &api.components["schemas"][name]["example"];
        if !example.is_null() {
            self.tag("pre", &format!("{example:#}"));
        }
    }

    fn schema(&mut self, name: &str, schema: &Value) {
        self.raw(&format!("<section id=\"{name}\">"));
        self.tag("h2", name);
        if let Some(text) = schema["description"].as_str() {
            self.tag("p", text);
        }
        let required = schema["required"].as_array();
        let is_required =
            |field: &str| required.is_some_and(|it| it.iter().any(|name| name == field));
        self.raw("<table>");
        for (field, about) in schema["properties"].as_object().into_iter().flatten() {
            let mark = if is_required(field) { "" } else { "?" };
            self.row(&format!("{field}{mark}"), &kind(about), about);
        }
        self.raw("</table></section>");
    }

    fn row(&mut self, name: &str, kind: &str, about: &Value) {
        self.raw("<tr><td><code>");
        self.text(name);
        self.raw("</code></td>");
        self.tag("td", kind);
        let mut text = about["description"].as_str().unwrap_or_default().to_owned();
        if let Some(values) = about["enum"].as_array() {
            let values: Vec<&str> = values.iter().filter_map(Value::as_str).collect();
            let gap = if text.is_empty() { "" } else { ": " };
            write!(text, "{gap}{}", values.join(", ")).expect("a String takes everything");
        }
        self.tag("td", &text);
        self.raw("</tr>");
    }
}

/// Where on the page a call is.
fn anchor(call: &Call) -> String {
    let plain = |it: char| if it.is_ascii_alphanumeric() { it } else { '-' };
    format!("{}{}", call.method, call.path.chars().map(plain).collect::<String>())
}

/// The type of a field in a word or two.
fn kind(about: &Value) -> String {
    let short = |reference: &str| reference.rsplit('/').next().unwrap_or_default().to_owned();
    if let Some(reference) = about["$ref"].as_str() {
        return short(reference);
    }
    if let Some(reference) = about["items"]["$ref"].as_str() {
        return format!("list of {}", short(reference));
    }
    match &about["type"] {
        Value::String(name) => name.clone(),
        Value::Array(names) => {
            names.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" or ")
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => String::new(),
    }
}
