//! How long a packet may be, and what is done about a longer one.

use actix_acceptor::{
    framing::{FramingError, Width},
    Framing,
};
use bytes::BytesMut;
use tokio_util::codec::{Decoder, Encoder};

use super::{encode, every, feed};

#[test]
fn a_packet_may_be_exactly_as_long_as_the_limit() {
    for framing in every(7).into_iter().skip(1) {
        for size in [1, 2, 3, 100] {
            let wire = encode(framing.clone(), &["x".repeat(7), "y".repeat(8)]);
            let fed = feed(framing.clone(), wire.chunks(size));
            assert_eq!(fed.packets, ["xxxxxxx"], "{framing}, {size} bytes at a time");
            assert!(fed.error.is_some(), "{framing}, {size} bytes at a time");
        }
    }
}

#[test]
fn a_length_above_the_limit_fails_when_the_prefix_is_complete() {
    for (width, prefix, length) in [
        (Width::One, &[0xFF][..], 0xFF),
        (Width::Two, &[0, 0x65], 0x65),
        (Width::Four, &[0xFF; 4], u32::MAX.into()),
        (Width::Eight, &[0xFF; 8], u64::MAX),
    ] {
        let framing = Framing::length_prefix(width).with_max_frame(100);
        let (at, error) = fails_at(framing, prefix).unwrap();
        assert_eq!(at, width.bytes());
        assert_too_long(error, (length, 100));
    }
}

#[test]
fn the_greatest_length_does_not_overflow() {
    let mut framing = Framing::len8().with_max_frame(usize::MAX);
    let mut src = BytesMut::from(&[0xFF; 20][..]);
    if usize::BITS == 64 {
        assert_eq!(framing.decode(&mut src).unwrap(), None);
    } else {
        assert_too_long(framing.decode(&mut src).unwrap_err(), (u64::MAX, usize::MAX as u64));
    }
    for framing in every(usize::MAX) {
        feed(framing, [&b"aab|x\r\nab"[..]]);
    }
}

#[test]
fn an_announced_megabyte_reserves_64_kib_at_first() {
    let mut framing = Framing::len4();
    let mut src = BytesMut::from(&[0, 0x10, 0, 0][..]);
    assert_eq!(framing.decode(&mut src).unwrap(), None);
    assert!((64 << 10..66 << 10).contains(&src.capacity()), "{}", src.capacity());

    let reserved = src.capacity();
    for _ in 0..60_000 {
        src.extend_from_slice(b"x");
        assert_eq!(framing.decode(&mut src).unwrap(), None);
    }
    assert_eq!(src.capacity(), reserved);
}

#[test]
fn no_announced_length_allocates_more_than_a_step() {
    for (framing, width) in [(Framing::len1(), 1), (Framing::len2(), 2), (Framing::len4(), 4), (Framing::len8(), 8)] {
        let mut framing = framing.with_max_frame(usize::MAX);
        let mut src = BytesMut::from(&[0xFF; 8][..width]);
        assert!(framing.decode(&mut src).map_or(true, |packet| packet.is_none()));
        assert!(src.capacity() < 66 << 10, "{width}: {}", src.capacity());
    }
}

#[test]
fn a_partial_packet_reserves_space_for_its_rest() {
    let mut framing = Framing::len2();
    let mut src = BytesMut::from(&[0x10, 0][..]);
    assert_eq!(framing.decode(&mut src).unwrap(), None);
    assert!(src.capacity() >= 2 + 0x1000);
}

#[test]
fn a_line_of_exactly_the_limit_may_end_in_cr_lf() {
    let wire = b"12345\r\n12345\n1234\r\r\n";
    for size in 1..=wire.len() {
        let fed = feed(Framing::lines().with_max_frame(5), wire.chunks(size));
        assert_eq!((fed.packets, fed.error), (vec!["12345".into(), "12345".into(), "1234\r".into()], None));
    }
}

#[test]
fn a_line_fails_at_the_byte_that_makes_it_too_long() {
    for (wire, failing) in [("12345", 4), ("123\r", 0), ("123\r\r", 5), ("123\r4", 5), ("123\r\n1234", 9)] {
        match fails_at(Framing::lines().with_max_frame(3), wire.as_bytes()) {
            None => assert_eq!(failing, 0, "{wire:?}"),
            Some((at, error)) => {
                assert_eq!(at, failing, "{wire:?}");
                assert_too_long(error, (4, 3));
            }
        }
    }
}

