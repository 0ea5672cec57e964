//! What an HTTP API consists of, told twice from one table of calls: to programs as OpenAPI 3.1, to
//! people as one HTML page ([`page`]).

mod page;

pub use self::page::page;

use serde_json::{Map, Value, json};

/// An API.
#[derive(Clone, Debug)]
pub struct Api {
    pub title: &'static str,
    pub version: &'static str,
    /// Paragraphs for people, an empty line between two.
    pub about: &'static str,
    pub calls: &'static [Call],
    /// OpenAPI's `components`: of `securitySchemes` those that calls name; of `parameters` and
    /// `schemas` what is to be said about them.
    pub components: Value,
}

/// One call of an API.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// In lower case.
    pub method: &'static str,
    /// Its variable parts in braces.
    pub path: &'static str,
    pub summary: &'static str,
    /// Any one of these security schemes; none for a call that everybody may make.
    pub schemes: &'static [&'static str],
    /// What may stand in the query.
    pub query: &'static [&'static str],
    /// Headers of its own.
    pub headers: &'static [&'static str],
    pub body: Body,
    pub answer: Answer,
}

/// The body of a request.
#[derive(Clone, Copy, Debug)]
pub enum Body {
    None,
    /// An object of these fields, `?` after those that may be left out.
    Fields(&'static [&'static str]),
    /// The schema of this name.
    Schema(&'static str),
}

/// The answer of a call that succeeded.
#[derive(Clone, Copy, Debug)]
pub enum Answer {
    /// 200, with what the summary says.
    Plain,
    /// JSON of the schema of this name. Refusals are problems of RFC 9457.
    Json { status: u16, schema: &'static str },
    /// 200, JSON of the schema of this name or one of these other media types. Refusals are problems
    /// of RFC 9457.
    Media { schema: &'static str, others: &'static [&'static str] },
}

impl Call {
    /// A GET without a key whose answer is as its summary says.
    pub const fn read(
        path: &'static str,
        summary: &'static str,
        query: &'static [&'static str],
    ) -> Call {
        Call {
            method: "get",
            path,
            summary,
            schemes: &[],
            query,
            headers: &[],
            body: Body::None,
            answer: Answer::Plain,
        }
    }

    /// The names of the variable parts of the path.
    pub fn variables(&self) -> impl Iterator<Item = &'static str> {
        self.path.split('/').filter_map(|it| it.strip_prefix('{')?.strip_suffix('}'))
    }
}

/// The description for programs.
pub fn document(api: &Api) -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for call in api.calls {
        let path = paths.entry(call.path).or_insert_with(|| json!({}));
        path[call.method] = operation(api, call);
    }
    json!({
        "openapi": "3.1.0",
        "info": {"title": api.title, "version": api.version, "description": api.about},
        "paths": paths,
        "components": api.components,
    })
}

fn operation(api: &Api, call: &Call) -> Value {
    let inside = call.variables().map(|it| parameter(api, it, "path"));
    let query = call.query.iter().map(|it| parameter(api, it, "query"));
    let headers = call.headers.iter().map(|it| parameter(api, it, "header"));
    let mut out = json!({
        "summary": call.summary,
        "parameters": inside.chain(query).chain(headers).collect::<Vec<_>>(),
        "responses": responses(call.answer),
    });
    if !call.schemes.is_empty() {
        let schemes = call.schemes.iter().map(|it| json!({*it: []}));
        out["security"] = schemes.collect();
        out["responses"]["401"] = json!({"description": "the API key is wanted"});
    }
    let schema = match call.body {
        Body::None => return out,
        Body::Fields(fields) => object(fields),
        Body::Schema(name) => reference("schemas", name),
    };
    let content = json!({"application/json": {"schema": schema}});
    out["requestBody"] = json!({"required": true, "content": content});
    out
}

fn responses(answer: Answer) -> Value {
    let problem = json!({
        "description": "refused or failed",
        "content": {"application/problem+json": {"schema": reference("schemas", "Problem")}},
    });
    match answer {
        Answer::Plain => json!({"200": {"description": "as the summary says"}}),
        Answer::Json { status, schema } => {
            let content = json!({"application/json": {"schema": reference("schemas", schema)}});
            let done = json!({"description": "done", "content": content});
            json!({status.to_string(): done, "default": problem})
        }
        Answer::Media { schema, others } => {
            let mut content = json!({"application/json": {"schema": reference("schemas", schema)}});
            others.iter().for_each(|it| content[*it] = json!({}));
            let done = json!({"description": "done", "content": content});
            json!({"200": done, "default": problem})
        }
    }
}

