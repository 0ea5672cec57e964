//! The endpoints of one worker and the choice between them by fewest requests in flight.

use std::time::Duration;
use stdx::{Moment, Rng};

/// A fresh endpoint counts as busier than it is for this long: what it has in memory is cold, and
/// an idle newcomer would otherwise draw every request at once.
const SLOW_START: Duration = Duration::from_secs(2);
/// How much busier at first: this many requests, falling to none over [`SLOW_START`].
const SLOW_START_HANDICAP: u64 = 16;

/// Whether an endpoint may be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It takes requests since then.
    Connected { since: Moment },
    /// It finishes what it has and takes nothing new.
    Draining,
    /// There is no connection.
    Down,
}

/// No endpoint is connected: there is nobody to send to, not even one that seems bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoneUp;

/// Endpoints, their states and what is in flight to each.
#[derive(Clone, Debug)]
pub struct Pool {
    endpoints: Vec<Endpoint>,
    /// Invariant: the indices of exactly the connected endpoints.
    up: Vec<usize>,
}

#[derive(Clone, Copy, Debug)]
struct Endpoint {
    state: State,
    in_flight: u64,
}

impl Pool {
    /// `count` endpoints, all down.
    pub fn new(count: usize) -> Pool {
        let endpoint = Endpoint { state: State::Down, in_flight: 0 };
        Pool { endpoints: vec![endpoint; count], up: Vec::with_capacity(count) }
    }

    /// How many endpoints there are, in whatever state.
    pub fn len(&self) -> usize {
        self.endpoints.len()
    }

    /// Whether there are no endpoints at all.
    pub fn is_empty(&self) -> bool {
        self.endpoints.is_empty()
    }

    /// The state of an endpoint.
    pub fn state(&self, index: usize) -> State {
        self.endpoints[index].state
    }

    /// How many endpoints are connected.
    pub fn up_count(&self) -> usize {
        self.up.len()
    }

    /// What is in flight to an endpoint.
    pub fn in_flight(&self, index: usize) -> u64 {
        self.endpoints[index].in_flight
    }

    /// Takes note of a change.
    pub fn set_state(&mut self, index: usize, state: State) {
        self.endpoints[index].state = state;
        self.up.clear();
        let connected = |endpoint: &Endpoint| matches!(endpoint.state, State::Connected { .. });
        self.up.extend((0..self.endpoints.len()).filter(|&at| connected(&self.endpoints[at])));
    }

    /// A request goes to this endpoint.
    pub fn started(&mut self, index: usize) {
        self.endpoints[index].in_flight += 1;
    }

    /// It was answered or lost.
    ///
    /// # Panics
    /// When nothing is in flight there: somebody counts wrong.
    pub fn finished(&mut self, index: usize) {
        let in_flight = &mut self.endpoints[index].in_flight;
        assert!(0 < *in_flight);
        *in_flight -= 1;
    }

    /// The better of two connected endpoints that are drawn at random: nearly as good as a look at
    /// all of them, and many balancers that choose so do not herd.
    ///
    /// `excluded`, the endpoint that just failed, is chosen only if it alone is connected.
    pub fn choose(
        &self,
        now: Moment,
        rng: &mut Rng,
        excluded: Option<usize>,
    ) -> Result<usize, NoneUp> {
        let excluded = excluded.and_then(|index| self.up.iter().position(|&it| it == index));
        let count = self.up.len() - usize::from(excluded.is_some());
        // Leaves a gap where the excluded one stands.
        let nth = |at: usize| self.up[at + usize::from(excluded.is_some_and(|gap| gap <= at))];
        match count {
            0 => self.up.first().copied().ok_or(NoneUp),
            1 => Ok(nth(0)),
            _ => {
                let first = rng.below(count);
                let second = (first + 1 + rng.below(count - 1)) % count;
                let (first, second) = (nth(first), nth(second));
                let first_is_better = self.load(now, first) <= self.load(now, second);
                Ok(if first_is_better { first } else { second })
            }
        }
    }

