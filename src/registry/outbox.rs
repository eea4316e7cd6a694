//! [`OutboxQueue`], what others send to one connection.
//!
//! ```text
//! any thread ─ push ─▶ segments ─ pop ─▶ write buffer of the connection ─ write ─▶ kernel
//!                      └───────────────── pending ─────────────────┘
//! ```
//!
//! The limit is a number of bytes, exact, over all senders. Small payloads are copied to the last segment; large ones are
//! shared, so that a reply to many connections is in memory once.

use std::any::Any;
use std::collections::VecDeque;
use std::sync::atomic::Ordering::*;

use bytes::{Bytes, BytesMut};

use super::acks::{resolve, Ack, Acks, Marked};
use super::format::Format;
use crate::panic::Guarded;
use crate::sync::{AtomicU64, AtomicUsize, Mutex, OnceBox};

/// Payloads up to this length are copied, in bytes.
pub(crate) const MAX_COPIED: usize = 1024;
/// The size of a segment to which payloads are copied, in bytes.
const SEGMENT: usize = 16 * 1024;
/// What an unencoded or acknowledged reply counts as at least, in bytes: each needs memory of its own in the queue.
const MIN_REPLY: usize = 64;

/// Something to send.
pub(crate) enum Payload<'a> {
    /// Encoded bytes, for a connection of this format. `None`: to be sent as they are.
    Encoded(&'a Bytes, Option<Format>),
    /// A reply that only the connection's own codec can encode, and its estimated size in bytes.
    Reply(Box<dyn Any + Send>, usize),
}

impl Payload<'_> {
    /// The format that encoded bytes are in.
    pub(crate) fn format(&self) -> Option<Format> {
        match self {
            Payload::Encoded(_, format) => *format,
            Payload::Reply(..) => None,
        }
    }

    fn size(&self) -> usize {
        match self {
            Payload::Encoded(bytes, _) => bytes.len(),
            Payload::Reply(_, size) => (*size).max(MIN_REPLY),
        }
    }
}

/// What became of a payload.
pub(crate) enum Pushed {
    /// It is queued.
    Queued,
    /// There is no room for it.
    Full,
    /// It is larger than the limit: there would be no room in an empty outbox.
    TooLarge,
    /// The connection is closing.
    Closed,
    /// The connection encodes differently by now.
    FormatChanged,
    /// The replies of the connection are of another type.
    OtherType,
}

/// A part of the queue.
pub(crate) enum Segment {
    Copied(BytesMut),
    Shared(Bytes),
    Reply(Box<dyn Any + Send>, usize),
    /// One with acknowledgements.
    Marked(Box<Marked>),
}

/// The last segment, to which payloads are copied.
#[derive(Default)]
enum Tail {
    #[default]
    Empty,
    /// One payload: most queues never hold more.
    One(Bytes),
    Copied(BytesMut),
}

#[derive(Default)]
struct Contents {
    older: VecDeque<Segment>,
    tail: Tail,
    closed: bool,
}

#[derive(Default)]
pub(crate) struct OutboxQueue {
    contents: Mutex<Contents>,
    /// Bytes that were queued and are not yet with the kernel.
    pending: AtomicUsize,
    /// Those of them that are in the connection's write buffer. Only the connection writes it.
    in_write: AtomicUsize,
    pub(super) dropped: AtomicU64,
    /// Those of them that were reported to the observers.
    pub(super) reported: AtomicU64,
    acks: OnceBox<Acks>,
}

impl OutboxQueue {
    /// Queues a payload, unless more than `limit` bytes would be pending. A payload that is not queued is given back.
    ///
    /// `rejects` is called under the lock: nothing is queued once the connection has closed the queue, or has changed its format
    /// and then emptied the queue.
    pub(crate) fn push<'a>(
        &self,
        payload: Payload<'a>,
        limit: usize,
        rejects: impl FnOnce(&Payload<'_>) -> Option<Pushed>,
    ) -> (Pushed, Option<Payload<'a>>) {
        self.push_sized(payload.size(), payload, limit, rejects, |_| {})
    }

    /// Queues a payload as [`push`](Self::push) does. Once it is queued, `ack` is taken, and resolved when the payload and
    /// everything before it have been handed to the kernel.
    pub(crate) fn push_acknowledged<'a>(
        &self,
        payload: Payload<'a>,
        ack: &mut Option<Ack>,
        limit: usize,
        rejects: impl FnOnce(&Payload<'_>) -> Option<Pushed>,
    ) -> (Pushed, Option<Payload<'a>>) {
        let size = payload.size().max(MIN_REPLY);
        let surplus = size - payload.size();
        self.push_sized(size, payload, limit, rejects, |contents| {
            if let Some(ack) = ack.take() {
                contents.mark_last(ack, surplus);
            }
        })
    }

