//! Bounded-load rendezvous hashing: a key keeps its endpoint, but not at any price.
//!
//! Rendezvous (Thaler and Ravishankar 1996): every endpoint scores for the key, the highest wins, so
//! one that goes takes only its own keys along. Weights as in weighted rendezvous: `-weight / ln u`.
//! Bounded load (Mirrokni, Thorup, Zadimoghaddam 2017): nobody holds more than a quarter more than
//! its share of what is in flight; who has no room passes the key on to the next highest.

use super::View;
use crate::endpoint::Endpoint;

/// How much more than its share an endpoint may hold, as a fraction: 5/4.
const BOUND: (u128, u128) = (5, 4);

pub(super) fn choose(view: &View<'_>, hash: u64) -> usize {
    let endpoints = &*view.endpoints;
    let load = |index: usize| u128::from(endpoints[index].in_flight);
    let weight = |index: usize| u128::from(endpoints[index].spec.weight.get());
    let held: u128 = view.candidates.iter().map(|&it| load(it)).sum::<u128>() + 1;
    let weights: u128 = view.candidates.iter().map(|&it| weight(it)).sum();
    // in flight < ceil(bound × held × weight / weights), in whole numbers.
    let room = |index: usize| load(index) * weights * BOUND.1 < held * weight(index) * BOUND.0;
    // Someone has room: were everyone at the bound, they would hold more than is held.
    let roomy = view.candidates.iter().filter(|&&it| room(it));
    let scored = roomy.map(|&it| (score(&endpoints[it], hash), it));
    let best = scored.max_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1)));
    best.map(|(_, index)| index).expect("someone has room")
}

/// Whether an endpoint on probation stands for this key: the same keys each time, more as the chance
/// grows, so that a key moves to it once and stays.
pub(crate) fn stands_by_hash(endpoint: &Endpoint, hash: u64, chance_permille: u32) -> bool {
    mix(endpoint.spec.key.rotate_left(32) ^ hash) % 1_000 < u64::from(chance_permille)
}

fn score(endpoint: &Endpoint, hash: u64) -> f64 {
    // 53 random bits, never 0 and never 1.
    let bits = (mix(mix(endpoint.spec.key) ^ hash) >> 12) as f64 + 0.5;
    let uniform = bits / (1_u64 << 52) as f64;
    -f64::from(endpoint.spec.weight.get()) / uniform.ln()
}

/// The finalizer of SplitMix64: every bit of the input changes half of the output.
fn mix(mut z: u64) -> u64 {
    z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
