//! The pair of buffers that the connections of an arbiter share.
//!
//! A connection borrows the pair while it has bytes to buffer and gives it back afterwards: an idle connection owns no
//! buffer.

use std::cell::Cell;
use std::collections::VecDeque;

use bytes::BytesMut;

use super::Sending;

/// The size of one read, in bytes.
pub(crate) const READ_BUFFER: usize = 16 * 1024;
/// The size of an allocation, in bytes: two reads, so that small packets do not allocate each time.
const READ_BLOCK: usize = 2 * READ_BUFFER;
/// The largest write buffer that the spare pair keeps, in bytes.
const MAX_SPARE_WRITE: usize = 64 * 1024;

/// The buffers of one connection.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    /// Bytes read and not yet decoded.
    pub(crate) read: BytesMut,
    /// Bytes encoded and not yet written to the socket.
    pub(crate) write: BytesMut,
    /// Files to send before the bytes in `write`.
    pub(crate) files: Option<Box<Files>>,
}

/// Files to send, each after the bytes that were written before it.
pub(crate) type Files = VecDeque<(BytesMut, Sending)>;

thread_local! {
    static SPARE: Cell<Option<Box<Buffers>>> = const { Cell::new(None) };
}

impl Buffers {
    /// Takes the arbiter's spare pair, or a new one while another connection has it.
    #[inline]
    pub(crate) fn borrow() -> Box<Buffers> {
        SPARE.try_with(Cell::take).ok().flatten().unwrap_or_default()
    }

    /// The unsent bytes of the files and of everything before them.
    #[cold]
    pub(crate) fn before_write(&self) -> usize {
        let files = self.files.iter().flat_map(|files| files.iter());
        let bytes: u64 = files.map(|(before, file)| before.len() as u64 + file.left()).sum();
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }

    /// The unsent bytes before files, without the files.
    #[cold]
    pub(crate) fn before_files(&self) -> usize {
        self.files.iter().flat_map(|files| files.iter()).map(|(before, _)| before.len()).sum()
    }

    /// Reserves space for one read.
    #[inline]
    pub(crate) fn reserve(&mut self) {
        if self.read.capacity() - self.read.len() < READ_BUFFER {
            let block = if self.read.len() < READ_BUFFER { READ_BLOCK - self.read.len() } else { READ_BUFFER };
            self.read.reserve(block);
        }
    }

    /// Gives the pair back, unless it holds bytes.
    #[inline]
    pub(crate) fn give_back(self: Box<Self>) -> Option<Box<Buffers>> {
        if self.read.is_empty() && self.write.is_empty() && self.files.is_none() {
            self.release();
            return None;
        }
        self.trim()
    }

    /// Makes an empty pair the spare one.
    #[inline]
    fn release(mut self: Box<Self>) {
        self.write.clear();
        if self.write.capacity() > MAX_SPARE_WRITE {
            self.write = BytesMut::new();
        }
        if self.read.capacity() > 2 * READ_BLOCK {
            self.read = BytesMut::new();
        }
        let _ = SPARE.try_with(|spare| spare.set(Some(self)));
    }

    /// Moves a few bytes from a large buffer to a small one, so that other connections can use the large one.
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
