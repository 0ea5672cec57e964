//! A PostgreSQL cluster of this process's own, for tests of any crate (they take this file in by
//! its path).
//!
//! It lives in a folder for temporary files, listens on a socket there and on a free port, and
//! ends with the process however that ends: a shell waits for the end of a pipe that this process
//! alone holds open. Where PostgreSQL is not installed there is none.

use std::{
    fs::{self, Permissions},
    io::{self, Write as _},
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
};

/// Where Debian has the programs of each version, none of which is on the PATH.
const DEBIAN: &str = "/usr/lib/postgresql";
/// Who runs it where the tests are run by root, which PostgreSQL refuses to be.
const USER: &str = "postgres";
/// What folders of clusters begin with; the number of their process follows.
const PREFIX: &str = "tollgate-pg-";

/// A running cluster.
#[derive(Debug)]
pub(crate) struct Cluster {
    folder: PathBuf,
    bin: PathBuf,
    pub(crate) port: u16,
    /// Ends the cluster when the pipe to it is closed.
    _guard: Child,
}

/// The cluster of this process, started when it is first asked for; `None`, and a word about it,
/// where PostgreSQL is not installed.
pub(crate) fn cluster() -> Option<&'static Cluster> {
    static CLUSTER: OnceLock<Option<Cluster>> = OnceLock::new();
    CLUSTER.get_or_init(|| Cluster::start(&[], &[])).as_ref()
}

