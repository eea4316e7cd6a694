//! What holds for any packets, any bytes and any cuts.

use std::{mem, ops::Range};

use actix_acceptor::Framing;
use bytes::{Bytes, BytesMut};
use proptest::{collection::vec, prelude::*, sample::Index};
use tokio_util::codec::Encoder;

use super::{encode, every, feed, WIDTHS};

/// `wire`, cut at those places.
fn cut<'a>(wire: &'a [u8], places: &[Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<_> = places.iter().map(|place| place.index(wire.len() + 1)).collect();
    places.sort_unstable();
    places.push(wire.len());
    let mut from = 0;
    places.into_iter().map(|to| &wire[mem::replace(&mut from, to)..to]).collect()
}

fn places() -> impl Strategy<Value = Vec<Index>> {
    vec(any::<Index>(), 0..40)
}

fn packets(sizes: Range<usize>) -> impl Strategy<Value = Vec<Vec<u8>>> {
    vec(vec(any::<u8>(), sizes), 0..12)
}

/// Bytes of which terminators are made, so that whole and half ones are frequent.
fn bytes_with_delimiters(sizes: Range<usize>) -> impl Strategy<Value = Vec<u8>> {
    vec(prop::sample::select(b"ab|\r\n\0\x01".to_vec()), sizes)
}

/// Whether `end` stands behind `packet` and nowhere earlier.
fn ends_cleanly(packet: &[u8], end: &[u8]) -> bool {
    let wire = [packet, end].concat();
    wire.windows(end.len()).position(|bytes| bytes == end) == Some(packet.len())
}

fn assert_round_trip(framing: Framing, packets: &[Vec<u8>], places: &[Index]) -> Result<(), TestCaseError> {
    let wire = encode(framing.clone(), packets);
    let fed = feed(framing, cut(&wire, places));
    prop_assert_eq!(fed.error, None);
    prop_assert_eq!(&fed.packets, packets);
    prop_assert!(fed.left.is_empty());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..Default::default() })]

    #[test]
    fn lengths_bring_every_packet_back(
        packets in packets(0..256), places in places(), width in prop::sample::select(&WIDTHS),
    ) {
        assert_round_trip(Framing::length_prefix(width), &packets, &places)?;
    }

    #[test]
    fn lines_bring_every_packet_back(
        mut plain in packets(0..200), bytes_with_delimiters in vec(bytes_with_delimiters(0..9), 0..9), places in places(),
    ) {
        plain.extend(bytes_with_delimiters);
        plain.retain(|it| !it.contains(&b'\n') && !it.ends_with(b"\r"));
        assert_round_trip(Framing::lines(), &plain, &places)?;
    }

    #[test]
    fn delimiters_bring_every_packet_back(
        end in bytes_with_delimiters(1..5), mut plain in packets(0..200), bytes_with_delimiters in vec(bytes_with_delimiters(0..9), 0..9),
        places in places(),
    ) {
        plain.extend(bytes_with_delimiters);
        plain.retain(|it| ends_cleanly(it, &end));
        assert_round_trip(Framing::delimiter(&end), &plain, &places)?;
    }

    #[test]
    fn raw_brings_every_byte_back(
        packets in packets(0..200), places in places(), max in 1..50usize,
    ) {
        let wire = encode(Framing::raw(), &packets);
        let fed = feed(Framing::raw().with_max_frame(max), cut(&wire, &places));
        prop_assert!(fed.packets.iter().all(|it| (1..=max).contains(&it.len())));
        prop_assert_eq!(fed.packets.concat(), packets.concat());
        prop_assert_eq!(fed.error, None);
    }

    #[test]
    fn garbage_neither_panics_nor_exceeds_the_limit(
        garbage in vec(any::<u8>(), 0..400), bytes_with_delimiters in bytes_with_delimiters(0..400), places in places(),
        max in 1..30usize,
    ) {
        for framing in every(max) {
            for wire in [&garbage, &bytes_with_delimiters] {
                let fed = feed(framing.clone(), cut(wire, &places));
                prop_assert!(fed.packets.iter().all(|it| it.len() <= max), "{}", framing);
            }
        }
    }

    #[test]
    fn packets_do_not_depend_on_how_bytes_are_split(
        wire in bytes_with_delimiters(0..60), end in bytes_with_delimiters(1..5), places in places(), max in 0..12usize,
    ) {
        let mut all = every(max).split_off(1);
        all.push(Framing::delimiter(end).with_max_frame(max));
        for framing in all {
            let whole = feed(framing.clone(), [&wire[..]]);
            for pieces in [cut(&wire, &places), wire.chunks(1).collect()] {
                let fed = feed(framing.clone(), pieces);
                prop_assert_eq!(&fed.packets, &whole.packets, "{}", framing);
                prop_assert_eq!(&fed.error, &whole.error, "{}", framing);
            }
        }
    }

    #[test]
    fn a_length_is_never_truncated(length in 0..200_000usize) {
        for width in WIDTHS {
            let mut wire = BytesMut::new();
            let packet = Bytes::from(vec![0; length]);
            let sent = Framing::length_prefix(width).encode(packet, &mut wire);
            if length as u64 > width.max_length() {
                prop_assert!(sent.is_err() && wire.is_empty());
            } else {
                let prefix = &wire[..width.bytes()];
                let told = prefix.iter().fold(0, |sum, &byte| sum << 8 | usize::from(byte));
                prop_assert_eq!((told, wire.len() - width.bytes()), (length, length));
            }
        }
    }
}
