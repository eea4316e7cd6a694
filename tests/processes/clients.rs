//! Handshakes with clients of the system.

use std::io;
use std::process::Stdio;
use std::time::Duration;

use actix_acceptor::proxy::ProxyProtocol;
use actix_acceptor::tls::{ClientCertificates, Tls, TlsBackend};
use actix_acceptor::{AcceptorPool, Conn, Framing, Listener, Next, Protocol, Socket};
use bytes::Bytes;
use support::pki::Pki;
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// curl speaks version 1.
#[actix::test]
async fn curl_sends_a_proxy_header() {
    let http = |mut socket: Socket| async move {
        let mut request = vec![0; 4_096];
        let length = socket.read(&mut request).await?;
        assert!(request[..length].starts_with(b"GET / HTTP/1.1\r\n"));
        let body = format!("{} from {}", socket.peer().ip().unwrap(), socket.socket_peer().ip().unwrap());
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        socket.write_all((head + &body).as_bytes()).await
    };
    let proxy = ProxyProtocol::required().trust("127.0.0.0/8").unwrap();
    let pool =
        AcceptorPool::with_fn(http).listener(Listener::tcp("127.0.0.1:0").proxy_protocol(proxy)).start().await.unwrap();
    let url = format!("http://{}/", pool.local_addr().unwrap());
    let curl = tokio::task::spawn_blocking(move || {
        program("curl").args(["-sS", "--max-time", "20", "--haproxy-protocol", &url]).output().unwrap()
    });
    let output = in_time(curl).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "127.0.0.1 from 127.0.0.1", "{output:?}");
    in_time(pool.stop(None)).await;
}

/// Echoes lines; `stop` is answered with `bye`, then the connection closes.
struct Lines;

impl Protocol for Lines {
    type Codec = Framing;
    type Reply = Bytes;
    type User = ();

    fn packet(&mut self, line: Bytes, _: &mut Conn<Self>) -> Next<Self> {
        match &line[..] {
            b"stop" => Next::SendAndStop(Bytes::from_static(b"bye")),
            _ => Next::Send(line),
        }
    }
}

#[actix::test]
async fn openssl_is_served_by_both_backends() {
    let pki = Pki::generate();
    let (cert, key) = pki.issue("localhost");
    for backend in [TlsBackend::Native, TlsBackend::Rustls] {
        let tls = Tls::builder(backend).files(&cert, &key).build().unwrap();
        let pool = AcceptorPool::with_protocol(|_| Lines).framing(Framing::lines());
        let pool = pool.listener(Listener::tcp("127.0.0.1:0").tls(tls)).start().await.unwrap();
        let port = pool.local_addr().unwrap().to_string();
        let authority = pki.authority();
        let output = tokio::task::spawn_blocking(move || {
            let mut client = program("openssl");
            client.args(["s_client", "-quiet", "-verify_return_error", "-servername", "localhost", "-connect", &port]);
            client.arg("-CAfile").arg(authority);
            let client = client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
            let mut client = client.spawn().unwrap();
            std::io::Write::write_all(&mut client.stdin.take().unwrap(), b"hello\nstop\n").unwrap();
            client.wait_with_output().unwrap().stdout
        });
        assert_eq!(in_time(output).await.unwrap(), b"hello\nbye\n");
        in_time(pool.stop(Duration::ZERO)).await;
    }
}

/// Sends what the handshake has negotiated, then closes.
async fn negotiated(mut socket: Socket) -> io::Result<()> {
    let tls = socket.tls().expect("TLS").clone();
    let names = tls.peer_alt_names().map(|names| names.dns.join(" ")).unwrap_or_default();
    let suite = tls.cipher_suite.as_deref().unwrap_or("none");
    socket.write_all(format!("suite={suite} names={names}\n").as_bytes()).await?;
    socket.shutdown().await
}

#[actix::test]
async fn openssl_and_the_server_agree_on_what_they_negotiated() {
    let pki = Pki::generate();
    let (cert, key) = pki.issue("localhost");
    let (client_cert, client_key) = pki.issue("client.test");
    for backend in [TlsBackend::Native, TlsBackend::Rustls] {
        let mut tls = Tls::builder(backend).files(&cert, &key);
        if backend == TlsBackend::Rustls {
            tls = tls.client_certificates(ClientCertificates::Required, pki.authority());
        }
        let listener = Listener::tcp("127.0.0.1:0").tls(tls.build().unwrap());
        let pool = AcceptorPool::with_fn(negotiated).acceptors(1).listener(listener).start().await.unwrap();
        let mut client = program("openssl");
        client.args([
            "s_client",
            "-ign_eof",
            "-servername",
            "localhost",
            "-connect",
            &pool.local_addr().unwrap().to_string(),
        ]);
        client.arg("-CAfile").arg(pki.authority()).arg("-cert").arg(&client_cert).arg("-key").arg(&client_key);
        let client = client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let output = tokio::task::spawn_blocking(|| client.wait_with_output().unwrap().stdout);
        let output = String::from_utf8_lossy(&in_time(output).await.unwrap()).into_owned();
        let after = |mark: &str| output.split_once(mark).and_then(|(_, rest)| rest.split_whitespace().next());
        let suite = after("Cipher is ").expect("the line of openssl");
        match backend {
            TlsBackend::Rustls => {
                assert_eq!(after("suite="), Some(suite), "{output}");
                assert_eq!(after("names="), Some("client.test"), "{output}");
            }
            // TLS 1.2, for which openssl has shorter names: ECDHE-ECDSA-CHACHA20-POLY1305.
            _ => {
                let ours = after("suite=").expect("a suite").replace("TLS_", "").replace("WITH_", "");
                assert!(ours.replace('_', "-").starts_with(suite), "{output}");
            }
        }
        in_time(pool.stop(Duration::ZERO)).await;
    }
}
