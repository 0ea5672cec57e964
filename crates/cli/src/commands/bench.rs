//! `tollgate bench`: load through a tree, its latencies, and an audit of the books.

mod processes;

use super::{Outcome, account::Tree, progress::Bar};
use crate::{
    args::{
        Bench,
        bench::{Goal, Keys, Quantile},
    },
    data::random_id,
    error::CliError,
    terminal::{say, say_json, tell},
};
use loadgen::{News, Pace, Plan, Report, Target, report};
use std::{
    fs::{self, File},
    io::Read,
    net::{SocketAddr, TcpStream, ToSocketAddrs},
    path::Path,
    process::ExitCode,
    time::Duration,
};

/// How long the tree may take to accept the first connection.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);

/// Measures, or compares what was measured.
pub(super) fn bench(args: &Bench, data: &Path) -> Outcome {
    if let [first, second] = args.compare.as_slice() {
        let (first, second) = (read(first)?, read(second)?);
        if let Some(path) = &args.html {
            write(path, report::comparison(&first, &second))?;
        }
        say(&report::compare(&first, &second));
        return Ok(ExitCode::SUCCESS);
    }
    if 1 < args.processes {
        return processes::run(args, data);
    }
    let plan = plan(args, data)?;
    let mut bar = Bar::new();
    let mut hear = |news: News<'_>| match news {
        News::Step { label, done, whole } => bar.tell(label, done, whole),
        News::Window { point, whole_ms } => {
            bar.tell("load", point.at_ms, whole_ms);
            if args.lines {
                say_json(point);
            }
        }
    };
    let result = loadgen::run(&plan, &mut hear);
    drop(bar);
    let report = result.map_err(|error| CliError::failed(error.to_string()))?;
    publish_and_judge(args, &report)
}

/// Shows the report as it was asked for; a failure when it is not as it was to be.
fn publish_and_judge(args: &Bench, report: &Report) -> Outcome {
    publish(args, report)?;
    let misses = misses(&args.fail_on, report);
    for miss in &misses {
        tell!("missed: {miss}");
    }
    let is_clean = report.audit.as_ref().is_none_or(loadgen::AuditReport::is_clean);
    Ok(if is_clean && misses.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn plan(args: &Bench, data: &Path) -> Result<Plan, CliError> {
    let tree = Tree::find(args.url.as_deref(), args.key_file.as_deref(), data)?;
    let host = format!("{}:{}", tree.url.host, tree.url.port);
    let addr = reach(&host).map_err(|why| tree.unreachable(&why))?;
    let id = random_id().map_err(|error| CliError::io("cannot make a run's name", &error))?;
    let plan = Plan {
        target: Target { addr, host, api_key: tree.key },
        pace: if args.closed { Pace::Closed } else { Pace::Open(args.rate) },
        connections: args.connections,
        streams: args.http2.then_some(args.streams),
        connection_requests: args.connection_requests,
        threads: args.threads,
        duration: args.duration,
        warm_up: args.warm_up,
        window: args.window,
        workload: args.workload,
        batch: args.batch,
        services: args.services(),
        accounts: args.accounts,
        keys: match args.keys {
            Keys::Client => loadgen::Keys::Client,
            Keys::Minted => loadgen::Keys::Minted,
        },
        repeats: !args.no_retry,
        answer_time_max: args.timeout,
        audit: !args.no_audit,
        // Enough of it that no two runs meet, and short, for every request bears it twice.
        run: id.chars().take(10).collect::<String>().to_ascii_lowercase(),
        seed: args.seed.unwrap_or_else(net::ids::seed),
    };
    match plan.complaint() {
        Some(complaint) => Err(CliError::usage(complaint)),
        None => Ok(plan),
    }
}

/// The first of the host's addresses that takes a connection.
fn reach(host: &str) -> Result<SocketAddr, String> {
    let mut why = "the name has no address".to_owned();
    for addr in host.to_socket_addrs().map_err(|error| error.to_string())? {
        match TcpStream::connect_timeout(&addr, CONNECT_TIME_MAX) {
            Ok(_) => return Ok(addr),
            Err(error) => why = error.to_string(),
        }
    }
    Err(why)
}

fn read(path: &Path) -> Result<Report, CliError> {
    let mut text = String::new();
    let limit = loadgen::limits::REPORT_BYTES_MAX;
    let read = File::open(path).and_then(|file| file.take(limit).read_to_string(&mut text));
    read.map_err(|error| CliError::io(path.display(), &error))?;
    serde_json::from_str(&text)
        .map_err(|error| CliError::failed(format!("{}: {error}", path.display())))
}

fn write(path: &Path, text: String) -> Result<(), CliError> {
    fs::write(path, text).map_err(|error| CliError::io(path.display(), &error))
}

fn publish(args: &Bench, report: &Report) -> Result<(), CliError> {
    if let Some(path) = &args.html {
        write(path, report::page(report))?;
    }
    let is_stdout = args.json.as_deref().is_some_and(|it| it == Path::new("-"));
    if args.lines || is_stdout {
        say_json(report);
        return Ok(());
    }
    if let Some(path) = &args.json {
        let text = serde_json::to_string(report).expect("our own values have string keys");
        write(path, text + "\n")?;
    }
    say(&report::text(report));
    Ok(())
}

/// The goals that were not reached.
fn misses(goals: &[Goal], report: &Report) -> Vec<String> {
    let miss = |goal: &Goal| match goal {
        Goal::Errors => {
            let errors = report.errors();
            (errors != 0).then(|| format!("{errors} operations were not answered by the ledger"))
        }
        Goal::Rate(rate) => (report.achieved < f64::from(*rate))
            .then(|| format!("{:.0} a second, {rate} were wanted", report.achieved)),
        Goal::Latency(quantile, wanted) => {
            let it = &report.latency;
            let (name, micros) = match quantile {
                Quantile::P50 => ("p50", it.p50),
                Quantile::P90 => ("p90", it.p90),
                Quantile::P99 => ("p99", it.p99),
                Quantile::P999 => ("p99.9", it.p999),
                Quantile::Max => ("max", it.max),
            };
            let measured = Duration::from_micros(micros);
            (*wanted < measured).then(|| format!("{name} of {measured:?}, {wanted:?} was wanted"))
        }
    };
    goals.iter().filter_map(miss).collect()
}
