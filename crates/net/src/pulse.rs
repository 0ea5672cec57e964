//! Whether the threads that carry requests still turn: each notes the time every so often, and
//! whoever wants to know looks how long ago that was.

use crate::{clock, counters::Counter};
use std::{
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};
use stdx::Moment;
use tokio::time::{MissedTickBehavior, interval};

/// How often a thread notes the time.
const BEAT_EVERY: Duration = Duration::from_millis(250);

/// The threads of this process. Locked when a thread starts and when somebody looks.
static PULSES: Mutex<Vec<Weak<Counter>>> = Mutex::new(Vec::new());

/// Notes the time on this thread's runtime until it ends.
pub(crate) fn start() {
    let noted = Arc::new(Counter::default());
    noted.set(clock::now().as_nanos());
    pulses().push(Arc::downgrade(&noted));
    drop(tokio::task::spawn_local(async move {
        let mut interval = interval(BEAT_EVERY);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            noted.set(clock::now().as_nanos());
        }
    }));
}

/// How far the slowest of the threads is behind; zero without any.
pub fn lag(now: Moment) -> Duration {
    let mut pulses = pulses();
    pulses.retain(|it| it.strong_count() != 0);
    let noted = pulses.iter().filter_map(Weak::upgrade).map(|it| Moment::from_nanos(it.get()));
    let oldest = noted.map(|it| now.since(it)).max().unwrap_or_default();
    oldest.saturating_sub(BEAT_EVERY)
}

fn pulses() -> std::sync::MutexGuard<'static, Vec<Weak<Counter>>> {
    // A list of pointers is sound whoever panicked.
    PULSES.lock().unwrap_or_else(PoisonError::into_inner)
}
