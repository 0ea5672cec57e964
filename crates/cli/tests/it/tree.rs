//! A whole tree in a folder of its own: the real binary, real processes, a real disk.

use crate::http::{Answer, Client};
use serde_json::Value;
use std::{
    fs,
    io::{BufRead, BufReader},
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{
        atomic::{AtomicU16, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

/// A debug build on a busy machine is given this long before a test gives up on it.
const READY_MAX: Duration = Duration::from_secs(120);

/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The admin address of one node; a connection for each request.
pub(crate) struct Admin {
    addr: SocketAddr,
}

impl Admin {
    pub(crate) fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[])
    }

    pub(crate) fn post(&self, path: &str, body: &str) -> Answer {
        let mut client = Client::connect(self.addr, "none").unwrap();
        let headers = [("X-Tollgate", "1")];
        client.send("POST", path, &headers, body.as_bytes()).unwrap()
    }

    /// Without a body; the headers come on top of those that let an order pass.
    pub(crate) fn send(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut client = Client::connect(self.addr, "none").unwrap();
        let mut all = vec![("X-Tollgate", "1")];
        all.extend_from_slice(headers);
        client.send(method, path, &all, b"").unwrap()
    }

    pub(crate) fn status(&self) -> Value {
        self.get("/admin/status").json()
    }
}

/// A running `tollgate up`; everything ends and the folder goes when it is dropped.
pub(crate) struct Tree {
    pub(crate) data: PathBuf,
    pub(crate) edge: SocketAddr,
    pub(crate) key: String,
    /// A topology file of the test's own.
    pub(crate) config: Option<PathBuf>,
    up: Option<Child>,
}

impl Tree {
    /// A new tree on an empty folder.
    pub(crate) fn up(name: &str) -> Tree {
        Tree::up_with(name, &[])
    }

    /// As [`Tree::up`], with more arguments.
    pub(crate) fn up_with(name: &str, more: &[&str]) -> Tree {
        Tree::ready(Tree::new(name), more)
    }

    /// A new tree of this topology, in which the edge has the address that is given to it.
    pub(crate) fn of(name: &str, topology: impl FnOnce(SocketAddr) -> String) -> Tree {
        let mut tree = Tree::new(name);
        // A folder beside that of the data, where the keys will be as well.
        let folder = tree.data.with_extension("files");
        drop(fs::remove_dir_all(&folder));
        fs::create_dir_all(&folder).unwrap();
        let config = folder.join("shop.toml");
        fs::write(&config, topology(tree.edge)).unwrap();
        tree.config = Some(config);
        Tree::ready(tree, &[])
    }

    /// The folder of what is to go wrong in the tree of this name.
    pub(crate) fn faults(name: &str) -> PathBuf {
        Tree::folder(name).with_extension("faults")
    }

    fn folder(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("tollgate-it-{name}-{}", std::process::id()))
    }

    fn new(name: &str) -> Tree {
        let data = Tree::folder(name);
        drop(fs::remove_dir_all(&data));
        let edge = free_addr();
        Tree { data, edge, key: String::new(), config: None, up: None }
    }

    fn ready(mut tree: Tree, more: &[&str]) -> Tree {
        tree.start_with(more);
        let keys = match &tree.config {
            Some(config) => config.with_file_name("admin.key"),
            None => tree.data.join("admin.key"),
        };
        tree.key = fs::read_to_string(keys).unwrap().trim().to_owned();
        tree
    }

    /// Starts `up` on the folder, once more if need be, and returns when it says that the tree
    /// stands: its last words are a curl line to try.
    pub(crate) fn start(&mut self) {
        self.start_with(&[]);
    }

    /// As [`Tree::start`], with more arguments.
    pub(crate) fn start_with(&mut self, more: &[&str]) {
        assert!(self.up.is_none());
        // As a person does: from beside the folder, by its short name.
        let beside = self.data.parent().unwrap();
        let short = |path: &Path| path.strip_prefix(beside).unwrap().to_string_lossy().into_owned();
        let mut command = match &self.config {
            Some(config) => self.at(&["up", "--config", &short(config)], &short(&self.data)),
            None => self.at(&["up", "--edge", &self.edge.to_string()], &short(&self.data)),
        };
        command.current_dir(beside);
        command.args(more).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut up = command.spawn().unwrap();
        let (said, ready) = mpsc::channel();
        let stderr = BufReader::new(up.stderr.take().unwrap());
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                eprintln!("up: {line}");
            }
        });
        let stdout = BufReader::new(up.stdout.take().unwrap());
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                println!("up: {line}");
                if line.contains("curl") {
                    _ = said.send(()); // Heard once is enough.
                }
            }
        });
        self.up = Some(up);
        ready
            .recv_timeout(READY_MAX)
            .unwrap_or_else(|_| panic!("up is not ready: {}", self.logs()));
    }

    /// The binary with these arguments and this tree's `--data`.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        self.at(args, &self.data.to_string_lossy())
    }

    fn at(&self, args: &[&str], data: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
        command.args(args).args(["--data", data]).env("NO_COLOR", "1");
        // What a test wants to go wrong in a node, if there is such a folder.
        command.env("TOLLGATE_FAULTS", self.data.with_extension("faults"));
        command
    }

    /// Runs a verb to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs a verb that must succeed; its standard output.
    #[track_caller]
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {}\n{stderr}\n{}", output.status, self.logs());
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.edge, &self.key).unwrap()
    }

    /// `tollgate status --json`.
    #[track_caller]
    pub(crate) fn status(&self) -> Value {
        serde_json::from_str(&self.ok(&["status", "--json"])).unwrap()
    }

    /// The state of a node, as `status` shows it.
    #[track_caller]
    pub(crate) fn state(&self, name: &str) -> String {
        self.node(name)["state"].as_str().unwrap().to_owned()
    }

    #[track_caller]
    fn node(&self, name: &str) -> Value {
        let status = self.status();
        let found = status["nodes"].as_array().unwrap().iter().find(|it| it["name"] == name);
        found.unwrap_or_else(|| panic!("no {name}: {status}")).clone()
    }

    /// Where the monitor takes beats and shows its pages.
    #[track_caller]
    pub(crate) fn monitor(&self) -> SocketAddr {
        self.node("monitor")["http"].as_str().unwrap().parse().unwrap()
    }

    /// The admin address of a node.
    #[track_caller]
    pub(crate) fn admin(&self, name: &str) -> Admin {
        let addr = self.node(name)["admin"].as_str().unwrap().parse().unwrap();
        Admin { addr }
    }

    /// Sends a signal to a node's process, behind the back of `up`.
    pub(crate) fn signal(&self, name: &str, signal: &str) {
        let pid = self.node(name)["pid"].as_u64().unwrap().to_string();
        assert!(Command::new("kill").args(["-s", signal, &pid]).status().unwrap().success());
    }

    /// `kill -9`, as a machine would; `up` starts it again.
    pub(crate) fn kill(&self, name: &str) {
        self.signal(name, "KILL");
    }

    /// Looks until something is so.
    #[track_caller]
    pub(crate) fn until(&self, what: &str, mut is_so: impl FnMut(&Tree) -> bool) {
        let looks_max = READY_MAX.as_millis() / LOOK_EVERY.as_millis();
        for _ in 0..looks_max {
            if is_so(self) {
                return;
            }
            thread::sleep(LOOK_EVERY);
        }
        panic!("never: {what}");
    }

    /// Process ids of all nodes.
    pub(crate) fn pids(&self) -> Vec<(String, u32)> {
        let status = self.status();
        let nodes = status["nodes"].as_array().unwrap();
        nodes
            .iter()
            .map(|node| {
                let pid = node["pid"].as_u64().unwrap_or_else(|| panic!("no pid: {node}"));
                (node["name"].as_str().unwrap().to_owned(), u32::try_from(pid).unwrap())
            })
            .collect()
    }

    /// `kill -9` of `up` and of every node, all at once, and waits until all are gone.
    pub(crate) fn kill_everything(&mut self) {
        let mut up = self.up.take().unwrap();
        let mut pids: Vec<String> = vec![up.id().to_string()];
        pids.extend(self.pids().iter().map(|(_, pid)| pid.to_string()));
        let killed = Command::new("kill").arg("-9").args(&pids).status().unwrap();
        assert!(killed.success());
        up.wait().unwrap();
        // What was killed goes on for a moment: its addresses are free after that.
        self.until("all are gone", |_| pids.iter().all(|pid| is_gone(pid)));
    }

    /// SIGTERM to `up`: the drain. True when it ended with exit code 0.
    pub(crate) fn drain(&mut self) -> bool {
        let mut up = self.up.take().unwrap();
        let sent = Command::new("kill").arg(up.id().to_string()).status().unwrap();
        assert!(sent.success());
        up.wait().unwrap().success()
    }

    /// What the nodes wrote, for a test that failed.
    pub(crate) fn logs(&self) -> String {
        let Ok(entries) = fs::read_dir(self.data.join("logs")) else { return String::new() };
        entries
            .filter_map(Result::ok)
            .map(|entry| {
                let text = fs::read_to_string(entry.path()).unwrap_or_default();
                let from = text.len().saturating_sub(2_000);
                let tail = text.get(from..).unwrap_or(&text);
                format!("--- {}\n{tail}\n", entry.path().display())
            })
            .collect()
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        if let Some(mut up) = self.up.take() {
            drop(Command::new("kill").arg(up.id().to_string()).status());
            drop(up.wait());
        }
        if thread::panicking() {
            eprintln!("{}", self.logs());
        } else {
            drop(fs::remove_dir_all(&self.data));
            drop(fs::remove_dir_all(self.data.with_extension("files")));
        }
    }
}

/// Whether a process is no more, or only its parent's memory of it. The first of its threads may be
/// that while others still hold what it had open.
fn is_gone(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let is_over = stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['Z', 'X']));
    let threads = fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
    is_over && threads <= 1
}

/// An address that nobody listens at, nor will before it is used: each is given once, and from where
/// neither the kernel takes the ports of clients nor `up` those of its nodes.
pub(crate) fn free_addr() -> SocketAddr {
    const FIRST: u16 = 10_000;
    const COUNT: u16 = 10_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Runs side by side begin at different ones.
    let begin = std::process::id().wrapping_mul(61) % u32::from(COUNT);
    let begin = u16::try_from(begin).unwrap();
    loop {
        let port = FIRST + (begin + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT) % COUNT;
        let addr = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(addr).is_ok() {
            return addr;
        }
    }
}

/// Service and id of the account of this number: every other one in `b`.
pub(crate) fn place(account: usize) -> (&'static str, String) {
    (if account.is_multiple_of(2) { "a" } else { "b" }, format!("acc-{account}"))
}
