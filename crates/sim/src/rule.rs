//! What keeps the promises, and can be left out.

/// A rule without which something goes wrong that the judges must notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// A record is let in only where the fence row has its owner, epoch, number and hash.
    Fence,
    /// Nobody is told before the database has said that it is durable.
    TellAfterCommit,
    /// A batch without an answer is in doubt, and not "not executed".
    Doubt,
    /// A read is answered only after the database has confirmed the tenure.
    ConfirmReads,
    /// Every attempt of a request bears the same key.
    SameKey,
    /// The epoch goes up with each change of owner.
    EpochGoesUp,
}

impl Rule {
    /// All of them.
    pub const ALL: [Rule; 6] = [
        Rule::Fence,
        Rule::TellAfterCommit,
        Rule::Doubt,
        Rule::ConfirmReads,
        Rule::SameKey,
        Rule::EpochGoesUp,
    ];
}
