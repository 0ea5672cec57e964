//! Several generators side by side, each a process of its own, and one report of all.

use super::publish_and_judge;
use crate::{
    args::{Bench, bench::Keys},
    commands::{Outcome, progress::Bar},
    error::CliError,
    terminal::tell,
};
use loadgen::{Report, report};
use serde_json::Value;
use std::{
    ffi::OsString,
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

/// What of a generator's complaints is told when it fails.
const COMPLAINT_BYTES_MAX: u64 = 16 * 1024;

/// A generator's part of the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Part {
    index: u32,
    rate: u32,
    connections: usize,
    accounts: u32,
}

/// The whole in as even parts as there can be.
fn parts(args: &Bench) -> Result<Vec<Part>, CliError> {
    let count = args.processes;
    let wide = usize::try_from(count).expect("a handful");
    if args.connections < wide || args.accounts < count || (!args.closed && args.rate < count) {
        let wanted = "--processes: each needs a connection, an account and one operation a second";
        return Err(CliError::usage(wanted.to_owned()));
    }
    let even = |whole: u32, index: u32| whole / count + u32::from(index < whole % count);
    let part = |(index, place): (u32, usize)| Part {
        index,
        rate: even(args.rate, index),
        connections: args.connections / wide + usize::from(place < args.connections % wide),
        accounts: even(args.accounts, index),
    };
    Ok((0..count).zip(0..).map(part).collect())
}

/// What a generator is called with.
fn arguments(args: &Bench, part: Part, data: &Path) -> Vec<OsString> {
    // Nothing is written in seconds only.
    let time = |it: Duration| match it.as_millis() {
        0 => "0s".to_owned(),
        millis => format!("{millis}ms"),
    };
    let keys = match args.keys {
        Keys::Client => "client",
        Keys::Minted => "minted",
    };
    let mut list: Vec<OsString> = ["bench", "--lines", "--data"].map(OsString::from).into();
    list.push(data.into());
    let mut flag = |name: &str, value: String| {
        list.extend([OsString::from(name), OsString::from(value)]);
    };
    if !args.closed {
        flag("--rate", part.rate.to_string());
    }
    flag("--connections", part.connections.to_string());
    if args.http2 {
        flag("--streams", args.streams.to_string());
    }
    flag("--accounts", part.accounts.to_string());
    flag("--threads", args.threads.to_string());
    flag("--duration", time(args.duration));
    flag("--warm-up", time(args.warm_up));
    flag("--window", time(args.window));
    flag("--timeout", time(args.timeout));
    flag("--workload", args.workload.text().to_owned());
    flag("--batch", args.batch.to_string());
    flag("--service", args.services().join(","));
    flag("--keys", keys.to_owned());
    if let Some(requests) = args.connection_requests {
        flag("--connection-requests", requests.to_string());
    }
    if let Some(seed) = args.seed {
        flag("--seed", seed.wrapping_add(u64::from(part.index)).to_string());
    }
    if let Some(url) = &args.url {
        flag("--url", url.clone());
    }
    if let Some(path) = &args.key_file {
        list.extend([OsString::from("--key-file"), path.into()]);
    }
    for (is_on, name) in [
        (args.closed, "--closed"),
        (args.http2, "--http2"),
        (args.no_retry, "--no-retry"),
        (args.no_audit, "--no-audit"),
    ] {
        if is_on {
            list.push(name.into());
        }
    }
    list
}

/// What comes from a generator.
enum Line {
    /// A window of its load ended, which began then.
    Window(u64),
    Report(Box<Report>),
}

