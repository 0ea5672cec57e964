//! `tollgate verify`: the books of every account service, derived again from the journal.

use super::{Outcome, amount::decimal, load_topology, progress::Bar};
use crate::{
    args,
    data::Data,
    error::CliError,
    terminal::{Paint, say, say_json, table},
    topology::{ServiceKind, elements::engine::EngineUrl},
};
use engine::verify::{PartitionReport, Progress, Report};
use serde::Serialize;
use std::{path::Path, process::ExitCode};

/// Bytes of a head's hash that a table shows: enough to compare two of them by eye.
const HASH_DIGITS: usize = 16;

/// What was found in all services.
#[derive(Debug, Serialize)]
struct Findings {
    sound: bool,
    services: Vec<Service>,
}

#[derive(Debug, Serialize)]
struct Service {
    service: String,
    sound: bool,
    /// Why nothing could be verified.
    error: Option<String>,
    partitions: Vec<Partition>,
}

#[derive(Debug, Serialize)]
struct Partition {
    partition: u16,
    epoch: u64,
    records: u64,
    head: String,
    commands: u64,
    transactions: u64,
    accounts: u64,
    /// The last record that the views have.
    projected: u64,
    currencies: Vec<Sums>,
    problems: Vec<String>,
    problems_more: u64,
}

#[derive(Debug, Serialize)]
struct Sums {
    currency: String,
    debits: i128,
    credits: i128,
    /// Zero, or there is a problem.
    sum: i128,
    #[serde(skip)]
    text: String,
}

/// A table or JSON to stdout, what is wrong to stderr too.
pub(super) fn verify(args: &args::Verify, data: &Path) -> Outcome {
    let data = Data::at(data);
    let path = data.topology_in_force()?;
    if !path.exists() {
        return Err(CliError::failed(format!("there are no books in {}", data.root.display()))
            .hint("name the folder of a tree: --data DIR"));
    }
    let tree = load_topology(&path)?;
    let mut services = Vec::new();
    for service in &tree.services {
        if let ServiceKind::Account { engines, partitions } = &service.kind {
            services.push(verify_service(&service.name, engines, *partitions));
        }
    }
    let findings = Findings { sound: services.iter().all(|it| it.sound), services };
    if args.json {
        say_json(&findings);
    } else {
        say(&as_text(&findings));
    }
    let problems = problems(&findings);
    if problems.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let message = format!("the books are not sound\n{}", problems.join("\n"));
    Err(CliError::failed(message)
        .hint("stop the tree, keep a copy of its folder, and compare it with a backup"))
}

fn verify_service(name: &str, engines: &[EngineUrl], partitions: u16) -> Service {
    let unverified = |error: String| Service {
        service: name.to_owned(),
        sound: false,
        error: Some(error),
        partitions: Vec::new(),
    };
    let mut whole = Report { service: name.to_owned(), partitions: Vec::new() };
    let mut bar = Bar::new();
    for (place, engine) in engines.iter().enumerate() {
        let label = match engines.len() {
            1 => format!("service {name}"),
            count => format!("service {name}, engine {} of {count}", place + 1),
        };
        let report = engine::verify::verify(engine, name, |it| {
            let (part, whole) = share(it);
            bar.tell(&label, part, whole);
        });
        let report = match report {
            Ok(report) => report,
            Err(error) => return unverified(error.to_string()),
        };
        let found = report.partitions.len();
        if found != usize::from(partitions) {
            let what = format!("the engine has {found} partitions, the topology {partitions}");
            return Service { sound: false, error: Some(what), ..service(report) };
        }
        whole.partitions.extend(kept(report.partitions, place, engines));
    }
    whole.partitions.sort_by_key(|it| it.partition);
    service(whole)
}

/// What an engine has to say of its own partitions. Of the others it has nothing but empty rows.
fn kept(
    reports: Vec<PartitionReport>,
    place: usize,
    engines: &[EngineUrl],
) -> impl Iterator<Item = PartitionReport> {
    let count = engines.len().max(1);
    let shown = engines[place].to_string();
    reports.into_iter().filter_map(move |mut it| {
        if usize::from(it.partition.0) % count == place {
            return Some(it);
        }
        if it.head.seq == wire::Seq(0) {
            return None;
        }
        it.problems.push(format!("has records in {shown}, which does not keep it"));
        Some(it)
    })
}

/// How far it is, all partitions counted alike: their lengths are not known beforehand.
fn share(it: Progress) -> (u64, u64) {
    const STEPS: u64 = 1_000;
    let of_partition = match it.records_count {
        0 => 0,
        count => u64::try_from(u128::from(it.records_done) * u128::from(STEPS) / u128::from(count))
            .unwrap_or(STEPS),
    };
    (u64::from(it.partition.0) * STEPS + of_partition, u64::from(it.partitions_count) * STEPS)
}

fn service(report: Report) -> Service {
    Service {
        sound: report.is_sound(),
        service: report.service,
        error: None,
        partitions: report.partitions.into_iter().map(partition).collect(),
    }
}

