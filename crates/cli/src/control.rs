//! The orders that `up` takes from other commands: one JSON line in, one JSON line out, over a
//! Unix socket in the data folder.

use crate::{data::Data, error::CliError};
use serde::{Deserialize, Serialize};
use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Write},
    os::{fd::AsRawFd, unix::net::UnixStream},
    path::PathBuf,
    time::Duration,
};

/// Longest order.
pub(crate) const LINE_BYTES_MAX: usize = 64 * 1024;
/// Longest answer: a reload may have something to say of every node.
const ANSWER_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Longest path that fits a socket's address on Linux, its final zero included.
const SOCKET_PATH_BYTES_MAX: usize = 108;
/// Longer than `up` itself waits for any effect.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(120);

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Order {
    Node(NodeOrder),
    Reload(ReloadOrder),
}

/// What is to be done to a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NodeOrder {
    pub(crate) verb: Deed,
    pub(crate) node: String,
}

/// The topology file is to be read anew, for these nodes, or for all when none is named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReloadOrder {
    pub(crate) reload: Vec<String>,
}

/// The verbs that `up` can carry out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Deed {
    Start,
    Drain,
    Stop,
    Kill,
    Pause,
    Resume,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    /// The effect is reached; `changed` is false when it already held.
    Done { node: String, state: String, pid: Option<u32>, changed: bool },
    /// What every node made of the file.
    Reloaded { nodes: Vec<NodeReload> },
    /// It is not reached, and nothing was begun.
    Refused { message: String, hint: Option<String> },
}

/// What a reload came to for one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NodeReload {
    pub(crate) node: String,
    pub(crate) ok: bool,
    /// What has changed, or why nothing has.
    pub(crate) lines: Vec<String>,
}

impl Answer {
    /// A refusal.
    pub(crate) fn refused(message: impl Into<String>, hint: Option<String>) -> Answer {
        Answer::Refused { message: message.into(), hint }
    }
}

/// The socket's path, and what must stay open for it to work.
#[derive(Debug)]
pub(crate) struct SocketPath {
    pub(crate) path: PathBuf,
    _folder: Option<File>,
}

impl SocketPath {
    /// The control socket of a data folder; by way of `/proc` where its path is too long.
    pub(crate) fn of(data: &Data) -> io::Result<SocketPath> {
        let path = data.control();
        if path.as_os_str().len() < SOCKET_PATH_BYTES_MAX {
            return Ok(SocketPath { path, _folder: None });
        }
        let folder = File::open(&data.root)?;
        let name = path.file_name().expect("the socket has a name");
        let path = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())).join(name);
        Ok(SocketPath { path, _folder: Some(folder) })
    }
}

/// Gives an order to the `up` of a data folder and waits for its answer.
pub(crate) fn give(data: &Data, order: &Order) -> Result<Answer, CliError> {
    let failed = |error: io::Error| {
        CliError::io(format!("cannot reach `tollgate up` in {}", data.root.display()), &error)
            .hint("is it still running? see `tollgate status`")
    };
    let line = exchange(data, order).map_err(failed)?;
    serde_json::from_str(&line).map_err(|error| failed(io::Error::other(error)))
}

fn exchange(data: &Data, order: &Order) -> io::Result<String> {
    let socket = SocketPath::of(data)?;
    let mut stream = UnixStream::connect(&socket.path)?;
    stream.set_read_timeout(Some(ANSWER_TIME_MAX))?;
    let order = serde_json::to_string(order).map_err(io::Error::other)?;
    stream.write_all((order + "\n").as_bytes())?;
    let mut line = String::new();
    let mut reader = BufReader::new(stream.take(ANSWER_BYTES_MAX));
    match reader.read_line(&mut line)? {
        0 => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
        _ => Ok(line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn orders_and_answers_are_lines() {
        let order = Order::Node(NodeOrder { verb: Deed::Kill, node: "a-1".to_owned() });
        let text = serde_json::to_string(&order).unwrap();
        assert_eq!(text, r#"{"verb":"kill","node":"a-1"}"#);
        assert_eq!(serde_json::from_str::<Order>(&text).unwrap(), order);
        let reload = Order::Reload(ReloadOrder { reload: vec!["edge".to_owned()] });
        let text = serde_json::to_string(&reload).unwrap();
        assert_eq!(text, r#"{"reload":["edge"]}"#);
        assert_eq!(serde_json::from_str::<Order>(&text).unwrap(), reload);
        for bad in ["", "{}", r#"{"verb":"hug","node":"a"}"#, r#"{"verb":"kill","node":"a","x":1}"#]
        {
            assert!(serde_json::from_str::<Order>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn long_paths_go_by_proc() {
        assert_eq!(
            SocketPath::of(&Data::at(Path::new("d"))).unwrap().path,
            Path::new("d/control.sock")
        );
        let folder = std::env::temp_dir().join("x".repeat(120));
        std::fs::create_dir_all(&folder).unwrap();
        let socket = SocketPath::of(&Data::at(&folder)).unwrap();
        std::fs::remove_dir(&folder).unwrap();
        assert!(socket.path.starts_with("/proc/self/fd"), "{socket:?}");
    }
}
