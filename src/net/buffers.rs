//! The pair of buffers that the connections of an arbiter share.
//!
//! A connection borrows the pair while there are bytes to hold and hands it back when there are none: an idle connection
//! owns no buffer.

use std::cell::Cell;
use std::collections::VecDeque;

use bytes::BytesMut;

use super::Sending;

/// Room for one read, in bytes.
pub(crate) const READ_BUFFER: usize = 16 * 1024;
/// Blocks of this size are read into, so that small packets do not ask for room after each.
const READ_BLOCK: usize = 2 * READ_BUFFER;
/// What may stay allocated in the spare pair for what is written.
const WRITE_KEEP: usize = 64 * 1024;

/// What was read and not yet understood; what was written and not yet sent.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    pub(crate) read: BytesMut,
    pub(crate) write: BytesMut,
    /// Files that go before what is in `write`.
    pub(crate) files: Option<Box<Files>>,
}

/// Files on their way, each behind what was written before it.
pub(crate) type Files = VecDeque<(BytesMut, Sending)>;

thread_local! {
    static SPARE: Cell<Option<Box<Buffers>>> = const { Cell::new(None) };
}

impl Buffers {
    /// The arbiter's spare pair, or a new one while that is lent.
    #[inline]
    pub(crate) fn borrow() -> Box<Buffers> {
        SPARE.try_with(Cell::take).ok().flatten().unwrap_or_default()
    }

    /// How many bytes of files, and of what stands before them, are not sent yet.
    #[cold]
    pub(crate) fn before_write(&self) -> usize {
        let files = self.files.iter().flat_map(|files| files.iter());
        let bytes: u64 = files.map(|(before, file)| before.len() as u64 + file.left()).sum();
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }

    /// Makes room for one read.
    #[inline]
    pub(crate) fn reserve(&mut self) {
        if self.read.capacity() - self.read.len() < READ_BUFFER {
            let block = if self.read.len() < READ_BUFFER { READ_BLOCK - self.read.len() } else { READ_BUFFER };
            self.read.reserve(block);
        }
    }

    /// Hands the pair back, keeping only what holds bytes.
    #[inline]
    pub(crate) fn give_back(self: Box<Self>) -> Option<Box<Buffers>> {
        if self.read.is_empty() && self.write.is_empty() && self.files.is_none() {
            self.release();
            return None;
        }
        self.trim()
    }

    /// An empty pair becomes the spare one.
    #[inline]
    fn release(mut self: Box<Self>) {
        self.write.clear();
        if self.write.capacity() > WRITE_KEEP {
            self.write = BytesMut::new();
        }
        if self.read.capacity() > 2 * READ_BLOCK {
            self.read = BytesMut::new();
        }
        let _ = SPARE.try_with(|spare| spare.set(Some(self)));
    }

    /// A few bytes in a large block move to a small one, so that the block can serve others.
    #[cold]
    fn trim(mut self: Box<Self>) -> Option<Box<Buffers>> {
        if !self.write.is_empty() || self.files.is_some() || self.read.len() >= READ_BUFFER / 4 {
            return Some(self);
        }
        let kept = Buffers { read: BytesMut::from(&self.read[..]), ..Buffers::default() };
        self.read.clear();
        self.release();
        Some(Box::new(kept))
    }
}
