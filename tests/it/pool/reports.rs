//! What a pool reports, as text and as JSON.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use actix_acceptor::error::{Exit, PoolError, StartError, SuspendError};
use actix_acceptor::telemetry::CloseReason;
use actix_acceptor::{info::Status, AcceptorPool, Closed, Framing, MainError, SuspendMode};
use serde_json::{json, to_value};
use support::*;

#[actix::test]
async fn reports_are_written_as_json() {
    let pool = AcceptorPool::with_protocol(|_| Echo).name("reported").framing(Framing::lines()).acceptors(1);
    let pool = pool.bind("127.0.0.1:0").await.unwrap();
    let mut peer = connect(&pool).await;
    peer.echo("hello\n").await;
    eventually(|| pool.info().bytes_out == 6).await;

    let list = to_value(pool.list()).unwrap();
    let peer_address = peer.0.local_addr().unwrap().to_string();
    assert_eq!(list[0]["id"], 1);
    assert_eq!(list[0]["peer"], peer_address);
    assert_eq!((&list[0]["bytes_in"], &list[0]["packets"]), (&json!(6), &json!(1)));
    assert!(list[0]["age"].is_f64() && list[0]["idle"].is_f64(), "{list}");

    let info = to_value(pool.info()).unwrap();
    assert_eq!(info["status"], "running");
    assert_eq!(info["acceptors"], json!([{ "id": 0, "connections": 1, "restarts": 0 }]));
    assert_eq!(info["refused"]["per_peer"], 0);
    assert_eq!(info["closed"].as_object().unwrap().len(), CloseReason::ALL.len());
    assert!(info["certificate_expires"].is_null());

    let listeners = to_value(pool.listeners()).unwrap();
    assert_eq!(listeners[0]["address"], pool.local_addr().unwrap().to_string());
    assert_eq!(to_value(pool.notify_all(())).unwrap(), json!({ "delivered": 1, "full": [] }));
    assert_eq!(to_value(Status::Suspended(SuspendMode::Hold)).unwrap(), json!({ "suspended": "hold" }));

    let report = to_value(in_time(pool.stop(Duration::ZERO)).await).unwrap();
    assert_eq!((&report["asked"], &report["forced"]), (&json!(1), &json!(1)));
    assert_eq!(report["closed"]["killed"], 1);
    assert!(report["took"].is_f64(), "{report}");
}

