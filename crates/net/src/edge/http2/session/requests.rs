//! The frames of requests: their heads, their bodies and their trailers.

use super::{
    CONTINUATIONS_MAX, Ending, Event, LIST_BYTES_MAX, Opening, SPARE_BYTES_MAX, STREAMS_MAX,
    Session,
};
use crate::edge::{
    http2::{
        field::{Name, Value},
        frame::{END_HEADERS, END_STREAM, Head, Reason},
        head::HeadFields,
        stream::Stream,
        window::{Incoming, Outgoing},
    },
    limits,
};
use bytes::Bytes;

impl<L: Default> Session<L> {
    pub(super) fn data(&mut self, head: &Head, payload: &[u8]) -> Result<Option<Event<L>>, Reason> {
        let (id, is_last) = (head.stream, head.has(END_STREAM));
        self.ids.check_open(id)?;
        let all = u32::try_from(head.length).map_err(|_| Reason::FrameSizeError)?;
        if !self.incoming.take(all) {
            return Err(Reason::FlowControlError);
        }
        let (content, _) = head.content(payload)?;
        if is_last {
            self.ids.end(id);
        }
        let Some(stream) = self.find(id) else {
            self.pass_over(head.length);
            return Ok(None);
        };
        let is_within = stream.incoming.take(all);
        if !is_within || !stream.comes(content.len(), is_last) {
            self.pass_over(head.length);
            let flaw = if is_within { Reason::ProtocolError } else { Reason::FlowControlError };
            return self.reset(id, flaw);
        }
        stream.has_come |= is_last;
        if stream.is_unwanted {
            self.pass_over(head.length);
            self.settle(id);
            return Ok(None);
        }
        if head.length != content.len() {
            self.read(id, head.length - content.len()); // Padding is read by nobody.
        }
        Ok(Some(Event::Data { id, bytes: Bytes::copy_from_slice(content), is_last }))
    }

    pub(super) fn headers(
        &mut self,
        head: &Head,
        payload: &[u8],
    ) -> Result<Option<Event<L>>, Reason> {
        let (block, on) = head.content(payload)?;
        let (id, ends) = (head.stream, head.has(END_STREAM));
        let is_request = self.ids.begin(id)?;
        if !is_request {
            self.ids.check_open(id)?;
        }
        if ends {
            self.ids.end(id);
        }
        let depends_on_itself = on == Some(id);
        let opening = Opening { id, is_request, ends, depends_on_itself, continuations: 0 };
        if head.has(END_HEADERS) {
            return self.head(&opening, block);
        }
        self.block.clear();
        self.block.extend_from_slice(block);
        self.opening = Some(opening);
        Ok(None)
    }

    pub(super) fn continuation(
        &mut self,
        head: &Head,
        payload: &[u8],
    ) -> Result<Option<Event<L>>, Reason> {
        let Some(mut opening) = self.opening.take() else { return Err(Reason::ProtocolError) };
        opening.continuations += 1;
        if CONTINUATIONS_MAX < opening.continuations {
            return Err(Reason::EnhanceYourCalm);
        }
        self.block.extend_from_slice(payload);
        if !head.has(END_HEADERS) {
            self.opening = Some(opening);
            return Ok(None);
        }
        let mut block = std::mem::take(&mut self.block);
        let event = self.head(&opening, &block);
        block.shrink_to(SPARE_BYTES_MAX);
        self.block = block;
        event
    }

    fn head(&mut self, opening: &Opening, block: &[u8]) -> Result<Option<Event<L>>, Reason> {
        let Opening { id, ends, .. } = *opening;
        if !opening.is_request {
            return self.trailers(id, ends, block);
        }
        let mut fields = HeadFields::new(LIST_BYTES_MAX);
        let read = self.decoder.read(block, |field| fields.add(field));
        read.map_err(|_| Reason::CompressionError)?;
        if matches!(self.ending, Ending::Last(last) if last < id) {
            return Ok(None); // The client knows that it is not looked at.
        }
        if STREAMS_MAX <= self.streams.len() {
            self.budgets.refuse()?;
            self.put_reset(id, Reason::RefusedStream);
            return Ok(None);
        }
        let read = fields.finish(ends).ok().filter(|_| !opening.depends_on_itself);
        let Some(head) = read else {
            self.budgets.reset()?;
            self.put_reset(id, Reason::ProtocolError);
            return Ok(None);
        };
        self.streams.push(Stream {
            id,
            lane: L::default(),
            outgoing: Outgoing::new(self.window_first),
            incoming: Incoming::new(limits::STREAM_WINDOW_BYTES),
            length_left: head.length,
            has_come: ends,
            is_answered: false,
            is_unwanted: ends,
        });
        Ok(Some(Event::Asked { id, head, ends }))
    }

    /// Reads trailers, which are passed on to nobody.
    fn trailers(&mut self, id: u32, ends: bool, block: &[u8]) -> Result<Option<Event<L>>, Reason> {
        let mut is_sound = ends;
        let read = self.decoder.read(block, |field| {
            is_sound &= matches!((field.name, field.value), (Name::Header(_), Value::Header(_)));
        });
        read.map_err(|_| Reason::CompressionError)?;
        let Some(stream) = self.find(id) else { return Ok(None) };
        if !is_sound || !stream.comes(0, true) {
            return self.reset(id, Reason::ProtocolError);
        }
        stream.has_come = true;
        if stream.is_unwanted {
            self.settle(id);
            return Ok(None);
        }
        Ok(Some(Event::Data { id, bytes: Bytes::new(), is_last: true }))
    }
}
