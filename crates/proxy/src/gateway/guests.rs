//! Who may come in, and how far: the first key, and those of the file of keys.

use super::{
    front::Front,
    mistake::{Mistake, clip},
};
use crate::keys::{self, Key, Watch};
use net::clock;
use std::{
    collections::BTreeMap,
    num::NonZeroU32,
    rc::{Rc, Weak},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use stdx::Moment;
use tokio::time::{MissedTickBehavior, interval};
use wire::{Caller, Code, Timestamp, frame::Headers};

/// Everybody whom one worker lets in.
#[derive(Debug)]
pub(super) struct Guests {
    first: Guest,
    others: BTreeMap<[u8; 32], Guest>,
    watch: Watch,
    /// Of what `others` were made.
    version: u64,
    /// Of the node: what its workers count together.
    meters: Meters,
}

/// Who presents one key.
#[derive(Clone, Debug)]
pub(super) struct Guest {
    hash: [u8; 32],
    pub(super) caller: Caller,
    /// The only services; all without.
    services: Option<Rc<[String]>>,
    read_only: bool,
    expires: Option<Timestamp>,
    meter: Option<Arc<Meter>>,
}

/// How much each limited key has asked for, over all workers of a node: what is limited to ten a
/// second is not to get ten from each.
#[derive(Clone, Debug, Default)]
pub(super) struct Meters(Arc<std::sync::Mutex<BTreeMap<[u8; 32], Arc<Meter>>>>);

/// Requests of one key against its rate: those of one second may come at once (the generic cell
/// rate algorithm). Only limited keys pay for what the workers share here.
#[derive(Debug)]
pub(super) struct Meter {
    rate: NonZeroU32,
    /// Nanoseconds since the start of the process at which everything that was admitted is paid for.
    paid_at: AtomicU64,
}

/// How often a worker asks whether the keys have changed.
const LOOK_EVERY: Duration = Duration::from_millis(250);
const SECOND_NS: u64 = 1_000_000_000;

impl Guests {
    /// Those of `watch`, and whoever has the key `first`.
    pub(super) fn new(first: &str, watch: Watch, meters: Meters) -> Guests {
        let first = Guest::first(first);
        let mut guests = Guests { first, others: BTreeMap::new(), watch, version: 0, meters };
        guests.refresh();
        guests
    }

    /// The first key is another one from now on.
    pub(super) fn set_first(&mut self, key: &str) {
        self.first = Guest::first(key);
    }

    /// Goes by the file of keys as it stands.
    pub(super) fn refresh(&mut self) {
        let Some((keys, version)) = self.watch.since(self.version) else { return };
        self.version = version;
        self.meters.keep(&keys);
        let guest = |key: &Key| (key.hash, Guest::of(key, &self.meters));
        self.others = keys.iter().map(guest).collect();
    }

    /// Who sent these headers: exactly one `Authorization: Bearer …` with a key that is known.
    pub(super) fn admit(&self, headers: Headers<'_>) -> Result<&Guest, Mistake> {
        let mut given = headers.iter().filter(|(name, _)| *name == b"authorization");
        let detail = match (given.next(), given.next()) {
            (None, _) => "no API key; send Authorization: Bearer and the key",
            (Some(_), Some(_)) => "more than one Authorization header",
            (Some((_, value)), None) => match bearer(value) {
                None => "Authorization is not of the form Bearer and a key",
                Some(key) => match self.of_hash(keys::hash(key)) {
                    Some(guest) => return guest.within_rate(),
                    None => "the API key is not known",
                },
            },
        };
        Err(Mistake::new(Code::Unauthenticated, detail))
    }

    /// Hashes are compared, not keys: how far a guess was right tells nothing of the key.
    fn of_hash(&self, hash: [u8; 32]) -> Option<&Guest> {
        if hash == self.first.hash {
            return Some(&self.first);
        }
        let guest = self.others.get(&hash)?;
        guest.expires.is_none_or(|at| clock::wall() < at).then_some(guest)
    }
}

fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, key) = value.split_at_checked("Bearer ".len())?;
    let key = key.trim_ascii();
    (scheme.eq_ignore_ascii_case(b"bearer ") && !key.is_empty()).then_some(key)
}

