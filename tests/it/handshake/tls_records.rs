//! How records arrive: many at once, cut in two, with a goodbye or with rubbish right behind them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use actix_acceptor::{
    telemetry::CloseReason,
    tls::{Tls, TlsBackend},
    AcceptorPool, Listener,
};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use support::pki::Pki;
use support::{connect, in_time, Recorded, Recorder};
use tokio::io::AsyncWriteExt;

const BACKENDS: [TlsBackend; 2] = [TlsBackend::Native, TlsBackend::Rustls];

/// A client that decides itself what goes into one write to the socket.
struct Client(StreamOwned<ClientConnection, TcpStream>);

impl Client {
    fn connect(addr: SocketAddr, config: ClientConfig) -> Self {
        let socket = TcpStream::connect(addr).unwrap();
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), socket);
        stream.conn.complete_io(&mut stream.sock).unwrap();
        Client(stream)
    }

    /// One record of it, not yet sent.
    fn seal(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.0.conn.writer().write_all(bytes).unwrap();
        let mut record = Vec::new();
        self.0.conn.write_tls(&mut record).unwrap();
        record
    }

    fn goodbye(&mut self) -> Vec<u8> {
        self.0.conn.send_close_notify();
        let mut record = Vec::new();
        self.0.conn.write_tls(&mut record).unwrap();
        record
    }

    fn send(&mut self, sealed: &[u8]) {
        self.0.sock.write_all(sealed).unwrap();
    }

    fn expect(&mut self, reply: &[u8]) {
        let mut got = vec![0; reply.len()];
        self.0.read_exact(&mut got).unwrap();
        assert_eq!(got, reply);
    }
}

/// Serves an echo by each back end in turn to a client that follows the script; how its connection ends.
async fn each(script: fn(&mut Client)) -> Vec<CloseReason> {
    let pki = Pki::generate();
    let (cert, key) = pki.issue("localhost");
    let mut endings = Vec::new();
    for backend in BACKENDS {
        let tls = Tls::builder(backend).files(&cert, &key).build().unwrap();
        let (recorder, mut closings) = Recorder::new();
        let pool = AcceptorPool::with_protocol(move |_| Recorded(recorder.clone())).acceptors(1);
        let pool = pool.listener(Listener::tcp("127.0.0.1:0").tls(tls)).start().await.unwrap();
        let (addr, config) = (pool.local_addr().unwrap(), pki.client(None));
        let client = tokio::task::spawn_blocking(move || {
            let mut client = Client::connect(addr, config);
            script(&mut client);
            client
        });
        // Stays connected: what ends the connection is in the script.
        let client = in_time(client).await.unwrap();
        endings.push(closings.reason().await);
        drop(client);
        in_time(pool.stop(Duration::ZERO)).await;
    }
    endings
}

#[actix::test]
async fn records_in_one_segment_are_answered_before_close_notify() {
    let endings = each(|client| {
        // Far more than is read ahead, so that records are cut at every place; some are longer than that themselves.
        let lines: Vec<Vec<u8>> = (0..400).map(|n| vec![b'a' + (n % 26) as u8; 1 + n * n % 6_000]).collect();
        let records: Vec<u8> = lines.iter().flat_map(|line| client.seal(line)).collect();
        let mut socket = client.0.sock.try_clone().unwrap();
        let sending = std::thread::spawn(move || socket.write_all(&records).unwrap());
        client.expect(&lines.concat());
        sending.join().unwrap();

        // Twice, with silence in between: nothing of the first is left for the second.
        let last = [client.seal(b"one"), client.seal(b"two")].concat();
        client.send(&last);
        client.expect(b"onetwo");
        let last = [client.seal(b"three"), client.goodbye()].concat();
        client.send(&last);
        client.expect(b"three");
    });
    assert_eq!(endings.await, [CloseReason::Peer, CloseReason::Peer]);
}

#[actix::test]
async fn a_record_cut_in_two_is_waited_for() {
    let endings = each(|client| {
        for cut in [1, 4, 5, 6, 40] {
            let (whole, parted) = (client.seal(b"whole"), client.seal(&[b'x'; 100]));
            client.send(&[&whole, &parted[..cut]].concat());
            client.expect(b"whole");
            client.send(&parted[cut..]);
            client.expect(&[b'x'; 100]);
        }
        let goodbye = client.goodbye();
        client.send(&goodbye);
    });
    assert_eq!(endings.await, [CloseReason::Peer, CloseReason::Peer]);
}

#[actix::test]
async fn garbage_behind_a_record_ends_the_connection() {
    let endings = each(|client| {
        // Once that is back, the handshake is over at the other end as well.
        let hello = client.seal(b"hello");
        client.send(&hello);
        client.expect(b"hello");
        let (good, mut bad) = (client.seal(b"good"), client.seal(b"bad"));
        *bad.last_mut().unwrap() ^= 1;
        client.send(&[good, bad].concat());
    });
    assert_eq!(endings.await, [CloseReason::Error, CloseReason::Error]);
}

#[actix::test]
async fn a_huge_hello_is_refused_before_it_is_complete() {
    const ANNOUNCED: [u8; 3] = [0xff; 3];
    let pki = Pki::generate();
    let (cert, key) = pki.issue("localhost");
    for backend in BACKENDS {
        let tls = Tls::builder(backend).files(&cert, &key).build().unwrap();
        let (recorder, mut closings) = Recorder::new();
        let pool = AcceptorPool::with_protocol(move |_| Recorded(recorder.clone())).handshake_timeout(None);
        let pool = pool.idle_timeout(None).listener(Listener::tcp("127.0.0.1:0").tls(tls)).start().await.unwrap();
        let mut peer = connect(&pool).await;
        // A handshake message of 16 MiB, of which 256 KiB are sent.
        let record = |start: &[u8]| [&[22, 3, 1, 0x40, 0], start, &vec![0; 0x4000 - start.len()]].concat();
        let mut next = record(&[&[1], &ANNOUNCED[..], &[3, 3]].concat());
        for _ in 0..16 {
            // It may be closed by now.
            let _ = in_time(peer.0.write_all(&next)).await;
            next = record(&[]);
        }
        assert_eq!(closings.reason().await, CloseReason::Handshake, "{backend:?}");
        in_time(pool.stop(Duration::ZERO)).await;
    }
}
