//! Nodes that are started one by one, so that each may have a topology file of its own: the ways
//! from gateways to account nodes lead through proxies, and that from `a-1` to its engine
//! may.

use super::{
    proxy::Proxy,
    recorder::{Site, Watch, record},
    scene::Verdict,
};
use crate::tree::{Tree, free_addr};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

/// A debug build on a busy machine.
const READY_MAX: Duration = Duration::from_secs(60);

/// One gateway or two with HTTP doors, `a-1` and `a-2`; nobody starts again what ends.
pub(crate) struct Apart {
    folder: PathBuf,
    faults: PathBuf,
    /// The gateways' doors.
    sites: Vec<Site>,
    nodes: BTreeMap<String, Child>,
    /// Between `gateway-1` and `a-1`.
    pub(crate) to_owner: Proxy,
    /// Between `gateway-1` and `a-2`.
    pub(crate) to_sibling: Proxy,
    /// Between `gateway-2`, if there is one, and `a-1`.
    pub(crate) second_to_owner: Proxy,
}

/// What an [`Apart`] is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan<'a> {
    pub(crate) name: &'a str,
    /// For every node.
    pub(crate) orders: &'a str,
    /// The URLs under which `a-1` and `a-2` know the engine of both.
    pub(crate) engines: [&'a str; 2],
    pub(crate) gateways: usize,
}

impl Apart {
    /// With one gateway.
    pub(crate) fn start(name: &str, orders: &str, engines: [&str; 2]) -> Apart {
        Apart::of(Plan { name, orders, engines, gateways: 1 })
    }

    pub(crate) fn of(Plan { name, orders, engines, gateways }: Plan<'_>) -> Apart {
        let name = format!("apart-{name}");
        let faults = Tree::faults(&name);
        let folder = faults.with_extension("files");
        for folder in [&faults, &folder] {
            drop(fs::remove_dir_all(folder));
            fs::create_dir_all(folder).unwrap();
        }
        fs::write(faults.join("all"), orders).unwrap();
        let (key, cluster) = ("apart-key", "apart-cluster-key-0123456789abcdef");
        fs::write(folder.join("admin.key"), key).unwrap();
        fs::write(folder.join("cluster.key"), cluster).unwrap();
        let doors: Vec<SocketAddr> = (0..gateways).map(|_| free_addr()).collect();
        let [first, second] = [free_addr(), free_addr()];
        let [to_owner, to_sibling, second_to_owner] =
            [first, second, first].map(|to| Proxy::start(free_addr(), to));
        let file = |name: &str, accounts: [SocketAddr; 2], engine: &str| {
            fs::write(folder.join(name), topology(&doors, accounts, engine)).unwrap();
        };
        file("gateway-1.toml", [to_owner.addr, to_sibling.addr], engines[1]);
        file("gateway-2.toml", [second_to_owner.addr, second], engines[1]);
        file("a-1.toml", [first, second], engines[0]);
        // Where `verify` looks.
        file("tollgate.toml", [first, second], engines[1]);
        let site = |addr: &SocketAddr| Site { addr: *addr, key: key.to_owned() };
        let sites = doors.iter().map(site).collect();
        let nodes = BTreeMap::new();
        let mut apart =
            Apart { folder, faults, sites, nodes, to_owner, to_sibling, second_to_owner };
        apart.run("a-1", "a-1.toml");
        apart.run("a-2", "tollgate.toml");
        apart.run("gateway-1", "gateway-1.toml");
        if gateways == 2 {
            apart.run("gateway-2", "gateway-2.toml");
        }
        apart
    }

    /// Sends a node's process a signal.
    pub(crate) fn signal(&self, node: &str, signal: Signal) {
        let pid = i32::try_from(self.nodes[node].id()).ok().and_then(Pid::from_raw).unwrap();
        kill_process(pid, signal).unwrap();
    }

    fn run(&mut self, node: &str, file: &str) {
        let log = File::create(self.folder.join(format!("{node}.log"))).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_tollgate"))
            .args(["run", node, "--config"])
            .arg(self.folder.join(file))
            .env("TOLLGATE_FAULTS", &self.faults)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        self.nodes.insert(node.to_owned(), child);
        let (said, ready) = mpsc::channel();
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if line.starts_with("ready") {
                    _ = said.send(()); // Heard once is enough.
                }
            }
        });
        let heard = ready.recv_timeout(READY_MAX);
        assert!(heard.is_ok(), "{node} is not ready: {}", self.logs());
    }

    pub(crate) fn logs(&self) -> String {
        let log = |node: &str| fs::read_to_string(self.folder.join(format!("{node}.log")));
        let of = |node: &String| format!("--- {node}\n{}\n", log(node).unwrap_or_default());
        self.nodes.keys().map(of).collect()
    }

    /// Runs clients while `work` is done, and judges what they saw.
    pub(crate) fn judged(
        &self,
        seed: u64,
        work: impl FnOnce(&Apart, &Watch) -> Result<(), String>,
    ) -> Verdict {
        let (recorded, done) = record(&self.sites, seed, |watch| work(self, watch));
        let verify = Command::new(env!("CARGO_BIN_EXE_tollgate"))
            .args(["verify", "--data"])
            .arg(&self.folder)
            .output()
            .unwrap();
        let verdict = Verdict::of(recorded, done, &verify);
        if !verdict.wrong.is_empty() {
            eprintln!("{}", self.logs());
        }
        verdict
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        for node in self.nodes.values_mut() {
            // One that has ended is what is wanted.
            drop(node.kill());
            drop(node.wait());
        }
        if !thread::panicking() {
            drop(fs::remove_dir_all(&self.faults));
            drop(fs::remove_dir_all(&self.folder));
        }
    }
}

fn topology(doors: &[SocketAddr], [first, second]: [SocketAddr; 2], engine: &str) -> String {
    let gateway = |(at, http): (usize, &SocketAddr)| {
        let number = at + 1;
        format!("[[nodes]]\nname = \"gateway-{number}\"\nrole = \"gateway\"\nhttp = \"{http}\"\n")
    };
    let gateways: String = doors.iter().enumerate().map(gateway).collect();
    let account = |name: &str, trunk: SocketAddr| {
        format!(
            "\n[[nodes]]\nname = \"{name}\"\nrole = \"account\"\nservice = \"a\"\n\
             trunk = \"{trunk}\"\n"
        )
    };
    format!(
        "name = \"apart\"\n\n[services.a]\nengine = \"{engine}\"\npartitions = 8\n\n\
         {gateways}{}{}",
        account("a-1", first),
        account("a-2", second)
    )
}
