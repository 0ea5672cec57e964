//! What several tests need.

use crate::{Keys, Pace, Plan, Target, Workload};
use std::time::Duration;

/// A small plan against this address.
pub(crate) fn plan(addr: &str) -> Plan {
    Plan {
        target: Target {
            addr: addr.parse().expect("an address"),
            host: "tree".to_owned(),
            api_key: "secret".to_owned(),
        },
        pace: Pace::Open(1_000),
        connections: 4,
        streams: None,
        connection_requests: None,
        threads: 1,
        duration: Duration::from_secs(1),
        warm_up: Duration::ZERO,
        window: Duration::from_secs(1),
        workload: Workload::Debits,
        batch: 1,
        services: vec!["a".to_owned(), "b".to_owned()],
        accounts: 4,
        keys: Keys::Client,
        repeats: true,
        answer_time_max: Duration::from_secs(5),
        audit: true,
        run: "r".to_owned(),
        seed: 1,
    }
}