#[test]
fn a_delimited_packet_fails_at_the_byte_that_makes_it_too_long() {
    for (delimiter, wire, failing) in [
        ("|", "1234", 4),
        ("--", "123-", 0),
        ("--", "123--", 0),
        ("--", "123-4", 5),
        ("--", "12-4", 4),
        ("abac", "123aba", 0),
        ("abac", "12abab", 6),
        ("abac", "1ababac", 0),
        ("abac", "123abab", 7),
        ("aab", "12aaa", 0),
        ("aab", "123aaa", 6),
    ] {
        match fails_at(Framing::delimiter(delimiter).with_max_frame(3), wire.as_bytes()) {
            None => assert_eq!(failing, 0, "{delimiter} {wire}"),
            Some((at, error)) => {
                assert_eq!(at, failing, "{delimiter} {wire}");
                assert_too_long(error, (4, 3));
            }
        }
    }
}

#[test]
fn at_the_end_of_the_stream_half_a_terminator_counts_as_payload() {
    for (framing, wire) in [(Framing::lines(), "123\r"), (Framing::delimiter("--"), "123-")] {
        let mut framing = framing.with_max_frame(3);
        let mut src = BytesMut::from(wire);
        assert_eq!(framing.decode(&mut src).unwrap(), None);
        assert_too_long(framing.decode_eof(&mut src).unwrap_err(), (4, 3));
        assert_eq!(src, wire);

        src = encode(framing.clone(), &["1", "2"]);
        assert_eq!(framing.decode(&mut src).unwrap().unwrap(), "1", "{framing}");
    }
}

#[test]
fn a_too_long_packet_keeps_failing_and_keeps_its_bytes() {
    for mut framing in every(3).into_iter().skip(1) {
        let wire = encode(framing.clone(), &["12345"]);
        let mut src = wire.clone();
        let first = framing.decode(&mut src).unwrap_err().to_string();
        assert_eq!(framing.decode(&mut src).unwrap_err().to_string(), first, "{framing}");
        assert_eq!(framing.decode_eof(&mut src).unwrap_err().to_string(), first, "{framing}");
        assert_eq!(src, wire, "{framing}");

        src = encode(framing.clone(), &["1", "2"]);
        assert_eq!(framing.decode(&mut src).unwrap().unwrap(), "1", "{framing}");
    }
}

#[test]
fn a_limit_lowered_in_the_middle_of_a_packet_holds() {
    for framing in [Framing::lines(), Framing::delimiter("\r\n")] {
        let (mut framing, mut src) = (framing, BytesMut::from("0123456789"));
        assert_eq!(framing.decode(&mut src).unwrap(), None);
        framing = framing.with_max_frame(5);
        assert_too_long(framing.decode(&mut src).unwrap_err(), (6, 5));
    }
}

#[test]
fn a_reply_that_does_not_fit_its_prefix_writes_nothing() {
    for width in [Width::One, Width::Two] {
        let (mut framing, most) = (Framing::length_prefix(width), width.max_length() as usize);
        let mut dst = BytesMut::from("before");
        let error = framing.encode(vec![b'x'; most + 1].into(), &mut dst).unwrap_err();
        match error {
            FramingError::ReplyTooLong { length, limit } => {
                assert_eq!((length, limit), (most as u64 + 1, most as u64));
            }
            other => panic!("{other}"),
        }
        assert_eq!(dst, "before");
        framing.encode(vec![b'x'; most].into(), &mut dst).unwrap();
        assert_eq!(dst.len(), "before".len() + width.bytes() + most);
    }
}

#[test]
fn replies_are_not_limited_by_max_frame() {
    for framing in every(1) {
        assert!(encode(framing, &["xyz"]).len() >= 3);
    }
}

/// The error and after how many bytes it came, when they come one by one.
fn fails_at(mut framing: Framing, wire: &[u8]) -> Option<(usize, FramingError)> {
    let mut src = BytesMut::new();
    for (at, &byte) in wire.iter().enumerate() {
        src.extend_from_slice(&[byte]);
        if let Err(error) = framing.decode(&mut src) {
            return Some((at + 1, error));
        }
    }
    None
}

fn assert_too_long(error: FramingError, wanted: (u64, u64)) {
    match error {
        FramingError::TooLong { length, limit } => assert_eq!((length, limit), wanted),
        other => panic!("{other}"),
    }
}
