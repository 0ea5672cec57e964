//! Sends letters, and asks nodes that are late.

use super::{Node, now};
use crate::{
    channel::{ATTEMPT_TIME_MAX, deliver},
    core::{
        check::{CheckId, Opinion},
        outbox::{Fate, Letter, Sent},
    },
    store::Row,
};
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use net::fetch::{Place, fetch};
use std::{rc::Rc, time::Duration};
use stdx::Moment;
use tokio::task::spawn_local;

/// How long a late node may take to answer: its answer is of use before its deadline only.
const ASK_TIME_MAX: Duration = Duration::from_secs(1);
const ASK_BYTES_MAX: usize = 4 * 1024;
/// Longest answer of a receiver that is kept.
const ANSWER_CHARS_MAX: usize = 500;

impl Node {
    /// Begins to send whatever may be sent now.
    pub(super) fn send_letters(self: &Rc<Node>, moment: Moment) {
        let count = self.channels.borrow().len();
        for at in 0..count {
            let taken = self.channels.borrow_mut()[at].queue.take(moment);
            if let Some(letter) = taken {
                drop(spawn_local(Rc::clone(self).send(at, letter)));
            }
        }
    }

    async fn send(self: Rc<Node>, at: usize, letter: Letter) {
        let message = self.message(&letter);
        let (name, target) = {
            let channels = self.channels.borrow();
            (channels[at].config.name.clone(), channels[at].config.target.clone())
        };
        let began = now();
        let sent = deliver(&target, &message, &self.config()).await;
        let ended = now();
        let fate = self.channels.borrow_mut()[at].queue.ended(ended.moment, &sent);
        let took = ended.moment.since(began.moment).min(2 * ATTEMPT_TIME_MAX);
        let answer = match &sent {
            Sent::Accepted => "accepted".to_owned(),
            Sent::Failed(why) => format!("failed: {why}"),
            Sent::Refused(why) => format!("refused: {why}"),
        };
        let answer: String = answer.chars().take(ANSWER_CHARS_MAX).collect();
        tracing::info!(channel = %name, incident = %message.incident, %answer, "letter");
        let mut rows = vec![Row::Attempt { letter: letter.id, at: began.wall, took, answer }];
        self.feel(at, sent == Sent::Accepted, &mut rows);
        match fate {
            Some((_, Fate::Delivered)) => {
                self.status.delivered.add(1);
                rows.push(Row::LetterEnded(letter.id, "delivered"));
            }
            Some((_, Fate::Dead)) => {
                rows.push(Row::LetterEnded(letter.id, "dead"));
                self.given_up(at, letter.notice, &mut rows);
            }
            Some((_, Fate::Delayed(_))) | None => {}
        }
        self.keep(rows);
        self.send_letters(ended.moment);
    }

    /// A second opinion: asks a late node whether it lives.
    pub(super) fn ask(self: &Rc<Node>, id: CheckId) {
        let name = self.name(id);
        let admin = self.config().nodes.iter().find(|it| it.name == name).and_then(|it| it.admin);
        let Some(admin) = admin else { return };
        let node = Rc::clone(self);
        drop(spawn_local(async move {
            let request = Request::get("/healthz").header("host", admin.to_string());
            let request = request.body(Full::<Bytes>::default()).expect("the parts are ours");
            let host = admin.ip().to_string();
            let place = Place::plain(&host, admin.port());
            let answer = fetch(place, request, ASK_TIME_MAX, ASK_BYTES_MAX).await;
            let is_alive = answer.is_ok_and(|it| it.status == 200);
            let opinion = if is_alive { Opinion::Alive } else { Opinion::Dead };
            node.detector.borrow_mut().opinion(id, opinion);
        }));
    }
}
