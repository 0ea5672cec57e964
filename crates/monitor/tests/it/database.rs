//! A monitor that keeps what it knows in a database: what it keeps, and what it does while the
//! database is away.

use crate::{
    archive::database,
    cluster::Cluster,
    delivery::{event, webhook},
    wire::{Monitor, PING_KEY},
};
use monitor::store::Site;

#[test]
fn a_monitor_outlives_its_database() {
    let Some(cluster) = Cluster::start(&[], &[]) else { return };
    let (addr, letters) = webhook(&[]);
    let url = database(&cluster, "outlives");
    let mut monitor =
        Monitor::start_with("database", &["a-1"], &[format!("http://{addr}/")], |config| {
            config.store = Site::Database { url, monitor: "monitor".to_owned() };
        });
    let ping = |monitor: &Monitor, rest: &str| {
        monitor.call("POST", &format!("/ping/{PING_KEY}/nightly{rest}"), "said").0
    };
    assert_eq!(ping(&monitor, "?create=1"), 201);
    let _agent = monitor.agent("a-1");
    monitor.until("a-1 is up", |it| it.state("a-1") == "up");
    monitor.restart();
    assert_eq!(monitor.json("/v1/checks/nightly")["beats"], 1);
    monitor.until("a-1 is up again", |it| it.state("a-1") == "up");
    cluster.stop();
    // Heard, told, and refused to whoever would take it for stored.
    assert_eq!(ping(&monitor, "/fail"), 503);
    let told = |event: &str, name: &str| (200, event.to_owned(), name.to_owned());
    assert_eq!(event(&letters), told("opened", "nightly"));
    cluster.restart();
    monitor.until("it takes beats again", |it| ping(it, "") == 200);
    assert_eq!(event(&letters), told("resolved", "nightly"));
    // What happened meanwhile is in the books.
    monitor.until("the incident is stored", |it| {
        let (status, text) = it.call("GET", "/v1/incidents/i-1", "");
        status == 200 && text.contains("\"resolved\"") && text.contains("accepted")
    });
    monitor.restart();
    assert_eq!(monitor.state("nightly"), "up");
    assert_eq!(monitor.json("/v1/incidents/i-1")["state"], "resolved");
}

#[test]
fn a_monitor_waits_for_its_database() {
    let Some(cluster) = Cluster::start(&[], &[]) else { return };
    let url = database(&cluster, "waits");
    cluster.stop();
    let mut monitor = Monitor::start_with("waits", &["a-1"], &[], |config| {
        config.store = Site::Database { url, monitor: "monitor".to_owned() };
    });
    let ping = |monitor: &Monitor| {
        monitor.call("POST", &format!("/ping/{PING_KEY}/nightly?create=1"), "said")
    };
    let (status, words) = ping(&monitor);
    assert_eq!(status, 503);
    assert!(words.contains("waits for its database"), "{words}");
    let _agent = monitor.agent("a-1");
    cluster.restart();
    monitor.until("it takes beats", |it| ping(it).0 == 201);
    monitor.until("a-1 is up", |it| it.state("a-1") == "up");
    monitor.restart();
    assert_eq!(monitor.json("/v1/checks/nightly")["beats"], 1);
}