#[actix::test]
async fn counts_show_the_names_of_what_was_counted() {
    let pool = AcceptorPool::with_protocol(|_| Echo).bind("127.0.0.1:0").await.unwrap();
    assert_eq!(format!("{:?}", pool.info().closed), "{}");
    let mut peer = connect(&pool).await;
    peer.echo("hello").await;
    in_time(pool.stop(Duration::ZERO)).await;
    assert_eq!(format!("{:?}", pool.info().closed), r#"{"killed": 1}"#);
}

#[test]
fn no_error_repeats_its_source() {
    let broken = || io::Error::other("broken");
    let errors: [Box<dyn Error>; 7] = [
        Box::new(StartError::AcceptorFailed { acceptor: 0, source: Arc::new(broken()) }),
        Box::new(StartError::SystemError { what: "it".into(), source: broken() }),
        Box::new(SuspendError::Listener { resuming: false, address: "here".into(), source: broken() }),
        Box::new(PoolError::NoArbiter { acceptor: 0, source: Arc::new(broken()) }),
        Box::new(PoolError::TooManyRestarts {
            limit: 1,
            within: Duration::ZERO,
            last: Exit::Failed(Arc::new(broken())),
        }),
        Box::new(Closed::Peer(Some(broken()))),
        Box::new(Closed::Error(broken().into())),
    ];
    for error in errors {
        let mut whole = error.to_string();
        let mut source = error.source();
        while let Some(error) = source {
            whole = format!("{whole}: {error}");
            source = error.source();
        }
        assert_eq!(whole.matches("broken").count(), 1, "{whole}");
    }
}

#[test]
fn errors_say_what_failed_and_the_way_out() {
    let suspension = |resuming| {
        let source = io::Error::other("broken");
        SuspendError::Listener { resuming, address: "here".into(), source }.to_string()
    };
    assert_eq!(suspension(false), "cannot suspend the listener at here");
    assert_eq!(suspension(true), "cannot resume the listener at here");
    assert!(StartError::NoSystem.to_string().contains("#[actix::main]"));
    for (source, way_out) in [
        (ErrorKind::AddrInUse.into(), "(pass another address, or stop the program that uses this one)"),
        (ErrorKind::AddrNotAvailable.into(), "(pass an address of this machine; 0.0.0.0 and [::] stand for all)"),
        (ErrorKind::PermissionDenied.into(), "(pass a port above 1023, or a path that this user may write, or "),
        (ErrorKind::NotFound.into(), "(create the directory first)"),
        (ErrorKind::WouldBlock.into(), "(raise the limit of threads and memory, or use fewer acceptors)"),
        (io::Error::from_raw_os_error(libc::EMFILE), "(raise the limit of open files, for example with `ulimit -n`)"),
        (io::Error::other("broken"), ""),
    ] {
        let error = StartError::SystemError { what: "127.0.0.1:1".into(), source };
        let rest = error.to_string().strip_prefix("cannot set up 127.0.0.1:1").unwrap().trim_start().to_owned();
        assert!(rest.starts_with(way_out) && rest.is_empty() == way_out.is_empty(), "{rest}");
        let source = error.source().unwrap().to_string();
        assert!(!rest.contains(&source), "{rest}");
        let whole = format!("{:?}", MainError::from(error));
        assert!(whole.ends_with(&format!(": {source}")), "{whole}");
    }

    let mut sent = bytes::BytesMut::new();
    let two_lines = bytes::Bytes::from_static(b"two\nlines");
    let error = tokio_util::codec::Encoder::encode(&mut Framing::lines(), two_lines, &mut sent).unwrap_err();
    assert!(error.to_string().starts_with("a reply must not contain the delimiter"), "{error}");
    let long = bytes::Bytes::from_static(&[0; 256]);
    let error = tokio_util::codec::Encoder::encode(&mut Framing::len1(), long, &mut sent).unwrap_err();
    assert!(error.to_string().starts_with("a reply of 256 bytes"), "{error}");
}

/// Reports are made while connections come, work and end on several arbiters.
#[actix::test]
async fn counts_never_fall_and_are_exact_in_the_end() {
    let pool = AcceptorPool::with_protocol(|_| Echo).framing(Framing::lines()).acceptors(2);
    let pool = pool.bind("127.0.0.1:0").await.unwrap();
    let (stop, reported) = (Arc::new(AtomicBool::new(false)), pool.clone());
    let is_over = stop.clone();
    let reporter = thread::spawn(move || {
        let (mut before, mut reports) = ((0, 0), 0);
        while !is_over.load(Ordering::Relaxed) {
            let info = reported.info();
            assert_eq!(info.accepted, info.refused.total() + info.connections + info.closed.total(), "{info:?}");
            let now = (info.bytes_in, info.packets);
            assert!(now.0 >= before.0 && now.1 >= before.1, "{before:?} -> {now:?}");
            (before, reports) = (now, reports + 1);
        }
        reports
    });
    let mut staying = Vec::new();
    for _ in 0..100 {
        staying.push(connect(&pool).await);
    }
    for round in 0..20 {
        let mut peers = Vec::new();
        for _ in 0..40 {
            peers.push(connect(&pool).await);
        }
        for peer in peers.iter_mut().chain(&mut staying[round * 5..][..5]) {
            peer.echo("hello\n").await;
        }
    }
    eventually(|| pool.connections() == staying.len()).await;
    stop.store(true, Ordering::Relaxed);
    assert!(reporter.join().unwrap() > 20);
    let info = pool.info();
    assert_eq!((info.bytes_in, info.bytes_out, info.packets), (900 * 6, 900 * 6, 900));
}