/// What there is to say about a parameter, or that it is a text.
fn parameter(api: &Api, name: &str, place: &str) -> Value {
    if api.components["parameters"][name].is_object() {
        return reference("parameters", name);
    }
    let is_required = place == "path";
    json!({"name": name, "in": place, "required": is_required, "schema": {"type": "string"}})
}

fn reference(kind: &str, name: &str) -> Value {
    json!({"$ref": format!("#/components/{kind}/{name}")})
}

fn object(fields: &[&str]) -> Value {
    let is_optional = |it: &&&str| it.ends_with('?');
    let required: Vec<&&str> = fields.iter().filter(|it| !is_optional(it)).collect();
    let fields = fields.iter().map(|it| (it.trim_end_matches('?').to_owned(), json!({})));
    let fields: Map<String, Value> = fields.collect();
    json!({"type": "object", "properties": fields, "required": required})
}

/// Every reference in a description that leads nowhere; there should be none.
pub fn dangling(document: &Value) -> Vec<String> {
    let mut out = Vec::new();
    collect(document, document, &mut out);
    out
}

fn collect(document: &Value, value: &Value, out: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, inner) in fields {
                match inner.as_str() {
                    Some(path) if name == "$ref" => {
                        let there = path.strip_prefix('#').and_then(|it| document.pointer(it));
                        out.extend(there.is_none().then(|| path.to_owned()));
                    }
                    Some(_) | None => collect(document, inner, out),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|it| collect(document, it, out)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => (),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALLS: [Call; 2] = [
        Call::read("/v1/things/{thing}", "One <thing>", &["limit"]),
        Call {
            method: "post",
            schemes: &["bearer"],
            headers: &["Idempotency-Key"],
            body: Body::Fields(&["name", "note?"]),
            answer: Answer::Json { status: 201, schema: "Thing" },
            ..Call::read("/v1/things/{thing}", "Make a thing", &[])
        },
    ];

    fn api() -> Api {
        let thing = json!({"type": "object", "properties": {"name": {"type": "string"}}});
        Api {
            title: "Things",
            version: "1",
            about: "First & foremost.\n\nSecond.",
            calls: &CALLS,
            components: json!({
                "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
                "parameters": {"limit": {"name": "limit", "in": "query", "description": "how many"}},
                "schemas": {"Thing": thing, "Problem": {"type": "object"}},
            }),
        }
    }

    #[test]
    fn a_table_becomes_a_document() {
        let document = document(&api());
        let path = &document["paths"]["/v1/things/{thing}"];
        assert_eq!(path["get"]["parameters"][0]["name"], "thing");
        assert_eq!(path["get"]["parameters"][1]["$ref"], "#/components/parameters/limit");
        assert!(path["get"]["security"].is_null());
        let post = &path["post"];
        assert_eq!(post["security"][0]["bearer"], json!([]));
        let body = &post["requestBody"]["content"]["application/json"]["schema"];
        assert_eq!(body["required"], json!(["name"]));
        assert!(body["properties"]["note"].is_object());
        let done = &post["responses"]["201"]["content"]["application/json"]["schema"];
        assert_eq!(done["$ref"], "#/components/schemas/Thing");
        assert_eq!(dangling(&document), Vec::<String>::new());
        let broken = json!({"a": [{"$ref": "#/components/schemas/None"}]});
        assert_eq!(dangling(&broken), ["#/components/schemas/None"]);
    }

    #[test]
    fn the_page_says_all_of_it_and_escapes() {
        let page = page(&api());
        for wanted in [
            "<title>Things</title>",
            "First &amp; foremost.",
            "One &lt;thing&gt;",
            "Make a thing",
            "Idempotency-Key",
            "how many",
            "href=\"#Thing\"",
            "id=\"Thing\"",
        ] {
            assert!(page.contains(wanted), "{wanted}: {page}");
        }
        for outside in ["http://", "https://", "<script", "@import", "url("] {
            assert!(!page.contains(outside), "{outside}");
        }
    }
}
