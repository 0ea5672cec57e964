//! Routes to HTTP services beside the account API, through both doors.

use super::*;
use crate::{
    config::{GatewayConfig, HashBy, RouteConfig},
    upstream::{
        HttpServices,
        config::{CheckConfig, HttpEndpoint, HttpServiceConfig, Protocol},
    },
};
use balance::Policy;
use std::num::NonZeroU32;
use tokio::io::AsyncBufReadExt;
use wire::frame::Headers;

/// Answers every request with `name`, its first line and its Authorization.
async fn service(name: &'static str) -> HttpServiceConfig {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(spawn_local(async move {
        while let Ok((stream, _)) = listener.accept().await {
            drop(spawn_local(async move {
                let mut stream = tokio::io::BufReader::new(stream);
                loop {
                    let (mut said, mut line) = (name.to_owned(), String::new());
                    while stream.read_line(&mut line).await.unwrap_or(0) > 2 {
                        if said == name || line.to_lowercase().starts_with("authorization") {
                            said.push_str(&format!("|{}", line.trim()));
                        }
                        line.clear();
                    }
                    if said == name {
                        return;
                    }
                    let length = said.len();
                    let answer =
                        format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{said}");
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            }));
        }
    }));
    HttpServiceConfig {
        name: name.to_owned(),
        endpoints: vec![HttpEndpoint {
            host: "127.0.0.1".to_owned(),
            port,
            weight: NonZeroU32::MIN,
            drained: false,
        }],
        protocol: Protocol::Http1,
        tls: None,
        host: None,
        policy: Policy::LeastLoad,
        hash: HashBy::Account,
        check: CheckConfig::default(),
    }
}

fn config(services: Vec<HttpServiceConfig>, routes: &[(&str, &str)]) -> GatewayConfig {
    let route = |(path, service): &(&str, &str)| RouteConfig {
        path: (*path).to_owned(),
        service: (*service).to_owned(),
    };
    GatewayConfig {
        http_services: services,
        routes: routes.iter().map(route).collect(),
        ..board::tests::config()
    }
}

async fn get(addr: SocketAddr, path: &str) -> (String, String) {
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer theirs\r\n\r\n"
    );
    let (head, body) = http(addr, request).await;
    (head[9..12].to_owned(), String::from_utf8_lossy(&body).into_owned())
}

#[test]
fn routes_lead_out_and_the_account_api_stays_in() {
    run(async {
        let front = gateway(&[], AMPLE);
        let services = HttpServices::new(1);
        let (rates, news) = (service("rates").await, service("news").await);
        let first = config(vec![rates.clone()], &[("/rates/*", "rates")]);
        front.set_routes(&services, &first, 0);
        let addr = served(Rc::clone(&front)).await;
        let said = |name: &str, path: &str| {
            let body = format!("{name}|GET {path} HTTP/1.1|authorization: Bearer theirs");
            ("200".to_owned(), body)
        };
        assert_eq!(get(addr, "/rates/eur?day=1").await, said("rates", "/rates/eur?day=1"));
        // The account API asks for its own key, and knows no other path.
        for path in ["/v1/a/accounts/alice", "/news/today", "/rates"] {
            assert_eq!(get(addr, path).await.0, "401", "{path}");
        }
        let (status, body) = get(addr, "/rates/%2e%2e/v1").await;
        assert!(status == "400" && body.contains("invalid_request"), "{body}");

        // Routes and services come and go while it runs.
        let both = [("/rates/*", "rates"), ("/news/*", "news"), ("/rates/news", "news")];
        front.set_routes(&services, &config(vec![rates, news], &both), 0);
        assert_eq!(get(addr, "/news/today").await, said("news", "/news/today"));
        assert_eq!(get(addr, "/rates/news").await, said("news", "/rates/news"));
        // As it came, wherever it was found to lead.
        assert_eq!(get(addr, "/r%61tes/%65ur").await, said("rates", "/r%61tes/%65ur"));
        assert_eq!(get(addr, "/rates/n%65ws").await, said("news", "/rates/n%65ws"));
        front.set_routes(&services, &config(Vec::new(), &[]), 0);
        assert_eq!(get(addr, "/rates/eur").await.0, "401");
        assert!(services.list().is_empty());
    });
}

#[test]
fn routes_lead_out_of_the_trunk_too() {
    run(async {
        let front = gateway(&[], AMPLE);
        let services = HttpServices::new(1);
        let rates = service("rates").await;
        front.set_routes(&services, &config(vec![rates], &[("/rates/*", "rates")]), 0);
        let link = linked(front).await;
        let target = Target::Http { method: "GET", path: "/rates/eur", headers: Headers::NONE };
        let answer = call(&link, &RequestRef::new(target, 10_000, b"")).await.unwrap();
        let response = answer.response();
        assert_eq!((response.status, response.decided_by), (200, "rates"));
        assert!(response.body.starts_with(b"rates|GET /rates/eur"), "{:?}", response.body);
    });
}
