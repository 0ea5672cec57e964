//! `tollgate`, the one program: reads its arguments, does what they say, exits 0, 1 or 2.

mod args;
mod commands;
mod control;
mod data;
mod error;
#[cfg(debug_assertions)]
mod faults;
mod http;
mod ops;
mod proc;
mod terminal;
mod topology;
mod up;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = args::Cli::parse();
    match commands::perform(&cli) {
        Ok(code) => code,
        Err(error) => {
            let word = terminal::Paint::stderr().red("error:");
            terminal::tell!("{word} {error}");
            error.exit_code()
        }
    }
}
