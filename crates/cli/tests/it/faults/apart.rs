//! Nodes that are started one by one, so that each may have a topology file of its own: the way
//! from the gateway to `a-1` leads through a proxy, and that from `a-1` to its engine may.

use super::{
    proxy::Proxy,
    recorder::{Site, Watch, record},
    scene::{Verdict, steady_addr},
};
use crate::tree::Tree;
use std::{
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

/// One gateway with an HTTP door, `a-1` and `a-2`; nobody starts again what ends.
pub(crate) struct Apart {
    folder: PathBuf,
    faults: PathBuf,
    pub(crate) site: Site,
    nodes: Vec<Child>,
    /// Between the gateway and `a-1`.
    pub(crate) to_owner: Proxy,
}

impl Apart {
    /// `orders` hold for every node; `engines` are the URLs under which `a-1` and `a-2` know the
    /// engine of both.
    pub(crate) fn start(name: &str, orders: &str, engines: [&str; 2]) -> Apart {
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
        let [http, first, second] = [steady_addr(), steady_addr(), steady_addr()];
        let to_owner = Proxy::start(steady_addr(), first);
        let file = |name: &str, owner: SocketAddr, engine: &str| {
            let text = topology(http, [owner, second], engine);
            fs::write(folder.join(name), text).unwrap();
        };
        file("gateway.toml", to_owner.addr, engines[1]);
        file("first.toml", first, engines[0]);
        // Where `verify` looks.
        file("tollgate.toml", first, engines[1]);
        let site = Site { addr: http, key: key.to_owned() };
        let mut apart = Apart { folder, faults, site, nodes: Vec::new(), to_owner };
        for (node, file) in
            [("a-1", "first.toml"), ("a-2", "tollgate.toml"), ("gateway-1", "gateway.toml")]
        {
            apart.run(node, file);
        }
        apart
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
        self.nodes.push(child);
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
        let log = |node| fs::read_to_string(self.folder.join(format!("{node}.log")));
        let of = |node| format!("--- {node}\n{}\n", log(node).unwrap_or_default());
        ["a-1", "a-2", "gateway-1"].map(of).concat()
    }

    /// Runs clients while `work` is done, and judges what they saw.
    pub(crate) fn judged(
        &self,
        seed: u64,
        work: impl FnOnce(&Apart, &Watch) -> Result<(), String>,
    ) -> Verdict {
        let (recorded, done) = record(&self.site, seed, |watch| work(self, watch));
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
        for node in &mut self.nodes {
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

fn topology(http: SocketAddr, [first, second]: [SocketAddr; 2], engine: &str) -> String {
    let account = |name: &str, trunk: SocketAddr| {
        format!(
            "\n[[nodes]]\nname = \"{name}\"\nrole = \"account\"\nservice = \"a\"\n\
             trunk = \"{trunk}\"\n"
        )
    };
    format!(
        "name = \"apart\"\n\n[services.a]\nengine = \"{engine}\"\npartitions = 8\n\n\
         [[nodes]]\nname = \"gateway-1\"\nrole = \"gateway\"\nhttp = \"{http}\"\n{}{}",
        account("a-1", first),
        account("a-2", second)
    )
}
