//! One endpoint as one worker sees it: how it is reached, and what is counted of it.

use super::{board::EndpointCounters, hop::Hop};
use crate::config::{EndpointConfig, Reach};
use net::{
    clock,
    latency::LatencyWindow,
    node,
    trunk::{
        Answer, CallSlot, Exchange, Identity, Link, LinkConfig, LinkEvents, Loss, Refused,
        StreamReader, StreamWriter, Ticket, call_with, forward_stream, open_stream,
    },
};
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
};
use wire::{
    Timestamp,
    frame::{Patch, RequestRef},
};

/// The way to an endpoint.
pub(super) struct Way {
    pub(super) config: EndpointConfig,
    pub(super) counters: Arc<EndpointCounters>,
    /// It was taken out of the list: it gets nothing new, and what it has is finished.
    pub(super) gone: bool,
    /// Whether its connection takes requests.
    pub(super) connected: Cell<bool>,
    /// It said in its last report that it drains.
    pub(super) said_draining: Cell<bool>,
    /// Of what it answered lately.
    pub(super) latency: RefCell<LatencyWindow>,
    /// When and why it last changed.
    pub(super) changed: RefCell<Option<(Timestamp, String)>>,
    transport: Transport,
}

/// What carries requests there.
enum Transport {
    Trunk(Link<Hop>),
}

impl Way {
    /// Starts to connect. Events bear `index`.
    pub(super) fn open(
        config: EndpointConfig,
        index: usize,
        identity: &Identity,
        counters: Arc<EndpointCounters>,
        events: Rc<dyn LinkEvents>,
    ) -> Way {
        let transport = match config.reach {
            Reach::Trunk(addr) => {
                let endpoint = node::Endpoint { name: Arc::clone(&config.name), addr };
                let config = LinkConfig { identity: identity.clone(), endpoint, index };
                Transport::Trunk(Link::open(config, events))
            }
        };
        Way {
            config,
            counters,
            gone: false,
            connected: Cell::new(false),
            said_draining: Cell::new(false),
            latency: RefCell::default(),
            changed: RefCell::default(),
            transport,
        }
    }

    /// Remembers what happened to it.
    pub(super) fn note(&self, why: impl Into<String>) {
        self.changed.replace(Some((clock::wall(), why.into())));
    }

    pub(super) fn name(&self) -> &Arc<str> {
        &self.config.name
    }

    /// Sends a request and returns what will come of it; `hop` makes what hears of it first. With
    /// `streams` a long answer comes with a reader for what is not in its first part.
    pub(super) fn call<W: FnOnce(CallSlot) -> Hop>(
        &self,
        request: &RequestRef<'_>,
        streams: bool,
        hop: W,
    ) -> impl Future<Output = Result<(Answer, Option<StreamReader>), Loss>> + use<W> {
        match &self.transport {
            Transport::Trunk(link) => call_with(link, request, streams, hop),
        }
    }

    /// Sends a request that was received, as it was but for the patch.
    pub(super) fn forward(&self, patch: Patch, hop: Hop) -> Result<(), Refused<Hop>> {
        match &self.transport {
            Transport::Trunk(link) => link.forward(patch, hop, Hop::message),
        }
    }

    /// Sends the head of a request whose body is to follow.
    pub(super) fn open_stream(
        &self,
        request: &RequestRef<'_>,
    ) -> Result<(StreamWriter, Exchange<Hop>), Loss> {
        match &self.transport {
            Transport::Trunk(link) => open_stream(link, request),
        }
    }

    /// Sends the first part of a request that was received, as it was but for the patch.
    pub(super) fn forward_stream(
        &self,
        patch: Patch,
        part: &[u8],
    ) -> Result<(StreamWriter, Exchange<Hop>), Loss> {
        match &self.transport {
            Transport::Trunk(link) => forward_stream(link, patch, part),
        }
    }

    /// Gives up a request that was forwarded.
    pub(super) fn cancel(&self, ticket: Ticket) {
        match &self.transport {
            Transport::Trunk(link) => link.cancel(ticket),
        }
    }

    /// Sends nothing more. What is in flight may still be answered.
    pub(super) fn close(&self) {
        match &self.transport {
            Transport::Trunk(link) => link.close(),
        }
    }
}
