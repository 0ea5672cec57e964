//! Chores: `cargo xtask NAME`. What you run is what CI runs.

mod faults;
mod tidy;

use std::process::ExitCode;

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("tidy") => report(&tidy::complaints(&tidy::root())),
        Some("faults") => {
            let words: Vec<String> = std::env::args().skip(2).collect();
            match faults::Wish::parse(&words) {
                Ok(wish) if faults::run(&tidy::root(), &wish) => ExitCode::SUCCESS,
                Ok(_) => ExitCode::FAILURE,
                Err(why) => usage(&why),
            }
        }
        _ => usage("what is to be done?"),
    }
}

fn usage(why: &str) -> ExitCode {
    eprintln!(
        "{why}\n\
         usage: cargo xtask tidy      the house rules that no lint knows\n\
         \x20      cargo xtask faults    [--seeds N] [--only F5]: real processes, hurt on purpose"
    );
    ExitCode::from(2)
}

fn report(complaints: &[String]) -> ExitCode {
    for complaint in complaints {
        eprintln!("{complaint}");
    }
    if complaints.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
