//! The policies: each chooses one of the candidates that the pool's rules have left.
//!
//! None knows of breakers, probation or exclusion: `pool` sees to these before.

mod hash;
mod least_load;
mod rotation;

pub(crate) use self::{hash::stands_by_hash, least_load::Threshold};

use crate::endpoint::Endpoint;
use stdx::{Moment, Rng};

/// How a pool chooses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// Of up to 16 drawn at random, those with an ordinary number in flight are cold: the one of
    /// these with the lowest latency; if all are hot, the one with the fewest in flight (Prequal).
    #[default]
    LeastLoad,
    /// Of two drawn at random, the one with fewer of our requests in flight for its weight.
    LeastRequests,
    /// Each in turn.
    RoundRobin,
    /// Each in turn, as often as its weight says, evenly spread (nginx's smooth weighted).
    Weighted,
    /// The one that scores highest for the request's hash (rendezvous), if it has room: at most 1.25
    /// times its share of what is in flight.
    Hash,
}

/// What a policy sees.
pub(crate) struct View<'a> {
    pub(crate) now: Moment,
    /// The latency of the pool as a whole, in seconds.
    pub(crate) usual: f64,
    pub(crate) endpoints: &'a mut [Endpoint],
    /// All that take new requests, candidates or not; ascending.
    pub(crate) up: &'a [usize],
    /// Ascending, never empty.
    pub(crate) candidates: &'a mut [usize],
}

impl Policy {
    /// Every policy, the default first.
    pub const ALL: [Policy; 5] = [
        Policy::LeastLoad,
        Policy::LeastRequests,
        Policy::RoundRobin,
        Policy::Weighted,
        Policy::Hash,
    ];

    /// Its name, as it is written in files and told to people.
    pub fn text(self) -> &'static str {
        match self {
            Policy::LeastLoad => "least-load",
            Policy::LeastRequests => "least-requests",
            Policy::RoundRobin => "round-robin",
            Policy::Weighted => "weighted",
            Policy::Hash => "hash",
        }
    }

    pub(crate) fn choose(
        self,
        view: &mut View<'_>,
        rng: &mut Rng,
        hash: u64,
        memory: &mut Memory,
    ) -> usize {
        if let [only] = *view.candidates {
            return only;
        }
        match self {
            Policy::LeastLoad => least_load::choose(view, rng, &mut memory.threshold),
            Policy::LeastRequests => least_requests(view, rng),
            Policy::RoundRobin => rotation::next(view, &mut memory.last),
            Policy::Weighted => rotation::smooth(view),
            Policy::Hash => hash::choose(view, hash),
        }
    }
}

/// What the policies remember from one choice to the next.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory {
    pub(crate) threshold: Threshold,
    /// Whose turn it was.
    pub(crate) last: Option<usize>,
}

/// Two random choices get most of what a look at all of them gets (Mitzenmacher 2001), and many
/// balancers that choose so do not herd.
fn least_requests(view: &View<'_>, rng: &mut Rng) -> usize {
    let count = view.candidates.len();
    let first = rng.below(count);
    let second = (first + 1 + rng.below(count - 1)) % count;
    let [first, second] = [first, second].map(|at| view.candidates[at]);
    let load = |index: usize| {
        let endpoint = &view.endpoints[index];
        (u128::from(endpoint.in_flight), u128::from(endpoint.spec.weight.get()))
    };
    let ((first_load, first_weight), (second_load, second_weight)) = (load(first), load(second));
    let first_is_better = first_load * second_weight <= second_load * first_weight;
    if first_is_better { first } else { second }
}
