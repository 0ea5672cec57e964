//! How long a body may stand still.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::{Instant, Sleep, sleep};

/// Watches a body on its way. Costs nothing as long as bytes are there whenever they are wanted.
#[derive(Debug)]
pub(crate) struct Quiet {
    max: Duration,
    /// Set once nothing came.
    until: Option<Pin<Box<Sleep>>>,
}

impl Quiet {
    /// Nothing may come for so long.
    pub(crate) fn new(max: Duration) -> Quiet {
        Quiet { max, until: None }
    }

    /// Something came.
    pub(crate) fn moved(&mut self) {
        if let Some(until) = &mut self.until {
            until.as_mut().reset(Instant::now() + self.max);
        }
    }

    /// Nothing more is to come.
    pub(crate) fn over(&mut self) {
        self.until = None;
    }

    /// Nothing is there: ready when it has been so for too long.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.until.get_or_insert_with(|| Box::pin(sleep(self.max))).as_mut().poll(cx)
    }
}
