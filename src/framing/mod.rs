//! Codecs that cut a stream of bytes into packets. Pure: no I/O, no clock.
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

/// A codec, chosen at run time, that cuts a stream of bytes into packets.
///
/// | constructor | a packet is | name |
/// |---|---|---|
/// | [`raw`](Self::raw) | the bytes of one read | `raw` |
/// | [`lines`](Self::lines) | a line | `lines` |
/// | [`len1`](Self::len1) … [`len8`](Self::len8) | the bytes after a length prefix of 1, 2, 4 or 8 bytes | `len1` `len2` `len4` `len8` |
/// | [`delimiter`](Self::delimiter) | the bytes before a delimiter | |
///
/// The names are those that [`FromStr`](std::str::FromStr) parses and `Display` writes. The default
/// is `raw`.
///
/// Packets are slices of the read buffer, never copies, so a packet keeps the whole buffer alive.
/// Except with `raw`, packets do not depend on how the bytes were split into reads.
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
/// # One value per stream
/// A `Framing` stores how far a partial packet was searched, so that bytes are not searched twice. Each
/// stream therefore needs its own value, and so does a buffer in which other bytes replace a partial
/// packet. (A buffer that has become shorter is searched from its beginning again.)
///
/// # At the end of the stream
/// [`decode_eof`](tokio_util::codec::Decoder::decode_eof) delivers the unterminated rest as the
/// last packet with `raw`, `lines` and `delimiter`. With a length prefix it delivers complete
/// packets only and leaves the rest, prefix included, in the buffer.
///
/// # Errors
/// [`FramingError::TooLong`] as soon as it is certain that a packet exceeds
/// [`max_frame`](Self::max_frame). The bytes stay in the buffer and the next call fails in the same
/// way, so close the stream. [`FramingError::ReplyTooLong`] if an outgoing packet does not fit its
/// prefix, and [`FramingError::DelimiterInReply`] if it contains the delimiter; nothing is written then.
#[derive(Clone, Debug)]
pub struct Framing {
    kind: Kind,
    max_frame: usize,
    /// The number of bytes at the front of the buffer in which no terminator begins.
    scanned: usize,
}

#[derive(Clone, Debug)]
enum Kind {
    Raw,
    Lines,
    // One variant per width, not one with a `Width`: a single match dispatches each packet.
    Length1,
    Length2,
    Length4,
    Length8,
    Delimiter(Delimiter),
}

impl Framing {
    /// The default limit for incoming packets: 1 MiB.
    pub const DEFAULT_MAX_FRAME: usize = 1 << 20;

    /// No framing: the bytes of one read are a packet.
    ///
    /// Bytes beyond [`max_frame`](Self::max_frame) become the next packet, without an error. A packet is
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
        Self::with_kind(Kind::Raw)
    }

    /// Lines: LF ends a line, and one CR directly before it is dropped. When encoding, LF is appended.
    ///
    /// Lines are bytes, not text. An outgoing packet that contains an LF is rejected
    /// ([`FramingError::DelimiterInReply`]), since the peer would receive two lines. A packet that ends with
    /// CR is sent as a line that ends with CR LF; a peer that accepts such lines drops the CR.
    ///
    /// ```
    /// # use {actix_acceptor::Framing, bytes::BytesMut, tokio_util::codec::Decoder};
    /// let mut framing = Framing::lines();
    /// let mut read = BytesMut::from("GET\r\n\nrest\r");
    /// assert_eq!(framing.decode(&mut read)?.unwrap(), "GET");
    /// assert_eq!(framing.decode(&mut read)?.unwrap(), "");
    /// assert_eq!(framing.decode(&mut read)?, None);
    /// assert_eq!(framing.decode_eof(&mut read)?.unwrap(), "rest\r");
    ///
    /// # use {actix_acceptor::framing::FramingError, tokio_util::codec::Encoder};
    /// let mut wire = BytesMut::new();
    /// framing.encode("220 ready\r".into(), &mut wire)?;
    /// assert_eq!(wire, "220 ready\r\n");
    /// let error = framing.encode("220 ready\n250 ok".into(), &mut wire).unwrap_err();
    /// assert!(matches!(error, FramingError::DelimiterInReply { position: 9 }));
    /// # Ok::<(), actix_acceptor::framing::FramingError>(())
    /// ```
    #[must_use]
    pub fn lines() -> Self {
        Self::with_kind(Kind::Lines)
    }

    /// Packets with a length prefix: a big-endian number of `width` bytes that counts the payload
    /// only.
    ///
    /// This is Erlang's `{packet, 1 | 2 | 4}`. The prefix stays in the buffer until its packet is
    /// complete.
    ///
    /// An announced length alone allocates nothing: space is reserved 64 KiB at a time, as the bytes
    /// arrive.
    #[must_use]
    pub fn length_prefix(width: Width) -> Self {
        Self::with_kind(match width {
            Width::One => Kind::Length1,
            Width::Two => Kind::Length2,
            Width::Four => Kind::Length4,
            Width::Eight => Kind::Length8,
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

    /// Packets that end with `bytes`, which are dropped. When encoding, `bytes` are appended.
    ///
    /// The first occurrence of the delimiter ends a packet. An outgoing packet is rejected
    /// ([`FramingError::DelimiterInReply`]) if the peer would split it elsewhere: if it contains the delimiter, or
    /// if its last bytes and the delimiter together contain an earlier one, as `a` and the delimiter `aa` do.
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
        assert!(!bytes.is_empty(), "delimiter must not be empty");
        Self::with_kind(Kind::Delimiter(Delimiter::new(bytes)))
    }

    /// Sets the greatest length of an incoming packet, in bytes, without prefix, delimiter or line
    /// ending.
    ///
    /// A packet of exactly `bytes` is accepted; one byte more is [`FramingError::TooLong`]. Outgoing
    /// packets are not limited. At least 1: a pool rejects 0 at its start and in a configuration, as it does
    /// with [`Builder::max_frame`](crate::Builder::max_frame).
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

    /// The greatest length of an incoming packet, in bytes. See [`with_max_frame`](Self::with_max_frame).
    #[must_use]
    pub fn max_frame(&self) -> usize {
        self.max_frame
    }

    /// The same framing for another stream, or for the same one after an incomplete packet was discarded.
    pub(crate) fn unscanned(mut self) -> Self {
        self.scanned = 0;
        self
    }

    /// Whether both encode every packet alike.
    pub(crate) fn encodes_like(&self, other: &Framing) -> bool {
        match (&self.kind, &other.kind) {
            (Kind::Delimiter(one), Kind::Delimiter(other)) => one.bytes() == other.bytes(),
            (one, other) => std::mem::discriminant(one) == std::mem::discriminant(other),
        }
    }

    fn with_kind(kind: Kind) -> Self {
        Self { kind, max_frame: Self::DEFAULT_MAX_FRAME, scanned: 0 }
    }
}

impl Default for Framing {
    fn default() -> Self {
        Self::raw()
    }
}

// Each connection has a `Framing`: four words on a 64-bit machine.
const _: () = assert!(std::mem::size_of::<Framing>() <= 32);
