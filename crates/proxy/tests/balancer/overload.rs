//! Whole trees in one process, over a ledger that is sick or full.

use crate::harness::{ANY, Answer, Balancer, Gateway, PARTITIONS, PATIENCE, Stub, ask};
use net::trunk::{Handler, ReplyTo};
use std::{
    cell::RefCell,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};
use wire::{
    AccountId, AccountState, Call, Currency, Epoch, PartitionId, Reply, Status, Timestamp,
    call::Failure,
    frame::{RequestRef, ResponseRef, Target},
    query::Query,
};

/// An account node that owns every partition: one of them may be sick and never answer, or it may
/// have no room for anything.
struct Ledger {
    sick: Option<PartitionId>,
    full: bool,
    attempts: Arc<AtomicU64>,
    held: RefCell<Vec<ReplyTo>>,
}

impl Handler for Ledger {
    fn request(&self, request: RequestRef<'_>, reply: ReplyTo) {
        let Target::Ledger { partition, .. } = request.target else { panic!() };
        let said = match Call::decode(request.body) {
            // A gateway looks now and then for transfers that nobody drives; no client asked.
            Ok(Call::Query(Query::Pending)) => Reply::Pending(Vec::new()),
            Ok(Call::Query(Query::Account(id))) => {
                self.attempts.fetch_add(1, Relaxed);
                if Some(partition) == self.sick {
                    return self.held.borrow_mut().push(reply);
                }
                match self.full {
                    true => Reply::Failed(Failure::Overloaded),
                    false => Reply::Account(state(id)),
                }
            }
            other => panic!("{other:?}"),
        };
        let mut body = Vec::new();
        said.encode(&mut body);
        reply.send(ResponseRef::new(200, "a-1", &body));
    }
}

fn state(id: AccountId) -> AccountState {
    AccountState {
        id,
        currency: Currency::parse("EUR").unwrap(),
        status: Status::Open,
        posted: 0,
        held: 0,
        overdraft_limit: 0,
        version: 0,
        metadata: "{}".into(),
        created_at: Timestamp(1),
        updated_at: Timestamp(1),
    }
}

fn ledger(sick: Option<PartitionId>, full: bool) -> (Stub, Arc<AtomicU64>) {
    let attempts = Arc::<AtomicU64>::default();
    let counted = Arc::clone(&attempts);
    let handler = move || Ledger { sick, full, attempts: counted, held: RefCell::default() };
    let stub = Stub::start("a-1", ANY.parse().unwrap(), handler, |server| {
        server.set_owner_map((0..PARTITIONS).map(|it| (PartitionId(it), Epoch(1))).collect());
    });
    (stub, attempts)
}

/// Reads an account of this partition.
fn read(addr: SocketAddr, partition: u16) -> Answer {
    let ids = ["alice", "bob", "carol", "dave", "erin", "frank"];
    let lives_there = |id: &&str| AccountId::parse(id).unwrap().partition(PARTITIONS).0;
    let id = ids.into_iter().find(|id| lives_there(id) == partition).unwrap();
    ask(addr, &format!("GET /v1/a/accounts/{id}\nauthorization: Bearer secret\n"))
}