fn partition(it: PartitionReport) -> Partition {
    let currencies = it.currencies.iter().map(|books| Sums {
        currency: books.currency.to_string(),
        debits: books.debits,
        credits: books.credits,
        sum: books.credits.saturating_sub(books.debits),
        text: format!(
            "{} {} = {}",
            books.currency,
            decimal(books.debits, books.currency),
            decimal(books.credits, books.currency)
        ),
    });
    Partition {
        partition: it.partition.0,
        epoch: it.epoch.0,
        records: it.head.seq.0,
        head: it.head.hash.to_string(),
        commands: it.commands_count,
        transactions: it.transactions_count,
        accounts: it.accounts_count,
        projected: it.watermark.0,
        currencies: currencies.collect(),
        problems: it.problems,
        problems_more: it.problems_more,
    }
}

fn as_text(findings: &Findings) -> String {
    let paint = Paint::stdout();
    let mut out = String::new();
    for service in &findings.services {
        let verdict = if service.sound { paint.green("sound") } else { paint.red("NOT SOUND") };
        let title = paint.bold(&format!("service {}", service.service));
        out.push_str(&format!("{title}: {verdict}\n"));
        if !service.partitions.is_empty() {
            out.push_str(&table(&rows(service)));
        }
        out.push('\n');
    }
    let partitions = || findings.services.iter().flat_map(|it| &it.partitions);
    let total = |of: fn(&Partition) -> u64| partitions().map(of).sum::<u64>();
    out.push_str(&format!(
        "{} records, {} commands, {} transactions, {} accounts\n",
        total(|it| it.records),
        total(|it| it.commands),
        total(|it| it.transactions),
        total(|it| it.accounts),
    ));
    out
}

fn rows(service: &Service) -> Vec<Vec<String>> {
    let heads = [
        "PARTITION",
        "EPOCH",
        "RECORDS",
        "HEAD",
        "COMMANDS",
        "TRANSACTIONS",
        "ACCOUNTS",
        "DEBITS = CREDITS",
    ];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    for it in &service.partitions {
        let sums: Vec<&str> = it.currencies.iter().map(|it| it.text.as_str()).collect();
        rows.push(vec![
            it.partition.to_string(),
            it.epoch.to_string(),
            it.records.to_string(),
            it.head.chars().take(HASH_DIGITS).collect(),
            it.commands.to_string(),
            it.transactions.to_string(),
            it.accounts.to_string(),
            if sums.is_empty() { "-".to_owned() } else { sums.join(", ") },
        ]);
    }
    rows
}

/// What is wrong, a line each, with where it is.
fn problems(findings: &Findings) -> Vec<String> {
    let mut out = Vec::new();
    for service in &findings.services {
        let name = &service.service;
        out.extend(service.error.iter().map(|error| format!("service {name}: {error}")));
        for it in &service.partitions {
            let at = format!("service {name}, partition {}", it.partition);
            out.extend(it.problems.iter().map(|problem| format!("{at}: {problem}")));
            if it.problems_more != 0 {
                out.push(format!("{at}: and {} problems more", it.problems_more));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(problems: &[&str]) -> Findings {
        let partition = Partition {
            partition: 3,
            epoch: 1,
            records: 17,
            head: "ab".repeat(32),
            commands: 20,
            transactions: 18,
            accounts: 2,
            projected: 17,
            currencies: vec![Sums {
                currency: "EUR".to_owned(),
                debits: 7_500,
                credits: 7_500,
                sum: 0,
                text: "EUR 75.00 = 75.00".to_owned(),
            }],
            problems: problems.iter().map(ToString::to_string).collect(),
            problems_more: 0,
        };
        let sound = problems.is_empty();
        let services = vec![Service {
            service: "a".to_owned(),
            sound,
            error: None,
            partitions: vec![partition],
        }];
        Findings { sound, services }
    }

    #[test]
    fn sound_books_are_a_table() {
        let findings = findings(&[]);
        assert_eq!(
            as_text(&findings),
            "\
service a: sound
PARTITION  EPOCH  RECORDS  HEAD              COMMANDS  TRANSACTIONS  ACCOUNTS  DEBITS = CREDITS
3          1      17       abababababababab  20        18            2         EUR 75.00 = 75.00

17 records, 20 commands, 18 transactions, 2 accounts
"
        );
        assert!(problems(&findings).is_empty());
    }

    #[test]
    fn problems_say_where_they_are() {
        let findings = findings(&["record 9: another hash"]);
        assert_eq!(problems(&findings), ["service a, partition 3: record 9: another hash"]);
        assert!(as_text(&findings).starts_with("service a: NOT SOUND\n"));
    }

    #[test]
    fn progress_counts_every_partition_alike() {
        let at = |partition, records_done, records_count| {
            let partition = wire::PartitionId(partition);
            share(Progress { partition, partitions_count: 16, records_done, records_count })
        };
        assert_eq!(at(0, 0, 0), (0, 16_000));
        assert_eq!(at(8, 5, 10), (8_500, 16_000));
        assert_eq!(at(15, u64::MAX, u64::MAX), (16_000, 16_000));
    }
}
