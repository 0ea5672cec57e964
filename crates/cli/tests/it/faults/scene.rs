//! A small tree that can be hurt at a place of one's choosing, and the verdict on what its clients
//! saw meanwhile.

use super::recorder::{Recorded, Site, Watch, record};
use crate::{
    cluster::cluster,
    tree::{Tree, free_addr},
};
use loadgen::history::{judge, mutation::Mutation};
use serde_json::Value;
use std::{
    collections::BTreeMap, fs, net::SocketAddr, path::PathBuf, process::Output, thread,
    time::Duration,
};
use stdx::Rng;

/// A debug build on a busy machine: what takes longer than this does not happen.
pub(crate) const LONG: Duration = Duration::from_secs(90);

/// Where the books of a tree are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum On {
    Sqlite,
    /// A database of its own in the tests' cluster.
    Postgres,
}

/// A tree of an edge, two gateways and two account nodes, and the folder of its faults.
pub(crate) struct Scene {
    pub(crate) tree: Tree,
    pub(crate) on: On,
    pub(crate) faults: PathBuf,
}

/// What judges say of a run.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) recorded: Recorded,
    /// Everything that is wrong, in words; empty when every promise was kept.
    pub(crate) wrong: Vec<String>,
}

fn topology(edge: SocketAddr, engine: &str) -> String {
    let node = |name: &str, role: &str| {
        let trunk = free_addr();
        format!("\n[[nodes]]\nname = \"{name}\"\nrole = {role}\ntrunk = \"{trunk}\"\n")
    };
    let nodes = [
        node("gateway-1", "\"gateway\""),
        node("gateway-2", "\"gateway\""),
        node("a-1", "\"account\"\nservice = \"a\""),
        node("a-2", "\"account\"\nservice = \"a\""),
    ];
    format!(
        "name = \"faults\"\n\n[services.a]\nengine = \"{engine}\"\npartitions = 8\n\n\
         [[nodes]]\nname = \"edge\"\nrole = \"balancer\"\nhttp = \"{edge}\"\n\
         endpoints = [\"gateway-1\", \"gateway-2\"]\n{}",
        nodes.concat()
    )
}

impl Scene {
    /// A new tree; `orders` hold for every node of it from the start.
    ///
    /// # Panics
    /// Without PostgreSQL, when it is to be on that.
    pub(crate) fn new(name: &str, on: On, orders: &str) -> Scene {
        let name = format!("faults-{name}");
        let engine = match on {
            On::Sqlite => "sqlite:a".to_owned(),
            On::Postgres => {
                let cluster = cluster().expect("PostgreSQL is installed");
                cluster.url(&cluster.create(&name))
            }
        };
        let faults = Tree::faults(&name);
        drop(fs::remove_dir_all(&faults));
        fs::create_dir_all(&faults).unwrap();
        fs::write(faults.join("all"), orders).unwrap();
        Scene { tree: Tree::of(&name, |edge| topology(edge, &engine)), on, faults }
    }

    pub(crate) fn site(&self) -> Site {
        Site { addr: self.tree.edge, key: self.tree.key.clone() }
    }

    /// What is to go wrong in this node, from now on.
    pub(crate) fn order(&self, node: &str, orders: &str) {
        let file = self.faults.join(node);
        // Written aside, so that nobody reads half of it.
        let aside = self.faults.join(format!("{node}.new"));
        fs::write(&aside, orders).unwrap();
        fs::rename(aside, file).unwrap();
    }

    /// As [`Scene::order`], and waits until it has happened.
    pub(crate) fn happens(&self, node: &str, orders: &str) -> Result<(), String> {
        let fired = self.faults.join(format!("{node}.fired"));
        drop(fs::remove_file(&fired));
        self.order(node, orders);
        eventually(LONG, || fired.exists()).map_err(|why| format!("{node}: {orders}: {why}"))
    }

