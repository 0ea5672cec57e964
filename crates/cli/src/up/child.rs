//! One node as a process: started in a group of its own, watched until it ends.

use crate::{data::Data, ops, terminal::tell};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom, Write},
    net::SocketAddr,
    os::fd::OwnedFd,
    path::Path,
    process::{ExitStatus, Stdio},
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::mpsc,
};

/// A log is set aside at the start of its node once it is longer; one old log is kept.
const LOG_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Longest line of a node's stdout that is looked at.
const LINE_BYTES_MAX: u64 = 64 * 1024;
/// How much of a log's end is shown when its node fails.
const TAIL_BYTES_MAX: u64 = 8 * 1024;
const TAIL_LINES_MAX: usize = 20;
/// How long a node that listens is waited for to be ready: as long as everybody behind it is away
/// it is not.
const SERVING_MAX: Duration = Duration::from_secs(2);

/// Where a node says that it listens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Announced {
    pub(super) http: Option<SocketAddr>,
    pub(super) trunk: Option<SocketAddr>,
    pub(super) admin: Option<SocketAddr>,
}

/// What becomes of a process. `Ended` is its last word.
#[derive(Debug)]
pub(super) enum Word {
    Listens(Announced),
    /// It serves, or has nobody behind it yet.
    Ready,
    /// What came of the order to leave or to enter the rotation that had this number.
    Turned(u64, Result<(), String>),
    Ended(String),
}

/// A living process. To drop it closes its stdin, which tells it to drain.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) pid: u32,
    /// Names this process for good, where its id might have a new holder.
    handle: OwnedFd,
    _stdin: Option<ChildStdin>,
}

impl Process {
    /// Sends a signal; to a process that is gone already it makes no difference.
    pub(super) fn signal(&self, signal: Signal) {
        if let Err(error) = pidfd_send_signal(&self.handle, signal)
            && error != rustix::io::Errno::SRCH
        {
            tell!("cannot signal process {}: {error}", self.pid);
        }
    }
}

/// Starts `tollgate run NODE` and reports what becomes of it as node number `index`.
pub(super) fn start(
    program: &Path,
    config: &Path,
    data: &Data,
    (index, name): (usize, &str),
    is_fresh: bool,
    words: mpsc::Sender<(usize, Word)>,
) -> io::Result<Process> {
    let log = open_log(&data.log(name))?;
    let mut child = Command::new(program)
        .args(["run", name, "--config"])
        .arg(config)
        .arg("--in-force")
        .arg(data.in_force())
        .arg("--supervised")
        .args(is_fresh.then_some("--fresh"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(log.try_clone()?)
        .process_group(0)
        .spawn()?;
    let stdin = child.stdin.take();
    let stdout = child.stdout.take();
    // Not waited for yet, so it still has its id, dead or alive.
    let pid = child.id().ok_or_else(|| io::Error::other("ended before it began"))?;
    let raw = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let raw = raw.ok_or_else(|| io::Error::other("its id is no process id"))?;
    let handle = pidfd_open(raw, PidfdFlags::empty())?;
    tokio::spawn(watch(child, stdout, log, index, words));
    Ok(Process { pid, handle, _stdin: stdin })
}

async fn watch(
    mut child: Child,
    stdout: Option<ChildStdout>,
    log: File,
    index: usize,
    words: mpsc::Sender<(usize, Word)>,
) {
    let listen = async {
        if let Some(stdout) = stdout {
            listen(stdout, log, index, &words).await;
        }
        // Whoever closes its stdout still has to end.
        std::future::pending::<()>().await;
    };
    let status = tokio::select! {
        status = child.wait() => status,
        () = listen => unreachable!("it never returns"),
    };
    let how = match status {
        Ok(status) => describe(status),
        Err(error) => format!("was lost: {error}"),
    };
    // Without a receiver `up` itself is at its end.
    drop(words.send((index, Word::Ended(how))).await);
}

/// Copies stdout to the log, and passes on the line that says that the node listens, and then that
/// it is ready: whoever ends its sibling next must find it so.
async fn listen(
    stdout: ChildStdout,
    mut log: File,
    index: usize,
    words: &mpsc::Sender<(usize, Word)>,
) {
    let mut reader = BufReader::new(stdout);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut reader).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        // A full disk must not take the tree down with its logs.
        drop(log.write_all(&line));
        if let Some(announced) = announcement(&String::from_utf8_lossy(&line)) {
            drop(words.send((index, Word::Listens(announced))).await);
            if let Some(admin) = announced.admin {
                drop(tokio::time::timeout(SERVING_MAX, ops::serving(admin)).await);
            }
            drop(words.send((index, Word::Ready)).await);
        }
    }
}

/// Reads `ready NAME http=… trunk=… admin=…`; `None` when it is some other line.
fn announcement(line: &str) -> Option<Announced> {
    let mut parts = line.split_whitespace();
    if parts.next() != Some("ready") {
        return None;
    }
    let mut out = Announced::default();
    for (key, value) in parts.filter_map(|it| it.split_once('=')) {
        let address = value.parse().ok();
        match key {
            "http" => out.http = address,
            "trunk" => out.trunk = address,
            "admin" => out.admin = address,
            _ => {}
        }
    }
    Some(out)
}

fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}

fn open_log(path: &Path) -> io::Result<File> {
    if fs::metadata(path).is_ok_and(|meta| LOG_BYTES_MAX < meta.len()) {
        fs::rename(path, path.with_extension("log.old"))?;
    }
    File::options().create(true).append(true).open(path)
}

/// The last lines of a node's log.
pub(super) fn log_tail(data: &Data, name: &str) -> String {
    read_tail(&data.log(name)).unwrap_or_default()
}

fn read_tail(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES_MAX)))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES_MAX).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    let last = lines.len().saturating_sub(TAIL_LINES_MAX);
    Ok(lines[last..].join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_ready_line_announces() {
        let announced = announcement("ready edge http=127.0.0.1:8080 admin=127.0.0.1:9 x=y z\n");
        let at = |text: &str| Some(text.parse().unwrap());
        assert_eq!(
            announced,
            Some(Announced { http: at("127.0.0.1:8080"), trunk: None, admin: at("127.0.0.1:9") })
        );
        assert_eq!(announcement("ready"), Some(Announced::default()));
        for other in ["", "\n", "already", "not ready edge"] {
            assert_eq!(announcement(other), None, "{other}");
        }
    }
}
