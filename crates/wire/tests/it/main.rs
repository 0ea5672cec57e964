//! The codecs at their boundary: what is written is read back, and no bytes make them panic.

#![expect(clippy::unwrap_used, reason = "what fails in a helper fails the test")]

mod calls;
mod corpus;
mod entry;
mod frozen;
mod generate;

/// A module that nobody names is a test that never runs.
#[test]
fn no_file_is_forgotten() {
    let named = include_str!("main.rs");
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let module = name.strip_suffix(".rs").unwrap_or(&name);
        assert!(module == "main" || named.contains(&format!("mod {module};")), "{name}");
    }
}
