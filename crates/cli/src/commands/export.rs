//! `tollgate export`: every transaction of a service, from its journal.

use super::{Outcome, in_force};
use crate::{
    args::copy::{Export, Form},
    data::Data,
    error::CliError,
    topology::{ServiceKind, elements::engine::EngineUrl},
};
use proxy::gateway::{CSV_HEAD, csv_line, json_line};
use std::{
    io::{self, BufWriter, Write},
    path::Path,
    process::ExitCode,
};
use wire::Posting;

/// Writes to stdout, service's engine by engine.
pub(super) fn export(args: &Export, data: &Path) -> Outcome {
    let tree = in_force(None, &Data::at(data))?;
    let kind = tree.services.iter().find(|it| it.name == args.service).map(|it| &it.kind);
    let Some(ServiceKind::Account { engines, .. }) = kind else {
        return Err(CliError::failed(format!("there is no account service {:?}", args.service)));
    };
    let mut out = BufWriter::new(io::stdout().lock());
    let mut written = Ok(());
    if args.format == Form::Csv {
        written = write!(out, "{CSV_HEAD}\r\n");
    }
    for engine in engines {
        written = written.and(write_all(engine, args, &mut out)?);
    }
    match written.and_then(|()| out.flush()) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        // A reader that has gone away wants no more of it.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        Err(error) => Err(CliError::io("cannot write", &error)),
    }
}

fn write_all(
    engine: &EngineUrl,
    args: &Export,
    out: &mut impl Write,
) -> Result<io::Result<()>, CliError> {
    let mut written = Ok(());
    let is_wanted = |it: &Posting| {
        args.from.is_none_or(|from| from <= it.created_at)
            && args.to.is_none_or(|to| it.created_at < to)
    };
    let visited = engine::export::transactions(engine, &args.service, |posting| {
        if written.is_err() || !is_wanted(&posting) {
            return;
        }
        written = match args.format {
            Form::Jsonl => {
                let line = json_line(&args.service, &posting);
                out.write_all(&line).and_then(|()| out.write_all(b"\n"))
            }
            Form::Csv => out.write_all(csv_line(&args.service, &posting).as_bytes()),
        };
    });
    visited.map_err(|error| CliError::failed(error.to_string()))?;
    Ok(written)
}
