//! Futures that one task drives: one for each request of an HTTP/2 connection.
//!
//! A task each would be simpler and costs a request two microseconds: memory that is large and
//! aligned, and a place in the runtime's lists. Here memory is used again, and whoever is woken sets
//! a bit.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

/// Futures at a time.
pub(super) const SLOTS_MAX: usize = 128;
const WORD_BITS: usize = 64;
/// Free places that are kept when nothing is driven.
const SPARE_MAX: usize = 4;

/// Futures of one kind.
pub(super) struct Slots<F> {
    slots: Vec<Slot<F>>,
    free: Vec<usize>,
    woken: Arc<Woken>,
}

struct Slot<F> {
    future: Pin<Box<Option<F>>>,
    waker: Waker,
}

/// Which of them are to be polled, and by whom.
#[derive(Debug, Default)]
struct Woken {
    words: [AtomicU64; SLOTS_MAX / WORD_BITS],
    /// Never waited for: all happens on one thread, which a waker's type does not know.
    task: Mutex<Option<Waker>>,
}

struct Bit {
    woken: Arc<Woken>,
    at: usize,
}

impl Wake for Bit {
    fn wake(self: Arc<Bit>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Bit>) {
        self.woken.set(self.at);
        if let Some(task) = &*self.woken.task.lock().unwrap_or_else(PoisonError::into_inner) {
            task.wake_by_ref();
        }
    }
}

impl Woken {
    fn set(&self, at: usize) {
        self.words[at / WORD_BITS].fetch_or(1 << (at % WORD_BITS), Ordering::Release);
    }
}

impl<F: Future<Output = ()>> Slots<F> {
    pub(super) fn new() -> Slots<F> {
        Slots { slots: Vec::new(), free: Vec::new(), woken: Arc::default() }
    }

    /// Takes a future, which is polled at the next [`Slots::poll`], and tells its place. `None` when
    /// there are [`SLOTS_MAX`] already.
    pub(super) fn put(&mut self, future: F) -> Option<usize> {
        let at = self.free.pop().unwrap_or(self.slots.len());
        if SLOTS_MAX <= at {
            return None;
        }
        if at == self.slots.len() {
            let bit = Bit { woken: Arc::clone(&self.woken), at };
            self.slots.push(Slot { future: Box::pin(None), waker: Arc::new(bit).into() });
        }
        self.slots[at].future.set(Some(future));
        self.woken.set(at);
        Some(at)
    }

    /// Drops the future at a place, if it has not ended.
    pub(super) fn drop_at(&mut self, at: usize) {
        if self.slots[at].future.is_some() {
            self.slots[at].future.set(None);
            self.free.push(at);
        }
    }

    /// Polls those that were woken. The task that does so is woken for the others.
    pub(super) fn poll(&mut self, cx: &Context<'_>) {
        self.watch(cx);
        for (word, bits) in self.woken.words.iter().enumerate() {
            let mut bits = bits.swap(0, Ordering::Acquire);
            while bits != 0 {
                let at =
                    word * WORD_BITS + usize::try_from(bits.trailing_zeros()).expect("below 64");
                bits &= bits - 1;
                let Some(slot) = self.slots.get_mut(at) else { continue };
                let mut cx = Context::from_waker(&slot.waker);
                // One that was woken after its end has left its place, or another has it.
                let polled = slot.future.as_mut().as_pin_mut().map(|future| future.poll(&mut cx));
                if let Some(Poll::Ready(())) = polled {
                    slot.future.set(None);
                    self.free.push(at);
                }
            }
        }
        if self.free.len() == self.slots.len() && SPARE_MAX < self.slots.len() {
            self.slots.truncate(SPARE_MAX);
            self.free = (0..SPARE_MAX).collect();
        }
    }

    fn watch(&self, cx: &Context<'_>) {
        let mut task = self.woken.task.lock().unwrap_or_else(PoisonError::into_inner);
        if task.as_ref().is_none_or(|task| !task.will_wake(cx.waker())) {
            *task = Some(cx.waker().clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        cell::{Cell, RefCell},
        future::poll_fn,
        rc::Rc,
    };

    /// What a test's futures wait for: to be let go, by their number.
    #[derive(Clone, Default)]
    struct Gates(Rc<RefCell<Vec<Gate>>>, Rc<Cell<u32>>);

    /// Whether it is open, and who waits before it.
    type Gate = (bool, Option<Waker>);

    impl Gates {
        async fn pass(self, at: usize) {
            let Gates(gates, polls) = self;
            poll_fn(|cx| {
                polls.set(polls.get() + 1);
                let gate = &mut gates.borrow_mut()[at];
                gate.1 = Some(cx.waker().clone());
                if gate.0 { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
        }

        fn open(&self, at: usize) {
            let gate = &mut self.0.borrow_mut()[at];
            gate.0 = true;
            gate.1.clone().unwrap().wake();
        }
    }

    #[test]
    fn only_those_that_were_woken_are_polled() {
        let gates = Gates::default();
        gates.0.borrow_mut().resize(SLOTS_MAX, (false, None));
        let mut slots = Slots::new();
        let places: Vec<_> = (0..SLOTS_MAX).map(|at| slots.put(gates.clone().pass(at))).collect();
        assert_eq!(places, (0..SLOTS_MAX).map(Some).collect::<Vec<_>>());
        assert_eq!(slots.put(gates.clone().pass(0)), None);
        let cx = Context::from_waker(Waker::noop());
        slots.poll(&cx);
        slots.poll(&cx);
        assert_eq!(gates.1.get(), 128);
        for at in [0, 63, 64, 127] {
            gates.open(at);
        }
        slots.poll(&cx);
        assert_eq!((gates.1.get(), slots.free.len()), (132, 4));
        // Their places are used again, and late wake-ups reach nobody who minds.
        gates.open(0);
        gates.0.borrow_mut()[0].0 = false;
        let again = slots.put(gates.clone().pass(0)).unwrap();
        assert!([0, 63, 64, 127].contains(&again));
        slots.poll(&cx);
        assert_eq!(gates.1.get(), 133);
        slots.drop_at(again);
        slots.drop_at(again);
        assert_eq!(slots.free.len(), 4);
        for at in 1..SLOTS_MAX {
            slots.drop_at(at);
        }
        slots.poll(&cx);
        assert_eq!((slots.slots.len(), slots.free.len()), (SPARE_MAX, SPARE_MAX));
    }

    #[test]
    fn the_task_is_woken() {
        struct Count(AtomicU64);
        impl Wake for Count {
            fn wake(self: Arc<Count>) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let gates = Gates::default();
        gates.0.borrow_mut().resize(1, (false, None));
        let count = Arc::new(Count(AtomicU64::new(0)));
        let task = Waker::from(Arc::clone(&count));
        let mut slots = Slots::new();
        slots.put(gates.clone().pass(0));
        slots.poll(&Context::from_waker(&task));
        gates.open(0);
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
    }
}