    #[inline(always)]
    fn push_sized<'a>(
        &self,
        size: usize,
        payload: Payload<'a>,
        limit: usize,
        rejects: impl FnOnce(&Payload<'_>) -> Option<Pushed>,
        queued: impl FnOnce(&mut Contents),
    ) -> (Pushed, Option<Payload<'a>>) {
        let mut contents = self.contents.lock();
        if contents.closed {
            return (Pushed::Closed, Some(payload));
        }
        if let Some(rejected) = rejects(&payload) {
            return (rejected, Some(payload));
        }
        if size > limit {
            return (Pushed::TooLarge, Some(payload));
        }
        // Only this method adds, under the lock, so the sum cannot exceed the limit.
        if self.pending.load(Acquire) > limit - size {
            return (Pushed::Full, Some(payload));
        }
        self.pending.fetch_add(size, AcqRel);
        match payload {
            Payload::Encoded(bytes, _) => contents.append(bytes),
            Payload::Reply(reply, _) => {
                contents.finish_tail();
                contents.older.push_back(Segment::Reply(reply, size));
            }
        }
        queued(&mut contents);
        (Pushed::Queued, None)
    }

    /// Queues bytes as the last ones, also beyond the limit: the queue is closed. Has no effect if it is closed already.
    pub(super) fn push_last(&self, bytes: &Bytes) {
        let mut contents = self.contents.lock();
        if !contents.closed {
            contents.closed = true;
            self.pending.fetch_add(bytes.len(), AcqRel);
            contents.append(bytes);
        }
    }

    /// Takes the oldest segment, or at most `max` bytes of it if it is shared.
    pub(crate) fn pop(&self, max: usize) -> Option<Segment> {
        let mut contents = self.contents.lock();
        let segment = contents.pop(max)?;
        drop(contents);
        let bytes = match &segment {
            Segment::Marked(marked) => {
                self.pending.fetch_sub(marked.surplus, AcqRel);
                &marked.segment
            }
            segment => segment,
        };
        match bytes {
            Segment::Copied(bytes) => self.moved(bytes.len()),
            Segment::Shared(bytes) => self.moved(bytes.len()),
            Segment::Reply(..) | Segment::Marked(_) => {}
        }
        Some(segment)
    }

    /// Arranges that `ack` is resolved when everything that is queued now has been handed to the kernel. Gives it back if nothing
    /// is queued. Called by the connection only.
    pub(crate) fn mark(&self, ack: Ack) -> Option<Ack> {
        let mut contents = self.contents.lock();
        // Payloads without bytes are taken only together with others.
        if self.queued() == 0 {
            return Some(ack);
        }
        contents.mark_last(ack, 0);
        None
    }

    /// Arranges that `acks` are resolved when the connection has sent its bytes up to a position ([`sent`](Self::sent)).
    pub(crate) fn acknowledge_at(&self, position: u64, acks: impl IntoIterator<Item = Ack>) {
        self.acks.get_or_init(Box::default).push(position, acks);
    }

    /// Whether an acknowledgement is due once what the stream has accepted, up to this position, is flushed.
    pub(crate) fn awaits_flush(&self, position: u64) -> bool {
        self.acks.get().is_some_and(|acks| acks.is_due(position))
    }

    /// Records that the connection's bytes up to this position have been handed to the kernel.
    pub(crate) fn sent(&self, position: u64) {
        if let Some(acks) = self.acks.get() {
            acks.resolve_until(position);
        }
    }

    /// Whether there are acknowledgements for bytes that are in the connection's write buffer.
    pub(crate) fn has_acks(&self) -> bool {
        self.acks.get().is_some_and(|acks| !acks.is_empty())
    }

    /// Fails the acknowledgements for what is in the connection's write buffer.
    pub(crate) fn fail_acks(&self) {
        if let Some(acks) = self.acks.get() {
            acks.fail();
        }
    }

    /// Takes the oldest segment for the owner of a socket. It is not pending any more.
    pub(crate) fn take(&self) -> Option<Bytes> {
        let segment = self.contents.lock().pop(usize::MAX)?;
        let (segment, acks, surplus) = match segment {
            Segment::Marked(marked) => (marked.segment, marked.acks, marked.surplus),
            segment => (segment, Vec::new(), 0),
        };
        let (bytes, size) = match segment {
            Segment::Copied(bytes) => (bytes.freeze(), None),
            Segment::Shared(bytes) => (bytes, None),
            // A socket has no codec, so nothing sends a reply to it that only a codec could encode.
            Segment::Reply(_, size) => (Bytes::new(), Some(size)),
            Segment::Marked(_) => (Bytes::new(), None),
        };
        self.pending.fetch_sub(size.unwrap_or(bytes.len()) + surplus, AcqRel);
        resolve(acks);
        Some(bytes)
    }

