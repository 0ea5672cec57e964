//! Databases that crash, are cut off, and fail over, under two account nodes. Skipped where
//! PostgreSQL is not installed.

use super::{
    apart::Apart,
    proxy::{Proxy, Rule, Way},
    recorder::Watch,
    scene::{LONG, Verdict, steady_addr},
    standby::Standby,
};
use crate::cluster::Cluster;
use std::{net::SocketAddr, thread, time::Duration};
use stdx::Rng;

/// Answers between two blows.
const SOME: usize = 60;
/// What the database is given to itself.
const DATABASE: &str = "faults";

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
pub(crate) fn crashes(name: &str, seed: u64) -> Option<Verdict> {
    let cluster = cluster(&[])?;
    let engine = url(&[cluster.port]);
    let apart = Apart::start(name, "", [&engine, &engine]);
    Some(apart.judged(seed, |_, watch| {
        for _ in 0..2 {
            watch.answers(SOME, LONG)?;
            cluster.stop();
            thread::sleep(Duration::from_millis(300));
            cluster.restart();
            watch.answers(SOME, LONG)?;
        }
        Ok(())
    }))
}

/// F10: `a-1` is cut off from the database, and clients still reach it. Its sibling takes over.
pub(crate) fn owner_is_cut_off(name: &str, orders: &str, seed: u64) -> Option<Verdict> {
    through(name, orders, seed, |to_database, watch, _| {
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
    through(name, orders, seed, |to_database, watch, rng| {
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
    work: impl FnOnce(&Proxy, &Watch, &mut Rng) -> Result<(), String>,
) -> Option<Verdict> {
    let cluster = cluster(&[])?;
    let to_database = Proxy::start(steady_addr(), addr(cluster.port));
    let engines = [url(&[to_database.addr.port()]), url(&[cluster.port])];
    let apart = Apart::start(name, orders, [&engines[0], &engines[1]]);
    let mut rng = Rng::new(seed);
    Some(apart.judged(seed, |_, watch| work(&to_database, watch, &mut rng)))
}

/// F27: the primary is killed and its standby promoted. With a synchronous standby nothing
/// acknowledged is lost; `is_synchronous: false` is the control, in which the standby lags.
pub(crate) fn fails_over(name: &str, is_synchronous: bool, seed: u64) -> Option<Verdict> {
    let cluster = cluster(&["wal_level = replica", "max_wal_senders = 4"])?;
    let replication = Proxy::start(steady_addr(), addr(cluster.port));
    let standby = Standby::start(&cluster, replication.addr);
    if is_synchronous {
        let wait = "ALTER SYSTEM SET synchronous_standby_names = '*'";
        cluster.psql("postgres", wait);
        cluster.psql("postgres", "SELECT pg_reload_conf()");
    }
    let engine = url(&[cluster.port, standby.port]);
    let apart = Apart::start(name, "", [&engine, &engine]);
    Some(apart.judged(seed, |_, watch| {
        watch.answers(SOME * 2, LONG)?;
        if !is_synchronous {
            replication.set_both(Rule::Drop);
            watch.answers(SOME * 2, LONG)?;
        }
        cluster.stop();
        standby.promote();
        watch.answers(SOME * 2, LONG).map(drop)
    }))
}
