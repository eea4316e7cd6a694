//! [`Part`], the members of a topic on one arbiter.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::{Encodings, Reached};
use crate::registry::{Batch, ConnectionState, DeferredReplies, Entries, Format, Payload, Pushed, Registry};
use crate::sync::Mutex;
use crate::telemetry::ConnectionId;

/// At most this many bytes are deferred. The reply that would exceed it queues them first.
const MAX_DEFERRED: usize = 64 * 1024;

#[derive(Debug)]
pub(super) struct Part {
    pub(super) registry: Arc<Registry>,
    contents: Mutex<Contents>,
}

#[derive(Debug, Default)]
struct Contents {
    members: Entries,
    /// Set while replies may be deferred; then [`Registry::flush_deferred`] reaches this part.
    log: Option<Log>,
}

/// Replies that follow one that every member's outbox has accepted, and that they will accept as well.
#[derive(Debug)]
struct Log {
    bytes: BytesMut,
    /// The format of a member, and that of the payload for it.
    format: Format,
    payload_format: Option<Format>,
    except: Option<ConnectionId>,
    /// The number of members that are reached.
    members: usize,
    /// The bytes for which every outbox has room.
    room: usize,
}

impl Part {
    pub(super) fn new(registry: Arc<Registry>) -> Arc<Self> {
        Arc::new(Part { registry, contents: Mutex::default() })
    }

    /// Runs `f` with the members under their lock. Deferred replies are queued before.
    pub(super) fn with_members<R>(&self, f: impl FnOnce(&mut Entries) -> R) -> R {
        let mut batch = Batch::new(&self.registry);
        let mut contents = self.contents.lock();
        contents.flush(&mut batch);
        f(&mut contents.members)
    }

    /// Queues a reply for every member except one, or defers it. Members for whose format it has not been encoded are added
    /// to `unencoded`.
    ///
    /// `is_home`: the encodings know the formats of these members.
    pub(super) fn publish(
        self: &Arc<Self>,
        is_home: bool,
        except: Option<ConnectionId>,
        encodings: &impl Encodings,
        unencoded: &mut Vec<Arc<ConnectionState>>,
    ) -> Reached {
        if is_home && let Some(members) = self.contents.lock().defer(except, encodings) {
            return Reached { members, dropped: 0 };
        }
        // What the publisher has sent before, also to other topics, comes before this reply.
        self.registry.flush_deferred();
        let format_changes = self.registry.format_changes();
        let mut batch = Batch::new(&self.registry);
        let mut contents = self.contents.lock();
        contents.flush(&mut batch);
        let (mut reached, mut others, mut log) = (Reached::default(), 0, None::<Log>);
        for state in contents.members.iter().filter(|state| Some(state.id()) != except) {
            let format = if is_home { state.format() } else { state.format().in_other_pool() };
            let Some(payload) = encodings.encoded(format) else {
                unencoded.push(state.clone());
                continue;
            };
            let payload_format = payload.format();
            match batch.send(state, payload).0 {
                Pushed::Queued => {
                    reached.members += 1;
                    let room = self.registry.outbox_room(state);
                    match &mut log {
                        Some(log) if log.payload_format == payload_format => log.room = log.room.min(room),
                        Some(_) => others += 1,
                        None => log = Some(Log::new(format, payload_format, except, room)),
                    }
                }
                Pushed::FormatChanged => unencoded.push(state.clone()),
                pushed => {
                    reached.count(&pushed);
                    others += 1;
                }
            }
        }
        if let Some(mut log) = log
            && is_home
            && others == 0
            && unencoded.is_empty()
            && self.registry.try_defer(self, format_changes)
        {
            log.members = reached.members;
            contents.log = Some(log);
        }
        reached
    }
}

impl DeferredReplies for Part {
    fn flush(&self, batch: &mut Batch<'_>) {
        self.contents.lock().flush(batch);
    }
}

impl Contents {
    /// Defers a reply. Returns the number of members that it will reach, or `None` if it cannot be deferred.
    fn defer(&mut self, except: Option<ConnectionId>, encodings: &impl Encodings) -> Option<usize> {
        let log = self.log.as_mut().filter(|log| log.except == except)?;
        let Payload::Encoded(bytes, format) = encodings.encoded(log.format)? else { return None };
        if format != log.payload_format || bytes.len() > log.room || log.bytes.len() + bytes.len() > MAX_DEFERRED {
            return None;
        }
        log.room -= bytes.len();
        log.bytes.extend_from_slice(bytes);
        Some(log.members)
    }

    /// Queues the deferred replies. From now on none are deferred.
    fn flush(&mut self, batch: &mut Batch<'_>) {
        let Some(log) = self.log.take().filter(|log| !log.bytes.is_empty()) else { return };
        // Not with the capacity to which the buffer has grown: a slow member keeps it.
        let bytes = Bytes::copy_from_slice(&log.bytes);
        for state in self.members.iter().filter(|state| Some(state.id()) != log.except) {
            batch.send(state, Payload::Encoded(&bytes, log.payload_format));
        }
    }
}

impl Log {
    fn new(format: Format, payload_format: Option<Format>, except: Option<ConnectionId>, room: usize) -> Self {
        Log { bytes: BytesMut::new(), format, payload_format, except, members: 0, room }
    }
}
