//! A steady load that counts every answer: half of the clients send keys of their own.

use crate::{http::Client, tree::Tree};
use std::{
    net::SocketAddr,
    sync::{
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc,
    },
    thread,
};

const CLIENTS: usize = 8;

/// The load as the one who watches it sees it.
pub(crate) struct Load {
    answers: mpsc::Receiver<u64>,
}

impl Load {
    /// Returns after so many further answers: what was ordered before has then been put to the
    /// test. The slowest of them in milliseconds.
    pub(crate) fn answers(&self, count: usize) -> u64 {
        // Those that came before do not count.
        while self.answers.try_recv().is_ok() {}
        (0..count)
            .map(|_| self.answers.recv().expect("clients go on to the end"))
            .max()
            .unwrap_or(0)
    }
}

/// Credits `a/load` one cent at a time and looks at its balance, while `work` is done. Every
/// answer must be a success, every credit must be booked once, and every connection must last
/// until an answer says that it is its last. Returns how many answers there were.
pub(crate) fn under_load(tree: &Tree, work: impl FnOnce(&Load)) -> usize {
    let open = r#"{"id":"load","currency":"EUR"}"#;
    assert_eq!(tree.client().post("/v1/a/accounts", open).unwrap().status, 201);
    let (answered, answers) = mpsc::channel();
    let over = AtomicBool::new(false);
    let (sent, credits) = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let (answered, over) = (answered.clone(), &over);
                let (edge, key) = (tree.edge, tree.key.as_str());
                scope.spawn(move || ask_until(over, number, edge, key, &answered))
            })
            .collect();
        drop(answered);
        let guard = Over(&over); // Also when the work panics: the clients must end.
        work(&Load { answers });
        drop(guard);
        clients
            .into_iter()
            .map(|it| it.join().unwrap())
            .fold((0, 0), |sum, it| (sum.0 + it.0, sum.1 + it.1))
    });
    let balance = tree.client().get("/v1/a/accounts/load/balance").unwrap().json();
    assert_eq!(balance["posted"], credits, "{balance}");
    sent
}

struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// Answers, and how many of them were to credits.
fn ask_until(
    over: &AtomicBool,
    number: usize,
    edge: SocketAddr,
    key: &str,
    answered: &mpsc::Sender<u64>,
) -> (usize, usize) {
    let mut client = Client::connect(edge, key).unwrap();
    let (mut sent, mut credits) = (0, 0);
    while !over.load(Relaxed) {
        let body = r#"{"amount":1,"currency":"EUR"}"#;
        let path = "/v1/a/accounts/load/credit";
        let began = net::clock::now();
        let answer = match sent % 4 {
            3 => client.get("/v1/a/accounts/load/balance"),
            _ if number.is_multiple_of(2) => {
                client.post_keyed(path, &format!("load-{number}-{sent}"), body)
            }
            _ => client.post(path, body),
        };
        let answer = answer.unwrap_or_else(|err| panic!("client {number}, request {sent}: {err}"));
        assert!(answer.status < 300, "client {number}, request {sent}: {answer:?}");
        credits += usize::from(answer.status == 201);
        sent += 1;
        let millis = u64::try_from(net::clock::now().since(began).as_millis()).unwrap();
        _ = answered.send(millis); // Nobody counts any more once the work is done.
        if answer.header("connection") == Some("close") {
            client = Client::connect(edge, key).unwrap();
        }
    }
    (sent, credits)
}
