//! How large a world is, and which of its rules it goes without.

/// A rule that is left out, to see that it is missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutant {
    None,
    /// The fence compares only the number of the batch.
    FenceWithoutEpoch,
    /// The fence is looked at in one step, and the batch written in another.
    LookThenWrite,
    /// The success is told when the batch is sent to the engine.
    AnswerBeforeCommit,
    /// The state is loaded while the take is under way.
    LoadBeforeBump,
    /// A batch that nobody knows the end of is told to have failed.
    FailedForUnknown,
    /// A request is repeated under another key.
    RetryWithoutKey,
    /// The living are deposed, and reads are answered from memory all the same.
    ReadWithoutProof,
    /// A partition is closed while a batch of it is in the engine's hands.
    CloseOverCommit,
    /// What was decided before is forgotten by the new owner.
    ForgetKeys,
}

/// What the world has room for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) nodes: usize,
    pub(crate) writers: usize,
    pub(crate) readers: usize,
    pub(crate) attempts: u8,
    pub(crate) crashes: u8,
    /// How often a node stops to wait for the engine's reply.
    pub(crate) give_ups: u8,
    pub(crate) epochs: u64,
    /// A take needs proof that the owner's process is gone, and so reads need no check; without,
    /// anybody takes at any moment, and every read is confirmed at the fence.
    pub(crate) proof: bool,
    pub(crate) mutant: Mutant,
}
