//! Each call from every place where the user's code runs.

use std::future::Future;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use actix_acceptor::{telemetry::Alarm, AcceptorPool, Active, Framing, Listener, Socket};
use support::*;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::calls::Call;
use super::subject::{limited, Greeter, Subject};
use super::trap::{Place, Place::*, Spots, Trap};
use super::{Descriptors, Panics};

async fn start(trap: &Arc<Trap>, folder: &Folder, number: usize) -> Subject {
    let files = ["a", "b"].map(|name| folder.path(&format!("{number}{name}")));
    let name = format!("place {number}");
    let traps = || trap.clone();
    macro_rules! start {
        ($builder:expr) => {{
            let (overload, alarm) = (traps(), traps());
            let pool = $builder
                .name(&*name)
                .acceptors(1)
                .watchdog(None)
                .max_connections(100)
                .active(Active::Count(1))
                .half_close(false)
                .idle_timeout((trap.place == Timeout).then_some(ms(20)))
                .observer(Spots(traps()))
                .alarm(Alarm::new("many", 2).call(move |_| alarm.at(Place::Alarm)))
                .overload(move |_| {
                    overload.at(Place::Overload);
                    overload.refuses.load(SeqCst)
                })
                .listener(trap.listener(Listener::tcp("127.0.0.1:0").name("tcp")))
                .listener(Listener::unix(&files[0]))
                .start();
            limited(pool, "start").await.unwrap().untyped()
        }};
    }
    let pool = if trap.place == AsyncFn {
        let trap = traps();
        start!(AcceptorPool::with_fn(move |socket: Socket| {
            let call = trap.awaited(AsyncFn);
            async move {
                if let Some(call) = call {
                    call.await;
                }
                echo(socket).await
            }
        }))
    } else {
        let (factory, codec) = (traps(), traps());
        let protocol = move |_: &actix_acceptor::Peer| {
            factory.at(Place::Factory);
            Greeter::with_trap(factory.clone())
        };
        start!(AcceptorPool::with_codec(protocol, move || {
            codec.at(Place::Codec);
            Framing::lines()
        }))
    };
    let tcp = pool.local_addr().unwrap().to_string();
    let first = TcpStream::connect(&*tcp).await.unwrap();
    limited(pool.wait_for(|connections| connections == 1, None), "the first").await.unwrap();
    // Stays connected as long as the pool lets it.
    std::mem::forget(actix_rt::spawn(hold(first)));
    let first = pool.list()[0].id;
    Subject { pool, name, grace: ms(50), first, tcp, files, trap: Some(trap.clone()) }
}

async fn hold(mut peer: TcpStream) {
    let _ = tokio::io::copy(&mut peer, &mut tokio::io::sink()).await;
}

/// A peer that connects, says a word and leaves: until the place is reached. Nothing has been called before.
async fn visit(subject: &Subject, trap: &Trap) {
    let mut peer = TcpStream::connect(&*subject.tcp).await.unwrap();
    peer.write_all(b"word\n").await.unwrap();
    match trap.place {
        HalfClosed => peer.shutdown().await.unwrap(),
        Closed | DropOfProtocol | Observer("ConnectionStopped") => drop(peer),
        _ => {
            // What the call does to this one does not matter.
            std::mem::forget(actix_rt::spawn(hold(peer)));
        }
    }
    eventually(|| {
        if trap.place == User {
            subject.typed(|pool| pool.notify_all("note".into()));
        }
        trap.has_sprung()
    })
    .await;
}

async fn call_from(place: Place, call: Call, folder: &Folder, number: usize) {
    let what = format!("{call:?} from {place:?}");
    let (trap, mut outcome) = Trap::new(place, call);
    let subject = start(&trap, folder, number).await;
    trap.arm(&subject);
    match place {
        PlainThread => plain_thread(&trap),
        ChangeClosure => {
            let trap = trap.clone();
            let change = subject.pool.change(move |_| trap.at(ChangeClosure));
            limited(change, &what).await.unwrap();
        }
        HandshakeInfo => drop(subject.pool.listeners()),
        Observer("ListenerStarted" | "ListenerStopped") => {
            let _ = limited(subject.pool.set_listeners(subject.listeners(true)), &what).await;
        }
        Observer("AcceptorStarted") => {
            limited(subject.pool.change(|settings| settings.acceptors = Some(2)), &what).await.unwrap();
            eventually(|| trap.has_sprung()).await;
        }
        // At the end.
        Shutdown | Observer("AcceptorStopped") => {}
        _ => {
            trap.refuses.store(place == Observer("Refused"), SeqCst);
            limited(visit(&subject, &trap), &what).await;
        }
    }
    // The arbiter that it runs on ends with the pool.
    let early = match trap.has_sprung() && !call.awaits_the_end() {
        true => Some(limited(&mut outcome, &what).await),
        false => None,
    };
    limited(subject.pool.stop(ms(60)), &what).await;
    limited(
        async {
            while !trap.has_sprung() {
                tokio::task::yield_now().await
            }
        },
        &format!("{what}: never called"),
    )
    .await;
    let outcome = match early {
        Some(outcome) => outcome,
        None => limited(outcome, &what).await,
    };
    let may_be_cut_off = place.awaits() || (place.is_at_the_end() || call.awaits_the_end()) && !call.is_sync();
    assert!(outcome.is_ok() || may_be_cut_off, "{what}: it did not return");
    subject.is_gone(&what).await;
}

/// From a thread without a runtime, which no async call needs but one with a time limit.
fn plain_thread(trap: &Trap) {
    let ((subject, result), call) = (trap.spring(PlainThread).unwrap(), trap.call);
    std::thread::spawn(move || {
        let _ = result.send(block_on(call.run(&subject)));
    });
}

/// Runs a future without a runtime.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

#[actix::test]
async fn every_call_may_come_from_every_place() {
    let _exclusive = crate::exclusive().await;
    let (folder, panics) = (Folder::create(), Panics::watch());
    let started = std::time::Instant::now();
    let mut number = 0;
    call_from(Init, Call::Info, &folder, number).await;
    let descriptors = Descriptors::now().await;
    for place in Place::ALL {
        for call in Call::ALL {
            if (place == AsyncFn && call.is_typed()) || (place == PlainThread && call == Call::WaitBriefly) {
                continue;
            }
            number += 1;
            call_from(place, call, &folder, number).await;
            let what = format!("{call:?} from {place:?}");
            panics.none(&what);
            descriptors.are_closed(&what).await;
        }
    }
    eprintln!("{number} calls in {:?}", started.elapsed());
}
