//! An endpoint of a balancer: the name of a node, or a table with its name and weight.

use super::name;
use crate::topology::reader::{Field, Placed, Section, Walk};
use std::num::NonZeroU32;

const KEYS: [&str; 2] = ["node", "weight"];
/// A share of a thousandth is fine enough.
const WEIGHT_MAX: i64 = 1_000;

/// A node below a balancer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EndpointRef {
    pub(crate) node: String,
    /// Its part of the work beside the others'.
    pub(crate) weight: NonZeroU32,
}

/// Reads `endpoints = ["gateway-1", { node = "gateway-2", weight = 3 }]`.
pub(in crate::topology) fn read<'a>(
    walk: &mut Walk<'a>,
    node: &Section<'a>,
) -> Field<Vec<Placed<EndpointRef>>> {
    node.strings_or_tables(walk, "endpoints", parse, &KEYS, read_table)
}

fn parse(text: &str) -> Result<EndpointRef, String> {
    name::parse(text).map(|node| EndpointRef { node, weight: NonZeroU32::MIN })
}

fn read_table<'a>(walk: &mut Walk<'a>, table: &Section<'a>) -> Option<EndpointRef> {
    let node = table.string(walk, "node", name::parse);
    if node.is_missing() {
        walk.complaints.missing(table.line, &table.key("node"), "the name of a node");
    }
    let weight = match table.integer::<u32>(walk, "weight", 1..=WEIGHT_MAX) {
        Field::Missing => NonZeroU32::MIN,
        Field::Bad => return None,
        Field::Good(weight) => NonZeroU32::new(weight.value)?,
    };
    Some(EndpointRef { node: node.good()?.value.clone(), weight })
}