/// Runs them all and puts their reports together.
pub(super) fn run(args: &Bench, data: &Path) -> Outcome {
    let parts = parts(args)?;
    let own = std::env::current_exe().map_err(|error| CliError::io("this program", &error))?;
    let mut generators = Vec::with_capacity(parts.len());
    let (lines, heard) = mpsc::channel();
    for part in parts {
        let child = Command::new(&own)
            .args(arguments(args, part, data))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| CliError::io("a generator", &error))?;
        generators.push(Generator::new(child, lines.clone()));
    }
    drop(lines);
    let mut bar = Bar::new();
    let whole = u64::try_from((args.warm_up + args.duration).as_millis()).unwrap_or(u64::MAX);
    let mut reports = Vec::with_capacity(generators.len());
    for line in heard {
        match line {
            Line::Window(at_ms) => bar.tell("load", at_ms, whole),
            Line::Report(report) => reports.push(*report),
        }
    }
    drop(bar);
    let count = generators.len();
    for generator in generators {
        generator.end();
    }
    if reports.len() < count {
        let ended = count - reports.len();
        return Err(CliError::failed(format!("{ended} of {count} generators gave no report")));
    }
    let report = report::together(reports).expect("there is one generator at least");
    publish_and_judge(args, &report)
}

struct Generator {
    child: Child,
    listener: thread::JoinHandle<()>,
    complaints: thread::JoinHandle<String>,
}

impl Generator {
    fn new(mut child: Child, lines: mpsc::Sender<Line>) -> Generator {
        let stdout = child.stdout.take().expect("piped");
        let stderr = child.stderr.take().expect("piped");
        let listener = thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                // A line that is neither is none of a generator's; without its report it failed.
                let Some(line) = read(&line) else { continue };
                if lines.send(line).is_err() {
                    return;
                }
            }
        });
        let complaints = thread::spawn(move || {
            let mut text = String::new();
            let mut stderr = BufReader::new(stderr);
            drop(stderr.by_ref().take(COMPLAINT_BYTES_MAX).read_to_string(&mut text));
            // The rest is read all the same: whoever writes it must not wait.
            drop(std::io::copy(&mut stderr, &mut std::io::sink()));
            text
        });
        Generator { child, listener, complaints }
    }

    /// Waits for its end and tells what it complained of.
    fn end(mut self) {
        drop(self.child.wait());
        drop(self.listener.join());
        let complaints = self.complaints.join().unwrap_or_default();
        if !complaints.is_empty() {
            tell!("{}", complaints.trim_end());
        }
    }
}

fn read(line: &str) -> Option<Line> {
    let value: Value = serde_json::from_str(line).ok()?;
    if value.get("format").is_some() {
        return Some(Line::Report(Box::new(serde_json::from_value(value).ok()?)));
    }
    Some(Line::Window(value.get("at_ms")?.as_u64()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Cli, Command};
    use clap::Parser;

    fn args(line: &str) -> Bench {
        let Command::Bench(args) = Cli::parse_from(line.split(' ')).command else { panic!() };
        args
    }

    #[test]
    fn parts_make_up_the_whole() {
        let line = "tollgate bench --processes 3 --rate 1000 --connections 64 --accounts 100";
        let parts = parts(&args(line)).unwrap();
        assert_eq!(parts.iter().map(|it| it.rate).collect::<Vec<_>>(), [334, 333, 333]);
        assert_eq!(parts.iter().map(|it| it.connections).collect::<Vec<_>>(), [22, 21, 21]);
        assert_eq!(parts.iter().map(|it| it.accounts).sum::<u32>(), 100);
        let few = "tollgate bench --processes 3 --connections 2";
        assert!(super::parts(&args(few)).is_err());
    }

    #[test]
    fn a_generator_is_asked_for_what_the_whole_was_asked_for() {
        let line = "tollgate bench --processes 2 --closed --connections 8 --duration 3s --http2 \
                    --streams 7 --warm-up 0s --window 100ms --workload zipf --service a,b --keys \
                    minted --no-retry --timeout 5s --seed 7 --url http://127.0.0.1:1 --key-file key";
        let whole = args(&line.replace("                    ", ""));
        let part = Part { index: 1, rate: 500, connections: 4, accounts: 500 };
        let given = arguments(&whole, part, Path::new("there"));
        let given: Vec<_> = given.iter().map(|it| it.to_str().unwrap()).collect();
        let again = args(&format!("tollgate {}", given.join(" ")));
        let wanted = Bench {
            processes: 1,
            lines: true,
            connections: 4,
            accounts: 500,
            seed: Some(8),
            ..whole
        };
        assert_eq!(format!("{again:?}"), format!("{wanted:?}"));
    }
}
