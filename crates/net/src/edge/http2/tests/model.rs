//! A client that keeps the rules and a server that answers it, both doing whatever chance has them
//! do: every byte arrives within the windows, nobody waits without a reason, every stream ends.

mod client;

use super::{
    super::{super::limits::CONNECTION_WINDOW_BYTES, decoder::Decoder},
    *,
};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::LazyLock,
};

const STREAMS_MAX: usize = 12;
const FIRST: i64 = 65_535;
/// More than is held of all answers together.
const ANSWER_BYTES_MAX: usize = 700_000;

struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        usize::try_from(self.0 >> 33).unwrap() % end
    }

    /// Mostly little, sometimes all that may be.
    fn some(&mut self, most: usize) -> usize {
        match self.below(4) {
            0 => most,
            1 => self.below(most + 1),
            _ => self.below(most / 20 + 1),
        }
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> Option<T> {
        (!all.is_empty()).then(|| all[self.below(all.len())])
    }
}

/// What every answer says, from a place of its own on.
fn answer_of(id: u32, length: usize) -> Bytes {
    static ALL: LazyLock<Bytes> =
        LazyLock::new(|| (0..=250_u8).cycle().take(ANSWER_BYTES_MAX + 199).collect());
    let from = usize::try_from(id % 199).unwrap();
    ALL.slice(from..from + length)
}

/// A stream as its client sees it.
struct Asked {
    /// Of the body: what may be sent, what is still to be, and whether its end was.
    room: i64,
    left: usize,
    is_sent: bool,
    /// Of the answer: what may come of it and all that is to come.
    granted: i64,
    answer: Bytes,
    is_answered: bool,
}

/// An answer as its server sees it: the part that is being sent, and what comes after it.
struct Answer {
    has_begun: bool,
    part: Bytes,
    rest: Bytes,
}

/// What the session keeps for the server.
#[derive(Debug, Default)]
struct Lane {
    id: u32,
    waits: bool,
}

struct Model {
    chance: Chance,
    tick: u64,
    session: Session<Lane>,
    /// Bytes on their way to the server, and those that have come to the client.
    up: Vec<u8>,
    down: Vec<u8>,
    // The client:
    next: u32,
    asked: BTreeMap<u32, Asked>,
    room: i64,
    granted: i64,
    /// The first window of streams: the server's, ours as last told, and changes of ours that are
    /// not acknowledged, with the streams that they are for.
    room_first: i64,
    granted_first: i64,
    changes: VecDeque<(i64, u32)>,
    decoder: Decoder,
    block: Vec<u8>,
    done: usize,
    // The server:
    answers: BTreeMap<u32, Answer>,
    due: BTreeSet<u32>,
    /// Bodies that are read, and what has come of them.
    unread: BTreeMap<u32, usize>,
}

impl Model {
    fn new(seed: u64) -> Model {
        let session = Session::new(0);
        Model {
            chance: Chance(seed),
            tick: 0,
            session,
            up: [&PREFACE[..], &frame(4, 0, 0, &[])].concat(),
            down: Vec::new(),
            next: 1,
            asked: BTreeMap::new(),
            room: FIRST,
            granted: FIRST,
            room_first: FIRST,
            granted_first: FIRST,
            changes: [(0, 0)].into(),
            decoder: Decoder::new(),
            block: Vec::new(),
            done: 0,
            answers: BTreeMap::new(),
            due: BTreeSet::new(),
            unread: BTreeMap::new(),
        }
    }

    /// The server takes so many bytes.
    fn listen(&mut self, count: usize) {
        let count = count.min(self.up.len());
        self.session.push(&self.up[..count]);
        self.up.drain(..count);
        while let Some(event) = self.session.next(self.tick).expect("the client keeps the rules") {
            match event {
                Event::Asked { id, ends, .. } => {
                    self.session.lane(id).unwrap().id = id;
                    let rest = match self.asked.get(&id) {
                        Some(asked) => asked.answer.clone(),
                        None => Bytes::new(), // It was reset and we will hear of it.
                    };
                    let answer = Answer { has_begun: false, part: Bytes::new(), rest };
                    self.answers.insert(id, answer);
                    self.due.insert(id);
                    if !ends {
                        self.unread.insert(id, 0);
                    }
                }
                Event::Data { id, bytes, .. } => *self.unread.get_mut(&id).unwrap() += bytes.len(),
                Event::Reset(Lane { id, .. }) => {
                    self.answers.remove(&id);
                    self.due.remove(&id);
                    self.unwant(id);
                }
                Event::Room(Some(id)) => self.wake(Some(id)),
                Event::Room(None) => self.wake(None),
            }
        }
        self.wake_next();
    }

    fn wake(&mut self, id: Option<u32>) {
        for lane in self.session.lanes().filter(|it| id.is_none_or(|id| it.id == id)) {
            if std::mem::take(&mut lane.waits) {
                self.due.insert(lane.id);
            }
        }
    }

    fn wake_next(&mut self) {
        if let Some(next) = self.session.first_in_line()
            && std::mem::take(&mut next.waits)
        {
            self.due.insert(next.id);
        }
    }

    fn unwant(&mut self, id: u32) {
        if let Some(unread) = self.unread.remove(&id) {
            self.session.unwant(id, unread);
        }
    }

