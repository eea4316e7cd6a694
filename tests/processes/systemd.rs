//! Sockets of systemd. This program is started again by a process that opens sockets for it.

use std::time::Duration;

use actix_acceptor::{handlers::ProtocolService, transport::SystemdError, AcceptorPool, Builder, Framing, Listener};
use support::*;

fn echo() -> Builder<ProtocolService<Echo>> {
    AcceptorPool::with_protocol(|_| Echo).framing(Framing::raw()).acceptors(2)
}

/// Opens sockets as systemd does, and becomes the program: descriptors 3 and up, and who they are for.
const SYSTEMD: &str = "
import os, socket, sys
path, names = sys.argv[1:3]
tcp = socket.create_server(('127.0.0.1', 0))
unix = socket.socket(socket.AF_UNIX); unix.bind(path); unix.listen()
last = socket.socket(socket.AF_INET, socket.SOCK_DGRAM) if 'udp' in names else unix
high = [os.dup2(s.fileno(), 100 + n) for n, s in enumerate([tcp, unix, last] if 'udp' in names else [tcp, unix])]
for n, fd in enumerate(high):
    os.dup2(fd, 3 + n)
os.environ.update(LISTEN_FDS=str(len(high)), LISTEN_PID=str(os.getpid()), LISTEN_FDNAMES=names, ACTIVATED='yes')
os.execv(sys.argv[3], sys.argv[3:])
";

fn activate(names: &str, test: &str) {
    let folder = Folder::create();
    let this = std::env::current_exe().unwrap();
    let mut python = program("python3");
    python.args(["-c", SYSTEMD]).arg(folder.path("it.sock")).arg(names).arg(this);
    let run = python.args([test, "--exact", "--include-ignored", "--test-threads=1"]).output().unwrap();
    let said = String::from_utf8_lossy(&run.stdout).into_owned() + &String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success() && said.contains("1 passed"), "{said}");
}

fn is_child() -> bool {
    std::env::var_os("ACTIVATED").is_some()
}

#[test]
fn systemd_sockets_keep_their_names() {
    activate("public:inside", "systemd::activated_process");
}

#[test]
fn a_socket_of_another_kind_is_named() {
    activate("public:inside:udp", "systemd::activated_process_with_a_udp_socket");
}

#[test]
fn systemd_sockets_can_be_taken_by_their_names() {
    activate("public:inside", "systemd::activated_process_by_name");
    activate("http:http", "systemd::activated_process_by_name");
}

/// Runs as the child of the test above; by itself it was handed nothing.
#[actix::test]
async fn activated_process_by_name() {
    let missing = Listener::from_systemd_named("missing").unwrap_err().to_string();
    if !is_child() {
        return assert!(missing.ends_with("no socket with a name was passed"), "{missing}");
    }
    if std::env::var("LISTEN_FDNAMES").is_ok_and(|names| names == "http:http") {
        // Two streams of one unit.
        assert_eq!(Listener::from_systemd_named("http").unwrap().len(), 2);
        return assert!(missing.ends_with("available: http"), "{missing}");
    }
    assert!(missing.ends_with("available: inside, public"), "{missing}");
    assert!(matches!(Listener::from_systemd_named("missing"), Err(SystemdError::NotFound { .. })));
    // A restarted pool finds them again.
    for _ in 0..2 {
        let listeners = Listener::from_systemd_named("public").unwrap();
        let builder = listeners.into_iter().fold(echo(), |builder, listener| builder.listener(listener));
        let pool = in_time(builder.start()).await.unwrap();
        assert_eq!((pool.listeners().len(), &*pool.listeners()[0].name), (1, "public"));
        connect(&pool).await.echo("by the port").await;
        in_time(pool.stop(Duration::ZERO)).await;
    }
    let rest = Listener::from_systemd().unwrap();
    assert_eq!(rest.len(), 1, "the one that was not taken");
}

/// Runs as the child of the test above; by itself it was handed nothing.
#[actix::test]
async fn activated_process() {
    let listeners = Listener::from_systemd().unwrap();
    if !is_child() {
        return assert!(listeners.is_empty());
    }
    let builder = listeners.into_iter().fold(echo(), |builder, listener| builder.listener(listener));
    let pool = in_time(builder.start()).await.unwrap();
    let names: Vec<_> = pool.listeners().iter().map(|listener| listener.name.to_string()).collect();
    assert_eq!(names, ["public", "inside"]);
    connect(&pool).await.echo("by the port").await;
    let path = pool.local_addrs()[1].to_string();
    Peer(in_time(tokio::net::UnixStream::connect(path)).await.unwrap()).echo("by the file").await;
    in_time(pool.stop(Duration::ZERO)).await;
    assert!(Listener::from_systemd().unwrap().is_empty(), "once");
}

#[test]
fn activated_process_with_a_udp_socket() {
    let activated = Listener::from_systemd();
    if is_child() {
        let error = activated.unwrap_err().to_string();
        assert!(error.contains("(udp)") && error.contains("neither"), "{error}");
    }
}