impl Cluster {
    /// Starts one, with these lines added to its configuration and these files to its data, under
    /// their names.
    pub(crate) fn start(settings: &[&str], files: &[&Path]) -> Option<Cluster> {
        let Some(bin) = programs() else {
            tell("skipped: PostgreSQL is not installed (initdb and pg_ctl are not to be found)");
            return None;
        };
        remove_leftovers();
        let folder = fresh_folder();
        fs::create_dir_all(&folder).expect("a folder for temporary files can be written");
        if is_root() {
            run(Command::new("chown").arg(USER).arg(&folder));
        }
        let data = folder.join("data");
        run(as_user(&bin.join("initdb"))
            .args(["--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "--username"])
            .arg(USER)
            .arg("-D")
            .arg(&data));
        let port = free_port();
        let mut lines = vec![
            "listen_addresses = '127.0.0.1'".to_owned(),
            format!("port = {port}"),
            format!("unix_socket_directories = '{}'", folder.display()),
            "fsync = off".to_owned(), // Nobody pulls the plug of a test.
            "max_connections = 300".to_owned(),
            "max_wal_size = 256MB".to_owned(),
        ];
        lines.extend(settings.iter().map(|it| (*it).to_owned()));
        let conf = data.join("postgresql.conf");
        let mut text = fs::read_to_string(&conf).expect("initdb has written it");
        text.push_str(&lines.join("\n"));
        text.push('\n');
        fs::write(&conf, text).expect("it can be written");
        for file in files {
            let copy = data.join(file.file_name().expect("a file has a name"));
            fs::copy(file, &copy).expect("it can be copied");
            fs::set_permissions(&copy, Permissions::from_mode(0o600)).expect("it is ours");
            if is_root() {
                run(Command::new("chown").arg(USER).arg(&copy));
            }
        }
        let guard = guard(&bin, &folder);
        let cluster = Cluster { folder, bin, port, _guard: guard };
        cluster.control(&["start", "-w", "-l"], Some(&cluster.folder.join("log")));
        Some(cluster)
    }

    /// The URL of a database.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://{USER}@127.0.0.1:{}/{database}", self.port)
    }

    /// The URL of a database by its socket in the file system.
    pub(crate) fn socket_url(&self, database: &str) -> String {
        let (folder, port) = (self.folder.display(), self.port);
        format!("postgres:///{database}?host={folder}&port={port}&user={USER}")
    }

    /// Makes a database; gives its name.
    pub(crate) fn create(&self, database: &str) -> String {
        self.psql("postgres", &format!("CREATE DATABASE \"{database}\""));
        database.to_owned()
    }

    /// What these statements give, a row a line, columns divided by `|`.
    pub(crate) fn psql(&self, database: &str, sql: &str) -> String {
        let mut psql = Command::new(self.bin.join("psql"));
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", sql, "-d"]);
        psql.arg(self.url(database));
        let output = psql.output().expect("psql runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{sql}: {said}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Where a program of this version is.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }

    /// Starts it after it was stopped.
    pub(crate) fn restart(&self) {
        self.control(&["start", "-w", "-l"], Some(&self.folder.join("log")));
    }

    /// Stops it as a crash would.
    pub(crate) fn stop(&self) {
        self.control(&["stop", "-m", "immediate", "-w"], None);
    }

    fn control(&self, arguments: &[&str], log: Option<&Path>) {
        let mut pg_ctl = as_user(&self.bin.join("pg_ctl"));
        pg_ctl.arg("-D").arg(self.folder.join("data")).args(arguments).args(log);
        run(&mut pg_ctl);
    }
}

/// Where `initdb`, `pg_ctl` and `psql` are: on the PATH, or the newest of Debian's.
fn programs() -> Option<PathBuf> {
    let has_all = |folder: &PathBuf| {
        ["initdb", "pg_ctl", "psql", "postgres"].iter().all(|it| folder.join(it).is_file())
    };
    #[expect(clippy::disallowed_methods, reason = "a test looks for a program")]
    let path = std::env::var("PATH").unwrap_or_default();
    if let Some(folder) = path.split(':').map(PathBuf::from).find(has_all) {
        return Some(folder);
    }
    let versions = fs::read_dir(DEBIAN).ok()?.flatten();
    let number = |path: &PathBuf| -> u32 {
        path.file_name().and_then(|it| it.to_str()).and_then(|it| it.parse().ok()).unwrap_or(0)
    };
    let mut versions: Vec<PathBuf> = versions.map(|it| it.path()).collect();
    versions.sort_by_key(number);
    versions.into_iter().rev().map(|it| it.join("bin")).find(has_all)
}

/// A shell that ends the cluster and removes its folder once nobody holds the pipe to it.
fn guard(bin: &Path, folder: &Path) -> Child {
    let script = "trap '' INT TERM HUP; cat >/dev/null; \
                  $1/pg_ctl -D $2/data stop -m immediate -w >/dev/null 2>&1; rm -rf $2";
    let mut shell = as_user(Path::new("/bin/sh"));
    shell.args(["-c", script, "guard"]).arg(bin).arg(folder);
    shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    std::os::unix::process::CommandExt::process_group(&mut shell, 0); // Ctrl-C is not for it.
    shell.spawn().expect("there is a shell")
}

/// The program as the user who may run PostgreSQL.
fn as_user(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid", USER, "--regid", USER, "--init-groups", "--"]).arg(program);
    command.current_dir("/");
    command
}

fn is_root() -> bool {
    std::os::unix::fs::MetadataExt::uid(&fs::metadata("/proc/self").expect("Linux")) == 0
}

fn run(command: &mut Command) {
    // Not piped: what it starts would hold the pipe open.
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status();
    let status = status.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?}: {status}");
}

fn fresh_folder() -> PathBuf {
    static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let number = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    std::env::temp_dir().join(format!("{PREFIX}{}-{number}", std::process::id()))
}

/// Removes what processes left that are gone, and whose guards are too. A cluster that still runs
/// there ends by itself without its files.
fn remove_leftovers() {
    let Ok(entries) = fs::read_dir(std::env::temp_dir()) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let rest = name.to_str().and_then(|it| it.strip_prefix(PREFIX));
        let process = rest.and_then(|it| it.split('-').next()).and_then(|it| it.parse().ok());
        let is_over = |process: u32| !Path::new(&format!("/proc/{process}")).exists();
        if process.is_some_and(is_over) {
            fs::remove_dir_all(entry.path()).unwrap_or(()); // Its guard may be at it.
        }
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("it is bound").port()
}

/// Past the capture of tests' output, so that nobody misses it.
fn tell(what: &str) {
    writeln!(io::stderr(), "{what}").unwrap_or(());
}
