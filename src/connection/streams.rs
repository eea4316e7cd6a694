//! The streams that callbacks have added. Each has a key, by which it can be removed.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{ready, Context, Poll, Waker};

use futures::stream::{FuturesUnordered, Stream as Items};

use super::background::drop_each;
use super::{Conn, Flags, Protocol};

/// Identifies a stream that was added with [`Conn::add_stream`], for [`Conn::remove_stream`].
///
/// A key is never reused: no other stream of the process has the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StreamKey(u64);

impl StreamKey {
    fn new() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        StreamKey(LAST.fetch_add(1, Relaxed) + 1)
    }
}

/// The streams of one connection.
pub(super) struct Streams<M> {
    next_items: FuturesUnordered<NextItem<M>>,
    slots: HashMap<StreamKey, Rc<Slot<M>>>,
}

type BoxedStream<M> = Pin<Box<dyn Items<Item = M>>>;

/// Shared by the table of streams and the future of the next item.
struct Slot<M> {
    /// `None` once the stream was removed.
    stream: RefCell<Option<BoxedStream<M>>>,
    /// Wakes the future of the next item, so that it is dropped once the stream was removed.
    waker: Cell<Option<Waker>>,
}

/// The next item of a stream, or its end.
struct NextItem<M> {
    key: StreamKey,
    slot: Rc<Slot<M>>,
}

impl<M> Future for NextItem<M> {
    type Output = (StreamKey, Option<M>);

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(item) = self.slot.poll_next(cx) else { return Poll::Ready((self.key, None)) };
        item.map(|item| (self.key, item))
    }
}

impl<M> Slot<M> {
    /// The next item of the stream; `None` if it was removed.
    fn poll_next(&self, cx: &mut Context<'_>) -> Option<Poll<Option<M>>> {
        let next = self.stream.borrow_mut().as_mut()?.as_mut().poll_next(cx);
        if next.is_pending() {
            let waker = self.waker.take().filter(|waker| waker.will_wake(cx.waker()));
            self.waker.set(Some(waker.unwrap_or_else(|| cx.waker().clone())));
        }
        Some(next)
    }
}

impl<M> Default for Streams<M> {
    fn default() -> Self {
        Streams { next_items: FuturesUnordered::new(), slots: HashMap::new() }
    }
}

impl<M> Streams<M> {
    pub(super) fn is_empty(&self) -> bool {
        self.next_items.is_empty()
    }

    fn add(&mut self, key: StreamKey, stream: BoxedStream<M>) {
        let slot = Rc::new(Slot { stream: RefCell::new(Some(stream)), waker: Cell::new(None) });
        self.slots.insert(key, slot.clone());
        self.next_items.push(NextItem { key, slot });
    }

    fn remove(&mut self, key: StreamKey) -> bool {
        let Some(slot) = self.slots.remove(&key) else { return false };
        let stream = slot.stream.take();
        if let Some(waker) = slot.waker.take() {
            waker.wake();
        }
        drop(stream);
        true
    }

    /// The next item of any stream; `None` if there are no streams. Drops those that have ended.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<M>> {
        while let Some((key, item)) = ready!(Pin::new(&mut self.next_items).poll_next(cx)) {
            if item.is_some() {
                let slot = self.slots.get(&key).map(Rc::clone);
                self.next_items.extend(slot.map(|slot| NextItem { key, slot }));
                return Poll::Ready(item);
            }
            self.slots.remove(&key);
        }
        Poll::Ready(None)
    }

    pub(super) fn drop_each(&mut self) -> Result<(), String> {
        self.next_items.clear();
        drop_each(self.slots.drain())
    }
}

