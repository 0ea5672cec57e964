//! Orders from the admin address and from SIGHUP to the workers of a node.

use crate::harness::{PATIENCE, run};
use net::{
    admin::{Admin, Exposition, Source},
    control::{
        self, Control, Controls, EndpointChange, EndpointState, EndpointView, Errors, Loaded,
        Order, Refusal, Reload, View, hangups,
    },
    latency::LatencyCounts,
};
use std::{
    cell::RefCell,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    num::NonZeroU32,
    rc::Rc,
    sync::{Arc, Mutex},
};
use tokio::task::spawn_local;

/// A worker with one endpoint `x`; remembers what it was told.
struct Post {
    orders: Rc<RefCell<Vec<String>>>,
    fixed: Option<&'static str>,
}

impl Post {
    fn new(orders: &Rc<RefCell<Vec<String>>>) -> Post {
        Post { orders: Rc::clone(orders), fixed: None }
    }
}

impl control::Post<u32> for Post {
    fn apply(&self, order: &Order<u32>) {
        let told = match order {
            Order::Config(number) => format!("config {number}"),
            Order::Draining(on) => format!("draining {on}"),
            Order::Endpoint(change) => format!("{} {:?}", change.name, change.weight),
            Order::Look => return,
        };
        self.orders.borrow_mut().push(told);
    }

    fn view(&self) -> View {
        let endpoint = EndpointView {
            name: "x".into(),
            addr: "127.0.0.1:1".to_owned(),
            kind: "trunk",
            state: EndpointState::Passing,
            weight: 1,
            in_flight: 2,
            load: None,
            latency: LatencyCounts::default(),
            requests: 3,
            errors: Errors::default(),
            breaker: Some("passing"),
            changed: None,
        };
        View { in_flight: 2, endpoints: vec![endpoint], fixed: self.fixed, ..View::default() }
    }
}

fn change(name: &str) -> EndpointChange {
    EndpointChange { name: name.into(), drained: None, weight: NonZeroU32::new(5) }
}

#[test]
fn an_order_is_carried_out_when_every_worker_has_applied_it() {
    run(async {
        let control = Arc::new(Control::new(2, Reload::never()));
        let told = Rc::new(RefCell::new(Vec::new()));
        drop(spawn_local(control.orders(0).obey(Post::new(&told))));
        let mut ordered = {
            let control = Arc::clone(&control);
            spawn_local(async move { control.set_draining(true).await })
        };
        // The second worker has not begun; a look passes it over, an order waits for it.
        while told.borrow().is_empty() {
            tokio::task::yield_now().await;
        }
        assert_eq!(control.look().await.silent, [0; 0]);
        assert!(!ordered.is_finished());
        drop(spawn_local(control.orders(1).obey(Post::new(&told))));
        assert_eq!((&mut ordered).await.unwrap(), Ok(()));
        assert_eq!(*told.borrow(), ["draining true", "draining true"]);
        assert!(control.standing().draining);

        let views = control.change_endpoint(change("x")).await.unwrap();
        assert_eq!(control::merge(&views)[0].in_flight, 4);
        let unknown = control.change_endpoint(change("y")).await.unwrap_err();
        assert!(matches!(unknown, Refusal::Unknown(_)), "{unknown}");
        assert_eq!(told.borrow().len(), 4);
        control.set_draining(false).await.unwrap();
        assert!(!control.standing().draining);
        control.ending();
        assert!(control.standing().draining, "a node that ends is never ready again");
    });
}

#[test]
fn a_worker_that_hangs_is_named_and_holds_up_nobody_else() {
    run(async {
        let control = Arc::new(Control::new(2, Reload::never()));
        let told = Rc::new(RefCell::new(Vec::new()));
        drop(spawn_local(control.orders(0).obey(Post::new(&told))));
        let hangs = control.orders(1);
        let looked = control.look().await;
        assert_eq!((looked.views.len(), looked.silent), (1, vec![1]));
        drop(hangs);
        let refusal = control.set_draining(true).await.unwrap_err();
        assert!(matches!(refusal, Refusal::Late(_)), "{refusal}");
        assert_eq!(*told.borrow(), ["draining true"]);
    });
}

/// What the next reload finds.
type Next = Arc<Mutex<Result<Loaded<u32>, Vec<String>>>>;

fn reloading(next: &Next) -> (control::HangupSender, Reload<u32>) {
    let (sender, receiver) = hangups();
    let next = Arc::clone(next);
    let load = move || {
        let nothing = Ok(Loaded { config: None, changes: Vec::new() });
        std::mem::replace(&mut *next.lock().unwrap(), nothing)
    };
    (sender, Reload::new(receiver, Box::new(load)))
}

fn changed(config: u32) -> Result<Loaded<u32>, Vec<String>> {
    Ok(Loaded { config: Some(config), changes: vec!["number".to_owned()] })
}

#[test]
fn a_reload_is_taken_by_all_or_refused_whole() {
    run(async {
        let next: Next = Arc::new(Mutex::new(changed(7)));
        let (_hangup, reload) = reloading(&next);
        let control = Control::new(1, reload);
        let told = Rc::new(RefCell::new(Vec::new()));
        drop(spawn_local(control.orders(0).obey(Post::new(&told))));
        assert_eq!(control.reload().await.unwrap(), ["number"]);
        assert_eq!(control.standing().generation, 2);
        *next.lock().unwrap() = Err(vec!["one".to_owned(), "two".to_owned()]);
        let refused = Refusal::Refused(vec!["one".to_owned(), "two".to_owned()]);
        assert_eq!(control.reload().await, Err(refused.clone()));
        let standing = control.standing();
        assert_eq!((standing.generation, standing.last_reload.unwrap().result), (2, Err(refused)));
        assert_eq!(control.reload().await.unwrap(), [""; 0]);
        assert_eq!(control.standing().generation, 2);
        assert_eq!(*told.borrow(), ["config 7"]);
    });
}

