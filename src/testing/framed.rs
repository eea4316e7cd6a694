//! [`FramedClient`], a scripted peer that sends and expects the items of a codec.

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::time::Duration;

use tokio_util::codec::{Decoder, Encoder};

use super::client::{Arrived, Client, End};
use super::report::{bytes_text, ended_text, fail};

/// A [`Client`] that sends and expects the items of a codec. Made by [`Client::framed`].
///
/// ```
/// # use actix_acceptor::{AcceptorPool, Conn, Framing, Next, Protocol};
/// # use bytes::Bytes;
/// # struct Echo;
/// # impl Protocol for Echo {
/// #     type Codec = Framing; type Reply = Bytes; type User = ();
/// #     fn packet(&mut self, packet: Bytes, _: &mut Conn<Self>) -> Next<Self> { Next::Send(packet) }
/// # }
/// # actix_rt::System::new().block_on(async {
/// # use actix_acceptor::testing::Harness;
/// let harness = Harness::start(AcceptorPool::with_protocol(|_| Echo).framing(Framing::len4())).await;
/// let mut client = harness.connect().await.framed(Framing::len4());
/// client.say("hello").await;
/// client.expect("hello").await;
/// # });
/// ```
pub struct FramedClient<C> {
    client: Client,
    codec: C,
}

impl<C: Decoder<Error: fmt::Display>> FramedClient<C> {
    pub(super) fn new(client: Client, codec: C) -> Self {
        FramedClient { client, codec }
    }

    /// Sends an item. Returns once the server has handled as much as it can without time passing.
    ///
    /// A codec that encodes several types, such as tokio-util's `LinesCodec`, needs the type: `say::<String>("hello")`.
    ///
    /// # Panics
    /// If the codec cannot encode the item; else as [`Client::say`].
    #[track_caller]
    pub fn say<T>(&mut self, item: impl Into<T>) -> impl Future<Output = ()>
    where
        C: Encoder<T>,
        <C as Encoder<T>>::Error: fmt::Display,
    {
        let caller = Location::caller();
        async move { self.client.send_item(&mut self.codec, item.into(), caller).await }
    }

    /// Expects an item that is equal to this value.
    ///
    /// # Panics
    /// If another item arrives; else as [`receive`](FramedClient::receive).
    #[track_caller]
    pub fn expect<T: fmt::Debug>(&mut self, expected: T) -> impl Future<Output = ()>
    where
        C::Item: PartialEq<T> + fmt::Debug,
    {
        let caller = Location::caller();
        async move {
            let item = self.next(&format!("{expected:?}"), caller).await;
            if item != expected {
                fail(caller, format_args!("expected {expected:?}, but received {item:?}"));
            }
        }
    }

    /// Returns the next item.
    ///
    /// # Panics
    /// If the connection ends, the codec cannot decode what arrives, or no item arrives within the
    /// [`patience`](Client::patience) of the client.
    #[track_caller]
    pub fn receive(&mut self) -> impl Future<Output = C::Item> {
        let caller = Location::caller();
        async move { self.next("an item", caller).await }
    }

    async fn next(&mut self, expected: &str, caller: &Location<'_>) -> C::Item {
        loop {
            if let Some(item) = self.decode(expected, caller) {
                return item;
            }
            match self.client.read(caller).await {
                Arrived::Bytes => {}
                Arrived::Nothing => self.client.fail_late(expected, caller),
                Arrived::End(end) => match self.decode_end(expected, caller) {
                    Some(item) => return item,
                    None => {
                        let ended = ended_text(end, &self.client.received);
                        fail(caller, format_args!("expected {expected}, but {ended}"));
                    }
                },
            }
        }
    }

    /// Expects that nothing arrives during this time and that the connection stays open.
    ///
    /// # Panics
    /// As [`Client::silence`]. The message shows bytes.
    #[track_caller]
    pub fn silence(&mut self, span: Duration) -> impl Future<Output = ()> {
        let caller = Location::caller();
        async move { self.client.stay_silent(span, caller).await }
    }

    /// Expects the server to end the connection in order (FIN). Returns the items that arrived before and were not expected.
    ///
    /// # Panics
    /// If the codec cannot decode what arrives, or a part of an item is left; else as [`Client::end`].
    #[track_caller]
    pub fn end(&mut self) -> impl Future<Output = Vec<C::Item>> {
        let caller = Location::caller();
        async move {
            let rest = self.client.read_to(End::Orderly, caller).await;
            self.client.received = rest.into();
            let mut items = Vec::new();
            while let Some(item) = self.decode_end("the end of the connection", caller) {
                items.push(item);
            }
            if !self.client.received.is_empty() {
                let rest = bytes_text(&self.client.received);
                fail(caller, format_args!("expected the end of the connection, but it ended within an item: {rest}"));
            }
            items
        }
    }

    /// Ends the sending side (FIN) and goes on receiving, as [`Client::finish`] does.
    ///
    /// # Panics
    /// If the connection has ended already.
    #[track_caller]
    pub fn finish(&mut self) -> impl Future<Output = ()> {
        self.client.finish()
    }

    /// Resets the connection, as [`Client::reset`] does.
    ///
    /// # Panics
    /// If this is not a client of a [`Harness`](super::Harness).
    #[track_caller]
    pub fn reset(self) -> impl Future<Output = ()> {
        self.client.reset()
    }

    /// The underlying client, for bytes that the codec does not produce. Bytes that have arrived but are not decoded are received
    /// next.
    pub fn raw(&mut self) -> &mut Client {
        &mut self.client
    }

    /// Returns the client, to go on without the codec or with another one.
    pub fn into_raw(self) -> Client {
        self.client
    }

    fn decode(&mut self, expected: &str, caller: &Location<'_>) -> Option<C::Item> {
        let decoded = self.codec.decode(&mut self.client.received);
        decoded.unwrap_or_else(|error| fail(caller, undecodable(expected, error)))
    }

    fn decode_end(&mut self, expected: &str, caller: &Location<'_>) -> Option<C::Item> {
        let decoded = self.codec.decode_eof(&mut self.client.received);
        decoded.unwrap_or_else(|error| fail(caller, undecodable(expected, error)))
    }
}

fn undecodable(expected: &str, error: impl fmt::Display) -> String {
    format!("expected {expected}, but the client's codec could not decode what arrived: {error}")
}

impl<C> fmt::Debug for FramedClient<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FramedClient").field("client", &self.client).finish_non_exhaustive()
    }
}
