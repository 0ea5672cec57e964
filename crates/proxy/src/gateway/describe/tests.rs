//! The table of calls against the routes, and the schemas against what is written.

use super::{
    super::{
        params::{Allowed, Params},
        request::allowed_in,
        route::Route,
    },
    *,
};
use std::collections::BTreeSet;

const METHODS: [&str; 6] = ["get", "post", "patch", "put", "delete", "options"];

fn filled(path: &str) -> String {
    path.replace("{service}", "a")
        .replace("{id}", "x")
        .replace("{transaction}", "tx_00000000000000000000000001")
        .replace("{hold}", "hold_00000000000000000000000001")
        .replace("{transfer}", "tr_00000000000000000000000001")
}

/// The parameters that the call may have; `None` where there is no such call.
fn allowed(method: &str, path: &str) -> Option<Allowed> {
    let method = method.to_ascii_uppercase();
    let asked = match Route::of(path)? {
        Route::OfService(of) => of.asked(&method).map(|asked| allowed_in(&asked)),
        Route::Transfers(of) => of.asked(&method).map(|_| Allowed::None),
    };
    match asked {
        Ok(allowed) => Some(allowed),
        // The ids in the path are none.
        Err(NotAsked::Mistake(_)) => Some(Allowed::None),
        Err(NotAsked::Method(_)) => None,
    }
}

#[test]
fn every_call_of_the_table_is_there() {
    for call in CALLS {
        let path = filled(call.path);
        assert!(!path.contains('{'), "{path}");
        let allowed = allowed(call.method, &path).expect(&path);
        let values = [
            ("limit", "5"),
            ("starting_after", "x"),
            ("from", "2026-11-22T11:00:00Z"),
            ("to", "2026-11-22T11:00:00Z"),
            ("kind", "debit"),
            ("reference", "x"),
            ("format", "csv"),
            ("after", "now"),
        ];
        for (name, value) in values {
            let query = format!("{name}={value}");
            let taken = Params::read(&query, allowed).is_ok();
            assert_eq!(taken, call.query.contains(&name), "{} {path} {query}", call.method);
        }
    }
}

/// All paths of the routes' own words and of ids between them.
#[test]
fn every_route_is_in_the_table() {
    let source = include_str!("../route.rs").split("mod tests").next().unwrap();
    let words: BTreeSet<&str> = source.split('"').skip(1).step_by(2).collect();
    let is_word =
        |it: &&str| !it.is_empty() && it.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
    let words: Vec<&str> = words.into_iter().filter(is_word).collect();
    let known: BTreeSet<(&str, String)> =
        CALLS.iter().map(|call| (call.method, shape(&filled(call.path)))).collect();
    let mut paths = vec!["/v1/a".to_owned()];
    let mut found = BTreeSet::new();
    for path in ["/v1/transfers", "/v1/transfers/tr_00000000000000000000000001"] {
        for method in METHODS.iter().filter(|it| allowed(it, path).is_some()) {
            found.insert((*method, shape(path)));
        }
    }
    for depth in 0..5 {
        let longer = |path: &String| {
            let ends: Vec<&str> = if depth % 2 == 0 { words.clone() } else { vec!["x"] };
            ends.into_iter().map(|it| format!("{path}/{it}")).collect::<Vec<_>>()
        };
        paths = paths.iter().flat_map(longer).collect();
        for path in &paths {
            for method in METHODS.iter().filter(|it| allowed(it, path).is_some()) {
                found.insert((*method, shape(path)));
            }
        }
    }
    assert_eq!(found, known);
}

/// Ids are the same to routes.
fn shape(path: &str) -> String {
    ["tx", "hold", "tr"].iter().fold(path.to_owned(), |path, it| {
        path.replace(&format!("{it}_00000000000000000000000001"), "x")
    })
}

#[test]
fn the_document_is_whole() {
    let document: Value = serde_json::from_str(&WRITTEN.document).unwrap();
    assert_eq!(openapi::dangling(&document), Vec::<String>::new());
    let schemas = document["components"]["schemas"].as_object().unwrap();
    for (name, schema) in schemas {
        let Some(example) = schema["example"].as_object() else { continue };
        let properties = schema["properties"].as_object().unwrap();
        for field in example.keys() {
            assert!(properties.contains_key(field), "{name}.{field}");
        }
        for field in schema["required"].as_array().into_iter().flatten() {
            assert!(example.contains_key(field.as_str().unwrap()), "{name}.{field}");
        }
    }
    let codes = &schemas["Problem"]["properties"]["code"]["enum"];
    assert_eq!(codes.as_array().unwrap().len(), Code::ALL.len());
}

#[test]
fn both_forms_are_for_everybody() {
    for path in ["/openapi.json", "/docs"] {
        assert_eq!(answer("GET", path).unwrap().unwrap().status, 200);
        assert_eq!(answer("POST", path).unwrap(), Err(NotAsked::Method("GET, HEAD")));
    }
    assert!(answer("GET", "/docs/").is_none());
    assert!(WRITTEN.page.contains("/v1/{service}/accounts/{id}/debit"));
}