    fn moved(&self, bytes: usize) {
        self.in_write.store(self.in_write.load(Relaxed) + bytes, Relaxed);
    }

    /// Replaces the estimated size of a reply by that of its encoding, which is now in the write buffer.
    pub(crate) fn encoded(&self, estimate: usize, bytes: usize) {
        // In one step: a sender must not see both sizes at once, and find the outbox full.
        match bytes.checked_sub(estimate) {
            Some(more) => self.pending.fetch_add(more, AcqRel),
            None => self.pending.fetch_sub(estimate - bytes, AcqRel),
        };
        self.moved(bytes);
    }

    /// Records a write of `sent` bytes that left `unsent` bytes in the write buffer.
    pub(crate) fn wrote(&self, sent: usize, unsent: usize) {
        let in_write = self.in_write.load(Relaxed);
        let left = in_write.saturating_sub(sent).min(unsent);
        self.in_write.store(left, Relaxed);
        self.pending.fetch_sub(in_write - left, AcqRel);
    }

    /// The number of bytes that are queued and not yet with the kernel.
    pub(crate) fn pending(&self) -> usize {
        self.pending.load(Acquire)
    }

    /// Those of the pending bytes that are not in the write buffer.
    pub(crate) fn queued(&self) -> usize {
        self.pending().saturating_sub(self.in_write.load(Relaxed))
    }

    /// Accepts nothing any more. What is queued stays.
    pub(crate) fn close(&self) {
        self.contents.lock().closed = true;
    }

    /// Closes the queue and drops what is queued, outside the lock and under the panic guard: payloads may be the user's.
    pub(crate) fn discard(&self) {
        let discarded = std::mem::replace(&mut *self.contents.lock(), Contents { closed: true, ..Contents::default() });
        self.pending.store(0, Release);
        self.in_write.store(0, Relaxed);
        // One by one: a panic must not leave out the others, and a second one while the first unwinds would abort the process.
        discarded.older.into_iter().for_each(|segment| drop(Guarded::new(segment)));
        drop(Guarded::new(discarded.tail));
        self.fail_acks();
    }
}

impl Contents {
    #[inline]
    fn append(&mut self, bytes: &Bytes) {
        if bytes.len() > MAX_COPIED {
            self.finish_tail();
            self.older.push_back(Segment::Shared(bytes.clone()));
            return;
        }
        match &mut self.tail {
            Tail::Copied(tail) if tail.len() + bytes.len() <= SEGMENT => return tail.extend_from_slice(bytes),
            Tail::One(first) => {
                let mut tail = BytesMut::with_capacity((first.len() + bytes.len()) * 2);
                tail.extend_from_slice(first);
                tail.extend_from_slice(bytes);
                self.tail = Tail::Copied(tail);
                return;
            }
            Tail::Empty | Tail::Copied(_) => {}
        }
        self.finish_tail();
        self.tail = Tail::One(bytes.clone());
    }

    /// Marks the last segment. Something must be queued.
    fn mark_last(&mut self, ack: Ack, surplus: usize) {
        self.finish_tail();
        match self.older.back_mut() {
            Some(Segment::Marked(last)) => {
                last.acks.push(ack);
                last.surplus += surplus;
            }
            Some(last) => {
                let segment = std::mem::replace(last, Segment::Shared(Bytes::new()));
                *last = Segment::Marked(Box::new(Marked { segment, acks: vec![ack], surplus }));
            }
            None => {}
        }
    }

    /// Makes the tail an older segment.
    fn finish_tail(&mut self) {
        match std::mem::take(&mut self.tail) {
            Tail::Empty => {}
            Tail::One(bytes) => self.older.push_back(Segment::Shared(bytes)),
            Tail::Copied(bytes) => self.older.push_back(Segment::Copied(bytes)),
        }
    }

    fn pop(&mut self, max: usize) -> Option<Segment> {
        let oldest = match self.older.front_mut() {
            Some(Segment::Marked(marked)) => Some(&mut marked.segment),
            oldest => oldest,
        };
        if let Some(Segment::Shared(bytes)) = oldest
            && bytes.len() > max
        {
            return Some(Segment::Shared(bytes.split_to(max)));
        }
        if let Some(segment) = self.older.pop_front() {
            if self.older.is_empty() {
                // An idle connection keeps no buffer.
                self.older = VecDeque::new();
            }
            return Some(segment);
        }
        match std::mem::take(&mut self.tail) {
            Tail::Empty => None,
            Tail::One(bytes) => Some(Segment::Shared(bytes)),
            Tail::Copied(bytes) => Some(Segment::Copied(bytes)),
        }
    }
}

impl std::fmt::Debug for OutboxQueue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OutboxQueue").field("pending", &self.pending()).finish_non_exhaustive()
    }
}
