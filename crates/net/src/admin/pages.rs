//! Which admin page answers what.

use super::{Exposition, Source, endpoints, guard};
use crate::{
    control::{self, Controls, Looked, Refusal, Standing, merge},
    edge::Asked,
};
use bytes::Bytes;
use http::{Method, Response, header};
use serde_json::{Value, json};
use std::sync::Arc;

const JSON: &str = "application/json";
const PROBLEM: &str = "application/problem+json";
const TEXT: &str = "text/plain";

pub(super) struct Pages {
    pub(super) source: Arc<dyn Source>,
    pub(super) controls: Arc<dyn Controls>,
}

/// What can be asked for.
#[derive(Debug, PartialEq, Eq)]
enum Page {
    Health,
    Readiness,
    Metrics,
    Status,
    Endpoints,
    Endpoint(String),
    Drain,
    Undrain,
    Reload,
}

impl Page {
    fn at(path: &str) -> Option<Page> {
        Some(match path {
            "/healthz" => Page::Health,
            "/readyz" => Page::Readiness,
            "/metrics" => Page::Metrics,
            "/admin/status" => Page::Status,
            "/admin/endpoints" => Page::Endpoints,
            "/admin/drain" => Page::Drain,
            "/admin/undrain" => Page::Undrain,
            "/admin/reload" => Page::Reload,
            _ => Page::Endpoint(decoded(path.strip_prefix("/admin/endpoints/")?)?),
        })
    }

    fn allows(&self) -> &'static str {
        match self {
            Page::Health | Page::Readiness | Page::Metrics | Page::Status | Page::Endpoints => {
                "GET, HEAD"
            }
            Page::Endpoint(_) => "GET, HEAD, POST",
            Page::Drain | Page::Undrain | Page::Reload => "POST",
        }
    }
}

impl Pages {
    pub(super) async fn answer(&self, asked: &Asked) -> Response<Bytes> {
        let path = asked.parts.uri.path();
        let Some(page) = Page::at(path) else {
            return self
                .order(asked, path)
                .unwrap_or_else(|| text(404, "no such page\n".to_owned()));
        };
        let method = match &asked.parts.method {
            method if method == Method::HEAD => "GET",
            method => method.as_str(),
        };
        let allows = page.allows();
        if !allows.split(", ").any(|it| it == method) {
            let mut response = text(405, format!("only {allows}\n"));
            let allow = header::HeaderValue::from_static(allows);
            response.headers_mut().insert(header::ALLOW, allow);
            return response;
        }
        if method == "POST" {
            return match guard::objection(&asked.parts.headers, asked.peer.ip()) {
                Some(why) => problem(403, "forbidden", why, None),
                None => self.obey(page, &asked.body).await,
            };
        }
        self.show(page).await
    }

    /// An order that only the role knows.
    fn order(&self, asked: &Asked, path: &str) -> Option<Response<Bytes>> {
        if asked.parts.method != Method::POST || !path.starts_with("/admin/") {
            return None;
        }
        if let Some(why) = guard::objection(&asked.parts.headers, asked.peer.ip()) {
            return Some(problem(403, "forbidden", why, None));
        }
        Some(match self.source.order(path)? {
            Ok(()) => whole(200, JSON, &json!({ "ok": true })),
            Err(why) => problem(409, "refused", &why, None),
        })
    }

    async fn show(&self, page: Page) -> Response<Bytes> {
        match page {
            Page::Health => verdict(self.health().await),
            Page::Readiness => verdict(self.readiness()),
            Page::Metrics => self.metrics().await,
            Page::Status => self.status().await,
            Page::Endpoints => whole(200, JSON, &endpoints::page(&self.controls.look().await)),
            Page::Endpoint(name) => self.endpoint(&name, &self.controls.look().await),
            // Not allowed, and so refused before.
            Page::Drain | Page::Undrain | Page::Reload => text(405, "only POST\n".to_owned()),
        }
    }

    /// As the role says, and the workers by answering.
    async fn health(&self) -> Result<(), String> {
        self.source.health()?;
        match self.controls.look().await.silent.as_slice() {
            [] => Ok(()),
            silent => Err(format!("workers {silent:?} do not answer")),
        }
    }

    fn readiness(&self) -> Result<(), String> {
        if self.controls.standing().draining {
            return Err("draining".to_owned());
        }
        self.source.readiness()
    }

    async fn metrics(&self) -> Response<Bytes> {
        let mut out = Exposition::default();
        self.source.metrics(&mut out);
        let Standing { draining, generation, .. } = self.controls.standing();
        out.gauge("config_generation", "Configurations taken.", &[(&[], generation)]);
        out.gauge("node_draining", "1 while out of rotation.", &[(&[], u64::from(draining))]);
        endpoints::metrics(&self.controls.look().await, &mut out);
        page(200, "text/plain; version=0.0.4", out.text)
    }