    /// What is in flight to a connected endpoint, and the handicap of a fresh one.
    fn load(&self, now: Moment, index: usize) -> u64 {
        let Endpoint { state, in_flight } = self.endpoints[index];
        let State::Connected { since } = state else { return u64::MAX };
        let left = SLOW_START.saturating_sub(now.since(since));
        let whole = SLOW_START.as_nanos();
        let handicap = u128::from(SLOW_START_HANDICAP) * left.as_nanos() / whole;
        in_flight + u64::try_from(handicap).unwrap_or(SLOW_START_HANDICAP)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const UP: State = State::Connected { since: Moment::ZERO };
    const LATER: Moment = Moment::from_nanos(60_000_000_000);

    /// Every pool of up to four endpoints, each in any state with 0, 1 or 2 in flight.
    fn every_small_pool(mut check: impl FnMut(&Pool)) {
        let kinds: Vec<(State, u64)> = [UP, State::Draining, State::Down]
            .into_iter()
            .flat_map(|state| (0..3).map(move |in_flight| (state, in_flight)))
            .collect();
        for count in 0..=4_u32 {
            for world in 0..kinds.len().pow(count) {
                let mut pool = Pool::new(usize::try_from(count).unwrap());
                for index in 0..pool.len() {
                    let power = u32::try_from(index).unwrap();
                    let (state, in_flight) = kinds[world / kinds.len().pow(power) % kinds.len()];
                    pool.set_state(index, state);
                    (0..in_flight).for_each(|_| pool.started(index));
                }
                check(&pool);
            }
        }
    }

    fn chosen(pool: &Pool, excluded: Option<usize>) -> BTreeSet<usize> {
        let mut rng = Rng::new(1);
        (0..64).filter_map(|_| pool.choose(LATER, &mut rng, excluded).ok()).collect()
    }

    #[test]
    fn only_connected_endpoints_are_chosen_and_one_always_is() {
        every_small_pool(|pool| {
            for index in chosen(pool, None) {
                assert_eq!(pool.state(index), UP, "{pool:?}");
            }
            let any = pool.choose(LATER, &mut Rng::new(1), None);
            assert_eq!(any.is_err(), pool.up_count() == 0, "{pool:?}");
        });
    }

    #[test]
    fn the_excluded_one_is_chosen_only_when_alone() {
        every_small_pool(|pool| {
            for excluded in 0..pool.len() {
                let alone = pool.up_count() == 1 && pool.state(excluded) == UP;
                let chosen = chosen(pool, Some(excluded));
                assert_eq!(chosen.contains(&excluded), alone, "{pool:?} without {excluded}");
                assert_eq!(chosen.is_empty(), pool.up_count() == 0, "{pool:?} without {excluded}");
            }
        });
    }

    #[test]
    fn the_busiest_of_several_is_never_chosen() {
        every_small_pool(|pool| {
            let up: Vec<usize> = (0..pool.len()).filter(|&it| pool.state(it) == UP).collect();
            for &busy in &up {
                let busiest =
                    up.iter().all(|&it| it == busy || pool.in_flight(it) < pool.in_flight(busy));
                if 1 < up.len() && busiest {
                    assert!(!chosen(pool, None).contains(&busy), "{pool:?}");
                }
            }
        });
    }

    #[test]
    fn equal_endpoints_share_equally() {
        let mut pool = Pool::new(4);
        (0..4).for_each(|index| pool.set_state(index, UP));
        let (mut rng, mut counts) = (Rng::new(3), [0_u32; 4]);
        for _ in 0..4_000 {
            counts[pool.choose(LATER, &mut rng, None).unwrap()] += 1;
        }
        assert!(counts.iter().all(|&count| (800..1_200).contains(&count)), "{counts:?}");
    }

    #[test]
    fn a_newcomer_starts_slowly() {
        let mut pool = Pool::new(2);
        pool.set_state(0, UP);
        pool.set_state(1, State::Connected { since: LATER });
        (0..10).for_each(|_| pool.started(0));
        let mut rng = Rng::new(1);
        assert_eq!(pool.choose(LATER, &mut rng, None), Ok(0));
        assert_eq!(pool.choose(LATER + SLOW_START, &mut rng, None), Ok(1));
    }
}
