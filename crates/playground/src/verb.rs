//! The verbs that a packet may contain, and the line endings of their answers.

use std::time::Duration;

use actix_acceptor::Framing;
use bytes::{Bytes, BytesMut};
use tokio_util::codec::Encoder;

use crate::messaging::MessagingVerb;

/// The framing as the handlers need it.
#[derive(Clone, Debug)]
pub struct PacketText {
    pub framing: Framing,
    raw: bool,
    /// The packet that a flood repeats.
    pub flood: Bytes,
}

impl PacketText {
    pub fn new(framing: Framing) -> Self {
        let name = framing.to_string();
        let flood = if name == "len1" { &[b'x'; 255][..] } else { &[b'x'; 1024] };
        PacketText { raw: name == "raw", flood: Bytes::from_static(flood), framing }
    }

    /// The bytes of a packet on the wire. It must fit the framing: a part of a packet that was received does.
    pub fn encode(&self, packet: Bytes) -> Bytes {
        let mut wire = BytesMut::with_capacity(packet.len() + 8);
        let encoded = self.framing.clone().encode(packet, &mut wire);
        debug_assert!(encoded.is_ok());
        wire.freeze()
    }

    /// The text of a packet. With `raw` the trailing newline is cut off, and the answer ends with the same newline.
    pub fn text(&self, packet: &Bytes) -> Text {
        let ending = match &packet[..] {
            [.., b'\r', b'\n'] if self.raw => 2,
            [.., b'\n'] if self.raw => 1,
            _ => 0,
        };
        let length = packet.len() - ending;
        Text { text: packet.slice(..length), ending: packet.slice(length..) }
    }

    /// The verb of a packet. `None`: the packet is echoed.
    #[inline]
    pub fn verb(&self, packet: &Bytes) -> Option<(Verb, Text)> {
        if packet.first() != Some(&b'!') {
            return None;
        }
        let text = self.text(packet);
        Some((Verb::parse(&text.text)?, text))
    }
}

/// The text of a packet and its line ending.
#[derive(Clone, Debug)]
pub struct Text {
    pub text: Bytes,
    pub ending: Bytes,
}

impl Text {
    pub fn answer(&self, answer: impl AsRef<[u8]>) -> Bytes {
        let mut packet = BytesMut::from(answer.as_ref());
        packet.extend_from_slice(&self.ending);
        packet.freeze()
    }
}

#[derive(Clone, Debug)]
pub enum Verb {
    Count,
    Id,
    Peer,
    Tls,
    Panic,
    Stop,
    Bye(Bytes),
    Fail(String),
    Wait(Duration),
    Block(Duration),
    Spawn(Duration),
    After(Duration, Bytes),
    Flood(u64),
    Passive(Duration),
    StartTls,
    Messaging(MessagingVerb),
}

impl Verb {
    fn parse(text: &Bytes) -> Option<Verb> {
        let blank = text.iter().position(|byte| *byte == b' ');
        let word = &text[..blank.unwrap_or(text.len())];
        let rest = blank.map(|at| text.slice(at + 1..));
        let number = || std::str::from_utf8(rest.as_ref()?).ok()?.parse().ok();
        let verb = match word {
            b"!bye" => Verb::Bye(rest.unwrap_or_default()),
            b"!fail" => Verb::Fail(String::from_utf8_lossy(&rest.unwrap_or_default()).into_owned()),
            b"!wait" => Verb::Wait(Duration::from_millis(number()?)),
            b"!block" => Verb::Block(Duration::from_millis(number()?)),
            b"!spawn" => Verb::Spawn(Duration::from_millis(number()?)),
            b"!after" => {
                let rest = rest?;
                let blank = rest.iter().position(|byte| *byte == b' ')?;
                let millis = std::str::from_utf8(&rest[..blank]).ok()?.parse().ok()?;
                Verb::After(Duration::from_millis(millis), rest.slice(blank + 1..))
            }
            b"!flood" => Verb::Flood(number()?),
            b"!passive" => Verb::Passive(Duration::from_millis(number()?)),
            b"!join" | b"!leave" | b"!pub" | b"!name" | b"!take" | b"!tell" | b"!label" => {
                Verb::Messaging(MessagingVerb::parse(word, &rest.unwrap_or_default())?)
            }
            _ if rest.is_some() => return None,
            b"!count" => Verb::Count,
            b"!id" => Verb::Id,
            b"!peer" => Verb::Peer,
            b"!tls" => Verb::Tls,
            b"!panic" => Verb::Panic,
            b"!stop" => Verb::Stop,
            b"!starttls" => Verb::StartTls,
            _ => return None,
        };
        Some(verb)
    }
}
