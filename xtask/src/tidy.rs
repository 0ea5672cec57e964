//! The house rules that no lint knows: what pure crates may name, how long files may be, which
//! crate may depend on which.
//!
//! Each rule is a function from text to complaints, so each is tested on text.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The crates, in the order of ARCHITECTURE.md: each may depend only on those before it.
const CRATES: [&str; 13] = [
    "stdx", "wire", "ledger", "lease", "balance", "net", "engine", "proxy", "account", "monitor",
    "loadgen", "sim", "cli",
];
/// Crates that decide and know no clock, socket, disk, environment or randomness.
const PURE: [&str; 5] = ["stdx", "wire", "ledger", "lease", "balance"];
/// Folders that are held to the same within crates that have a shell, too.
const PURE_FOLDERS: [&str; 3] =
    ["crates/monitor/src/core", "crates/loadgen/src/history", "crates/sim/src"];
/// What a pure crate may not name, and why.
const IMPURE: [(&str, &str); 11] = [
    ("tokio", "a pure crate has no reactor"),
    ("Instant", "time is an argument"),
    ("SystemTime", "time is an argument"),
    ("std::env", "configuration is an argument"),
    ("env!(", "configuration is an argument"),
    ("getrandom", "randomness is an argument (stdx::Rng)"),
    ("rand::", "randomness is an argument (stdx::Rng)"),
    ("RandomState", "a simulation must replay"),
    ("std::fs", "a pure crate has no disk"),
    ("std::net", "a pure crate has no socket"),
    ("std::thread", "a pure crate has no threads"),
];
const FILE_LINES_MAX: usize = 600;
/// Packages in Cargo.lock: every one is somebody to trust. A client of PostgreSQL takes thirty.
const LOCKED_PACKAGES_MAX: usize = 190;

/// The folder of the workspace.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is in the workspace").into()
}

/// Everything that is against the rules, one line each.
pub(crate) fn complaints(root: &Path) -> Vec<String> {
    let mut out = Vec::new();
    for name in CRATES {
        let folder = root.join("crates").join(name);
        out.extend(check_dependencies(name, &read(&folder.join("Cargo.toml"))));
        for path in rust_files(&folder) {
            let text = read(&path);
            let shown = path.strip_prefix(root).unwrap_or(&path).display().to_string();
            out.extend(check_file(&shown, &text));
            let is_pure =
                PURE.contains(&name) || PURE_FOLDERS.iter().any(|it| shown.starts_with(it));
            if is_pure && !is_test(&shown) {
                out.extend(check_purity(&shown, &text));
            }
        }
    }
    let folders = fs::read_dir(root.join("crates")).expect("crates/ is there");
    for folder in folders {
        let name = folder.expect("readable").file_name().into_string().expect("UTF-8");
        if !CRATES.contains(&name.as_str()) {
            out.push(format!("crates/{name}: not in the list of crates of xtask/src/tidy.rs"));
        }
    }
    let locked = read(&root.join("Cargo.lock")).matches("[[package]]").count();
    if LOCKED_PACKAGES_MAX < locked {
        out.push(format!("Cargo.lock: {locked} packages, at most {LOCKED_PACKAGES_MAX}"));
    }
    out
}

fn check_file(path: &str, text: &str) -> Vec<String> {
    let mut out = Vec::new();
    if !text.starts_with("//!") {
        out.push(format!("{path}: opens without a `//!` that says its job"));
    }
    let lines = text.lines().count();
    if FILE_LINES_MAX < lines {
        out.push(format!("{path}: {lines} lines, at most {FILE_LINES_MAX}"));
    }
    out
}

/// Tests and benches of a pure crate may read clocks and seeds.
fn is_test(path: &str) -> bool {
    path.contains("/tests/") || path.ends_with("/tests.rs")
}

/// Comments may talk of what code may not name.
fn check_purity(path: &str, text: &str) -> Vec<String> {
    let mut out = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let code = line.split("//").next().unwrap_or("");
        for (word, why) in IMPURE {
            if code.contains(word) {
                out.push(format!("{path}:{}: names {word}: {why}", index + 1));
            }
        }
    }
    out
}

/// A crate may depend only on the crates before it in the list; a pure one on no impure library.
fn check_dependencies(name: &str, manifest: &str) -> Vec<String> {
    let place = CRATES.iter().position(|it| *it == name).expect("one of the list");
    let mut out = Vec::new();
    let normal = manifest.split("[dependencies]").nth(1).unwrap_or("");
    for line in normal.lines().take_while(|line| !line.starts_with('[')) {
        let dependency = line.split(['.', ' ', '=']).next().unwrap_or("");
        if CRATES[place..].contains(&dependency) {
            out.push(format!("{name} must not depend on {dependency}, which comes after it"));
        }
        if PURE.contains(&name) && ["tokio", "getrandom", "rusqlite"].contains(&dependency) {
            out.push(format!("{name} is pure and must not depend on {dependency}"));
        }
    }
    out
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut out = Vec::new();
    let entries = fs::read_dir(folder).unwrap_or_else(|err| panic!("{}: {err}", folder.display()));
    for entry in entries {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            out.extend(rust_files(&path));
        } else if path.extension().is_some_and(|it| it == "rs") {
            out.push(path);
        }
    }
    out.sort();
    out
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|err| panic!("{}: {err}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_keeps_the_house_rules() {
        let complaints = complaints(&root());
        assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
    }

    #[test]
    fn a_pure_crate_that_reads_a_clock_is_found() {
        let text = "//! x\nuse std::time::Instant; // Instant\n// tokio is fine here\n";
        assert_eq!(check_purity("f.rs", text), ["f.rs:2: names Instant: time is an argument"]);
        for (word, _) in IMPURE {
            assert_eq!(check_purity("f.rs", word).len(), 1, "{word}");
        }
    }

    #[test]
    fn a_dependency_upwards_is_found() {
        let manifest = "[dependencies]\nwire.workspace = true\nnet.workspace = true\n[lints]\n";
        let wrong = ["ledger must not depend on net, which comes after it"];
        assert_eq!(check_dependencies("ledger", manifest), wrong);
        let manifest = "[dependencies]\ntokio = \"1\"\n[dev-dependencies]\nnet.workspace = true\n";
        assert_eq!(
            check_dependencies("wire", manifest),
            ["wire is pure and must not depend on tokio"]
        );
    }

    #[test]
    fn long_files_and_files_without_a_header_are_found() {
        assert_eq!(check_file("f.rs", "fn main() {}").len(), 1);
        assert_eq!(check_file("f.rs", &format!("//! x\n{}", "\n".repeat(600))).len(), 1);
        assert!(check_file("f.rs", "//! x\n").is_empty());
    }
}
