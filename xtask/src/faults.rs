//! `cargo xtask faults`: every fault with every seed on real processes, and a table of what held.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    /// Runs of each fault.
    seeds: u64,
    /// Only the faults of this number, as in `F5`, or `F5-pg`.
    only: String,
}

impl Wish {
    /// Reads `[--seeds N] [--only F5]`.
    pub(crate) fn parse(words: &[String]) -> Result<Wish, String> {
        let mut wish = Wish { seeds: 1, only: String::new() };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let value = words.next().ok_or_else(|| format!("{word} wants a value"))?;
            match word.as_str() {
                "--seeds" => {
                    let seeds = value.parse().ok().filter(|it| 0 < *it);
                    wish.seeds = seeds.ok_or_else(|| format!("{value:?} is no number of seeds"))?;
                }
                "--only" => wish.only.clone_from(value),
                _ => return Err(format!("{word:?} is not known: --seeds N, --only F5")),
            }
        }
        Ok(wish)
    }
}

/// Runs them; whether all held and every control was caught.
#[expect(clippy::print_stdout, reason = "the table is what it is run for")]
pub(crate) fn run(root: &Path, wish: &Wish) -> bool {
    let table: PathBuf = env::temp_dir().join(format!("tollgate-faults-{}", std::process::id()));
    let status = Command::new("cargo")
        .current_dir(root)
        .args(["test", "--locked", "-p", "cli", "--test", "it", "--"])
        .args(["--ignored", "--exact", "faults::every_fault_and_every_control"])
        .env("TOLLGATE_FAULTS_SEEDS", wish.seeds.to_string())
        .env("TOLLGATE_FAULTS_ONLY", &wish.only)
        .env("TOLLGATE_FAULTS_TABLE", &table)
        .status();
    let rows = fs::read_to_string(&table).unwrap_or_default();
    // It is a temporary file.
    drop(fs::remove_file(&table));
    let holds = status.is_ok_and(|it| it.success());
    println!("{}\n\n{}", markdown(&rows), summary(&rows, holds));
    holds
}

/// A row for each fault and seed.
fn markdown(rows: &str) -> String {
    let head = "| fault | promises | injected | seed | held | control | took |\n\
         | --- | --- | --- | ---: | --- | --- | ---: |";
    let row = |row: &str| {
        let cells: Vec<String> = row.split('\t').map(|it| it.replace('|', "/")).collect();
        format!("\n| {} |", cells.join(" | "))
    };
    std::iter::once(head.to_owned()).chain(rows.lines().map(row)).collect()
}

/// One line about all of them.
fn summary(rows: &str, holds: bool) -> String {
    let last = |row: &str| {
        row.rsplit('\t').next().and_then(|it| it.strip_suffix(" s")?.parse::<u64>().ok())
    };
    let seconds: u64 = rows.lines().filter_map(last).sum();
    let (count, minutes) = (rows.lines().count(), seconds.div_ceil(60));
    let came = if holds { "every one held, and every control was caught" } else { "NOT ALL HELD" };
    format!("{count} runs in {minutes} min: {came}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_is_read() {
        let parse = |text: &str| {
            Wish::parse(&text.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        };
        assert_eq!(parse(""), Ok(Wish { seeds: 1, only: String::new() }));
        assert_eq!(parse("--seeds 7 --only F5"), Ok(Wish { seeds: 7, only: "F5".to_owned() }));
        for bad in ["--seeds", "--seeds 0", "--seeds x", "--all 1"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn rows_become_a_table() {
        let rows = "F1\tP1\tkill\t1\t9 operations\tcaught: a|b\t61 s\n";
        let table = markdown(rows);
        assert_eq!(table.lines().count(), 3);
        let row = "| F1 | P1 | kill | 1 | 9 operations | caught: a/b | 61 s |";
        assert!(table.ends_with(row), "{table}");
        assert!(summary(rows, true).starts_with("1 runs in 2 min: every one held"));
        assert!(summary(rows, false).contains("NOT ALL HELD"));
    }
}
