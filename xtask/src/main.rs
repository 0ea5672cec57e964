//! Chores: `cargo xtask NAME`. What you run is what CI runs.

mod tidy;

use std::process::ExitCode;

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("tidy") => report(&tidy::complaints(&tidy::root())),
        _ => {
            eprintln!("usage: cargo xtask tidy    the house rules that no lint knows");
            ExitCode::from(2)
        }
    }
}

fn report(complaints: &[String]) -> ExitCode {
    for complaint in complaints {
        eprintln!("{complaint}");
    }
    if complaints.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
