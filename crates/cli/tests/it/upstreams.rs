//! HTTP services beside the account API, through a whole tree of the real binary.

use crate::{
    http::Client,
    metrics,
    tree::{Tree, free_addr},
};
use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

/// A service on this process's threads: answers with its name and the request's line; `/healthz` is
/// well; `/echo` says the body back; a request to upgrade gets its bytes said back.
fn service(name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            thread::spawn(move || serve(name, stream));
        }
    });
    addr
}

fn serve(name: &str, stream: TcpStream) -> Option<()> {
    let mut writer = stream.try_clone().ok()?;
    let mut stream = BufReader::new(stream);
    loop {
        let (mut first, mut line, mut length, mut upgrade) =
            (String::new(), String::new(), 0, false);
        while 2 < stream.read_line(&mut line).ok()? {
            let lower = line.to_ascii_lowercase();
            if first.is_empty() {
                first = line.trim().to_owned();
            } else if let Some(value) = lower.strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
            upgrade |= lower.starts_with("upgrade:");
            line.clear();
        }
        if first.is_empty() {
            return None;
        }
        if upgrade {
            let head = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
            writer.write_all(head.as_bytes()).ok()?;
            let mut bytes = [0; 1024];
            loop {
                let count = stream.read(&mut bytes).ok().filter(|it| *it != 0)?;
                writer.write_all(&bytes[..count]).ok()?;
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).ok()?;
        if !first.contains("/echo") {
            body = format!("{name} {first}").into_bytes();
        }
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
        writer.write_all(head.as_bytes()).ok()?;
        writer.write_all(&body).ok()?;
    }
}

fn topology(edge: SocketAddr, [aside, chat]: [SocketAddr; 2], services: [SocketAddr; 2]) -> String {
    let [one, two] = services;
    let (layer, gateway, account, behind) = (free_addr(), free_addr(), free_addr(), free_addr());
    format!(
        r#"
name = "shop"

[services.a]
engine = "sqlite:a"
partitions = 2

[services.rates]
http = ["http://{one}", "http://{two}"]
check = {{ path = "/healthz", every = "200ms" }}

[[routes]]
path = "/rates/*"
service = "rates"

[[nodes]]
name = "edge"
role = "balancer"
http = "{edge}"
endpoints = ["layer2-1"]

[[nodes]]
name = "layer2-1"
role = "balancer"
trunk = "{layer}"
endpoints = ["gateway-1"]

[[nodes]]
name = "gateway-1"
role = "gateway"
trunk = "{gateway}"

[[nodes]]
name = "a-1"
role = "account"
service = "a"
trunk = "{account}"

[[nodes]]
name = "aside"
role = "balancer"
http = "{aside}"
endpoints = ["behind"]

[[nodes]]
name = "behind"
role = "balancer"
trunk = "{behind}"
endpoints = ["rates"]
policy = "round-robin"

[[nodes]]
name = "chat"
role = "balancer"
http = "{chat}"
endpoints = ["http://{one}"]
"#
    )
}

#[test]
fn a_tree_leads_to_other_services_by_route_and_by_balancer() {
    let services = [service("one"), service("two")];
    let [aside, chat] = [free_addr(), free_addr()];
    let tree = Tree::of("upstreams", |edge| topology(edge, [aside, chat], services));
    metrics::are_as_documented(
        &tree,
        &[
            ("gateway-1", &["endpoints", "gateway", "HTTP services"]),
            ("behind", &["endpoints", "HTTP services"]),
        ],
    );
    let mut client = tree.client();
    // Through the edge, a layer and the gateway's route.
    let answer = client.get("/rates/eur?day=1").unwrap();
    assert_eq!(answer.status, 200);
    let said = String::from_utf8_lossy(&answer.body).into_owned();
    assert!(said.ends_with(" GET /rates/eur?day=1 HTTP/1.1"), "{said}");
    assert!(answer.header("x-request-id").is_some(), "{answer:?}");
    let posted = client.post("/rates/echo", "hello").unwrap();
    assert_eq!((posted.status, posted.body.as_slice()), (200, &b"hello"[..]));
    // The account API is where it was.
    let opened = client.post("/v1/a/accounts", r#"{"id":"alice","currency":"EUR"}"#).unwrap();
    assert_eq!(opened.status, 201);
    assert_eq!(client.get("/elsewhere").unwrap().code(), "no_such_route");

    // Through a balancer of its own, over the trunk: both processes of the service are asked.
    let mut names = Vec::new();
    let mut client = Client::connect(aside, &tree.key).unwrap();
    for _ in 0..20 {
        let answer = client.get("/anything").unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        names.push(String::from_utf8_lossy(&answer.body[..3]).into_owned());
    }
    names.sort();
    names.dedup();
    assert_eq!(names, ["one", "two"]);

    // A connection that leaves HTTP behind.
    let mut socket = TcpStream::connect(chat).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let ask = "GET /chat HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    socket.write_all(ask.as_bytes()).unwrap();
    let mut reader = BufReader::new(socket.try_clone().unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    assert!(line.starts_with("HTTP/1.1 101"), "{line}");
    while line != "\r\n" {
        line.clear();
        reader.read_line(&mut line).unwrap();
    }
    socket.write_all(b"ping").unwrap();
    let mut pong = [0; 4];
    reader.read_exact(&mut pong).unwrap();
    assert_eq!(&pong, b"ping");
    drop((socket, reader));

    // An operator takes a process of the service out; the routes change; nobody is restarted.
    let out = format!("/admin/endpoints/{}", services[0]);
    assert_eq!(tree.admin("behind").post(&out, r#"{"state":"drain"}"#).status, 200);
    for _ in 0..10 {
        assert!(client.get("/anything").unwrap().body.starts_with(b"two"));
    }
    let file = tree.config.as_ref().unwrap();
    let text = fs::read_to_string(file).unwrap();
    fs::write(file, text.replace("/rates/*", "/prices/*")).unwrap();
    let told = tree.ok(&["reload"]);
    assert!(told.contains("routes: with /prices/* to rates"), "{told}");
    let mut client = tree.client();
    assert_eq!(client.get("/prices/eur").unwrap().status, 200);
    assert_eq!(client.get("/rates/eur").unwrap().code(), "no_such_route");

    let status = tree.status();
    let behind = status["nodes"].as_array().unwrap().iter().find(|it| it["name"] == "behind");
    let behind = &behind.unwrap()["status"];
    assert_eq!((&behind["service"], &behind["requests"]), (&"rates".into(), &30.into()));
    assert_eq!(behind["endpoints"][0]["health"], "well");
}
