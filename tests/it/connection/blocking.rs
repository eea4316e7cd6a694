//! Blocking work beside the arbiter: what waits for it, what does not, and how it can end.

use actix_acceptor::{handlers::ProtocolService, Builder, Framing};
use actix_acceptor::{telemetry::CloseReason, Conn, Next, User};
use bytes::Bytes;
use support::*;

/// A line `slow` is answered behind the gate, every other one at once.
fn blocking_pool(gate: &Gate) -> (Builder<ProtocolService<Probe>>, Callbacks) {
    let gate = gate.clone();
    let (builder, callbacks) = Probe::pool(move |call, conn| match call {
        Call::Packet(line) if &**line == b"slow" => {
            let (line, gate) = (line.clone(), gate.clone());
            conn.blocking(move || gate.pass().then_some(line), |line, _, _| answer(line))
        }
        Call::Packet(line) | Call::User(line) => Next::Send(line.clone()),
        call => protocol_default(call),
    });
    (builder.framing(Framing::lines()).acceptors(1), callbacks)
}

fn answer(line: Option<Bytes>) -> Next<Probe> {
    line.map_or(Next::Stop, Next::Send)
}

#[actix::test]
async fn packets_behind_blocking_work_keep_their_order() {
    let (gate, open) = Gate::new();
    let (builder, mut callbacks) = blocking_pool(&gate);
    let pool = builder.bind("127.0.0.1:0").await.unwrap();
    let mut peer = connect(&pool).await;
    peer.send("1\nslow\n2\n").await;
    peer.expect(b"1\n").await;
    callbacks.until(&Call::packet("slow")).await;
    peer.send("3\nslow\n4\n").await;
    let address = pool.find(pool.list()[0].id).unwrap();
    address.do_send(User(Bytes::from_static(b"message")));
    eventually(|| pool.info().bytes_in == 18).await;
    assert_eq!(callbacks.so_far(), [], "nothing is taken in meanwhile");
    open.send(()).unwrap();
    open.send(()).unwrap();
    let answers = String::from_utf8(peer.read_exact(24).await).unwrap();
    let packets: Vec<_> = answers.lines().filter(|line| *line != "message").collect();
    assert_eq!(packets, ["slow", "2", "3", "slow", "4"]);
    in_time(pool.stop(None)).await;
}

#[actix::test]
async fn blocking_work_does_not_block_the_arbiter() {
    let (gate, open) = Gate::new();
    let (builder, mut callbacks) = blocking_pool(&gate);
    let pool = builder.bind("127.0.0.1:0").await.unwrap();
    let (mut slow, mut quick) = (connect(&pool).await, connect(&pool).await);
    slow.send("slow\n").await;
    callbacks.until(&Call::packet("slow")).await;
    quick.echo("quick\n").await;
    open.send(()).unwrap();
    slow.expect(b"slow\n").await;
    in_time(pool.stop(None)).await;
}

#[actix::test]
async fn blocking_jobs_of_a_connection_run_in_order() {
    let (builder, _diary) = Probe::pool(|call, conn| match call {
        Call::Packet(_) => {
            let here = std::thread::current().id();
            let elsewhere = move || std::thread::current().id() != here;
            conn.blocking(elsewhere, move |first, _, conn: &mut Conn<Probe>| {
                conn.blocking(elsewhere, move |second, _, _| Next::Send(Bytes::from(format!("{first} {second}"))))
            })
        }
        call => protocol_default(call),
    });
    let pool = builder.bind("127.0.0.1:0").await.unwrap();
    let mut peer = connect(&pool).await;
    peer.send("go").await;
    peer.expect(b"true true").await;
    in_time(pool.stop(None)).await;
}

