//! Whether there is anything new in a journal: one question for all who listen at the same place.

use super::{
    ask::Ask,
    limits::{EVENTS_ROWS_MAX, STEP_TIME_MAX},
    service::Service,
};
use net::clock;
use std::{cell::RefCell, rc::Rc, time::Duration};
use stdx::Moment;
use tokio::sync::OnceCell;
use wire::{
    Call, PartitionId, Reply,
    call::Failure,
    query::{Mark, Query},
};

/// How often the owners are asked while nothing happens. All who listen do so at the same moments.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long it counts that there was nothing new: for all who ask at one of these moments, and for
/// nobody at the next.
const QUIET_FOR: Duration = Duration::from_millis(250);

const _: () = assert!(QUIET_FOR.as_millis() < LOOK_EVERY.as_millis());

/// The last question about each partition that others may have asked, too.
#[derive(Debug)]
pub(super) struct Looks(Vec<RefCell<Option<Rc<Look>>>>);

/// What follows on a place in a journal, once the owner has said it.
#[derive(Debug)]
pub(super) struct Look {
    from: Mark,
    at: Moment,
    answer: OnceCell<Result<Reply, Failure>>,
}

impl Look {
    /// What the owner said.
    pub(super) fn answer(&self) -> Option<&Result<Reply, Failure>> {
        self.answer.get()
    }

    fn has_nothing_new(&self) -> bool {
        matches!(self.answer(), Some(Ok(Reply::Events { next, .. })) if *next <= self.from)
    }

    /// Whether it answers whoever is at `from` now.
    fn is_for(&self, now: Moment, from: Mark) -> bool {
        let is_quiet = || self.has_nothing_new() && now.since(self.at) < QUIET_FOR;
        self.from == from && (self.answer().is_none() || is_quiet())
    }
}

impl Looks {
    pub(super) fn new(partitions: u16) -> Looks {
        Looks((0..partitions).map(|_| RefCell::default()).collect())
    }

    /// Whether it is known that nothing follows on `from`.
    pub(super) fn is_quiet(&self, now: Moment, partition: PartitionId, from: Mark) -> bool {
        let last = self.0[usize::from(partition.0)].borrow();
        last.as_ref().is_some_and(|it| it.is_for(now, from) && it.has_nothing_new())
    }

    /// The question about `from`: that which is being asked, or a new one.
    fn of(&self, now: Moment, partition: PartitionId, from: Mark) -> Rc<Look> {
        let mut last = self.0[usize::from(partition.0)].borrow_mut();
        match last.as_ref().filter(|it| it.is_for(now, from)) {
            Some(look) => Rc::clone(look),
            None => {
                let look = Look { from, at: now, answer: OnceCell::new() };
                Rc::clone(last.insert(Rc::new(look)))
            }
        }
    }

    /// Keeps no rows for those who may never come, and no failure.
    fn answered(&self, partition: PartitionId, look: &Rc<Look>) {
        let mut last = self.0[usize::from(partition.0)].borrow_mut();
        if !look.has_nothing_new() && last.as_ref().is_some_and(|it| Rc::ptr_eq(it, look)) {
            *last = None;
        }
    }
}

/// Asks the owner what follows on `from`, or waits with those who have. Should whoever asks leave,
/// the next of them asks.
pub(super) async fn look(service: &Rc<Service>, partition: PartitionId, from: Mark) -> Rc<Look> {
    let look = service.looks.of(clock::now(), partition, from);
    let asked = async || {
        let query = Query::Events { partition, from, limit: EVENTS_ROWS_MAX };
        let deadline = clock::now() + STEP_TIME_MAX;
        let ask = Ask::new(&Call::Query(query), deadline, 0, "");
        ask.owner(service, partition).await
    };
    look.answer.get_or_init(asked).await;
    service.looks.answered(partition, &look);
    look
}

/// The time until all look again.
pub(super) fn until_next() -> Duration {
    let every = LOOK_EVERY.as_nanos();
    let over = clock::now().since(Moment::ZERO).as_nanos() % every;
    Duration::from_nanos(u64::try_from(every - over).expect("half a second of nanoseconds"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::Seq;

    #[test]
    fn it_is_quiet_for_a_moment_at_one_place() {
        let looks = Looks::new(2);
        let [first, second] = [0, 1].map(PartitionId);
        let [old, end, new] = [1, 2, 3].map(|seq| Mark { seq: Seq(seq), items: 0 });
        let at = Moment::ZERO;
        let look = looks.of(at, first, end);
        assert!(Rc::ptr_eq(&look, &looks.of(at + LOOK_EVERY, first, end)), "it is being asked");
        assert!(!looks.is_quiet(at, first, end));
        let says = |look: &Rc<Look>, next| {
            look.answer
                .set(Ok(Reply::Events { rows: Vec::new(), next }))
                .expect("the first answer");
            looks.answered(first, look);
        };
        says(&look, end);
        let later = at + QUIET_FOR;
        assert!(looks.is_quiet(at, first, end) && !looks.is_quiet(later, first, end));
        assert!(!looks.is_quiet(at, first, old) && !looks.is_quiet(at, second, end));
        // News are kept for nobody.
        let look = looks.of(later, first, end);
        says(&look, new);
        assert!(!Rc::ptr_eq(&look, &looks.of(later, first, end)));
    }
}
