//! The messages that every [`Connection`] handles.

use actix::prelude::*;
use bytes::Bytes;

use super::{Active, Closed, Connection, ConnectionContext, EncodeOnce, Next, Protocol, SendError, Trigger};
use crate::registry::ConnectionInfo;

/// A message from the program, delivered to [`Protocol::user`].
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct User<M>(pub M);

/// A message that sends a reply to the peer without calling the protocol, after what is in the outbox.
///
/// It passes through the mailbox, and is handled in order with other messages: not during a wait, and not above the high-water
/// mark. An [`Outbox`](crate::Outbox) sends replies also in these states, with a bound in bytes.
///
/// The result is that of [`Conn::send`](crate::Conn::send). An error of the codec does not end the connection.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<(), SendError>")]
pub struct Reply<R>(pub R);

/// A message that closes the connection with [`Closed::Local`] after the queued bytes are sent.
///
/// It is handled in order with other messages: after those already in the mailbox, not during a wait, and not above the
/// high-water mark. [`Pool::close`](crate::Pool::close) acts at once in any state.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Close;

/// A message that requests the connection's [`ConnectionInfo`].
///
/// It is answered in order with other messages: after those already in the mailbox, not during a wait, and not above the
/// high-water mark. [`Pool::connection_info`](crate::Pool::connection_info) returns at once in any state.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "ConnectionInfo")]
pub struct Info;

/// A message that sets how many packets the connection reads from its socket, as
/// [`Conn::set_active`](crate::Conn::set_active) does.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct SetActive(pub Active);

/// A message that sends encoded bytes as they are, after what is in the outbox, so that a reply to many connections is encoded
/// only once. [`Outbox::send_encoded`](crate::Outbox::send_encoded) sends them without the mailbox.
///
/// Made by [`Pool::encode`](crate::Pool::encode). The codec's output must not depend on earlier output: see [`EncodeOnce`].
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<(), SendError>")]
pub struct Encoded(pub Bytes);

impl<P: Protocol> Handler<User<P::User>> for Connection<P> {
    type Result = ();

    fn handle(&mut self, message: User<P::User>, _: &mut ConnectionContext<P>) {
        self.call(Trigger::User, |me, conn| me.user(message.0, conn));
        self.update_held();
    }
}

impl<P: Protocol> Handler<Reply<P::Reply>> for Connection<P> {
    type Result = Result<(), SendError>;

    fn handle(&mut self, reply: Reply<P::Reply>, _: &mut ConnectionContext<P>) -> Self::Result {
        // What others have sent to the outbox before comes first.
        self.empty_outbox();
        self.with(|_, conn| (conn.send(reply.0), Next::Continue))
    }
}

impl<P: Protocol> Handler<Encoded> for Connection<P>
where
    P::Codec: EncodeOnce,
{
    type Result = Result<(), SendError>;

    fn handle(&mut self, encoded: Encoded, _: &mut ConnectionContext<P>) -> Self::Result {
        self.empty_outbox();
        self.with(|_, conn| (conn.send_encoded(&encoded.0), Next::Continue))
    }
}

impl<P: Protocol> Handler<Close> for Connection<P> {
    type Result = ();

    fn handle(&mut self, _: Close, _: &mut ConnectionContext<P>) {
        self.close(Closed::Local(None));
        self.update_held();
    }
}

impl<P: Protocol> Handler<Info> for Connection<P> {
    type Result = MessageResult<Info>;

    fn handle(&mut self, _: Info, _: &mut ConnectionContext<P>) -> Self::Result {
        let guard = &self.conn.guard;
        MessageResult(guard.registry().info(guard.state()))
    }
}

impl<P: Protocol> Handler<SetActive> for Connection<P> {
    type Result = ();

    fn handle(&mut self, mode: SetActive, _: &mut ConnectionContext<P>) {
        self.conn.set_active(mode.0);
    }
}
