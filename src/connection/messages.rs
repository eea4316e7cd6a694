//! What the program may send to any connection.

use actix::prelude::*;
use bytes::Bytes;

use super::{Active, Closed, EncodeOnce, Next, Protocol, SendError};
use super::{Connection, ConnectionContext, Trigger};
use crate::registry::ConnectionInfo;

/// A message of the program's to the protocol: delivered to [`Protocol::user`].
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct User<M>(pub M);

/// Something to send to the peer, past the protocol's callbacks.
///
/// Answered with what [`Conn::send`](crate::Conn::send) answers; an error of the codec's does not end the connection.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<(), SendError>")]
pub struct Reply<R>(pub R);

/// Ends the connection. What was queued before is sent first; it ends as [`Closed::Local`].
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Close;

/// Asks for the connection's numbers.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "ConnectionInfo")]
pub struct Info;

/// Sets how packets are taken from the socket: [`Conn::set_active`](crate::Conn::set_active).
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct SetActive(pub Active);

/// Bytes that are encoded already, to be sent as they are: so a reply to many is encoded once.
///
/// Only for codecs whose output does not depend on what came before, which they say by [`EncodeOnce`].
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<(), SendError>")]
pub struct Encoded(pub Bytes);

impl<P: Protocol> Handler<User<P::User>> for Connection<P> {
    type Result = ();

    fn handle(&mut self, message: User<P::User>, _: &mut ConnectionContext<P>) {
        let next = self.me.user(message.0, &mut self.conn);
        self.apply(next, Trigger::Own);
    }
}

impl<P: Protocol> Handler<Reply<P::Reply>> for Connection<P> {
    type Result = Result<(), SendError>;

    fn handle(&mut self, reply: Reply<P::Reply>, ctx: &mut ConnectionContext<P>) -> Self::Result {
        self.with(ctx, |_, conn| (conn.send(reply.0), Next::Continue))
    }
}

impl<P: Protocol> Handler<Encoded> for Connection<P>
where
    P::Codec: EncodeOnce,
{
    type Result = Result<(), SendError>;

    fn handle(&mut self, encoded: Encoded, ctx: &mut ConnectionContext<P>) -> Self::Result {
        self.with(ctx, |_, conn| (conn.send_wire(&encoded.0), Next::Continue))
    }
}

impl<P: Protocol> Handler<Close> for Connection<P> {
    type Result = ();

    fn handle(&mut self, _: Close, _: &mut ConnectionContext<P>) {
        self.close(Closed::Local);
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
