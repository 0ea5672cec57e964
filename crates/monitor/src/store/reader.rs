//! The thread that reads: whoever wants to know what has been asks it, and waits.

use super::{Site, history::History, sql::StoreError};
use std::{
    sync::mpsc,
    thread::{self, JoinHandle},
};
use tokio::sync::oneshot;

/// Questions that wait; one more is refused.
const WAITING_MAX: usize = 256;

type Question = Box<dyn FnOnce(&History) + Send>;

/// The way to the reader. Dropped, it lets the reader finish.
#[derive(Debug)]
pub struct Archive {
    questions: Option<mpsc::SyncSender<Question>>,
    thread: Option<JoinHandle<()>>,
}

impl Archive {
    /// Reads what is committed at a site whose tables are there.
    pub fn open(site: &Site) -> Result<Archive, StoreError> {
        let history = History { db: site.open()? };
        let (questions, inbox) = mpsc::sync_channel::<Question>(WAITING_MAX);
        let thread = thread::Builder::new()
            .name("reader".to_owned())
            .spawn(move || inbox.iter().for_each(|question| question(&history)))
            .map_err(|err| StoreError::new("a thread", err))?;
        Ok(Archive { questions: Some(questions), thread: Some(thread) })
    }

    /// What this question finds, once its turn has come.
    ///
    /// # Errors
    /// When what is kept cannot be read, or too many wait for it.
    pub async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&History) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (sender, answer) = oneshot::channel();
        let question: Question = Box::new(move |history| {
            drop(sender.send(question(history))); // Whoever asked may have gone away.
        });
        let sent = self.questions.as_ref().is_some_and(|it| it.try_send(question).is_ok());
        let busy = || StoreError::new("the history", "too many look at it");
        if !sent {
            return Err(busy());
        }
        answer.await.unwrap_or_else(|_| Err(busy()))
    }
}

impl Drop for Archive {
    fn drop(&mut self) {
        self.questions = None;
        if let Some(thread) = self.thread.take() {
            // It can only have panicked, and has nothing left to read then.
            drop(thread.join());
        }
    }
}
