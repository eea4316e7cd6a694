//! What `Framing` promises, on plain buffers.

mod limits;
mod properties;

use std::{
    error::Error,
    io,
    time::{Duration, Instant},
};

use actix_acceptor::{
    framing::{FramingError, Width},
    Framing,
};
use bytes::{Bytes, BytesMut};
use tokio_util::codec::{Decoder, Encoder};

const WIDTHS: [Width; 4] = [Width::One, Width::Two, Width::Four, Width::Eight];

/// Every framing, with that limit.
fn every(max: usize) -> Vec<Framing> {
    let mut all = vec![Framing::raw(), Framing::lines()];
    all.extend(WIDTHS.map(Framing::length_prefix));
    all.extend(["|", "\r\n", "aab", "abab"].map(Framing::delimiter));
    all.into_iter().map(|it| it.with_max_frame(max)).collect()
}

fn encode<P: AsRef<[u8]>>(mut framing: Framing, packets: &[P]) -> BytesMut {
    let mut wire = BytesMut::new();
    for packet in packets {
        framing.encode(Bytes::copy_from_slice(packet.as_ref()), &mut wire).unwrap();
    }
    wire
}

/// What comes out of `framing` when the pieces come in one by one, the end of the stream last.
struct Fed {
    packets: Vec<Bytes>,
    /// As text, so that it can be compared.
    error: Option<String>,
    /// What is still in the buffer.
    left: BytesMut,
}

fn feed<'a>(mut framing: Framing, pieces: impl IntoIterator<Item = &'a [u8]>) -> Fed {
    let mut fed = Fed { packets: Vec::new(), error: None, left: BytesMut::new() };
    for piece in pieces {
        fed.left.extend_from_slice(piece);
        while fed.take(|left| framing.decode(left)) {}
    }
    while fed.take(|left| framing.decode_eof(left)) {}
    fed
}

impl Fed {
    /// Whether there may be more.
    fn take(&mut self, decode: impl FnOnce(&mut BytesMut) -> Result<Option<Bytes>, FramingError>) -> bool {
        if self.error.is_some() {
            return false;
        }
        match decode(&mut self.left) {
            Ok(Some(packet)) => self.packets.push(packet),
            Ok(None) => return false,
            Err(error) => self.error = Some(error.to_string()),
        }
        true
    }
}

#[test]
fn raw_delivers_available_bytes_up_to_the_limit() {
    let fed = feed(Framing::raw().with_max_frame(3), [&b"abcdefg"[..], b"", b"h"]);
    assert_eq!(fed.packets, ["abc", "def", "g", "h"]);
    assert_eq!(fed.error, None);
}

#[test]
fn raw_with_a_limit_of_zero_makes_progress() {
    assert_eq!(feed(Framing::raw().with_max_frame(0), [&b"ab"[..]]).packets, ["a", "b"]);
}

#[test]
fn encoded_replies_match_the_wire_format() {
    for (framing, wire) in [
        (Framing::raw(), &b"hi"[..]),
        (Framing::lines(), b"hi\n\n"),
        (Framing::len1(), b"\x02hi\0"),
        (Framing::len2(), b"\0\x02hi\0\0"),
        (Framing::len4(), b"\0\0\0\x02hi\0\0\0\0"),
        (Framing::len8(), b"\0\0\0\0\0\0\0\x02hi\0\0\0\0\0\0\0\0"),
        (Framing::delimiter("--"), b"hi----"),
    ] {
        assert_eq!(encode(framing.clone(), &["hi", ""]), wire, "{framing}");
    }
}

#[test]
fn an_empty_packet_passes_in_all_framings_but_raw() {
    for framing in every(0).into_iter().skip(1) {
        let wire = encode(framing.clone(), &["", ""]);
        for size in [1, wire.len()] {
            let fed = feed(framing.clone(), wire.chunks(size));
            assert_eq!((fed.packets, fed.error), (vec![Bytes::new(); 2], None), "{framing}");
        }
    }
}

#[test]
fn a_prefix_stays_in_the_buffer_until_its_packet_is_whole() {
    let mut framing = Framing::len2();
    let mut src = BytesMut::from(&b"\0\x03ab"[..]);
    assert_eq!(framing.decode(&mut src).unwrap(), None);
    assert_eq!(framing.decode_eof(&mut src).unwrap(), None);
    assert_eq!(src, &b"\0\x03ab"[..]);
    src.extend_from_slice(b"c\0");
    assert_eq!(framing.decode(&mut src).unwrap().unwrap(), "abc");
    assert_eq!(src, &b"\0"[..]);
}

