//! An endpoint of a balancer: the name of a node or of an HTTP service, the URL of a process of one,
//! or a table with one of these and a weight.

use super::{name, url};
use crate::topology::reader::{Field, Placed, Section, Walk};
use std::num::NonZeroU32;

const KEYS: [&str; 3] = ["node", "url", "weight"];
/// A share of a thousandth is fine enough.
const WEIGHT_MAX: i64 = 1_000;

/// What is below a balancer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EndpointRef {
    /// A name, or `http://HOST:PORT`.
    pub(crate) node: String,
    /// Its part of the work beside the others'.
    pub(crate) weight: NonZeroU32,
}

impl EndpointRef {
    /// Whether it is an address and no name.
    pub(crate) fn is_url(&self) -> bool {
        url::is_url(&self.node)
    }
}

/// Reads `endpoints = ["gateway-1", { node = "gateway-2", weight = 3 }]`.
pub(in crate::topology) fn read<'a>(
    walk: &mut Walk<'a>,
    node: &Section<'a>,
) -> Field<Vec<Placed<EndpointRef>>> {
    node.strings_or_tables(walk, "endpoints", parse, &KEYS, read_table)
}

fn parse(text: &str) -> Result<EndpointRef, String> {
    let node = match url::is_url(text) {
        true => url::parse(text)?.to_string(),
        false => name::parse(text)?,
    };
    Ok(EndpointRef { node, weight: NonZeroU32::MIN })
}

fn read_table<'a>(walk: &mut Walk<'a>, table: &Section<'a>) -> Option<EndpointRef> {
    let node = table.string(walk, "node", name::parse);
    let url = table.string(walk, "url", url::parse);
    let weight = read_weight(walk, table);
    let node = match (node.is_missing(), url.is_missing()) {
        (false, true) => node.good()?.value.clone(),
        (true, false) => url.good()?.value.to_string(),
        (true, true) => {
            walk.complaints.missing(table.line, &table.key("node"), "the name of a node");
            return None;
        }
        (false, false) => {
            let text = "has both node and url: want one of them";
            walk.complaints.add(table.line, &table.path, text);
            return None;
        }
    };
    Some(EndpointRef { node, weight: weight? })
}

/// The `weight` of a table, 1 where there is none.
pub(super) fn read_weight<'a>(walk: &mut Walk<'a>, table: &Section<'a>) -> Option<NonZeroU32> {
    match table.integer::<u32>(walk, "weight", 1..=WEIGHT_MAX) {
        Field::Missing => Some(NonZeroU32::MIN),
        Field::Bad => None,
        Field::Good(weight) => NonZeroU32::new(weight.value),
    }
}
