//! What the client of the model does, and what it checks.

use super::{
    super::super::{
        super::limits::STREAM_WINDOW_BYTES,
        field::{Field, Value},
    },
    *,
};

impl Model {
    pub(super) fn any_asked(&mut self) -> Option<u32> {
        let all: Vec<u32> = self.asked.keys().copied().collect();
        self.chance.of(&all)
    }

    pub(super) fn ask(&mut self) {
        if STREAMS_MAX <= self.asked.len() {
            return;
        }
        let (id, left) = (self.next, self.chance.some(90_000));
        let length = match self.chance.below(8) {
            0 => 0,
            1 => self.chance.below(ANSWER_BYTES_MAX),
            _ => self.chance.below(20_000),
        };
        self.next += 2 + 2 * u32::try_from(self.chance.below(2)).unwrap();
        let mut head = HEAD.to_vec();
        if self.chance.below(2) == 0 {
            let digits = left.to_string();
            head.extend([0x0f, 0x0d, u8::try_from(digits.len()).unwrap()]);
            head.extend(digits.bytes());
        }
        let is_sent = left == 0;
        self.up.extend(frame(1, if is_sent { GET } else { END_HEADERS }, id, &head));
        let answer = answer_of(id, length);
        let (room, granted) = (self.room_first, self.granted_first);
        self.asked.insert(id, Asked { room, left, is_sent, granted, answer, is_answered: false });
    }

    /// Sends of a body what there is room for, padded or not, and maybe its end.
    pub(super) fn tell(&mut self, id: u32) {
        let asked = self.asked.get_mut(&id).unwrap();
        if asked.is_sent {
            return;
        }
        let room = usize::try_from(asked.room.min(self.room)).unwrap_or(0).min(16_384);
        let pad = self.chance.below(3) * 10;
        let (flags, bare) = if pad == 0 { (0, room) } else { (8, room.saturating_sub(pad + 1)) };
        let length = self.chance.some(bare).min(asked.left);
        if length == 0 && asked.left != 0 {
            return;
        }
        asked.left -= length;
        asked.is_sent = asked.left == 0;
        let mut payload = vec![b'b'; length];
        if flags != 0 && length != 0 {
            payload.insert(0, u8::try_from(pad).unwrap());
            payload.resize(payload.len() + pad, 0);
        }
        let flags = if length == 0 { 0 } else { flags };
        let all = i64::try_from(payload.len()).unwrap();
        (asked.room, self.room) = (asked.room - all, self.room - all);
        if asked.is_sent && self.chance.below(4) == 0 {
            self.up.extend(frame(0, flags, id, &payload));
            self.up.extend(frame(1, GET, id, b"\x00\x01x\x01y"));
        } else {
            let end = if asked.is_sent { END_STREAM } else { 0 };
            self.up.extend(frame(0, flags | end, id, &payload));
        }
        self.forget(id);
    }

    /// Forgets a stream that has ended both ways.
    fn forget(&mut self, id: u32) {
        if self.asked.get(&id).is_some_and(|it| it.is_sent && it.is_answered) {
            self.asked.remove(&id);
            self.done += 1;
        }
    }

    pub(super) fn grant(&mut self, id: u32, by: usize) {
        let window = match id {
            0 => &mut self.granted,
            id => &mut self.asked.get_mut(&id).unwrap().granted,
        };
        *window += i64::try_from(by).unwrap();
        self.up.extend(frame(8, 0, id, &u32::try_from(by).unwrap().to_be_bytes()));
    }

    pub(super) fn change_settings(&mut self) {
        let window = [0, 100, 20_000, 65_535, 500_000][self.chance.below(5)];
        let table = [0, 60, 500, 4_096][self.chance.below(4)];
        self.changes.push_back((i64::from(window) - self.granted_first, self.next));
        self.granted_first = window.into();
        self.up.extend(frame(4, 0, 0, &[setting(1, table), setting(4, window)].concat()));
    }

    /// Reads what has come down whole.
    pub(super) fn hear(&mut self) {
        let down = std::mem::take(&mut self.down);
        let mut at = 0;
        while let Some((head, rest)) = down[at..].split_first_chunk::<9>() {
            let [_, a, b, kind, flags, stream @ ..] = *head;
            let (id, length) = (u32::from_be_bytes(stream), usize::from(a) << 8 | usize::from(b));
            let Some(payload) = rest.get(..length) else { break };
            self.take(kind, flags, id, payload);
            at += 9 + length;
        }
        self.down = down[at..].to_vec();
    }

    fn take(&mut self, kind: u8, flags: u8, id: u32, payload: &[u8]) {
        let bytes = i64::try_from(payload.len()).unwrap();
        let number = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().unwrap());
        match kind {
            0 => {
                self.granted -= bytes;
                assert!(0 <= self.granted);
                if let Some(asked) = self.asked.get_mut(&id) {
                    asked.granted -= bytes;
                    assert!(bytes == 0 || 0 <= asked.granted);
                    assert_eq!(asked.answer.split_to(payload.len()), payload);
                }
            }
            1 => {
                self.block.extend_from_slice(payload);
                assert_ne!(flags & END_HEADERS, 0);
                let (mut said, block) = (Vec::new(), std::mem::take(&mut self.block));
                let note = |field: Field| {
                    if let Value::Header(value) = field.value {
                        said.push(value.to_str().unwrap().to_owned());
                    }
                };
                self.decoder.read(&block, note).unwrap();
                assert!(said.contains(&format!("it is {}", id % 9)), "{said:?}");
            }
            3 => {
                // It does not want the rest of the body.
                let asked = self.asked.remove(&id);
                assert!(asked.is_none_or(|it| it.is_answered && number(0) == 0));
                self.done += 1;
            }
            4 if flags == ACK => {
                let (by, before) = self.changes.pop_front().unwrap();
                self.asked.range_mut(..before).for_each(|(_, it)| it.granted += by);
            }
            4 => {
                let first = i64::from(STREAM_WINDOW_BYTES);
                self.asked.values_mut().for_each(|it| it.room += first - self.room_first);
                self.room_first = first;
                self.up.extend(frame(4, ACK, 0, &[]));
            }
            8 if id == 0 => self.room += i64::from(number(0)),
            8 => {
                if let Some(asked) = self.asked.get_mut(&id) {
                    asked.room += i64::from(number(0));
                }
            }
            _ => panic!("a frame of kind {kind}"),
        }
        if kind < 2 && flags & END_STREAM != 0 {
            if let Some(asked) = self.asked.get_mut(&id) {
                assert!(asked.answer.is_empty() && !asked.is_answered);
                asked.is_answered = true;
            }
            self.forget(id);
        }
    }
}
