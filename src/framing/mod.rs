//! Bytes to packets and back. Pure: no I/O, no clock.
//!
//! ```text
//! read ─▶ buffer ─ decode ─▶ Bytes, a slice of the buffer
//!                            Bytes ─ encode ─▶ buffer ─▶ write
//! ```

mod codec;
mod delimiter;
mod error;
mod length;
mod lines;
mod name;

use delimiter::Delimiter;
pub use error::{FramingError, ParseFramingError};
pub use length::Width;

/// How a stream of bytes is cut into packets: a codec that is chosen at run time.
///
/// | made by | a packet is | its name |
/// |---|---|---|
/// | [`raw`](Self::raw) | what one read brought | `raw` |
/// | [`lines`](Self::lines) | a line | `lines` |
/// | [`len1`](Self::len1) … [`len8`](Self::len8) | what a length of 1, 2, 4 or 8 bytes announced | `len1` `len2` `len4` `len8` |
/// | [`delimiter`](Self::delimiter) | what stands before a delimiter | |
///
/// The names are those that [`FromStr`](std::str::FromStr) reads and `Display` writes. The default
/// is `raw`.
///
/// Packets are slices of what was read, never copies; so a packet that is kept keeps the whole
/// buffer it came in. Where the bytes were cut on their way makes no difference, except to `raw`.
///
/// ```
/// use actix_acceptor::Framing;
/// use bytes::{Bytes, BytesMut};
/// use tokio_util::codec::{Decoder, Encoder};
///
/// let mut framing = Framing::len2();
/// let mut wire = BytesMut::new();
/// framing.encode(Bytes::from_static(b"hello"), &mut wire)?;
/// assert_eq!(wire, &b"\0\x05hello"[..]);
///
/// let mut half = wire.split_to(4);
/// assert_eq!(framing.decode(&mut half)?, None);
/// half.unsplit(wire);
/// assert_eq!(framing.decode(&mut half)?, Some(Bytes::from_static(b"hello")));
/// # Ok::<(), actix_acceptor::framing::FramingError>(())
/// ```
///
/// # One value, one stream
/// A partial line is not searched twice: the value remembers how far it got. So each stream needs
/// its own, and where other bytes are put in place of a partial packet, a new one. (A buffer that
/// is seen to have become shorter is searched from its beginning again.)
///
/// # At the end of the stream
/// [`decode_eof`](tokio_util::codec::Decoder::decode_eof) delivers the unterminated rest as the
/// last packet in `raw`, `lines` and `delimiter`. Behind a length it delivers whole packets only
/// and leaves the rest, prefix included, in the buffer.
///
/// # Errors
/// [`FramingError::TooLong`] as soon as it is certain that a packet would exceed
/// [`max_frame`](Self::max_frame); [`FramingError::ReplyTooLong`] if an outgoing packet does not
/// fit its prefix, and then nothing is written. After `TooLong` the bytes are still in the buffer
/// and the next call fails likewise: the stream is out of step, and to close it is the way out.
#[derive(Clone, Debug)]
pub struct Framing {
    kind: TransportKind,
    max_frame: usize,
    /// In so many bytes at the front of the buffer no terminator begins.
    scanned: usize,
}

#[derive(Clone, Debug)]
enum TransportKind {
    Raw,
    Lines,
    // The widths side by side, not in a type of their own: one look tells what to do with each packet.
    Length1,
    Length2,
    Length4,
    Length8,
    Delimiter(Delimiter),
}

impl Framing {
    /// The longest incoming packet where nothing else is said: 1 MiB.
    pub const DEFAULT_MAX_FRAME: usize = 1 << 20;

    /// No framing: what one read brought is a packet.
    ///
    /// What is longer than [`max_frame`](Self::max_frame) is cut there and is no error. A packet is
    /// never empty; a limit of 0 counts as 1.
    ///
    /// ```
    /// # use {actix_acceptor::Framing, bytes::BytesMut, tokio_util::codec::Decoder};
    /// let mut framing = Framing::raw().with_max_frame(4);
    /// let mut read = BytesMut::from("abcdef");
    /// assert_eq!(framing.decode(&mut read)?.unwrap(), "abcd");
    /// assert_eq!(framing.decode(&mut read)?.unwrap(), "ef");
    /// assert_eq!(framing.decode(&mut read)?, None);
    /// # Ok::<(), actix_acceptor::framing::FramingError>(())
    /// ```
    #[must_use]
    pub fn raw() -> Self {
        Self::of(TransportKind::Raw)
    }