#[actix::test]
async fn a_panic_in_blocking_work_ends_one_connection() {
    let (builder, mut callbacks) = Probe::pool(|call, conn| match call {
        Call::Packet(packet) if &**packet == b"panic" => {
            let name = "closure".to_owned();
            conn.blocking(move || -> Bytes { panic!("the {name} panicked as asked") }, |bytes, _, _| Next::Send(bytes))
        }
        Call::Packet(packet) => Next::Send(packet.clone()),
        call => protocol_default(call),
    });
    let pool = builder.acceptors(1).bind("127.0.0.1:0").await.unwrap();
    let (mut bad, mut good) = (connect(&pool).await, connect(&pool).await);
    bad.send("panic").await;
    let (reason, why) = callbacks.closed().await;
    assert_eq!(reason, CloseReason::Panic);
    assert!(why.contains("the closure panicked as asked"), "{why}");
    bad.until_gone().await;
    good.echo("still here").await;
    in_time(pool.stop(None)).await;
    assert_eq!(pool.info().closed.get(CloseReason::Panic), 1);
}

#[actix::test]
async fn a_fin_does_not_part_blocking_work_from_its_answer() {
    let (gate, open) = Gate::new();
    let (builder, mut callbacks) = blocking_pool(&gate);
    let pool = builder.bind("127.0.0.1:0").await.unwrap();
    let mut peer = connect(&pool).await;
    peer.send("slow\n2\n").await;
    peer.finish().await;
    callbacks.until(&Call::packet("slow")).await;
    // The FIN has come by now.
    connect(&pool).await.echo("other\n").await;
    open.send(()).unwrap();
    assert_eq!(peer.read_to_end().await, b"slow\n2\n");
    in_time(pool.stop(None)).await;
}

#[actix::test]
async fn blocking_work_outlives_its_connection() {
    let (gate, open) = Gate::new();
    let (done, mut is_done) = tokio::sync::mpsc::unbounded_channel();
    let (builder, mut callbacks) = Probe::pool(move |call, conn| match call {
        Call::Packet(_) => {
            let (gate, done) = (gate.clone(), done.clone());
            let work = move || done.send(gate.pass());
            conn.blocking(work, |_, _, _| panic!("nobody is left to be called"))
        }
        call => protocol_default(call),
    });
    let pool = builder.bind("127.0.0.1:0").await.unwrap();
    let mut peer = connect(&pool).await;
    peer.send("work").await;
    callbacks.until(&Call::packet("work")).await;
    eventually(|| pool.info().blocking_running == 1).await;
    peer.reset();
    assert_eq!(callbacks.closed().await.0, CloseReason::Peer);
    eventually(|| pool.connections() == 0).await;
    assert_eq!(pool.info().blocking_running, 1, "it counts until its end");
    open.send(()).unwrap();
    assert_eq!(in_time(is_done.recv()).await, Some(true), "it runs to its end");
    in_time(pool.stop(None)).await;
    assert_eq!(pool.info().closed.get(CloseReason::Panic), 0);
}

#[actix::test]
async fn a_stop_waits_for_blocking_work_until_the_deadline() {
    let (gate, open) = Gate::new();
    for (grace, reason) in
        [(TIME_LIMIT, CloseReason::Shutdown), (std::time::Duration::from_millis(100), CloseReason::Killed)]
    {
        let (builder, mut callbacks) = blocking_pool(&gate);
        let pool = builder.bind("127.0.0.1:0").await.unwrap();
        let mut peer = connect(&pool).await;
        peer.send("slow\n").await;
        callbacks.until(&Call::packet("slow")).await;
        let stop = tokio::spawn({
            let pool = pool.untyped();
            async move { pool.stop(grace).await }
        });
        eventually(|| pool.status() == actix_acceptor::info::Status::Draining).await;
        if reason == CloseReason::Shutdown {
            open.send(()).unwrap();
            peer.expect(b"slow\n").await;
        }
        let report = in_time(stop).await.unwrap();
        assert_eq!((report.asked, report.forced), (1, usize::from(reason == CloseReason::Killed)));
        assert_eq!(callbacks.closed().await.0, reason);
    }
    // The closure of the second round is still there: its thread must not outlive the test.
    open.send(()).unwrap();
}