struct Nothing;

impl Source for Nothing {
    fn readiness(&self) -> Result<(), String> {
        Ok(())
    }

    fn metrics(&self, _: &mut Exposition) {}

    fn status(&self) -> String {
        r#"{"node":"n"}"#.to_owned()
    }
}

/// A node of one worker, on this thread's runtime, behind a real admin address.
fn node(next: &Next) -> (Admin, control::HangupSender, Rc<RefCell<Vec<String>>>) {
    let (hangup, reload) = reloading(next);
    let control = Arc::new(Control::new(1, reload));
    let told = Rc::new(RefCell::new(Vec::new()));
    drop(spawn_local(control.orders(0).obey(Post::new(&told))));
    let admin = Admin::start("127.0.0.1:0".parse().unwrap(), Arc::new(Nothing), control).unwrap();
    (admin, hangup, told)
}

/// Asks from another thread, since the worker is on this one; status and body.
async fn ask(admin: SocketAddr, head: &str, body: &str) -> (u16, String) {
    let (line, more) = head.split_once('\n').unwrap_or((head, ""));
    let mut text = format!("{line} HTTP/1.1\r\nhost: {admin}\r\nconnection: close\r\n");
    for line in more.lines() {
        text.push_str(&format!("{line}\r\n"));
    }
    text.push_str(&format!("content-length: {}\r\n\r\n{body}", body.len()));
    let said = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(admin).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(text.as_bytes()).unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).unwrap();
        said
    });
    let said = said.await.unwrap();
    let (head, body) = said.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), body.to_owned())
}

const JSON: &str = "content-type: application/json";

#[test]
fn the_admin_address_gives_orders_to_the_workers() {
    run(async {
        let next: Next = Arc::new(Mutex::new(changed(9)));
        let (admin, _hangup, told) = node(&next);
        let order = |path: &str| format!("POST {path}\n{JSON}");
        let (status, body) = ask(admin.addr(), &order("/admin/drain"), "").await;
        assert!(status == 200 && body.contains(r#""draining":true"#), "{status} {body}");
        assert_eq!(ask(admin.addr(), "GET /readyz", "").await, (503, "draining\n".to_owned()));
        assert_eq!(ask(admin.addr(), &order("/admin/undrain"), "").await.0, 200);
        assert_eq!(ask(admin.addr(), "GET /readyz", "").await.0, 200);
        assert_eq!(ask(admin.addr(), "GET /healthz", "").await.0, 200);
        let weigh = r#"{"weight":5}"#;
        let (status, body) = ask(admin.addr(), &order("/admin/endpoints/x"), weigh).await;
        assert!(status == 200 && body.contains(r#""name":"x""#), "{status} {body}");
        assert_eq!(ask(admin.addr(), &order("/admin/endpoints/y"), weigh).await.0, 404);
        assert_eq!(ask(admin.addr(), &order("/admin/endpoints/x"), "{}").await.0, 400);
        let (status, body) = ask(admin.addr(), &order("/admin/reload"), "").await;
        assert!(status == 200 && body.contains(r#""changes":["number"]"#), "{status} {body}");
        *next.lock().unwrap() = Err(vec!["no".to_owned()]);
        let (status, body) = ask(admin.addr(), &order("/admin/reload"), "").await;
        assert!(status == 409 && body.contains(r#""complaints":["no"]"#), "{status} {body}");
        let orders = ["draining true", "draining false", "x Some(5)", "config 9"];
        assert_eq!(*told.borrow(), orders);
        let (_, metrics) = ask(admin.addr(), "GET /metrics", "").await;
        assert!(metrics.contains("\nconfig_generation 2\n"), "{metrics}");
        assert!(metrics.contains(r#"endpoint_state{endpoint="x",state="passing"} 1"#), "{metrics}");
    });
}

#[test]
fn a_page_of_another_site_orders_nothing() {
    run(async {
        let next: Next = Arc::new(Mutex::new(changed(1)));
        let (admin, _hangup, told) = node(&next);
        for headers in
            ["", "content-type: text/plain", "origin: http://evil.example\nx-tollgate: 1"]
        {
            let head = format!("POST /admin/drain\n{headers}");
            assert_eq!(ask(admin.addr(), head.trim_end(), "").await.0, 403, "{headers}");
        }
        for (line, status) in
            [("GET /admin/drain", 405), ("POST /metrics", 405), ("POST /nowhere", 404)]
        {
            assert_eq!(ask(admin.addr(), &format!("{line}\n{JSON}"), "").await.0, status, "{line}");
        }
        assert!(told.borrow().is_empty());
    });
}

#[test]
fn a_hangup_reloads() {
    run(async {
        let next: Next = Arc::new(Mutex::new(changed(3)));
        let (_admin, hangup, told) = node(&next);
        hangup.hang_up();
        while told.borrow().is_empty() {
            tokio::task::yield_now().await;
        }
        assert_eq!(*told.borrow(), ["config 3"]);
    });
}

#[test]
fn what_cannot_be_passed_over_is_not_changed() {
    run(async {
        let control = Control::new(1, Reload::never());
        let told = Rc::new(RefCell::new(Vec::new()));
        let post = Post { fixed: Some("it owns"), ..Post::new(&told) };
        drop(spawn_local(control.orders(0).obey(post)));
        let refused = control.change_endpoint(change("x")).await.unwrap_err();
        assert_eq!(refused, Refusal::Refused(vec!["it owns".to_owned()]));
        assert!(told.borrow().is_empty());
    });
}