impl Guest {
    fn first(key: &str) -> Guest {
        let hash = keys::hash(key.as_bytes());
        Guest {
            hash,
            caller: Caller::of_hash(&hash),
            services: None,
            read_only: false,
            expires: None,
            meter: None,
        }
    }

    fn of(key: &Key, meters: &Meters) -> Guest {
        Guest {
            hash: key.hash,
            caller: key.caller(),
            services: key.services.as_ref().map(|it| it.clone().into()),
            read_only: key.read_only,
            expires: key.expires,
            meter: key.rate.map(|rate| meters.of(key.hash, rate)),
        }
    }

    fn within_rate(&self) -> Result<&Guest, Mistake> {
        match &self.meter {
            Some(meter) if !meter.admits(clock::now()) => {
                let detail = format!("more than {} requests a second with this key", meter.rate);
                Err(Mistake::new(Code::RateLimited, detail))
            }
            Some(_) | None => Ok(self),
        }
    }

    /// Refuses what the key is not for. Of a service that it is not for it does not even learn
    /// whether there is one.
    pub(super) fn enter(&self, service: &str) -> Result<(), Mistake> {
        match &self.services {
            Some(services) if !services.iter().any(|it| it == service) => {
                let detail = format!("the API key is not for service {:?}", clip(service));
                Err(Mistake::new(Code::Forbidden, detail))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Refuses a change to whoever may only read.
    pub(super) fn may_change(&self) -> Result<(), Mistake> {
        if self.read_only {
            return Err(Mistake::new(Code::Forbidden, "the API key is for reading only"));
        }
        Ok(())
    }
}

/// Lets somebody stay who came in with a key: for as long as the key is good and the worker goes on.
pub(super) struct Pass {
    front: Weak<Front>,
    hash: [u8; 32],
}

impl Pass {
    /// Nobody's, until it is given to a worker.
    pub(super) fn of(guest: &Guest) -> Pass {
        Pass { front: Weak::new(), hash: guest.hash }
    }

    /// It is good at this worker.
    pub(super) fn at(&mut self, front: &Rc<Front>) {
        self.front = Rc::downgrade(front);
    }

    pub(super) fn is_good(&self) -> bool {
        let Some(front) = self.front.upgrade() else { return false };
        let guests = front.desk.guests.borrow();
        !front.is_ending.get() && guests.of_hash(self.hash).is_some()
    }
}

impl Meters {
    /// The meter of a key, as full as it is.
    fn of(&self, hash: [u8; 32], rate: NonZeroU32) -> Arc<Meter> {
        let mut meters = self.lock();
        let meter = meters.entry(hash).or_insert_with(|| Meter::new(rate));
        if meter.rate != rate {
            *meter = Meter::new(rate);
        }
        Arc::clone(meter)
    }

    /// Forgets all but those of these keys.
    fn keep(&self, keys: &[Key]) {
        let limited = keys.iter().filter(|it| it.rate.is_some()).map(|it| it.hash);
        let limited: std::collections::BTreeSet<_> = limited.collect();
        self.lock().retain(|hash, _| limited.contains(hash));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<[u8; 32], Arc<Meter>>> {
        // A map of pointers is sound whoever panicked.
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Meter {
    fn new(rate: NonZeroU32) -> Arc<Meter> {
        Arc::new(Meter { rate, paid_at: AtomicU64::new(0) })
    }

    /// Counts a request, if there is room for it.
    fn admits(&self, now: Moment) -> bool {
        let (now, price) = (now.as_nanos(), SECOND_NS / u64::from(self.rate.get()));
        let pay = |paid_at: u64| {
            let next = paid_at.max(now).saturating_add(price);
            (next <= now.saturating_add(SECOND_NS)).then_some(next)
        };
        self.paid_at.fetch_update(Relaxed, Relaxed, pay).is_ok()
    }
}

/// Has a worker go by the file of keys as it changes, for as long as there is the worker.
pub(super) async fn keep_fresh(front: Weak<Front>) {
    let mut interval = interval(LOOK_EVERY);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let Some(front) = front.upgrade() else { return };
        front.desk.guests.borrow_mut().refresh();
    }
}

#[cfg(test)]
mod tests;