impl<P: Protocol> Conn<P> {
    /// Adds a stream whose items are delivered to [`Protocol::user`], like glisten's selector. May be called repeatedly.
    ///
    /// While the connection handles no messages, its streams are not polled: during a wait without
    /// [`with_messages`](crate::Wait::with_messages), above the high-water mark, and before the connection is ready. A stream
    /// that ends is dropped. All streams are dropped when the connection closes; if it is already closing, the stream is
    /// dropped at once.
    ///
    /// The key removes the stream with [`remove_stream`](Conn::remove_stream).
    ///
    /// ```
    /// use actix_acceptor::{AcceptorPool, Conn, Framing, Next, Protocol, StreamKey};
    /// use bytes::Bytes;
    /// use futures::stream;
    /// use tokio::sync::broadcast;
    ///
    /// /// Forwards news to subscribers.
    /// struct Reader { news: broadcast::Sender<Bytes>, subscribed: Option<StreamKey> }
    ///
    /// impl Protocol for Reader {
    ///     type Codec = Framing;
    ///     type Reply = Bytes;
    ///     type User = Bytes;
    ///
    ///     fn packet(&mut self, command: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
    ///         match &command[..] {
    ///             b"subscribe" => {
    ///                 let news = self.news.subscribe();
    ///                 let news = stream::unfold(news, |mut news| async { Some((news.recv().await.ok()?, news)) });
    ///                 self.subscribed.get_or_insert_with(|| conn.add_stream(news));
    ///             }
    ///             _ => {
    ///                 self.subscribed.take().map(|key| conn.remove_stream(key));
    ///             }
    ///         }
    ///         Next::Send(command)
    ///     }
    ///
    ///     fn user(&mut self, news: Bytes, _: &mut Conn<Self>) -> Next<Self> {
    ///         Next::Send(news)
    ///     }
    /// }
    ///
    /// # use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    /// # actix_rt::System::new().block_on(async {
    /// # let (news, _) = broadcast::channel(16);
    /// # let sender = news.clone();
    /// let pool = AcceptorPool::with_protocol(move |_| Reader { news: sender.clone(), subscribed: None });
    /// # let pool = pool.framing(Framing::lines()).bind("127.0.0.1:0").await?;
    /// # let (peer, mut out) = tokio::net::TcpStream::connect(pool.local_addr().expect("TCP")).await?.into_split();
    /// # let mut lines = BufReader::new(peer).lines();
    /// # out.write_all(b"subscribe\n").await?;
    /// # assert_eq!(lines.next_line().await?.as_deref(), Some("subscribe"));
    /// news.send(Bytes::from_static(b"delivered"))?;
    /// # assert_eq!(lines.next_line().await?.as_deref(), Some("delivered"));
    /// # out.write_all(b"unsubscribe\n").await?;
    /// # assert_eq!(lines.next_line().await?.as_deref(), Some("unsubscribe"));
    /// // The client has unsubscribed: nothing receives the news any more.
    /// assert!(news.send(Bytes::from_static(b"lost")).is_err());
    /// # pool.stop(None).await;
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).expect("it works");
    /// ```
    pub fn add_stream(&mut self, stream: impl Items<Item = P::User> + 'static) -> StreamKey {
        let key = StreamKey::new();
        if !self.is_closing() {
            self.background.get_or_insert_default().streams.add(key, Box::pin(stream));
            self.flags.insert(Flags::STREAM_ADDED);
        }
        key
    }

    /// Removes a stream and drops it at once; no further item of it is delivered. Returns false if the connection has no
    /// stream with this key: it has ended, was removed before, or was added to another connection.
    ///
    /// A callback that handles an item of a stream may remove that stream.
    pub fn remove_stream(&mut self, key: StreamKey) -> bool {
        self.background.as_mut().is_some_and(|background| background.streams.remove(key))
    }
}

#[cfg(test)]
mod tests {
    use futures::stream::pending;

    use super::*;

    #[test]
    fn removed_streams_leave_nothing_behind() {
        let mut streams = Streams::<()>::default();
        let poll = |streams: &mut Streams<()>| streams.poll_next(&mut Context::from_waker(Waker::noop()));
        let keys: Vec<_> = (0..100).map(|_| StreamKey::new()).collect();
        for (number, key) in keys.iter().enumerate() {
            streams.add(*key, Box::pin(pending()));
            if number == 50 {
                assert_eq!(poll(&mut streams), Poll::Pending);
            }
        }
        assert!(keys.iter().all(|key| streams.remove(*key)));
        assert_eq!(poll(&mut streams), Poll::Ready(None));
        assert!(streams.is_empty() && streams.slots.is_empty());
    }
}
