//! Databases that crash, are cut off, and fail over, under two account nodes. Skipped where
//! PostgreSQL is not installed.

use super::{
    apart::{Apart, Plan},
    cuts,
    proxy::{Proxy, Rule, Way},
    recorder::Watch,
    scene::{LONG, Verdict, eventually},
    standby::Standby,
};
use crate::{cluster::Cluster, tree::free_addr};
use rustix::process::Signal;
use std::{net::SocketAddr, thread, time::Duration};
use stdx::Rng;

/// Answers between two blows.
const SOME: usize = 60;
/// What the database is given to itself.
const DATABASE: &str = "faults";

/// What is waited for: of books that a control has damaged nobody expects much.
fn patience(orders: &str) -> Duration {
    if orders.is_empty() { LONG } else { Duration::from_secs(3) }
}

fn cluster(settings: &[&str]) -> Option<Cluster> {
    let cluster = Cluster::start(settings, &[])?;
    cluster.create(DATABASE);
    Some(cluster)
}

fn addr(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn url(hosts: &[u16]) -> String {
    let hosts: Vec<String> = hosts.iter().map(|port| format!("127.0.0.1:{port}")).collect();
    format!("postgres://postgres@{}/{DATABASE}", hosts.join(","))
}

/// F26: the database crashes, twice, and comes back.
pub(crate) fn crashes(name: &str, orders: &str, seed: u64) -> Option<Verdict> {
    // It writes what nobody waits for late.
    let cluster = cluster(&["wal_writer_delay = 10s"])?;
    let engine = url(&[cluster.port]);
    let apart = Apart::start(name, orders, [&engine, &engine]);
    Some(apart.judged(seed, |_, watch| {
        for _ in 0..2 {
            watch.answers(SOME, LONG)?;
            cluster.stop();
            thread::sleep(Duration::from_millis(300));
            cluster.restart();
            watch.answers(SOME, patience(orders))?;
        }
        Ok(())
    }))
}

/// F12: the gateway cannot reach the owner, whose database is well.
pub(crate) fn gateway_and_owner(name: &str, seed: u64) -> Option<Verdict> {
    let cluster = cluster(&[])?;
    Some(cuts::gateway_and_owner(name, &url(&[cluster.port]), seed))
}

/// F13: `a-1` is cut off from the database and from nobody else, and each gateway sees one of the
/// account nodes: the first goes on to ask `a-1`, the second `a-2`, which takes over.
pub(crate) fn each_sees_one(name: &str, orders: &str, seed: u64) -> Option<Verdict> {
    let cluster = cluster(&[])?;
    let to_database = Proxy::start(free_addr(), addr(cluster.port));
    let engines = [url(&[to_database.addr.port()]), url(&[cluster.port])];
    let engines = [engines[0].as_str(), &engines[1]];
    let apart = Apart::of(Plan { name, orders, engines, gateways: 2 });
    Some(apart.judged(seed, |apart, watch| {
        watch.answers(SOME, LONG)?;
        let cut = [&to_database, &apart.to_sibling, &apart.second_to_owner];
        cut.iter().for_each(|proxy| proxy.set_both(Rule::Drop));
        // What it has given to the second one's clients by then it is asked for no more.
        apart.second_to_owner.reset();
        thread::sleep(Duration::from_secs(6));
        watch.answers(SOME, LONG)?;
        for proxy in cut {
            proxy.set_both(Rule::Pass);
            proxy.reset();
        }
        watch.answers(SOME, LONG).map(drop)
    }))
}

/// F14: between gateway, `a-1` and the database three of ten pieces come late, as they do where a
/// network loses that many, all are slow, and now and then the gateway's connections break.
pub(crate) fn networks_are_bad(name: &str, orders: &str, seed: u64) -> Option<Verdict> {
    through(name, orders, seed, |apart, to_database, watch, _| {
        watch.answers(SOME, LONG)?;
        for proxy in [&apart.to_owner, to_database] {
            proxy.set_both(Rule::Lossy);
        }
        for _ in 0..4 {
            watch.answers(SOME, LONG)?;
            apart.to_owner.reset();
        }
        for proxy in [&apart.to_owner, to_database] {
            proxy.set_both(Rule::Pass);
        }
        watch.answers(SOME, LONG).map(drop)
    })
}

/// F10: `a-1` is cut off from the database, and clients still reach it. Its sibling takes over.
pub(crate) fn owner_is_cut_off(name: &str, orders: &str, seed: u64) -> Option<Verdict> {
    through(name, orders, seed, |_, to_database, watch, _| {
        watch.answers(SOME, LONG)?;
        to_database.set_both(Rule::Drop);
        thread::sleep(Duration::from_secs(6));
        watch.answers(SOME * 3, LONG)?;
        to_database.set_both(Rule::Pass);
        to_database.reset();
        watch.answers(SOME * 3, LONG).map(drop)
    })
}

/// F11: what the database answers is lost, of a COMMIT too, and connections break within answers.
pub(crate) fn answers_are_lost(name: &str, orders: &str, seed: u64) -> Option<Verdict> {
    through(name, orders, seed, |_, to_database, watch, rng| {
        for turn in 0..8 {
            watch.answers(SOME, LONG)?;
            match turn % 2 {
                0 => to_database.set(Way::Back, Rule::Drop),
                _ => to_database.set(Way::Back, Rule::CutAfter(rng.below(3_000))),
            }
            thread::sleep(Duration::from_millis(100));
            to_database.set_both(Rule::Pass);
            to_database.reset();
        }
        watch.answers(SOME, LONG).map(drop)
    })
}

/// Both nodes, `a-1` by a proxy before the database.
fn through(
    name: &str,
    orders: &str,
    seed: u64,
    work: impl FnOnce(&Apart, &Proxy, &Watch, &mut Rng) -> Result<(), String>,
) -> Option<Verdict> {
    let cluster = cluster(&[])?;
    let to_database = Proxy::start(free_addr(), addr(cluster.port));
    let engines = [url(&[to_database.addr.port()]), url(&[cluster.port])];
    let apart = Apart::start(name, orders, [&engines[0], &engines[1]]);
    let mut rng = Rng::new(seed);
    Some(apart.judged(seed, |apart, watch| work(apart, &to_database, watch, &mut rng)))
}

/// A primary and its standby, and the way between them.
struct Pair {
    primary: Cluster,
    standby: Standby,
    replication: Proxy,
}

impl Pair {
    fn start(is_synchronous: bool) -> Option<Pair> {
        // It ends only when those are through who have connected and said nothing, as a standby has
        // that is cut off.
        let patience = "authentication_timeout = 1s";
        let primary = cluster(&["wal_level = replica", "max_wal_senders = 4", patience])?;
        let replication = Proxy::start(free_addr(), addr(primary.port));
        let standby = Standby::start(&primary, replication.addr);
        if is_synchronous {
            let wait = "ALTER SYSTEM SET synchronous_standby_names = '*'";
            primary.psql("postgres", wait);
            primary.psql("postgres", "SELECT pg_reload_conf()");
        }
        Some(Pair { primary, standby, replication })
    }

    fn url(&self) -> String {
        url(&[self.primary.port, self.standby.port])
    }

    /// The primary dies for good, and its standby takes its place.
    fn fail_over(&self) {
        self.primary.stop();
        self.standby.promote();
    }

    /// Waits until each node has its half: whoever is being given something commits little.
    fn are_home(&self) -> Result<(), String> {
        let sql = "SELECT count(*) FROM tollgate_a.part p JOIN tollgate_a.node n
                   ON n.node_id = p.owner AND n.name = 'a-2'";
        eventually(LONG, || self.primary.psql(DATABASE, sql) == "4")
            .map_err(|why| format!("a-2 has its half: {why}"))
    }

    /// Waits until a session of this node that has this purpose waits for the standby.
    fn waits(&self, node: &str, purpose: &str, time_max: Duration) -> Result<(), String> {
        let sql = format!("SELECT count(*) {} AND n.name LIKE '{node}'", waiting(purpose));
        eventually(time_max, || self.primary.psql(DATABASE, &sql) != "0")
            .map_err(|why| format!("{purpose} of {node} waits for the standby: {why}"))
    }

    /// Ends every commit that waits for the standby.
    fn end_waiting(&self) {
        let sql = format!("SELECT pg_terminate_backend(a.pid) {}", waiting("commit"));
        self.primary.psql(DATABASE, &sql);
    }
}

/// The sessions with this purpose that wait for the standby, and their nodes.
fn waiting(purpose: &str) -> String {
    format!(
        "FROM pg_stat_activity a JOIN tollgate_a.node n ON a.application_name =
            'tollgate ' || lpad(to_hex(n.node_id), 16, '0') || ' {purpose}'
         WHERE a.wait_event = 'SyncRep'"
    )
}

/// F27: the primary is killed and its standby promoted. With a synchronous standby nothing
/// acknowledged is lost; `is_synchronous: false` is the control, in which the standby lags.
pub(crate) fn fails_over(name: &str, is_synchronous: bool, seed: u64) -> Option<Verdict> {
    let pair = Pair::start(is_synchronous)?;
    let engine = pair.url();
    let apart = Apart::start(name, "", [&engine, &engine]);
    Some(apart.judged(seed, |_, watch| {
        watch.answers(SOME * 2, LONG)?;
        if !is_synchronous {
            pair.replication.set_both(Rule::Drop);
            watch.answers(SOME * 2, LONG)?;
        }
        pair.fail_over();
        let time_max = if is_synchronous { LONG } else { Duration::from_secs(3) };
        watch.answers(SOME * 2, time_max).map(drop)
    }))
}

/// F28: commits that wait for a standby which hears nothing are ended, and so are the looks after
/// them; then the primary dies. What was there to be seen is lost, and nobody was told of it.
pub(crate) fn waiters_are_ended(name: &str, orders: &str, seed: u64) -> Option<Verdict> {
    let pair = Pair::start(true)?;
    let engine = pair.url();
    let apart = Apart::start(name, orders, [&engine, &engine]);
    Some(apart.judged(seed, |_, watch| {
        pair.are_home()?;
        watch.answers(SOME, LONG)?;
        pair.replication.set_both(Rule::Drop);
        for _ in 0..4 {
            pair.waits("%", "commit", LONG)?;
            pair.end_waiting();
        }
        // Without the guard somebody is answered now; whoever is not waits on.
        drop(watch.answers(SOME, Duration::from_secs(2)));
        pair.fail_over();
        watch.answers(SOME * 2, patience(orders)).map(drop)
    }))
}

/// F6: the owner stops while its commit waits for the standby, with the fence rows in hand. Its
/// sibling ends that session, and what it takes it serves only when the standby has all of it.
pub(crate) fn owner_stops_in_commit(name: &str, seed: u64) -> Option<Verdict> {
    let pair = Pair::start(true)?;
    let engine = pair.url();
    let apart = Apart::start(name, "", [&engine, &engine]);
    Some(apart.judged(seed, |apart, watch| {
        pair.are_home()?;
        watch.answers(SOME, LONG)?;
        pair.replication.set_both(Rule::Drop);
        pair.waits("a-1", "commit", LONG)?;
        apart.signal("a-1", Signal::STOP);
        // Where its own commit has waited for too long by then, it takes nothing before that ends.
        drop(pair.waits("a-2", "lease", Duration::from_secs(8)));
        pair.replication.set_both(Rule::Pass);
        pair.replication.reset();
        watch.answers(SOME * 2, LONG)?;
        apart.signal("a-1", Signal::CONT);
        watch.answers(SOME, LONG).map(drop)
    }))
}