#[test]
fn packets_are_slices_of_what_was_read() {
    for (mut framing, wire, offset) in [
        (Framing::raw(), "ab", 0),
        (Framing::lines(), "ab\r\ncd", 0),
        (Framing::len1(), "\x02abcd", 1),
        (Framing::delimiter("--"), "ab--cd", 0),
    ] {
        let mut src = BytesMut::from(wire);
        let place = src[offset..].as_ptr();
        let packet = framing.decode(&mut src).unwrap().unwrap();
        assert_eq!((packet.as_ptr(), &packet[..]), (place, &b"ab"[..]), "{framing}");
    }
}

#[test]
fn one_cr_before_lf_is_dropped_and_no_other() {
    let fed = feed(Framing::lines(), [&b"a\rb\r\r\n\r\n\nc\r"[..]]);
    assert_eq!(fed.packets, ["a\rb\r", "", "", "c\r"]);
}

#[test]
fn the_end_of_the_stream_ends_the_last_packet_too() {
    for (framing, wire, last) in [
        (Framing::raw(), "rest", "rest"),
        (Framing::lines(), "a\nrest\r", "rest\r"),
        (Framing::delimiter("--"), "a--rest-", "rest-"),
    ] {
        let fed = feed(framing.clone(), [wire.as_bytes()]);
        assert_eq!(fed.packets.last().unwrap(), last, "{framing}");
        assert!(fed.left.is_empty() && fed.error.is_none(), "{framing}");
    }
}

#[test]
fn an_empty_stream_has_no_packet() {
    for mut framing in every(10) {
        assert_eq!(framing.decode(&mut BytesMut::new()).unwrap(), None, "{framing}");
        assert_eq!(framing.decode_eof(&mut BytesMut::new()).unwrap(), None, "{framing}");
    }
}

#[test]
fn a_shortened_buffer_is_searched_from_its_start() {
    for mut framing in [Framing::lines(), Framing::delimiter("\r\n")] {
        let mut src = BytesMut::from("a long partial line");
        assert_eq!(framing.decode(&mut src).unwrap(), None);
        src.clear();
        src.extend_from_slice(b"short\r\nx");
        assert_eq!(framing.decode(&mut src).unwrap().unwrap(), "short", "{framing}");
    }
}

#[test]
fn a_line_in_small_pieces_costs_linear_work() {
    let begun = Instant::now();
    const SIZE: usize = 256 << 10;
    for framing in [Framing::lines(), Framing::delimiter("\r\n"), Framing::delimiter("xxy\r\n")] {
        let wire = encode(framing.clone(), &["x".repeat(SIZE)]);
        let fed = feed(framing.clone(), wire.chunks(1));
        assert_eq!(fed.packets.len(), 1, "{framing}");
        assert_eq!(fed.packets[0].len(), SIZE, "{framing}");
    }
    // A fraction of a second; a minute where each byte makes it search from the beginning.
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[test]
fn names_can_be_read_back() {
    for name in ["raw", "lines", "len1", "len2", "len4", "len8"] {
        assert_eq!(name.parse::<Framing>().unwrap().to_string(), name);
    }
    for name in ["", "Raw", "len", "len3", "len16", " raw", "delimiter"] {
        assert!(name.parse::<Framing>().is_err(), "{name:?}");
    }
    assert_eq!(Framing::default().to_string(), "raw");
}

#[test]
#[should_panic(expected = "must not be empty")]
fn an_empty_delimiter_is_refused() {
    let _ = Framing::delimiter([]);
}

#[test]
fn an_io_error_is_kept_as_the_source() {
    fn anywhere<E: Error + Send + Sync + 'static>(error: E) -> Box<dyn Error + Send + Sync> {
        error.into()
    }
    let error = anywhere(FramingError::from(io::Error::from(io::ErrorKind::ConnectionReset)));
    let reason = error.source().unwrap().downcast_ref::<io::Error>().unwrap();
    assert_eq!(reason.kind(), io::ErrorKind::ConnectionReset);
}
