//! How a node learns that it is to drain, or to reload.

use crate::{
    control::{HangupSender, Hangups, hangups},
    worker,
};
use std::{
    io,
    sync::{Arc, mpsc},
    thread,
};
use tokio::signal::unix::{SignalKind, signal};

/// Says once that the node should drain; clones hear it too.
#[derive(Clone, Debug)]
pub struct Shutdown {
    receiver: tokio::sync::watch::Receiver<bool>,
}

/// Tells every [`Shutdown`] of the pair.
#[derive(Debug)]
pub struct ShutdownTrigger {
    sender: tokio::sync::watch::Sender<bool>,
}

/// A trigger and what it triggers.
pub fn shutdown() -> (ShutdownTrigger, Shutdown) {
    let (sender, receiver) = tokio::sync::watch::channel(false);
    (ShutdownTrigger { sender }, Shutdown { receiver })
}

impl ShutdownTrigger {
    /// Asks for the drain; asking again changes nothing.
    pub fn trigger(&self) {
        self.sender.send_replace(true);
    }
}

impl Shutdown {
    /// True once the drain was asked for.
    pub fn is_requested(&self) -> bool {
        *self.receiver.borrow()
    }

    /// Returns when the drain is asked for, or nobody is left who could ask.
    pub async fn requested(&mut self) {
        // An error means that the trigger is gone: the process is ending anyway.
        drop(self.receiver.wait_for(|&it| it).await);
    }
}

/// A shutdown that SIGTERM and SIGINT trigger, and if `stdin_end` is set the end of standard input
/// too: a child whose parent is gone then goes as well. SIGHUP asks for a reload.
pub fn on_signals(stdin_end: bool) -> io::Result<(Shutdown, Hangups)> {
    let (trigger, shutdown) = shutdown();
    let (hangup, hangups) = hangups();
    let trigger = Arc::new(trigger);
    if stdin_end {
        let trigger = Arc::clone(&trigger);
        thread::Builder::new().name("stdin".to_owned()).spawn(move || {
            // Nothing is ever written to it. The end and an error mean the same: nobody holds the
            // other end any more.
            drop(io::copy(&mut io::stdin().lock(), &mut io::sink()));
            tracing::info!("the supervisor is gone: draining");
            trigger.trigger();
        })?;
    }
    // The handlers stand before this returns, so that no signal falls into a gap.
    let (stands, standing) = mpsc::channel();
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        if let Err(err) = obey_signals(&stands, &trigger, &hangup) {
            drop(stands.send(Err(err)));
        }
    })?;
    standing.recv().unwrap_or_else(|_| Err(io::Error::other("the signal thread is gone")))?;
    Ok((shutdown, hangups))
}

fn obey_signals(
    stands: &mpsc::Sender<io::Result<()>>,
    trigger: &ShutdownTrigger,
    hangup: &HangupSender,
) -> io::Result<()> {
    worker::runtime()?.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut reload = signal(SignalKind::hangup())?;
        drop(stands.send(Ok(())));
        loop {
            tokio::select! {
                _ = terminate.recv() => {
                    tracing::info!("SIGTERM: draining");
                    trigger.trigger();
                }
                _ = interrupt.recv() => {
                    tracing::info!("SIGINT: draining");
                    trigger.trigger();
                }
                _ = reload.recv() => {
                    tracing::info!("SIGHUP: reloading");
                    hangup.hang_up();
                }
            }
        }
    })
}
