//! The codec of a live connection: how its callbacks reach and replace it.

use std::any::Any;

use super::phase::Phase;
use super::{Conn, Connection, Flags, Peer, Protocol};
use crate::framing::Framing;
use crate::panic::catch_panic;
use crate::registry::Format;

impl<P: Protocol> Conn<P> {
    /// The codec of this connection, for example to change a limit once the peer has logged in, or to replace it.
    ///
    /// A change takes effect with the next packet and the next reply. Bytes that were read and are not part of a delivered
    /// packet are decoded with the changed codec, also those of an incomplete packet; replies that are already queued stay
    /// as they are. Other connections are not affected.
    ///
    /// After a packet timeout, the codec is replaced with one from the factory, unless it is a [`Framing`]. From this call on,
    /// the connection itself encodes what others send to its [`Outbox`](crate::Outbox) or publish, with this codec. Bytes that
    /// were encoded elsewhere ([`Encoded`](crate::messages::Encoded)) are still sent as they are.
    ///
    /// ```
    /// # use actix_acceptor::{AcceptorPool, Conn, Next, Protocol};
    /// # use bytes::{Bytes, BytesMut};
    /// # use tokio_util::codec::LengthDelimitedCodec;
    /// # struct Upload;
    /// # impl Protocol for Upload {
    /// #     type Codec = LengthDelimitedCodec; type Reply = Bytes; type User = ();
    /// fn packet(&mut self, packet: BytesMut, conn: &mut Conn<Self>) -> Next<Self> {
    ///     if packet == "the password" {
    ///         conn.codec_mut().set_max_frame_length(1 << 20);
    ///     }
    ///     Next::send(packet.len().to_string())
    /// }
    /// # }
    /// # use tokio::io::{AsyncReadExt, AsyncWriteExt};
    /// # actix_rt::System::new().block_on(async {
    /// # let codec = || LengthDelimitedCodec::builder().length_field_length(2).max_frame_length(64).new_codec();
    /// # let pool = AcceptorPool::with_codec(|_| Upload, codec).bind("127.0.0.1:0").await?;
    /// # let mut peer = tokio::net::TcpStream::connect(pool.local_addr().expect("TCP")).await?;
    /// # peer.write_all(b"\0\x0cthe password\x01\x00").await?;
    /// # peer.write_all(&[0; 256]).await?;
    /// # let mut received = [0; 9];
    /// # peer.read_exact(&mut received).await?;
    /// # assert_eq!(&received, b"\0\x0212\0\x03256");
    /// # pool.stop(None).await;
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).expect("it works");
    /// ```
    pub fn codec_mut(&mut self) -> &mut P::Codec {
        self.change_codec();
        &mut self.codec
    }

    /// Called before every change of the codec by a callback.
    fn change_codec(&mut self) {
        // The changed codec may find packets in bytes of which the codec before it needed more. During a delivery the buffer is
        // elsewhere, and all of it is decoded anyway.
        if matches!(self.phase(), Phase::Ready | Phase::Receiving) && self.unread().is_some() {
            self.flags.insert(Flags::UNDECODED);
        }
        // Others can no longer know how this connection encodes. What they have encoded so far comes first.
        if self.guard.state().format() != Format::OWN {
            self.guard.registry().change_format(|| self.guard.state().forget_format());
            self.take_outbox();
        }
    }
}

impl<P: Protocol<Codec = Framing>> Conn<P> {
    /// Replaces the framing of this connection only, from the next packet and the next reply on.
    ///
    /// Bytes that were read and are not part of a delivered packet are decoded with the new framing, also those of an
    /// incomplete packet; replies that are already queued stay as they are. The framing stays until the next call, also after
    /// a packet timeout. See [`codec_mut`](Conn::codec_mut) for bytes that were encoded elsewhere.
    ///
    /// Replies of others that are in the [outbox](Conn::outbox) when the framing changes are sent in the old framing, after what
    /// the callback has sent so far. If an answer must be the last packet in the old framing, call
    /// [`codec_mut`](Conn::codec_mut) before sending it: later replies of others are then encoded with the new framing.
    ///
    /// The framing is not validated: with a `max_frame` of 0, every packet that is not empty ends the connection with
    /// [`Closed::TooLong`](crate::Closed::TooLong).
    ///
    /// ```
    /// use actix_acceptor::prelude::*;
    /// use bytes::Bytes;
    ///
    /// /// Commands are lines; a mail ends with a line that contains only a dot, as in SMTP.
    /// struct Mail { in_data: bool }
    ///
    /// impl Protocol for Mail {
    ///     type Codec = Framing;
    ///     type Reply = Bytes;
    ///     type User = ();
    ///
    ///     fn packet(&mut self, packet: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
    ///         if self.in_data || packet == "DATA" {
    ///             self.in_data = !self.in_data;
    ///             conn.set_framing(if self.in_data { Framing::delimiter("\r\n.\r\n") } else { Framing::lines() });
    ///         }
    ///         // Encoded with the framing that is set now.
    ///         Next::send(format!("{} bytes", packet.len()))
    ///     }
    /// }
    /// # use tokio::io::{AsyncReadExt, AsyncWriteExt};
    /// # actix_rt::System::new().block_on(async {
    /// # let pool = AcceptorPool::with_protocol(|_| Mail { in_data: false }).framing(Framing::lines());
    /// # let pool = pool.bind("127.0.0.1:0").await?;
    /// # let mut peer = tokio::net::TcpStream::connect(pool.local_addr().expect("TCP")).await?;
    /// # peer.write_all(b"HELO\r\nDATA\r\nto: all\r\nhi\r\n.\r\nQUIT\r\n").await?;
    /// # let expected = b"4 bytes\n4 bytes\r\n.\r\n11 bytes\n4 bytes\n";
    /// # let mut received = vec![0; expected.len()];
    /// # peer.read_exact(&mut received).await?;
    /// # assert_eq!(received, expected);
    /// # pool.stop(None).await;
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).expect("it works");
    /// ```
    pub fn set_framing(&mut self, framing: Framing) {
        let framing = framing.unscanned();
        let format = self.guard.registry().shared().formats.of_framing(&framing);
        *self.codec_mut() = framing;
        self.guard.state().set_format(format.unwrap_or(Format::OWN));
    }
}

impl<P: Protocol> Connection<P> {
    /// Makes the codec forget an incomplete packet. A framing stays as it is otherwise, since a callback may have set it.
    pub(super) fn restart_codec(&mut self) -> Result<(), String> {
        let codec: &mut dyn Any = &mut self.conn.codec;
        if let Some(framing) = codec.downcast_mut::<Framing>() {
            *framing = framing.clone().unscanned();
            return Ok(());
        }
        // Dropping the old codec is user code, too.
        let peer = Peer::new(self.conn.guard.state());
        catch_panic(|| self.conn.codec = self.conn.factory.make_codec(&peer))
    }
}
