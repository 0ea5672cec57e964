//! `tollgate top`: the tree live in the terminal, until q or Ctrl-C.

use super::{
    Outcome,
    status::{Said, ask_all, live, painted, requests},
};
use crate::{
    data::{Data, TreeState},
    error::CliError,
    terminal::{Paint, RawTerminal, say},
};
use std::{
    io::{self, IsTerminal, Read},
    path::Path,
    process::ExitCode,
    time::Duration,
};
use stdx::Moment;
use tokio::sync::mpsc;

/// How often the nodes are asked.
const EVERY: Duration = Duration::from_secs(1);
/// Draws from the top left corner, over what was there, and clears what is left of it.
const HOME: &str = "\x1b[H";
const CLEAR_LINE: &str = "\x1b[K\n";
const CLEAR_BELOW: &str = "\x1b[J";

/// Draws again and again; into a pipe, two looks a second apart and no more.
pub(super) fn top(data: &Path) -> Outcome {
    let data = Data::at(data);
    data.require_up()?;
    let failed = |error| CliError::io("cannot show the tree", &error);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(failed)?.block_on(async {
        match io::stdout().is_terminal() {
            true => watch(&data).await,
            false => look_twice(&data).await,
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

/// What the nodes said, and when.
struct Look {
    at: Moment,
    tree: TreeState,
    said: Vec<Said>,
}

async fn look(data: &Data) -> Result<Look, CliError> {
    let tree = data.require_up()?;
    let said = ask_all(&tree).await;
    Ok(Look { at: net::clock::now(), tree, said })
}

async fn look_twice(data: &Data) -> Result<(), CliError> {
    let before = look(data).await?;
    tokio::time::sleep(EVERY).await;
    say(&drawn(&before, &look(data).await?));
    Ok(())
}

async fn watch(data: &Data) -> Result<(), CliError> {
    let failed = |error| CliError::io("cannot show the tree", &error);
    let _screen = RawTerminal::open().map_err(failed)?;
    let mut keys = keys();
    let mut before = look(data).await?;
    loop {
        let now = look(data).await?;
        let lines = drawn(&before, &now).replace('\n', CLEAR_LINE);
        say(&format!("{HOME}{lines}{CLEAR_BELOW}"));
        before = now;
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            key = keys.recv() => if matches!(key, None | Some(b'q')) { return Ok(()) },
            ended = tokio::signal::ctrl_c() => return ended.map_err(failed),
        }
    }
}

/// Keys as they are pressed. The thread ends with the process: nothing wakes it from its read.
fn keys() -> mpsc::Receiver<u8> {
    let (sender, keys) = mpsc::channel(1);
    std::thread::spawn(move || {
        let mut byte = [0];
        while io::stdin().lock().read_exact(&mut byte).is_ok() {
            if sender.blocking_send(byte[0]).is_err() {
                return;
            }
        }
        // Without a keyboard it goes on until Ctrl-C.
        std::mem::forget(sender);
    });
    keys
}

fn drawn(before: &Look, now: &Look) -> String {
    let heads = ["NODE", "STATE", "IN FLIGHT", "LOAD", "REQUESTS/S"];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    for (node, said) in now.tree.nodes.iter().zip(&now.said) {
        let known = before.tree.nodes.iter().zip(&before.said).find(|(it, _)| it.pid == node.pid);
        let rate = known.and_then(|(_, earlier)| {
            rate(requests(earlier)?, requests(said)?, now.at.since(before.at))
        });
        let mut row = live(node, said).to_vec();
        row.push(rate.map_or_else(|| "-".to_owned(), |it| it.to_string()));
        rows.push(row);
    }
    let paint = Paint::stdout();
    let edge = now.tree.edge.as_deref().unwrap_or("no HTTP address");
    let title = paint.bold(&format!("{} at {edge}", now.tree.name));
    format!("{title}   q ends\n\n{}", painted(&rows, &now.tree, &now.said, paint))
}

/// A second's worth of what was counted; `None` when the count began anew.
fn rate(before: u64, now: u64, time: Duration) -> Option<u64> {
    let millis = u64::try_from(time.as_millis()).ok().filter(|it| *it != 0)?;
    Some(now.checked_sub(before)?.saturating_mul(1_000) / millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_by_the_second() {
        assert_eq!(rate(100, 300, Duration::from_millis(500)), Some(400));
        assert_eq!(rate(300, 100, Duration::from_secs(1)), None);
        assert_eq!(rate(1, 2, Duration::ZERO), None);
    }
}
