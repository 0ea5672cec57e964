//! The other monitors of the tree, and who watches this one from outside.

use super::Node;
use crate::{
    channel::Url,
    core::{
        check::{Now, State},
        shared::Shared,
    },
    store::Row,
};
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use net::{
    agent::beat,
    fetch::{Place, fetch},
};
use std::{net::SocketAddr, rc::Rc, time::Duration};
use tokio::{task::spawn_local, time::MissedTickBehavior};
use wire::Timestamp;

/// How often somebody outside hears that this monitor lives.
const OUTSIDE_EVERY: Duration = Duration::from_secs(30);
const OUTSIDE_TIME_MAX: Duration = Duration::from_secs(10);
const OUTSIDE_BYTES_MAX: usize = 64 * 1024;
/// How often the other monitors are asked what people said to them.
const LISTEN_EVERY: Duration = Duration::from_secs(1);
const LISTEN_TIME_MAX: Duration = Duration::from_secs(2);
const SHARED_BYTES_MAX: usize = 4 * 1024 * 1024;

impl Node {
    /// Learns from the other monitors what people said to them, for as long as the node lives.
    pub(super) async fn listen_to_peers(self: Rc<Node>) {
        let mut interval = tokio::time::interval(LISTEN_EVERY);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            for peer in self.config().peers.clone() {
                match self.said_by(peer).await {
                    Ok(shared) => self.learn(&shared),
                    // Whether it is there at all is seen by its beats.
                    Err(why) => tracing::debug!(%peer, %why, "says nothing of use"),
                }
            }
        }
    }

    async fn said_by(&self, peer: SocketAddr) -> Result<Shared, String> {
        let request = Request::get("/shared").header("host", peer.to_string());
        let request = request.body(Full::<Bytes>::default()).map_err(|err| err.to_string())?;
        let host = peer.ip().to_string();
        let place = Place::plain(&host, peer.port());
        let answer = fetch(place, request, LISTEN_TIME_MAX, SHARED_BYTES_MAX).await;
        let answer = answer.map_err(|err| err.to_string())?;
        let mut parts = answer.body.splitn(2, |it| *it == b'\n');
        let (proof, said) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        if !beat::is_proof(&self.config().node.cluster_key, said, proof) {
            return Err("no proof of the cluster's key".to_owned());
        }
        serde_json::from_slice(said).map_err(|err| err.to_string())
    }

    fn learn(&self, shared: &Shared) {
        let (mut filed, mut rows) = (Vec::new(), Vec::new());
        let learnt = self.desk.borrow_mut().learn(super::now(), shared, &mut filed);
        rows.extend(learnt.into_iter().map(Row::Silence));
        self.file(filed, &mut rows);
        self.keep(rows);
    }

    /// Looks whether a monitor before this one is there; if not, says what it may not have said.
    pub(super) fn look_for_peers(&self, now: Now, rows: &mut Vec<Row>) {
        let config = self.config();
        if config.before.is_empty() {
            return;
        }
        let was_active = self.standby.borrow().is_active();
        let deadline = config.every + config.grace;
        let is_young = now.moment.since(self.began.moment) < 2 * deadline;
        let (mut is_there, mut heard) = (false, Timestamp(0));
        for name in &config.before {
            let book = self.book.borrow();
            let Some(check) = book.node(name).and_then(|id| book.get(id)) else { continue };
            is_there |= match self.detector.borrow().state(check.id).unwrap_or(State::New) {
                State::Up | State::Late | State::Sick | State::Strained | State::Starting => true,
                // Not heard yet: that may be our fault as long as we have just begun.
                State::New => is_young,
                State::Down | State::Draining | State::Stopped | State::Paused => false,
            };
            heard = heard.max(check.last_at.unwrap_or(Timestamp(0)));
        }
        let said = self.standby.borrow_mut().look(now.wall, is_there, heard);
        let is_active = self.standby.borrow().is_active();
        if is_active != was_active {
            let word = if is_active { "tells people now" } else { "stands by" };
            tracing::warn!(before = ?config.before, "this monitor {word}");
        }
        said.iter().for_each(|notice| self.tell_all(notice, rows));
    }

    /// Beats to the outside, once in a while and once what it beats for is on the disk.
    pub(super) fn beat_outside(self: &Rc<Node>, now: Now) {
        let config = self.config();
        let Some(url) = config.beat_to.clone() else { return };
        let due = self.beaten_at.get().is_none_or(|at| OUTSIDE_EVERY <= now.moment.since(at));
        if !due {
            return;
        }
        self.beaten_at.set(Some(now.moment));
        let node = Rc::clone(self);
        drop(spawn_local(async move {
            let kept = node.keep(vec![Row::Alive(super::now().wall)]);
            let is_kept = match kept {
                Some(kept) => kept.await == Ok(true),
                None => false,
            };
            if !is_kept {
                return; // A monitor that cannot write is not well: the silence says so.
            }
            if let Err(why) = node.beat_to(&url).await {
                tracing::warn!(%why, host = %url.host, "the beat to the outside was not taken");
            }
        }));
    }

    async fn beat_to(&self, url: &Url) -> Result<(), String> {
        let request = Request::get(&url.path)
            .header("host", url.authority())
            .header("user-agent", "tollgate-monitor")
            .body(Full::<Bytes>::default())
            .map_err(|err| err.to_string())?;
        let config = self.config();
        let tls = config.tls.as_ref().filter(|_| url.tls);
        if url.tls && tls.is_none() {
            return Err("no authorities are trusted".to_owned());
        }
        let place = Place { host: &url.host, port: url.port, tls };
        match fetch(place, request, OUTSIDE_TIME_MAX, OUTSIDE_BYTES_MAX).await {
            Ok(answer) if (200..300).contains(&answer.status) => Ok(()),
            Ok(answer) => Err(format!("it answers {}", answer.status)),
            Err(err) => Err(err.to_string()),
        }
    }
}
