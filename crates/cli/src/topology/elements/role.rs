//! The four roles of a node.

use super::policy::one_of;

/// What a node does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RoleName {
    Balancer,
    Gateway,
    Account,
    Monitor,
}

impl RoleName {
    const ALL: [RoleName; 4] =
        [RoleName::Balancer, RoleName::Gateway, RoleName::Account, RoleName::Monitor];

    /// As it is written in the file.
    pub(crate) fn text(self) -> &'static str {
        match self {
            RoleName::Balancer => "balancer",
            RoleName::Gateway => "gateway",
            RoleName::Account => "account",
            RoleName::Monitor => "monitor",
        }
    }

    /// The role of this name.
    pub(crate) fn parse(text: &str) -> Result<RoleName, String> {
        let found = RoleName::ALL.into_iter().find(|role| role.text() == text);
        found.ok_or_else(|| one_of(text, &RoleName::ALL.map(RoleName::text)))
    }
}
