//! The engine's promises, asked of it through its traits.
//!
//! `suite` says nothing of SQLite: another engine is tested by another `Rig`.

#![expect(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

mod bench;
mod cluster;
mod keys;
mod postgres;
mod postgres_faults;
mod postgres_tls;
mod roll;
mod sqlite;
mod suite;
mod support;
mod verify;
mod whatever;

/// A test file that nobody names would never run.
#[test]
fn no_file_is_forgotten() {
    let main = include_str!("main.rs");
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let module = name.strip_suffix(".rs").unwrap();
        assert!(module == "main" || main.contains(&format!("mod {module};")), "{name}");
    }
}
