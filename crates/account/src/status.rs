//! What an account node tells on its admin address.

use crate::executor::Executor;
use net::{
    admin::{Exposition, Source},
    counters::Counter,
};
use std::sync::Mutex;
use wire::{Epoch, PartitionId};

/// Written by the executor's thread, read by the admin thread.
#[derive(Debug, Default)]
pub(crate) struct Status {
    ready: Counter,
    commands: Counter,
    queries: Counter,
    shed: Counter,
    batches: Counter,
    records: Counter,
    waiting: Counter,
    unprojected: Counter,
    /// Changes with the ownership only, so the lock is never waited for on a request's path.
    owned: Mutex<Vec<(PartitionId, Epoch)>>,
}

impl Status {
    pub(crate) fn set_ready(&self, ready: bool) {
        self.ready.set(u64::from(ready));
    }

    pub(crate) fn set_owned(&self, owned: Vec<(PartitionId, Epoch)>) {
        *self.lock() = owned;
    }

    pub(crate) fn update<T>(&self, executor: &Executor<T>, not_let_in: u64) {
        let counters = &executor.counters;
        self.commands.set(counters.commands);
        self.queries.set(counters.queries);
        self.shed.set(counters.shed + not_let_in);
        self.batches.set(counters.batches);
        self.records.set(counters.records);
        self.waiting.set(executor.waiting_count() as u64);
        self.unprojected.set(executor.unprojected_count() as u64);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(PartitionId, Epoch)>> {
        self.owned.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Source for Status {
    fn readiness(&self) -> Result<(), String> {
        if self.ready.get() == 1 {
            Ok(())
        } else {
            Err("it loads its partitions, or drains".to_owned())
        }
    }

    fn metrics(&self, out: &mut Exposition) {
        let owned = self.lock().len() as u64;
        out.counter("account_commands_total", "Commands received.", &[(&[], self.commands.get())]);
        out.counter("account_queries_total", "Queries received.", &[(&[], self.queries.get())]);
        out.counter(
            "account_shed_total",
            "Calls refused as overloaded.",
            &[(&[], self.shed.get())],
        );
        out.counter("account_batches_total", "Engine transactions.", &[(&[], self.batches.get())]);
        out.counter("account_records_total", "Journal records.", &[(&[], self.records.get())]);
        out.gauge("account_waiting", "Calls not answered yet.", &[(&[], self.waiting.get())]);
        out.gauge(
            "account_unprojected",
            "Commands not in the views yet.",
            &[(&[], self.unprojected.get())],
        );
        out.gauge("account_partitions", "Partitions owned.", &[(&[], owned)]);
    }

    fn status(&self) -> String {
        let owned = self.lock();
        let partitions: Vec<String> = owned
            .iter()
            .map(|(id, epoch)| format!(r#"{{"partition":{},"epoch":{}}}"#, id.0, epoch.0))
            .collect();
        format!(
            concat!(
                r#"{{"role":"account","ready":{},"requests":{},"commands":{},"queries":{},"#,
                r#""batches":{},"records":{},"shed":{},"waiting":{},"unprojected":{},"#,
                r#""partitions":[{}]}}"#
            ),
            self.ready.get() == 1,
            self.commands.get() + self.queries.get(),
            self.commands.get(),
            self.queries.get(),
            self.batches.get(),
            self.records.get(),
            self.shed.get(),
            self.waiting.get(),
            self.unprojected.get(),
            partitions.join(","),
        )
    }
}
