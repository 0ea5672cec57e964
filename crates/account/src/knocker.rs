//! Knocks where nodes listen that are late, for evidence that they have ended.

use engine::Registry;
use lease::NodeId;
use std::{
    io,
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

/// Nodes whose door is tried at one look; the others have their turn later.
const DOORS_PER_LOOK: usize = 4;
/// How long to wait for an answer. Silence says nothing: a machine that is gone and one that is cut
/// off are alike.
const ANSWER_WAIT: Duration = Duration::from_millis(50);

#[derive(Debug, Default)]
pub(crate) struct Knocker {
    /// Which of the suspects is next.
    next: usize,
}

impl Knocker {
    /// Declares those gone whose machine says that nobody listens there. What follows is seen at
    /// the next look.
    pub(crate) fn knock(
        &mut self,
        registry: &mut dyn Registry,
        name: impl Fn(NodeId) -> Option<Arc<str>>,
    ) {
        let suspects = registry.suspects();
        let count = suspects.len().min(DOORS_PER_LOOK);
        let from = self.next.checked_rem(suspects.len()).unwrap_or(0);
        self.next = from + count;
        for (id, addr) in suspects.into_iter().cycle().skip(from).take(count) {
            if !is_refused(addr) {
                continue;
            }
            let node = name(id).unwrap_or_default();
            match registry.declare_gone(id) {
                Ok(true) => tracing::warn!(%node, %addr, "is gone: nobody listens there"),
                Ok(false) => (),
                Err(error) => tracing::warn!(%error, %node, "cannot be declared gone"),
            }
        }
    }
}

/// Whether a machine answers that nobody listens there: the process that did has ended.
fn is_refused(addr: SocketAddr) -> bool {
    let answer = TcpStream::connect_timeout(&addr, ANSWER_WAIT);
    answer.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::{Bell, Claim, EngineError, Tenure};
    use lease::Survey;
    use std::{collections::BTreeSet, net::TcpListener};
    use wire::{Epoch, PartitionId};

    struct Fake {
        suspects: Vec<(NodeId, SocketAddr)>,
        gone: BTreeSet<NodeId>,
    }

    impl Registry for Fake {
        fn suspects(&mut self) -> Vec<(NodeId, SocketAddr)> {
            self.suspects.clone()
        }

        fn declare_gone(&mut self, node: NodeId) -> Result<bool, EngineError> {
            Ok(self.gone.insert(node))
        }

        fn me(&self) -> NodeId {
            unreachable!()
        }

        fn survey(&mut self) -> Result<Survey, EngineError> {
            unreachable!()
        }

        fn take(&mut self, _: &[Claim]) -> Result<Vec<Tenure>, EngineError> {
            unreachable!()
        }

        fn give(&mut self, _: PartitionId, _: Epoch, _: NodeId) -> Result<bool, EngineError> {
            unreachable!()
        }

        fn pin(&mut self, _: PartitionId, _: Option<&str>) -> Result<(), EngineError> {
            unreachable!()
        }

        fn set_leaving(&mut self, _: bool) {
            unreachable!()
        }

        fn wait(&mut self, _: Duration) {
            unreachable!()
        }

        fn bell(&self) -> Bell {
            unreachable!()
        }
    }

    #[test]
    fn who_is_late_is_gone_only_if_nobody_listens_there_and_everybody_is_looked_at() {
        let open = TcpListener::bind("127.0.0.1:0").unwrap();
        let shut = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let late = |id: u64| {
            let addr = if id == 3 { open.local_addr().unwrap() } else { shut };
            (NodeId(id), addr)
        };
        let mut registry = Fake { suspects: (0..6).map(late).collect(), gone: BTreeSet::new() };
        let mut knocker = Knocker::default();
        for _ in 0..2 {
            knocker.knock(&mut registry, |_| None);
        }
        assert_eq!(registry.gone, [0, 1, 2, 4, 5].map(NodeId).into());
        registry.suspects.clear();
        knocker.knock(&mut registry, |_| None);
    }
}
