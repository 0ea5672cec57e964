//! Who may write a partition: the fence, the office that a node holds in a partition, and the heir
//! that decides what to take, what to give away and whom to give up.
//!
//! Pure: time, chance and what was seen of others are arguments. Safety rests on the [`Fence`]
//! alone, which the engine checks in the very transaction that commits; [`Watch`] and [`Heir`] only
//! decide who tries. What must hold, and which tests hold it:
//!
//! ```text
//! I1  every batch bears (epoch, seq); seq has no gaps, the epoch never decreases
//! I2  no batch of an epoch commits after a bump to a higher one
//! I3  an owner answers only after its own bump was acknowledged and the state was loaded after it
//! I4  a success is told only after its COMMIT returned
//! I5  "refused" or "failed" is told only of what did not and never will commit
//! I6  one key, one result, on any owner
//! I7  none of this depends on a clock
//! ```
//!
//! `tests/it/small_world.rs` looks at every order of events of a small world, with crashes, lost
//! and late messages; each rule left out is caught there by one of these.

mod fence;
mod heir;
mod office;
mod spread;
mod watch;

pub use crate::{
    fence::Fence,
    heir::{Heir, Holding, Member, Order, Survey},
    office::{Deed, News, Office},
    watch::{LATE_LOOKS, LOOK_EVERY, QUIET_LOOKS, Sign, Watch},
};

/// One start of a process: fresh random bits each time, so that no later process is taken for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u64);
