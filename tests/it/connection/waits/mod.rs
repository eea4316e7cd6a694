//! Waits: what they hold back, what ends them, what bounds them.

mod bounds;
mod closing;
mod fin;
mod init;
mod options;
mod queue;
mod spawned;
mod writes;

use std::future::Future;
use std::sync::Mutex;

use actix_acceptor::{handlers::ProtocolService, Builder, Conn, Connection, Framing, Next, Pool};
use bytes::Bytes;
use support::*;
use tokio::sync::oneshot;

/// A pool of probes that speak lines on one arbiter.
async fn lines(
    act: impl Fn(&Call, &mut Conn<Probe>) -> Next<Probe> + Send + Sync + 'static,
    set: impl FnOnce(Builder<ProtocolService<Probe>>) -> Builder<ProtocolService<Probe>>,
) -> (Pool<Connection<Probe>>, Callbacks) {
    let (builder, callbacks) = Probe::pool(act);
    let pool = set(builder.framing(Framing::lines()).acceptors(1)).bind("127.0.0.1:0").await.unwrap();
    (pool, callbacks)
}

fn text(text: &'static str) -> Next<Probe> {
    Next::Send(Bytes::from_static(text.as_bytes()))
}

fn echoed(call: &Call) -> Next<Probe> {
    match call {
        Call::Packet(bytes) | Call::User(bytes) => Next::Send(bytes.clone()),
        call => protocol_default(call),
    }
}

/// Handed to the one callback that asks first.
fn once<T>(value: T) -> impl Fn() -> T {
    let value = Mutex::new(Some(value));
    move || value.lock().unwrap().take().expect("asked once")
}

/// A future, and a receiver that resolves when it is dropped: true if it was done.
fn watched<F: Future>(future: F) -> (impl Future<Output = F::Output>, oneshot::Receiver<bool>) {
    struct Report(Option<oneshot::Sender<bool>>, bool);
    impl Drop for Report {
        fn drop(&mut self) {
            let _ = self.0.take().map(|sender| sender.send(self.1));
        }
    }
    let (sender, receiver) = oneshot::channel();
    let report = Report(Some(sender), false);
    let future = async move {
        let mut report = report;
        let output = future.await;
        let report = &mut report;
        report.1 = true;
        output
    };
    (future, receiver)
}

/// A value whose drop panics.
struct PanicOnDrop;

impl Drop for PanicOnDrop {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("in drop");
        }
    }
}