    /// What the role says, with what is the same for all roles.
    async fn status(&self) -> Response<Bytes> {
        let mut status = serde_json::from_str(&self.source.status()).unwrap_or_else(|_| json!({}));
        let Standing { draining, generation, last_reload } = self.controls.standing();
        let looked = self.controls.look().await;
        let sum = |of: fn(&control::View) -> u64| looked.views.iter().map(of).sum::<u64>();
        let mut set = |key: &str, value: Value| status[key] = value;
        set("draining", draining.into());
        set("in_flight", sum(|view| view.in_flight).into());
        set("unfinished", sum(|view| view.unfinished).into());
        set("relayed", sum(|view| view.relayed).into());
        let load = control::load(&looked.views).map(|it| {
            json!({
                "in_flight": it.in_flight,
                "latency_us": it.latency_us,
                "limit_permille": it.limit_permille,
                "draining": it.draining,
            })
        });
        set("load", load.into());
        set("config_generation", generation.into());
        let last_reload = last_reload.map(|it| {
            let mut out = reload_result(&it.result);
            out["at"] = it.at.to_string().into();
            out
        });
        set("last_reload", last_reload.into());
        whole(200, JSON, &status)
    }

    fn endpoint(&self, name: &str, looked: &Looked) -> Response<Bytes> {
        match merge(&looked.views).iter().find(|it| *it.name == *name) {
            Some(view) => whole(200, JSON, &endpoints::endpoint(view)),
            None => unknown(&format!("no endpoint is called {name:?}")),
        }
    }

    async fn obey(&self, page: Page, body: &[u8]) -> Response<Bytes> {
        match page {
            Page::Endpoint(name) => self.change_endpoint(&name, body).await,
            Page::Drain | Page::Undrain => {
                match self.controls.set_draining(page == Page::Drain).await {
                    Ok(()) => self.status().await,
                    Err(refusal) => refused(&refusal),
                }
            }
            Page::Reload => {
                let result = self.controls.reload().await;
                let status = match &result {
                    Ok(_) => 200,
                    Err(Refusal::Late(_)) => 503,
                    Err(Refusal::Unknown(_) | Refusal::Refused(_)) => 409,
                };
                let mut out = reload_result(&result);
                out["config_generation"] = self.controls.standing().generation.into();
                whole(status, JSON, &out)
            }
            Page::Health | Page::Readiness | Page::Metrics | Page::Status | Page::Endpoints => {
                text(405, "only GET\n".to_owned())
            }
        }
    }

    async fn change_endpoint(&self, name: &str, body: &[u8]) -> Response<Bytes> {
        let change = match endpoints::change(name, body) {
            Ok(change) => change,
            Err(mistake) => {
                let field = mistake.field.as_deref();
                return problem(400, "invalid_request", mistake.want, field);
            }
        };
        match self.controls.change_endpoint(change).await {
            Ok(views) => self.endpoint(name, &Looked { views, silent: Vec::new() }),
            Err(refusal) => refused(&refusal),
        }
    }
}

/// `{"ok":true,"changes":[…]}` or `{"ok":false,"complaints":[…]}`.
fn reload_result(result: &Result<Vec<String>, Refusal>) -> Value {
    match result {
        Ok(changes) => json!({ "ok": true, "changes": changes }),
        Err(Refusal::Refused(complaints)) => json!({ "ok": false, "complaints": complaints }),
        Err(refusal @ (Refusal::Unknown(_) | Refusal::Late(_))) => {
            json!({ "ok": false, "complaints": [refusal.to_string()] })
        }
    }
}

fn refused(refusal: &Refusal) -> Response<Bytes> {
    match refusal {
        Refusal::Unknown(what) => unknown(what),
        Refusal::Refused(_) => problem(409, "refused", &refusal.to_string(), None),
        Refusal::Late(what) => problem(503, "late", what, None),
    }
}

fn unknown(detail: &str) -> Response<Bytes> {
    problem(404, "not_found", detail, None)
}

fn problem(status: u16, code: &str, detail: &str, field: Option<&str>) -> Response<Bytes> {
    let body = json!({
        "type": "about:blank", "status": status, "code": code, "detail": detail, "field": field,
    });
    whole(status, PROBLEM, &body)
}

fn verdict(verdict: Result<(), String>) -> Response<Bytes> {
    match verdict {
        Ok(()) => text(200, "ok\n".to_owned()),
        Err(why) => text(503, format!("{why}\n")),
    }
}

pub(super) fn text(status: u16, body: String) -> Response<Bytes> {
    page(status, TEXT, body)
}

fn whole(status: u16, content_type: &str, body: &Value) -> Response<Bytes> {
    page(status, content_type, format!("{body}\n"))
}

fn page(status: u16, content_type: &str, body: String) -> Response<Bytes> {
    Response::builder()
        .status(status)
        .header("content-type", content_type)
        .body(Bytes::from(body))
        .expect("the parts are ours")
}

/// A name in a path: what `%` stands for is put in. `None` when it makes no sense.
fn decoded(name: &str) -> Option<String> {
    let mut out = Vec::with_capacity(name.len());
    let mut bytes = name.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => {
                let digits = [bytes.next()?, bytes.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(out).ok().filter(|it| !it.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_paths_are_decoded() {
        let at = |path: &str| match Page::at(path) {
            Some(Page::Endpoint(name)) => Some(name),
            _ => None,
        };
        assert_eq!(at("/admin/endpoints/a-1").as_deref(), Some("a-1"));
        assert_eq!(at("/admin/endpoints/http%3A%2F%2Fh:1").as_deref(), Some("http://h:1"));
        for bad in ["/admin/endpoints/", "/admin/endpoints/%f", "/admin/endpoints/%ff", "/admin"] {
            assert_eq!(at(bad), None, "{bad}");
        }
    }
}
