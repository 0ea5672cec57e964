//! Tests over the crate as its users see it.

#[path = "../sim/mod.rs"]
mod sim;

mod bench;
mod policies;
mod properties;
mod small_worlds;

/// The seed to replay with, if `SEED` is set.
fn seed() -> Option<u64> {
    #[expect(clippy::disallowed_methods, reason = "a failing seed must be replayable")]
    let seed = std::env::var("SEED");
    seed.ok().map(|it| it.parse().expect("SEED is a number"))
}

/// A random number below `bound`, of the kind that is asked for.
fn below<T: TryFrom<usize, Error: std::fmt::Debug>>(rng: &mut stdx::Rng, bound: usize) -> T {
    T::try_from(rng.below(bound)).expect("the bound fits")
}

/// Every file of this folder is a module of this binary: no test can be forgotten.
#[test]
fn every_file_is_a_module() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    let main = std::fs::read_to_string(folder.join("main.rs")).unwrap();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert!(name == "main" || main.contains(&format!("mod {name};")), "{name} is not run");
    }
}
