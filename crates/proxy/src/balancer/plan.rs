//! The endpoints that a balancer is to have, for those who change them while it runs.

use crate::config::EndpointConfig;
use std::{num::NonZeroU32, sync::Arc};
use tokio::sync::watch;

/// The present list of endpoints. Every worker follows it; clones share it.
///
/// Requests in flight to an endpoint that is taken out, drained or re-weighted are finished.
#[derive(Clone, Debug)]
pub struct Plan {
    endpoints: Arc<watch::Sender<Arc<[EndpointConfig]>>>,
}

impl Plan {
    pub(super) fn new(endpoints: Vec<EndpointConfig>) -> Plan {
        Plan { endpoints: Arc::new(watch::Sender::new(endpoints.into())) }
    }

    /// The list as it is.
    pub fn endpoints(&self) -> Arc<[EndpointConfig]> {
        Arc::clone(&self.endpoints.borrow())
    }

    /// Replaces the whole list. An endpoint that is there before and after by its name and
    /// [`Reach`](crate::config::Reach) keeps its connection and what is known of it.
    pub fn set(&self, endpoints: Vec<EndpointConfig>) {
        self.endpoints.send_replace(endpoints.into());
    }

    /// Replaces the list by that of a file, which says nothing of who is out of rotation by order.
    pub(super) fn take(&self, endpoints: &[EndpointConfig]) {
        let before = self.endpoints();
        let drained = |name: &str| before.iter().any(|it| it.drained && *it.name == *name);
        let mut list = endpoints.to_vec();
        list.iter_mut().for_each(|it| it.drained |= drained(&it.name));
        self.set(list);
    }

    /// Takes an endpoint out of rotation or back in; false when there is none of this name.
    pub fn set_drained(&self, name: &str, drained: bool) -> bool {
        self.edit(name, |endpoint| endpoint.drained = drained)
    }

    /// Sets an endpoint's part of the work; false when there is none of this name.
    pub fn set_weight(&self, name: &str, weight: NonZeroU32) -> bool {
        self.edit(name, |endpoint| endpoint.weight = weight)
    }

    fn edit(&self, name: &str, change: impl FnOnce(&mut EndpointConfig)) -> bool {
        self.endpoints.send_if_modified(|endpoints| {
            let mut list = endpoints.to_vec();
            let found = list.iter_mut().find(|it| &*it.name == name);
            let is_known = found.map(change).is_some();
            *endpoints = list.into();
            is_known
        })
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Arc<[EndpointConfig]>> {
        self.endpoints.subscribe()
    }
}