    /// The server goes on with an answer.
    fn answer(&mut self, id: u32) {
        self.due.remove(&id);
        let answer = self.answers.get_mut(&id).unwrap();
        if !answer.has_begun {
            let mut headers = HeaderMap::new();
            let same = HeaderValue::from_str(&format!("it is {}", id % 9)).unwrap();
            headers.insert("x-same", same);
            let date = HeaderValue::from_static("now");
            let ends = answer.rest.is_empty();
            self.session.answer(id, (StatusCode::OK, &headers), &date, None, ends);
            answer.has_begun = true;
            if ends {
                self.answers.remove(&id);
                return;
            }
        }
        if answer.part.is_empty() {
            let length = 1 + self.chance.some(answer.rest.len() - 1);
            answer.part = answer.rest.split_to(length);
        }
        let ends = answer.rest.is_empty();
        if !self.session.send(id, &mut answer.part, ends) {
            self.session.lane(id).unwrap().waits = true;
        } else if ends {
            self.answers.remove(&id);
        } else {
            self.due.insert(id);
        }
        self.wake_next();
    }

    /// So many bytes of what is to be sent go down.
    fn flow(&mut self, count: usize) {
        let unsent = self.session.unsent();
        let count = count.min(unsent.len());
        self.down.extend_from_slice(&unsent[..count]);
        if self.session.has_sent(count) {
            self.wake(None);
        }
        self.hear();
    }

    /// All that is on its way arrives, and all is done that can be.
    fn settle(&mut self) {
        for turn in 0.. {
            if self.up.is_empty() && self.due.is_empty() && self.session.unsent().is_empty() {
                break;
            }
            assert!(turn < 10_000, "they go round in circles");
            self.listen(usize::MAX);
            for id in self.due.clone() {
                if self.due.contains(&id) {
                    self.answer(id);
                }
            }
            self.flow(usize::MAX);
        }
        assert!(self.changes.is_empty() && self.down.is_empty());
        for (id, asked) in &self.asked {
            let has_room = 0 < self.granted && 0 < asked.granted;
            assert!(!has_room || asked.is_answered, "{id} waits without a reason");
        }
    }

    fn step(&mut self) {
        self.tick += 1;
        match self.chance.below(40) {
            0..4 => self.ask(),
            4..14 => _ = self.any_asked().map(|id| self.tell(id)),
            14..16 => {
                let by = 1 + self.chance.some(900_000);
                self.grant(0, by);
            }
            16..19 => {
                let by = 1 + self.chance.some(400_000);
                _ = self.any_asked().map(|id| self.grant(id, by));
            }
            19 => {
                if let Some(id) = self.any_asked() {
                    self.up.extend(frame(3, 0, id, &8_u32.to_be_bytes()));
                    self.asked.remove(&id);
                    self.done += 1;
                }
            }
            20 => self.change_settings(),
            21..26 => {
                let count = self.chance.some(20_000);
                self.listen(count);
            }
            26..31 => {
                let due: Vec<u32> = self.due.iter().copied().collect();
                _ = self.chance.of(&due).map(|id| self.answer(id));
            }
            31..34 => {
                let count = self.chance.some(100_000);
                self.flow(count);
            }
            34..38 => self.read(),
            38 => {
                // Most bodies are wanted.
                let all: Vec<u32> = self.unread.keys().copied().collect();
                let one = self.chance.of(&all).filter(|_| self.chance.below(5) == 0);
                _ = one.map(|id| self.unwant(id));
            }
            _ => self.settle(),
        }
    }

    fn read(&mut self) {
        let all: Vec<u32> = self.unread.keys().copied().collect();
        let Some(id) = self.chance.of(&all) else { return };
        let unread = self.unread.get_mut(&id).unwrap();
        let count = self.chance.some(*unread);
        *unread -= count;
        self.session.read(id, count);
    }

    /// Nothing new is asked, and the client grants what is needed.
    fn end(&mut self) {
        for _ in 0..10_000 {
            self.tick += 1;
            self.settle();
            if self.asked.is_empty() {
                break;
            }
            for (id, count) in &mut self.unread {
                self.session.read(*id, std::mem::take(count));
            }
            self.flow(usize::MAX);
            let ids: Vec<u32> = self.asked.keys().copied().collect();
            for id in ids {
                let asked = &self.asked[&id];
                let (is_answered, granted) = (asked.is_answered, asked.granted);
                if !is_answered && granted <= 0 {
                    self.grant(id, usize::try_from(50_000 - granted).unwrap());
                }
                if !is_answered && self.granted == 0 {
                    self.grant(0, 70_000);
                }
                self.tell(id);
            }
        }
        for id in self.unread.keys().copied().collect::<Vec<_>>() {
            self.unwant(id);
        }
        self.settle();
        assert!(self.asked.is_empty() && self.answers.is_empty());
        assert_eq!(self.session.lanes().count(), 0);
        assert!(i64::from(CONNECTION_WINDOW_BYTES / 2) < self.room);
        assert!(self.room <= i64::from(CONNECTION_WINDOW_BYTES));
    }
}

#[test]
fn whatever_happens_every_byte_arrives_and_every_stream_ends() {
    let mut done = 0;
    for seed in 0..40 {
        let mut model = Model::new(seed);
        for _ in 0..1_500 {
            model.step();
        }
        model.end();
        done += model.done;
    }
    assert!(2_000 < done, "{done} streams are few");
}
