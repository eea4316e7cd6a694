//! The other end of a connection.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream as StdStream};
use std::time::Duration;

use actix_acceptor::Pool;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{in_time, TIME_LIMIT};

/// Connects to the pool's TCP port.
pub async fn connect<A>(pool: &Pool<A>) -> Peer {
    let address = pool.local_addr().expect("a TCP port");
    Peer(in_time(TcpStream::connect(address)).await.expect("connected"))
}

/// How long a peer is watched that must be neither answered nor closed.
const QUIET: Duration = Duration::from_millis(100);

/// A peer whose every step is bounded in time; an error fails the test.
pub struct Peer<S = TcpStream>(pub S);

impl<S: AsyncRead + AsyncWrite + Unpin> Peer<S> {
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        in_time(self.0.write_all(bytes.as_ref())).await.expect("sent");
        in_time(self.0.flush()).await.expect("flushed");
    }

    pub async fn read_exact(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        in_time(self.0.read_exact(&mut bytes)).await.expect("read");
        bytes
    }

    /// Reads the next bytes and holds them against what is expected.
    #[track_caller]
    pub fn expect<'a>(&'a mut self, expected: &'a [u8]) -> impl std::future::Future<Output = ()> + 'a {
        let caller = std::panic::Location::caller();
        async move {
            let read = self.read_exact(expected.len()).await;
            assert!(read == expected, "{caller}: {} instead of {}", read.escape_ascii(), expected.escape_ascii());
        }
    }

    /// Everything up to the end of the stream, which must be an orderly one.
    pub async fn read_to_end(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        in_time(self.0.read_to_end(&mut bytes)).await.expect("an orderly end");
        bytes
    }

    /// Waits for the other side to go, by an orderly end or a reset; returns what it sent before.
    pub async fn until_gone(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        if let Err(error) = in_time(self.0.read_to_end(&mut bytes)).await {
            assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
        }
        bytes
    }

    /// Sends and waits for the same bytes to come back.
    pub async fn echo(&mut self, bytes: impl AsRef<[u8]>) {
        self.send(bytes.as_ref()).await;
        self.expect(bytes.as_ref()).await;
    }

    /// Shuts the sending side.
    pub async fn finish(&mut self) {
        in_time(self.0.shutdown()).await.expect("shut");
    }
}

impl Peer {
    pub fn address(&self) -> SocketAddr {
        self.0.local_addr().expect("an address")
    }

    /// The answer to a newcomer's hello.
    pub async fn expect_served(&mut self) {
        self.expect(b"hello").await;
    }

    /// Whether a newcomer's hello is answered; else it was closed.
    pub async fn until_gone_or_served(&mut self) -> bool {
        let heard = in_time(self.0.read(&mut [0; 64])).await;
        heard.is_ok_and(|heard| heard > 0)
    }

    /// Neither answered nor closed.
    #[track_caller]
    pub fn expect_waiting(&mut self) -> impl std::future::Future<Output = ()> + '_ {
        let caller = std::panic::Location::caller();
        async move {
            if let Ok(heard) = timeout(QUIET, self.0.read(&mut [0; 64])).await {
                panic!("{caller}: it should wait, and heard {heard:?}");
            }
        }
    }

    /// Closed in order, after exactly these bytes.
    #[track_caller]
    pub fn expect_closed_after<'a>(&'a mut self, with: &'a str) -> impl std::future::Future<Output = ()> + 'a {
        let caller = std::panic::Location::caller();
        async move {
            let heard = self.read_to_end().await;
            assert!(heard == with.as_bytes(), "{caller}: {:?} instead of {with:?}", heard.escape_ascii().to_string());
        }
    }

    /// Closes by a reset.
    pub fn reset(self) {
        socket2::SockRef::from(&self.0).set_linger(Some(Duration::ZERO)).expect("linger");
    }
}

/// A peer for threads of its own.
pub struct BlockingPeer(pub StdStream);

impl BlockingPeer {
    pub fn connect(address: SocketAddr) -> Self {
        let stream = StdStream::connect_timeout(&address, TIME_LIMIT).expect("connected");
        stream.set_read_timeout(Some(TIME_LIMIT)).expect("a read timeout");
        stream.set_write_timeout(Some(TIME_LIMIT)).expect("a write timeout");
        BlockingPeer(stream)
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).expect("sent");
    }

    pub fn read_exact(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.0.read_exact(&mut bytes).expect("read");
        bytes
    }

    pub fn read_to_end(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.0.read_to_end(&mut bytes).expect("an orderly end");
        bytes
    }

    /// Reads exactly these bytes.
    #[track_caller]
    pub fn expect(&mut self, bytes: impl AsRef<[u8]>) {
        let (expected, read) = (bytes.as_ref(), self.read_exact(bytes.as_ref().len()));
        assert_eq!(String::from_utf8_lossy(&read), String::from_utf8_lossy(expected));
    }

    #[track_caller]
    pub fn echo(&mut self, bytes: impl AsRef<[u8]>) {
        self.send(bytes.as_ref());
        self.expect(bytes);
    }
}
