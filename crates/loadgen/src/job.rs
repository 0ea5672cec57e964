//! What a driver asks of whoever has requests to send.

use crate::answer::Answer;
use stdx::Moment;

/// What there is to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// A request was written.
    Send,
    /// Nothing before this moment.
    At(Moment),
    /// Nothing before an answer comes.
    Wait,
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End<'a> {
    Answer(Answer<'a>),
    /// The connection or the stream broke after some of the request had been sent: it may have been
    /// executed.
    Lost,
    /// The connection broke before any of it was sent, or the peer says that it did not begin with
    /// it: it was not.
    Unsent,
    /// No answer in time; the connection or the stream was given up.
    TimedOut,
    /// What came is no answer.
    Garbled(&'static str),
}

/// Requests to be sent, one at a time on each lane.
pub(crate) trait Job {
    /// Writes the next request to `out`, which is empty, for this lane.
    fn next(&mut self, lane: usize, now: Moment, out: &mut Vec<u8>) -> Next;

    /// The request of this lane has ended.
    fn ended(&mut self, lane: usize, now: Moment, end: End<'_>);

    /// Called every [`crate::limits::SWEEP_EVERY`] or so, whatever else happens.
    fn tick(&mut self, now: Moment);

    /// A connection could not be opened, or the peer is not one to talk to, for that reason.
    fn unconnected(&mut self, why: Option<&'static str>);

    /// Nothing is left to be done.
    fn is_done(&self, now: Moment) -> bool;
}