    /// Lines: LF ends one, and one CR right before it is dropped. On the way out LF is appended.
    ///
    /// Lines are bytes, not text. A packet to send that has an LF inside arrives as two lines; one
    /// that ends in CR arrives without it.
    ///
    /// ```
    /// # use {actix_acceptor::Framing, bytes::BytesMut, tokio_util::codec::Decoder};
    /// let mut framing = Framing::lines();
    /// let mut read = BytesMut::from("GET\r\n\nrest\r");
    /// assert_eq!(framing.decode(&mut read)?.unwrap(), "GET");
    /// assert_eq!(framing.decode(&mut read)?.unwrap(), "");
    /// assert_eq!(framing.decode(&mut read)?, None);
    /// assert_eq!(framing.decode_eof(&mut read)?.unwrap(), "rest\r");
    /// # Ok::<(), actix_acceptor::framing::FramingError>(())
    /// ```
    #[must_use]
    pub fn lines() -> Self {
        Self::of(TransportKind::Lines)
    }

    /// Each packet behind its length: a big-endian number of `width` bytes that counts the payload
    /// only.
    ///
    /// This is what Erlang calls `{packet, 1 | 2 | 4}`. The prefix stays in the buffer until its
    /// packet is whole.
    ///
    /// A peer that announces much does not cost much: room is reserved for 64 KiB at a time, as the
    /// bytes arrive.
    #[must_use]
    pub fn length_prefix(width: Width) -> Self {
        Self::of(match width {
            Width::One => TransportKind::Length1,
            Width::Two => TransportKind::Length2,
            Width::Four => TransportKind::Length4,
            Width::Eight => TransportKind::Length8,
        })
    }

    /// [`length_prefix`](Self::length_prefix) of one byte: packets up to 255 bytes.
    #[must_use]
    pub fn len1() -> Self {
        Self::length_prefix(Width::One)
    }

    /// [`length_prefix`](Self::length_prefix) of two bytes: packets up to 65,535 bytes.
    #[must_use]
    pub fn len2() -> Self {
        Self::length_prefix(Width::Two)
    }

    /// [`length_prefix`](Self::length_prefix) of four bytes.
    #[must_use]
    pub fn len4() -> Self {
        Self::length_prefix(Width::Four)
    }

    /// [`length_prefix`](Self::length_prefix) of eight bytes.
    #[must_use]
    pub fn len8() -> Self {
        Self::length_prefix(Width::Eight)
    }

    /// `bytes` end a packet and are dropped; on the way out they are appended.
    ///
    /// The first place where they stand counts. So what is sent must not contain them, nor end in a
    /// beginning of them that makes them stand earlier (as `a` before the delimiter `aa` does): it
    /// would arrive cut elsewhere.
    ///
    /// ```
    /// # use {actix_acceptor::Framing, bytes::BytesMut, tokio_util::codec::Decoder};
    /// let mut framing = Framing::delimiter("\r\n.\r\n");
    /// let mut read = BytesMut::from("one\r\ntwo\r\n.\r\nthree");
    /// assert_eq!(framing.decode(&mut read)?.unwrap(), "one\r\ntwo");
    /// assert_eq!(framing.decode(&mut read)?, None);
    /// # Ok::<(), actix_acceptor::framing::FramingError>(())
    /// ```
    ///
    /// # Panics
    /// If `bytes` is empty.
    ///
    /// ```should_panic
    /// actix_acceptor::Framing::delimiter("");
    /// ```
    #[must_use]
    pub fn delimiter(bytes: impl AsRef<[u8]>) -> Self {
        let bytes = bytes.as_ref();
        assert!(!bytes.is_empty(), "a delimiter must not be empty");
        Self::of(TransportKind::Delimiter(Delimiter::new(bytes)))
    }

    /// The longest packet to accept, in bytes, without prefix, delimiter or line ending.
    ///
    /// A packet of exactly `bytes` is accepted, one byte more is [`FramingError::TooLong`]. What is
    /// sent is not limited.
    ///
    /// Default: [`DEFAULT_MAX_FRAME`](Self::DEFAULT_MAX_FRAME).
    ///
    /// ```
    /// # use {bytes::BytesMut, tokio_util::codec::Decoder};
    /// use actix_acceptor::{framing::FramingError, Framing};
    ///
    /// let mut framing = Framing::len4().with_max_frame(1000);
    /// let mut announced = BytesMut::from(&[0, 0, 0x03, 0xE9][..]);
    /// let error = framing.decode(&mut announced).unwrap_err();
    /// assert!(matches!(error, FramingError::TooLong { length: 1001, limit: 1000 }));
    /// ```
    #[must_use]
    pub fn with_max_frame(mut self, bytes: usize) -> Self {
        self.max_frame = bytes;
        self
    }

    /// The longest packet that is accepted, in bytes. See [`with_max_frame`](Self::with_max_frame).
    #[must_use]
    pub fn max_frame(&self) -> usize {
        self.max_frame
    }

    fn of(kind: TransportKind) -> Self {
        Self { kind, max_frame: Self::DEFAULT_MAX_FRAME, scanned: 0 }
    }
}

impl Default for Framing {
    fn default() -> Self {
        Self::raw()
    }
}

/// Each connection carries one of these: four words on a 64-bit machine.
const _: () = assert!(std::mem::size_of::<Framing>() <= 32);
