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
    /// Only faults whose name begins like this.
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
    println!("{}", markdown(&rows));
    status.is_ok_and(|it| it.success())
}

/// A row for each fault and seed.
fn markdown(rows: &str) -> String {
    let head =
        "| fault | promises | injected | judged | control |\n| --- | --- | --- | --- | --- |";
    let row = |row: &str| {
        let cells: Vec<String> = row.split('\t').map(|it| it.replace('|', "/")).collect();
        format!("\n| {} |", cells.join(" | "))
    };
    std::iter::once(head.to_owned()).chain(rows.lines().map(row)).collect()
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
        let table = markdown("F1\tP1\tkill\theld\tcaught: a|b\n");
        assert_eq!(table.lines().count(), 3);
        assert!(table.ends_with("| F1 | P1 | kill | held | caught: a/b |"), "{table}");
    }
}
