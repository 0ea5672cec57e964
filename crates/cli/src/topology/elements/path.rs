//! Paths: of key files, and of the requests that a route takes.

use std::path::PathBuf;

/// What the gateway answers itself outside `/v1/`.
const OWN: [&str; 2] = ["/openapi.json", "/docs"];

/// A file, named from where the topology file is.
pub(crate) fn parse_file(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() || text.contains('\0') {
        return Err("the path of a file".to_owned());
    }
    Ok(PathBuf::from(text))
}

/// The path of a route: `/rates` alone, or `/rates/*` for everything under it.
pub(crate) fn parse_route(text: &str) -> Result<String, String> {
    let fixed = text.strip_suffix("/*").unwrap_or(text);
    let printable = text.bytes().all(|it| it.is_ascii_graphic() && !b"?#\"<>\\".contains(&it));
    if !text.starts_with('/') || fixed.contains('*') || !printable {
        return Err("a path, as in \"/rates\" or \"/rates/*\"".to_owned());
    }
    if text == "/*" || fixed == "/v1" || fixed.starts_with("/v1/") {
        return Err("a path outside /v1/, where the account API is".to_owned());
    }
    if OWN.contains(&text) {
        return Err(format!("a path other than {}, which the gateway answers", OWN.join(" and ")));
    }
    Ok(text.to_owned())
}

/// What a check asks for: a path, with a query or without.
pub(crate) fn parse_check(text: &str) -> Result<String, String> {
    let printable = text.bytes().all(|it| it.is_ascii_graphic() && !b"#\"<>\\".contains(&it));
    if text.starts_with('/') && printable {
        return Ok(text.to_owned());
    }
    Err("a path, as in \"/healthz\"".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_leave_the_account_api_alone() {
        for good in ["/rates", "/rates/*", "/v10/*", "/"] {
            assert!(parse_route(good).is_ok(), "{good}");
        }
        for bad in
            ["", "rates", "/a*", "/*/b", "/a b", "/a?b", "/v1/*", "/v1/a", "/*", "/é", "/docs"]
        {
            assert!(parse_route(bad).is_err(), "{bad}");
        }
    }
}
