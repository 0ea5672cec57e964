//! What a monitor runs on. To hold one is proof that the topology file was sound.

use crate::{
    channel::{Target, Url},
    core::{audience::Subscription, check::Now, rollup::Grain, rule::Rule, window::Window},
    store::Site,
};
use net::{node::NodeConfig, tls::ClientTls};
use std::{net::SocketAddr, time::Duration};
use wire::Timestamp;

/// One node of role `monitor`.
#[derive(Clone, Debug)]
pub struct MonitorConfig {
    pub node: NodeConfig,
    /// Where its pages are and where beats come in.
    pub http: SocketAddr,
    /// Where it keeps what it knows.
    pub store: Site,
    /// And for how long.
    pub retention: Retention,
    /// Name of the tree.
    pub tree: String,
    /// How often nodes beat, and how long after that they are given up.
    pub every: Duration,
    pub grace: Duration,
    /// The nodes that beat to it.
    pub nodes: Vec<WatchedNode>,
    /// What makes a node unwell that passes its own checks.
    pub rules: Vec<Rule>,
    /// Maintenance windows of the file.
    pub windows: Vec<Window>,
    /// Who is told of what; a channel that is not named here is told everything.
    pub subscriptions: Vec<Subscription>,
    /// By which ways.
    pub channels: Vec<ChannelConfig>,
    /// Whom the channels believe. There is one if somebody is told by `https://`.
    pub tls: Option<ClientTls>,
    /// The same for mail. There is one if mail goes within TLS.
    pub mail_tls: Option<ClientTls>,
    /// Name of the one of `channels` that is told of what others do not deliver, and nothing else.
    pub fallback: Option<String>,
    /// How long a letter may wait before the fallback gets it as well, and how long a channel may
    /// fail before the others are told.
    pub undelivered_max: Duration,
    /// Names of the monitors that tell people as long as one of them is there: this one stands by.
    pub before: Vec<String>,
    /// Where the other monitors are.
    pub peers: Vec<SocketAddr>,
    /// Who watches this monitor from outside the tree.
    pub beat_to: Option<Url>,
    /// What a person shows who changes something.
    pub api_key: String,
    /// What stands in the addresses of beats by slug.
    pub ping_key: String,
    /// The whole tree is just being started: what the nodes said last is of another time.
    pub is_fresh: bool,
}

/// How long what is kept of the past is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// The beats of jobs with their bodies; the last hundred of a job at most.
    pub beats: Duration,
    /// Roll-ups.
    pub minutes: Duration,
    pub hours: Duration,
    pub days: Duration,
    /// Changes of state, incidents and letters.
    pub changes: Duration,
}

/// A day.
const DAY: Duration = Duration::from_secs(86_400);

impl Retention {
    /// Where nobody says otherwise.
    pub const USUAL: Retention = Retention {
        beats: DAY.saturating_mul(7),
        minutes: DAY,
        hours: DAY.saturating_mul(35),
        days: DAY.saturating_mul(1_100),
        changes: DAY.saturating_mul(400),
    };
    /// What was of a bucket that is not over yet is always there to make it of.
    pub const MINUTES_MIN: Duration = Duration::from_secs(2 * 3_600);
    /// The same of hours and days, and of the changes that all of them are made of.
    pub const HOURS_MIN: Duration = DAY.saturating_mul(2);
    /// Nothing is kept for longer.
    pub const MAX: Duration = DAY.saturating_mul(3_660);

    /// Minutes that are kept at most, over all checks, some 60 bytes each: what is left of the disk is
    /// for other things.
    pub const MINUTE_ROWS_MAX: u64 = 10_000_000;

    /// The same where so many checks beat in one minute: minutes are kept for less long then, and
    /// never for less than what hours are made of.
    pub fn crowded(self, checks: u64) -> Retention {
        let minutes = Retention::MINUTE_ROWS_MAX / checks.max(1);
        let room = Duration::from_secs(minutes.saturating_mul(60));
        Retention { minutes: self.minutes.min(room).max(Retention::MINUTES_MIN), ..self }
    }

    /// From when on roll-ups of a grain are kept: whole buckets of the next coarser one.
    pub fn from(&self, now: Now, grain: Grain) -> Timestamp {
        match grain {
            Grain::Minute => Grain::Hour.floor(now.wall_before(self.minutes)),
            Grain::Hour => Grain::Day.floor(now.wall_before(self.hours)),
            Grain::Day => Grain::Day.floor(now.wall_before(self.days)),
        }
    }

    /// From when on changes are kept.
    pub fn changes_from(&self, now: Now) -> Timestamp {
        Grain::Day.floor(now.wall_before(self.changes))
    }

    /// From when on beats are kept.
    pub fn beats_from(&self, now: Now) -> Timestamp {
        now.wall_before(self.beats)
    }
}

/// A node of the tree, as the monitor sees it.
#[derive(Clone, Debug)]
pub struct WatchedNode {
    pub name: String,
    pub role: &'static str,
    /// The nodes that it sends to.
    pub below: Vec<String>,
    /// What it shares an engine with.
    pub service: Option<String>,
    /// Where it can be asked directly.
    pub admin: Option<SocketAddr>,
}

/// One way to tell people.
#[derive(Clone, Debug)]
pub struct ChannelConfig {
    pub name: String,
    pub target: Target,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minutes_of_many_checks_are_kept_for_less_long() {
        let hours = |checks| Retention::USUAL.crowded(checks).minutes.as_secs() / 3_600;
        for (checks, want) in
            [(0, 24), (10, 24), (6_944, 24), (10_000, 16), (50_000, 3), (100_000, 2)]
        {
            assert_eq!(hours(checks), want, "{checks} checks");
        }
        let short = Retention { minutes: Retention::MINUTES_MIN, ..Retention::USUAL };
        assert_eq!(short.crowded(1), short, "nobody is given more than was asked for");
    }
}
