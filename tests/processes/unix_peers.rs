//! Unix sockets with programs of the system as clients.

#![cfg(unix)]

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::process::Stdio;
use std::time::Duration;

use actix_acceptor::transport::TransportKind;
use actix_acceptor::{telemetry::CloseReason, AcceptorPool, Framing, Listener, Next, Pool};
use support::*;

async fn stop<A: 'static>(pool: Pool<A>) {
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn netcat_gets_its_bytes_back() {
    let folder = Folder::create();
    let path = folder.path("echo.sock");
    let echo = AcceptorPool::with_protocol(|_| Echo).framing(Framing::raw());
    let pool = in_time(echo.listener(Listener::unix(&path)).start()).await.unwrap();
    let nc = tokio::task::spawn_blocking(move || {
        let mut nc = program("nc");
        nc.args(["-N", "-U"]).arg(&path).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut nc = nc.spawn().unwrap();
        nc.stdin.take().unwrap().write_all(b"by netcat").unwrap();
        nc.wait_with_output().unwrap()
    });
    assert_eq!(in_time(nc).await.unwrap().stdout, b"by netcat");
    stop(pool).await;
}

#[actix::test]
async fn callbacks_see_the_peer_credentials() {
    let folder = Folder::create();
    let path = folder.path("who.sock");
    let (builder, mut callbacks) = Probe::pool(|call, conn| {
        if *call == Call::Ack {
            assert_eq!(conn.transport(), TransportKind::Unix);
            let peer = conn.peer_credentials().unwrap();
            let at = conn.local_addr().unwrap();
            return Next::Send(format!("{} {} {:?} {at}", peer.uid, peer.gid, peer.pid).into());
        }
        protocol_default(call)
    });
    let pool = in_time(builder.listener(Listener::unix(&path)).start()).await.unwrap();
    let script = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); \
                  print(s.recv(999).decode(), end='')";
    let mut python = program("python3");
    let mut python = python.args(["-c", script]).arg(&path).stdout(Stdio::piped()).spawn().unwrap();
    let pid = python.id();
    let said = in_time(tokio::task::spawn_blocking(move || {
        let mut said = String::new();
        std::io::Read::read_to_string(&mut python.stdout.take().unwrap(), &mut said).unwrap();
        python.wait().unwrap();
        said
    }));
    let said = said.await.unwrap();
    // What this process makes is this process's user's.
    let own = fs::metadata(folder.as_ref()).unwrap();
    let numbers = format!("{} {}", own.uid(), own.gid());
    let process =
        if cfg!(target_os = "linux") { format!("Some({pid})") } else { said.split(' ').nth(2).unwrap().into() };
    assert_eq!(said, format!("{numbers} {process} {}", path.display()));
    callbacks.closed().await;
    stop(pool).await;
    // Elsewhere there are none.
    let pool = AcceptorPool::with_fn(|socket| async move { assert!(socket.peer_credentials().is_none()) });
    let pool = in_time(pool.bind("127.0.0.1:0")).await.unwrap();
    assert_eq!(connect(&pool).await.read_to_end().await, b"");
    eventually(|| pool.info().closed.iter().map(|(_, count)| count).sum::<u64>() == 1).await;
    assert_eq!(pool.info().closed.get(CloseReason::Panic), 0);
    stop(pool).await;
}
