//! `tollgate node`: stops, starts or hurts one node of a running tree.

use super::Outcome;
use crate::{
    args::{self, Verb},
    control::{self, Answer, Deed, Order},
    data::Data,
    error::CliError,
    terminal::{say, say_json},
};
use std::{path::Path, process::ExitCode};

/// Asks `up`, and returns when the effect is reached.
pub(super) fn node(args: &args::Node, data: &Path) -> Outcome {
    let data = Data::at(data);
    let verb = match args.verb {
        Verb::Drain => {
            return Err(CliError::failed("drain comes with a later version")
                .hint(format!("`tollgate node {} stop` drains the node and ends it", args.node)));
        }
        Verb::Stop => Deed::Stop,
        Verb::Kill => Deed::Kill,
        Verb::Pause => Deed::Pause,
        Verb::Resume => Deed::Resume,
        Verb::Start => Deed::Start,
    };
    data.require_up()?;
    let answer = control::give(&data, &Order { verb, node: args.node.clone() })?;
    match &answer {
        Answer::Refused { message, hint } => {
            let error = CliError::failed(message);
            Err(match hint {
                Some(hint) => error.hint(hint),
                None => error,
            })
        }
        Answer::Done { node, state, pid, changed } => {
            if args.json {
                say_json(&answer);
            } else {
                let process = pid.map(|pid| format!(", process {pid}")).unwrap_or_default();
                let already = if *changed { "" } else { " (it was already)" };
                say(&format!("{node} is {state}{process}{already}\n"));
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}
