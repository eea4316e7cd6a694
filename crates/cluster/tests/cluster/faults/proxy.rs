//! A connection to a server that can be cut, refused and held up, while the server goes on.

use std::net::SocketAddr;
use std::sync::Arc;

use support::eventually;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::nats_server::NatsServer;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Open,
    /// Connections stay open, and nothing goes through.
    Silent,
    /// Connections are closed.
    Closed,
}

pub(crate) struct Proxy {
    pub(crate) url: String,
    mode: watch::Sender<Mode>,
    connections: Arc<()>,
}

impl Proxy {
    pub(crate) async fn to(server: &NatsServer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("nats://{}", listener.local_addr().unwrap());
        let (mode, follow) = watch::channel(Mode::Open);
        let connections = Arc::new(());
        let counted = connections.clone();
        let server = SocketAddr::from(([127, 0, 0, 1], server.port()));
        actix::spawn(async move {
            loop {
                // Without the test, there is no proxy.
                let mut gone = follow.clone();
                let accepted = tokio::select! {
                    accepted = listener.accept() => accepted.unwrap().0,
                    gone = gone.wait_for(|_| false) => break drop(gone),
                };
                let (counted, forwarded) = (counted.clone(), forward(accepted, server, follow.clone()));
                actix::spawn(async move {
                    forwarded.await;
                    drop(counted);
                });
            }
        });
        Proxy { url, mode, connections }
    }

    /// Nothing goes through, until [`open`](Self::open).
    pub(crate) fn silence(&self) {
        self.mode.send_replace(Mode::Silent);
    }

    /// Closes the connections, and those that are made, until [`open`](Self::open).
    pub(crate) async fn close(&self) {
        self.mode.send_replace(Mode::Closed);
        // The test and the task that accepts have one each.
        eventually(|| Arc::strong_count(&self.connections) == 2).await;
    }

    pub(crate) fn open(&self) {
        self.mode.send_replace(Mode::Open);
    }
}

async fn forward(client: TcpStream, server: SocketAddr, mode: watch::Receiver<Mode>) {
    if *mode.borrow() == Mode::Closed {
        return;
    }
    let Ok(server) = TcpStream::connect(server).await else { return };
    let (client, server) = (client.into_split(), server.into_split());
    let mut closed = mode.clone();
    tokio::select! {
        () = copy(client.0, server.1, mode.clone()) => {}
        () = copy(server.0, client.1, mode.clone()) => {}
        _ = closed.wait_for(|mode| *mode == Mode::Closed) => {}
    }
}

async fn copy(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, mut mode: watch::Receiver<Mode>) {
    let mut buffer = vec![0; 16 << 10];
    loop {
        if mode.wait_for(|mode| *mode == Mode::Open).await.is_err() {
            return;
        }
        let read = tokio::select! {
            biased;
            _ = mode.wait_for(|mode| *mode != Mode::Open) => continue,
            read = from.read(&mut buffer) => read.unwrap_or(0),
        };
        if read == 0 || to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
