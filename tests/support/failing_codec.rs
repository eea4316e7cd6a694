//! A codec of lines that cannot take everything.

use actix_acceptor::{BoxError, Framing};
use bytes::{Bytes, BytesMut};
use tokio_util::codec::{Decoder, Encoder};

/// Lines. `poison` makes it panic, either way, and at the end of input also without an end of line; a reply of
/// `unencodable` is an error after half of it was written, and a line of `undecodable` is an error after it was read.
pub struct FailingCodec(Framing);

impl Default for FailingCodec {
    fn default() -> Self {
        FailingCodec(Framing::lines())
    }
}

impl Decoder for FailingCodec {
    type Item = Bytes;
    type Error = BoxError;

    fn decode(&mut self, read: &mut BytesMut) -> Result<Option<Bytes>, BoxError> {
        let packet = self.0.decode(read)?;
        assert!(packet.as_deref() != Some(b"poison"), "poison in decode");
        match packet.as_deref() {
            Some(b"undecodable") => Err("not to be decoded".into()),
            _ => Ok(packet),
        }
    }

    fn decode_eof(&mut self, read: &mut BytesMut) -> Result<Option<Bytes>, BoxError> {
        assert!(&read[..] != b"poison", "poison in decode_eof");
        self.decode(read)
    }
}

impl Encoder<Bytes> for FailingCodec {
    type Error = BoxError;

    fn encode(&mut self, reply: Bytes, write: &mut BytesMut) -> Result<(), BoxError> {
        match &reply[..] {
            b"unencodable" => {
                write.extend_from_slice(b"unenc");
                Err("not to be encoded".into())
            }
            b"poison" => {
                write.extend_from_slice(b"poi");
                panic!("poison in encode")
            }
            _ => Ok(self.0.encode(reply, write)?),
        }
    }
}