#[test]
fn a_sick_partition_trips_no_gateway_and_moves_no_traffic() {
    let (ledger, _) = ledger(Some(PartitionId(1)), false);
    let nodes = std::slice::from_ref(&ledger.endpoint);
    let gateways = ["gateway-1", "gateway-2"].map(|name| Gateway::start(name, nodes));
    let endpoints = gateways.each_ref().map(|it| it.endpoint.clone());
    let edge = Balancer::start("edge", &endpoints, Duration::from_millis(600));
    for gateway in &gateways {
        edge.ask_until("GET /x", &gateway.endpoint.name, |it| it["state"] == "up");
    }
    let addr = edge.http.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let healthy = Arc::<AtomicU64>::default();
    let asking = |partition: u16| {
        let (stop, healthy) = (Arc::clone(&stop), Arc::clone(&healthy));
        thread::spawn(move || {
            while !stop.load(Relaxed) {
                let status = read(addr, partition).status;
                if partition == 0 {
                    assert_eq!(status, 200);
                    healthy.fetch_add(1, Relaxed);
                } else {
                    // By the gateway's deadline, or by the edge's.
                    assert!([503, 504].contains(&status), "{status}");
                }
            }
        })
    };
    let askers: Vec<_> = (0..16).map(|number| asking(number % PARTITIONS)).collect();
    let of = |name: &str, key: &str| edge.endpoint_status(name)[key].as_u64().unwrap();
    let blamed = || endpoints.iter().map(|it| of(&it.name, "elsewhere")).sum::<u64>();
    // Healthy requests go on while the sick ones come to their end, dozens of them.
    let until = net::clock::now() + PATIENCE;
    while blamed() < 24 || healthy.load(Relaxed) < 500 {
        assert!(net::clock::now() < until, "{} of the sick are answered", blamed());
        thread::yield_now();
    }
    stop.store(true, Relaxed);
    askers.into_iter().for_each(|asker| asker.join().unwrap());
    let total: u64 = endpoints.iter().map(|it| of(&it.name, "requests")).sum();
    for endpoint in &endpoints {
        let status = edge.endpoint_status(&endpoint.name);
        assert_eq!(status["breaker"], "passing", "{status}");
        for key in ["trips", "failed", "shed", "lost"] {
            assert_eq!(status[key], 0, "{key} {status}");
        }
        let share = of(&endpoint.name, "requests") * 100 / total;
        assert!((10..=90).contains(&share), "{share} % of {total}: {status}");
        // What hangs below is not the gateway's latency.
        let own_us = status["reported"]["latency_us"].as_u64().unwrap();
        assert!(own_us < 300_000, "{status}");
    }
    edge.drain();
    gateways.into_iter().for_each(Gateway::drain);
    ledger.kill();
}

#[test]
fn three_layers_do_not_multiply_retries() {
    const CLIENTS: u64 = 8;
    const EACH: u64 = 100;
    let (ledger, attempts) = ledger(None, true);
    let gateway = Gateway::start("gateway-1", std::slice::from_ref(&ledger.endpoint));
    let layer = Balancer::start("layer", std::slice::from_ref(&gateway.endpoint), PATIENCE);
    let edge = Balancer::start("edge", &[layer.endpoint()], PATIENCE);
    edge.ask_until("GET /x", "layer", |it| it["state"] == "up");
    let addr = edge.http.unwrap();
    let began = net::clock::now();
    let asking: Vec<_> = (0..CLIENTS)
        .map(|_| {
            thread::spawn(move || {
                for _ in 0..EACH {
                    let answer = read(addr, 0);
                    assert_eq!((answer.status, answer.code().as_str()), (503, "overloaded"));
                    assert_eq!(answer.header("retry-after"), "1");
                }
            })
        })
        .collect();
    for asker in asking {
        asker.join().unwrap();
    }
    let seconds = net::clock::now().since(began).as_secs() + 2;
    let requests = CLIENTS * EACH;
    // A fifth of them, and 32 in each second that was begun.
    let most = requests + requests / 5 + 32 * seconds;
    let attempts = attempts.load(Relaxed);
    assert!((requests + 1..=most).contains(&attempts), "{attempts} attempts, {most} at most");
    // The refusals are the ledger's: nobody in between is to blame.
    for (balancer, name) in [(&edge, "layer"), (&layer, "gateway-1")] {
        let status = balancer.endpoint_status(name);
        assert_eq!((&status["trips"], &status["shed"]), (&0.into(), &0.into()), "{status}");
    }
    edge.drain();
    layer.drain();
    gateway.drain();
    ledger.kill();
}
