//! A standby of a PostgreSQL cluster, which follows it through an address of one's choosing.

use crate::{cluster::Cluster, tree::free_addr};
use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// A running standby. It ends when it is dropped.
pub(crate) struct Standby {
    folder: PathBuf,
    pg_ctl: PathBuf,
    pub(crate) port: u16,
}

impl Standby {
    /// Copies the cluster and follows it from then on.
    pub(crate) fn start(of: &Cluster, primary: SocketAddr) -> Standby {
        let port = free_addr().port();
        let name = format!("tollgate-standby-{}-{port}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        drop(fs::remove_dir_all(&folder));
        fs::create_dir_all(&folder).unwrap();
        if is_root() {
            run(Command::new("chown").arg("postgres").arg(&folder));
        }
        let data = folder.join("data");
        let (host, from) = (primary.ip().to_string(), primary.port().to_string());
        run(as_user(&of.program("pg_basebackup"))
            .args(["-h", &host, "-p", &from, "-U", "postgres", "-R", "-X", "stream"])
            .args(["--checkpoint=fast", "--no-sync", "-D"])
            .arg(&data));
        let conf = data.join("postgresql.conf");
        let mut text = fs::read_to_string(&conf).unwrap();
        text.push_str(&format!(
            "port = {port}\nunix_socket_directories = '{}'\nwal_receiver_timeout = 5s\n\
             wal_retrieve_retry_interval = 200ms\n",
            folder.display()
        ));
        fs::write(&conf, text).unwrap();
        let standby = Standby { folder, pg_ctl: of.program("pg_ctl"), port };
        let log = standby.folder.join("log");
        standby.control(&["start", "-w", "-l", &log.to_string_lossy()]);
        standby
    }

    /// Makes it the primary.
    pub(crate) fn promote(&self) {
        self.control(&["promote", "-w"]);
    }

    fn control(&self, words: &[&str]) {
        run(as_user(&self.pg_ctl).arg("-D").arg(self.folder.join("data")).args(words));
    }
}

impl Drop for Standby {
    fn drop(&mut self) {
        let mut stop = as_user(&self.pg_ctl);
        stop.arg("-D").arg(self.folder.join("data")).args(["stop", "-m", "immediate", "-w"]);
        // One that has ended is what is wanted.
        drop(stop.stdout(Stdio::null()).stderr(Stdio::null()).status());
        drop(fs::remove_dir_all(&self.folder));
    }
}

/// The program as a user who may run PostgreSQL, which root may not.
fn as_user(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "postgres", "--regid", "postgres", "--init-groups", "--"]);
    command.arg(program).current_dir("/");
    command
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn run(command: &mut Command) {
    // Not piped: what it starts would hold the pipe open.
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status();
    assert!(status.as_ref().is_ok_and(|it| it.success()), "{command:?}: {status:?}");
}