    /// Where this engine passes when another would be at this place: a commit on PostgreSQL is one
    /// statement, and nothing is to be hurt in its middle.
    pub(crate) fn place(&self, place: &'static str) -> &'static str {
        match (self.on, place) {
            (On::Postgres, "before-fence" | "before-commit") => "before-begin",
            (On::Sqlite | On::Postgres, _) => place,
        }
    }

    /// The same of several, each once.
    pub(crate) fn places(&self, places: &[&'static str]) -> Vec<&'static str> {
        let mut here = Vec::new();
        for place in places.iter().map(|it| self.place(it)) {
            if !here.contains(&place) {
                here.push(place);
            }
        }
        here
    }

    /// Owner and epoch of each partition.
    pub(crate) fn owners(&self) -> Vec<(String, u64)> {
        let output = self.tree.run(&["partitions", "--json"]);
        let Ok(told) = serde_json::from_slice::<Value>(&output.stdout) else { return Vec::new() };
        let rows = told["partitions"].as_array().cloned().unwrap_or_default();
        let row = |it: &Value| {
            (it["owner"].as_str().unwrap_or("-").to_owned(), it["epoch"].as_u64().unwrap_or(0))
        };
        rows.iter().map(row).collect()
    }

    /// Waits until this node owns everything.
    pub(crate) fn all_at(&self, node: &str) -> Result<(), String> {
        let is_so = || {
            let owners = self.owners();
            !owners.is_empty() && owners.iter().all(|(owner, _)| owner == node)
        };
        eventually(LONG, is_so).map_err(|why| format!("everything at {node}: {why}"))
    }

    /// Waits until both nodes have partitions.
    pub(crate) fn all_home(&self) -> Result<(), String> {
        let is_so = || {
            let owners = self.owners();
            ["a-1", "a-2"].iter().all(|node| owners.iter().any(|(owner, _)| owner == node))
                && owners.iter().all(|(owner, _)| owner != "-")
        };
        eventually(LONG, is_so).map_err(|why| format!("both have partitions: {why}"))
    }

    /// Process ids by node.
    pub(crate) fn pids(&self) -> BTreeMap<String, u32> {
        let status = self.tree.status();
        let nodes = status["nodes"].as_array().cloned().unwrap_or_default();
        let pid = |it: &Value| {
            // 0 while it is being started again.
            let pid = u32::try_from(it["pid"].as_u64().unwrap_or(0)).unwrap();
            (it["name"].as_str().unwrap_or("-").to_owned(), pid)
        };
        nodes.iter().map(pid).collect()
    }

    /// Runs clients while `work` is done, and judges what they saw.
    pub(crate) fn judged(
        &mut self,
        seed: u64,
        work: impl FnOnce(&mut Scene, &Watch) -> Result<(), String>,
    ) -> Verdict {
        let site = self.site();
        let (recorded, done) = record(&[site], seed, |watch| work(self, watch));
        let verdict = Verdict::of(recorded, done, &self.tree.run(&["verify"]));
        if !verdict.wrong.is_empty() {
            eprintln!("{}", self.tree.logs());
        }
        verdict
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if !thread::panicking() {
            drop(fs::remove_dir_all(&self.faults));
        }
    }
}

/// Looks until something is so.
pub(crate) fn eventually(
    time_max: Duration,
    mut is_so: impl FnMut() -> bool,
) -> Result<(), String> {
    let begun = net::clock::now();
    while net::clock::now().since(begun) < time_max {
        if is_so() {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(10));
    }
    Err(format!("not within {time_max:?}"))
}

impl Verdict {
    /// What was recorded, what came of the work, and what `tollgate verify` says.
    pub(crate) fn of(recorded: Recorded, done: Result<(), String>, verify: &Output) -> Verdict {
        let mut wrong = recorded.odd.clone();
        wrong.extend(done.err());
        let findings = judge(&recorded.history, &recorded.books);
        wrong.extend(findings.iter().map(ToString::to_string));
        if !verify.status.success() {
            let said = [&*verify.stdout, &*verify.stderr].concat();
            wrong.push(format!("verify: {}", String::from_utf8_lossy(&said)));
        }
        Verdict { recorded, wrong }
    }

    /// In a few words, for a table.
    pub(crate) fn summary(&self) -> String {
        let Recorded { history, gap_ms, undecided, .. } = &self.recorded;
        let count = history.ops.len();
        format!("{count} operations, {undecided} attempts undecided, longest gap {gap_ms} ms")
    }

    /// Demands that nothing is wrong, and that the judges are awake: each kind of damage that this
    /// history has room for must be found in it.
    #[track_caller]
    pub(crate) fn holds(&self, seed: u64) {
        let shown = self.wrong.iter().take(5).collect::<Vec<_>>();
        assert!(self.wrong.is_empty(), "{} wrong: {shown:#?}", self.wrong.len());
        let (history, books) = self.part();
        let mut rng = Rng::new(seed);
        let mut damaged = 0;
        for kind in Mutation::ALL {
            if let Some((history, books)) = kind.of(&history, &books, &mut rng) {
                damaged += 1;
                assert_ne!(judge(&history, &books), [], "{kind:?} passes, seed {seed}");
            }
        }
        assert!(8 <= damaged, "{damaged} kinds of damage in {} operations", history.ops.len());
    }

    /// A few accounts of the history: damage is found there as well, and sooner.
    fn part(&self) -> (loadgen::history::History, loadgen::history::mutation::Books) {
        let Recorded { history, books, .. } = &self.recorded;
        let books: loadgen::history::mutation::Books =
            books.iter().take(8).map(|(account, book)| (*account, book.clone())).collect();
        let mut history = history.clone();
        history.ops.retain(|op| books.contains_key(&op.account));
        (history, books)
    }
}
