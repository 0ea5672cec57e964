//! `tollgate node`: stops, starts or hurts one node of a running tree.

use super::Outcome;
use crate::{
    args::{self, Verb},
    control::{self, Answer, Deed, NodeOrder, Order},
    data::Data,
    error::CliError,
    terminal::{say, say_json},
};
use std::{path::Path, process::ExitCode};

/// Asks `up`, and returns when the effect is reached.
pub(super) fn node(args: &args::Node, data: &Path) -> Outcome {
    let data = Data::at(data);
    let verb = match args.verb {
        Verb::Drain => Deed::Drain,
        Verb::Stop => Deed::Stop,
        Verb::Kill => Deed::Kill,
        Verb::Pause => Deed::Pause,
        Verb::Resume => Deed::Resume,
        Verb::Start => Deed::Start,
    };
    data.require_up()?;
    let order = NodeOrder { verb, node: args.node.clone() };
    let answer = control::give(&data, &Order::Node(order))?;
    match &answer {
        Answer::Refused { message, hint } => Err(refused(message, hint.as_deref())),
        Answer::Reloaded { .. } => Err(CliError::failed("`up` answers something else")),
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

/// A refusal of `up`, as a failure of the command.
pub(super) fn refused(message: &str, hint: Option<&str>) -> CliError {
    let error = CliError::failed(message);
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}
