//! The admin address of a node: is it alive, is it ready, what does it count.
//!
//! On a thread of its own, so that a node whose workers hang still says so.

use crate::{
    edge::{Asked, Body, Edge, Service},
    shutdown::{Shutdown, ShutdownTrigger, shutdown},
    worker,
};
use bytes::Bytes;
use http::{Method, Response, request::Parts};
use std::{
    fmt::Write,
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    thread,
    time::Duration,
};
use wire::Code;

/// Connections to the admin address; one more is hung up on.
const CONNECTIONS_MAX: usize = 64;
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// What a role tells about itself. Called from the admin thread, at any time.
pub trait Source: Send + Sync + 'static {
    /// `Err` says why the node should be restarted.
    fn health(&self) -> Result<(), String> {
        Ok(())
    }

    /// `Err` says why the node should get no requests now.
    fn readiness(&self) -> Result<(), String>;

    /// Adds the node's metrics.
    fn metrics(&self, out: &mut Exposition);

    /// What `/admin/status` shows: a JSON object.
    fn status(&self) -> String;
}

/// The running admin server; ends when dropped.
#[derive(Debug)]
pub struct Admin {
    addr: SocketAddr,
    stop: ShutdownTrigger,
}

impl Admin {
    /// Listens on `addr` and serves `source`.
    pub fn start(addr: SocketAddr, source: Arc<dyn Source>) -> io::Result<Admin> {
        let listener = worker::listen(addr)?;
        let addr = listener.local_addr()?;
        let (stop, stopped) = shutdown();
        thread::Builder::new().name("admin".to_owned()).spawn(move || {
            if let Err(err) = serve(listener, source, stopped) {
                tracing::error!(%err, "the admin server ended");
            }
        })?;
        Ok(Admin { addr, stop })
    }

    /// Where it listens: of use when port 0 was asked for.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.stop.trigger();
    }
}

fn serve(listener: TcpListener, source: Arc<dyn Source>, mut stopped: Shutdown) -> io::Result<()> {
    worker::runtime()?.block_on(async move {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let edge = Edge::new(Pages { source });
        let accepting = async {
            loop {
                match listener.accept().await {
                    Ok((stream, peer)) if edge.connections() < CONNECTIONS_MAX => {
                        edge.serve(stream, peer, ());
                    }
                    Ok(_) => (),
                    Err(err) => {
                        tracing::warn!(%err, "cannot accept an admin connection");
                        tokio::time::sleep(ACCEPT_REST).await;
                    }
                }
            }
        };
        tokio::select! {
            () = stopped.requested() => Ok(()),
            () = accepting => Ok(()),
        }
    })
}

struct Pages {
    source: Arc<dyn Source>,
}

impl Service for Pages {
    async fn respond(&self, asked: Asked) -> Response<Body> {
        if asked.parts.method != Method::GET && asked.parts.method != Method::HEAD {
            return page(405, "text/plain", "only GET\n".to_owned()).map(Body::from);
        }
        let page = match asked.parts.uri.path() {
            "/healthz" => verdict(self.source.health()),
            "/readyz" => verdict(self.source.readiness()),
            "/metrics" => {
                let mut out = Exposition::default();
                self.source.metrics(&mut out);
                page(200, "text/plain; version=0.0.4", out.text)
            }
            "/admin/status" => page(200, "application/json", self.source.status()),
            _ => page(404, "text/plain", "no such page\n".to_owned()),
        };
        page.map(Body::from)
    }

    fn refuse(&self, _parts: &Parts, code: Code, detail: &str) -> Response<Bytes> {
        page(code.status(), "text/plain", format!("{detail}\n"))
    }
}

fn verdict(verdict: Result<(), String>) -> Response<Bytes> {
    match verdict {
        Ok(()) => page(200, "text/plain", "ok\n".to_owned()),
        Err(why) => page(503, "text/plain", format!("{why}\n")),
    }
}

fn page(status: u16, content_type: &str, body: String) -> Response<Bytes> {
    Response::builder()
        .status(status)
        .header("content-type", content_type)
        .body(Bytes::from(body))
        .expect("the parts are ours")
}

/// Metrics in the text form of Prometheus.
#[derive(Debug, Default)]
pub struct Exposition {
    text: String,
}

impl Exposition {
    /// Adds a number that only grows.
    pub fn counter(&mut self, name: &str, help: &str, samples: &[(&[(&str, &str)], u64)]) {
        self.family(name, "counter", help, samples);
    }

    /// Adds a number that goes up and down.
    pub fn gauge(&mut self, name: &str, help: &str, samples: &[(&[(&str, &str)], u64)]) {
        self.family(name, "gauge", help, samples);
    }

    fn family(&mut self, name: &str, kind: &str, help: &str, samples: &[(&[(&str, &str)], u64)]) {
        _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}"); // A string takes all.
        for (labels, value) in samples {
            self.text.push_str(name);
            for (index, (label, content)) in labels.iter().enumerate() {
                self.text.push(if index == 0 { '{' } else { ',' });
                let content =
                    content.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
                _ = write!(self.text, "{label}=\"{content}\"");
            }
            if !labels.is_empty() {
                self.text.push('}');
            }
            _ = writeln!(self.text, " {value}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_written_as_prometheus_reads_them() {
        let mut out = Exposition::default();
        out.counter("requests_total", "Requests.", &[(&[], 7)]);
        out.gauge("up", "Is it.", &[(&[("node", "a\"b"), ("role", "x")], 1)]);
        assert_eq!(
            out.text,
            "# HELP requests_total Requests.\n# TYPE requests_total counter\nrequests_total 7\n\
             # HELP up Is it.\n# TYPE up gauge\nup{node=\"a\\\"b\",role=\"x\"} 1\n"
        );
    }
}
