//! One cell: a connection is brought into a state with one timeout set, and watched.

use std::future::pending;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::prelude::*;
use actix_acceptor::limits::OverRate;
use actix_acceptor::telemetry::CloseReason;
use actix_acceptor::transport::{
    Address, FileRange, Handshake, HandshakeError, Handshaken, LocalBoxFuture, Memory, Stream,
};
use actix_acceptor::{
    handlers::ProtocolService, Active, Builder, Conn, Connection, ConnectionContext, Framing, Listener, Next, Pool,
    User, Wait,
};
use bytes::Bytes;
use support::*;
use tokio::io::{AsyncReadExt, DuplexStream};
use tokio::sync::Notify;
use tokio::time::Instant;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum State {
    Handshaking,
    InitWaiting,
    Ready,
    Waiting,
    ContextWaiting,
    Blocking,
    Passive,
    AboveMark,
    SendingFile,
    Upgrading,
    HalfClosed,
    /// The peer has sent more packets than its rate allows.
    Slowed,
    Closing,
    /// Closing, with everything sent and more input from the peer.
    Lingering,
}

impl State {
    pub(super) const ALL: [State; 14] = {
        use State::*;
        [
            Handshaking,
            InitWaiting,
            Ready,
            Waiting,
            ContextWaiting,
            Blocking,
            Passive,
            AboveMark,
            SendingFile,
            Upgrading,
            HalfClosed,
            Slowed,
            Closing,
            Lingering,
        ]
    };
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Limit {
    Handshake,
    Idle,
    /// `idle_timeout_once`, in the callback that begins the state.
    IdleOnce,
    /// With the start of a packet behind the one that begins the state.
    Packet,
    Send,
    MaxAge,
    Drain,
    Close,
    Within,
}

impl Limit {
    pub(super) const ALL: [Limit; 9] = {
        use Limit::*;
        [Handshake, Idle, IdleOnce, Packet, Send, MaxAge, Drain, Close, Within]
    };
}

#[derive(Debug)]
pub(super) enum Outcome {
    Lived,
    /// After so many milliseconds since the state began.
    Ended(CloseReason, u64),
    Answered(u64),
    Panicked(#[allow(dead_code)] String),
}

const LIMIT: Duration = Duration::from_secs(1);
/// How long a connection is slowed after its packet.
const SLOWED_FOR: Duration = Duration::from_secs(7_200);
/// How long a connection is watched that must go on.
const AN_HOUR: Duration = Duration::from_secs(3_600);
/// More than the transports hold.
pub(super) const LARGE: usize = 16 * 1024 * 1024;

/// A handshake of one byte of the peer's.
pub(super) struct OneByte;

impl Handshake for OneByte {
    fn handshake(
        &self,
        mut stream: Stream,
        _: &Address,
    ) -> LocalBoxFuture<'static, Result<Handshaken, HandshakeError>> {
        Box::pin(async move {
            stream.read_u8().await?;
            Ok(Handshaken::new(stream))
        })
    }
}

/// Makes the context wait.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct WaitInContext(pub(super) Arc<Notify>);

impl Handler<WaitInContext> for Connection<Probe> {
    type Result = ();

    fn handle(&mut self, wait: WaitInContext, ctx: &mut ConnectionContext<Probe>) {
        ctx.wait(async move { wait.0.notified().await }.into_actor(self));
    }
}

/// What ends the state, when the peer does not.
#[derive(Clone)]
pub(super) struct Release {
    pub(super) waits: Arc<Notify>,
    pub(super) blocked: Arc<Mutex<Option<Sender<()>>>>,
}

/// A pool whose connections enter a state with the packet `enter`, and its listener's handshake if that is the state.
pub(super) fn pool(
    state: State,
    limit: Option<Limit>,
    folder: &Folder,
) -> (Builder<ProtocolService<Probe>>, Callbacks, Release) {
    let (gate, open) = Gate::new();
    let release = Release { waits: Arc::new(Notify::new()), blocked: Arc::new(Mutex::new(Some(open))) };
    let waits = release.waits.clone();
    let path = folder.path("large");
    std::fs::File::create(&path).unwrap().set_len(LARGE as u64).unwrap();
    let (builder, callbacks) = Probe::pool(move |call, conn| {
        let begins = match state {
            State::Handshaking | State::InitWaiting => *call == Call::Init,
            State::HalfClosed => *call == Call::HalfClosed,
            _ => *call == Call::packet("enter"),
        };
        if begins && limit == Some(Limit::IdleOnce) {
            conn.idle_timeout_once(LIMIT);
        }
        match call {
            Call::User(bytes) if bytes == "active" => {
                conn.set_active(Active::Always);
                Next::Continue
            }
            _ if begins => match state {
                State::InitWaiting | State::Waiting => wait(&waits, limit, conn),
                State::Blocking => {
                    let gate = gate.clone();
                    conn.blocking(move || gate.pass(), |_, _, _| Next::Continue)
                }
                State::Passive => {
                    conn.set_active(Active::Passive);
                    Next::Continue
                }
                State::AboveMark => Next::Send(vec![0; LARGE].into()),
                State::SendingFile => Next::file(FileRange::open(&path).unwrap()),
                State::Upgrading => Next::upgrade(OneByte),
                State::Closing => Next::SendAndStop(vec![0; LARGE].into()),
                State::Lingering => Next::SendAndStop(Bytes::new()),
                State::Handshaking | State::Ready | State::ContextWaiting | State::HalfClosed | State::Slowed => {
                    Next::Continue
                }
            },
            Call::Packet(bytes) if bytes == "enter" => Next::Continue,
            Call::Packet(bytes) | Call::User(bytes) => Next::Send(bytes.clone()),
            Call::Timeout(_) => Next::Stop,
            _ => Next::Continue,
        }
    });
    let builder = builder.framing(Framing::lines()).half_close(state == State::HalfClosed).on_current_arbiter();
    let builder = builder.handshake_timeout(None).idle_timeout(None).packet_timeout(None).send_timeout(None);
    let builder = if state == State::Slowed { builder.packet_rate(1, SLOWED_FOR, OverRate::Slow) } else { builder };
    (builder, callbacks, release)
}

fn wait(release: &Arc<Notify>, limit: Option<Limit>, conn: &mut Conn<Probe>) -> Next<Probe> {
    if limit == Some(Limit::Within) {
        return conn.wait_with(Wait::new().within(LIMIT), pending::<()>(), |outcome, _, _| {
            Next::Send(Bytes::from(outcome.unwrap_err().to_string()))
        });
    }
    let released = release.clone();
    conn.wait(async move { released.notified().await }, |(), _, _| Next::Continue)
}

/// Walks one cell. A blocking closure holds a paused clock, so its state is walked in real time.
pub(super) fn walk(state: State, limit: Limit, answers: bool) -> Outcome {
    let outcome = Arc::new(Mutex::new(Outcome::Lived));
    let result = outcome.clone();
    let cell = async move { *result.lock().unwrap() = walk_cell(state, limit, answers).await };
    let walked = catch_unwind(AssertUnwindSafe(|| match state {
        State::Blocking => System::new().block_on(cell),
        _ => paused(cell),
    }));
    if let Err(panic) = walked {
        let text = panic.downcast_ref::<String>().cloned();
        return Outcome::Panicked(text.unwrap_or_else(|| "a panic".to_owned()));
    }
    std::mem::replace(&mut *outcome.lock().unwrap(), Outcome::Lived)
}

async fn walk_cell(state: State, limit: Limit, answers: bool) -> Outcome {
    let folder = Folder::create();
    let (builder, mut callbacks, release) = pool(state, Some(limit), &folder);
    let builder = match limit {
        Limit::Handshake => builder.handshake_timeout(LIMIT),
        Limit::Idle => builder.idle_timeout(LIMIT),
        Limit::Packet => builder.packet_timeout(LIMIT),
        Limit::Send => builder.send_timeout(LIMIT),
        Limit::MaxAge => builder.max_age(LIMIT),
        Limit::IdleOnce | Limit::Drain | Limit::Close | Limit::Within => builder,
    };
    let (memory, connector) = Memory::new("states");
    let listener = Listener::from_transport(memory);
    let listener = if state == State::Handshaking { listener.handshake(OneByte) } else { listener };
    let pool = builder.listener(listener).start().await.unwrap();
    let mut peer = Peer(connector.connect().await.unwrap());
    let partial = limit == Limit::Packet && has_partial(state);
    let began = enter(state, partial, &mut peer, &pool, &mut callbacks, &release).await;
    let id = pool.list()[0].id;
    match limit {
        Limit::Drain => drop(actix_rt::spawn({
            let pool = pool.clone();
            async move { pool.stop(LIMIT).await }
        })),
        Limit::Close => assert!(pool.close(id, None, LIMIT)),
        _ => {}
    }
    if answers {
        peer.expect(b"the wait took longer than its limit\n").await;
        let took = began.elapsed();
        peer.echo("behind\n").await;
        return Outcome::Answered(took.as_millis() as u64);
    }
    // In real time a few times the limit must do for an hour.
    let long = if state == State::Blocking { 2 * LIMIT } else { AN_HOUR };
    let ended = tokio::time::timeout(long, async {
        loop {
            if let (Call::Closed(reason, _), at) = callbacks.next_ever().await {
                return (reason, at);
            }
        }
    });
    match ended.await {
        Ok((reason, at)) => Outcome::Ended(reason, (at - began).as_millis() as u64),
        Err(_) => {
            go_on(state, partial, &mut peer, &pool, &release).await;
            Outcome::Lived
        }
    }
}

/// Whether the start of a packet may stand behind the one that begins the state.
fn has_partial(state: State) -> bool {
    // An upgrade rejects it, a handshake takes it, the end of input and a closing connection refuse it.
    !matches!(state, State::Handshaking | State::Upgrading | State::HalfClosed | State::Closing | State::Lingering)
}

/// Brings a connection into the state. Returns when that began.
pub(super) async fn enter<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(
    state: State,
    partial: bool,
    peer: &mut Peer<S>,
    pool: &Pool<Connection<Probe>>,
    callbacks: &mut Callbacks,
    release: &Release,
) -> Instant {
    // More than one read.
    let input = "x".repeat(40_000);
    let rest = match state {
        State::Lingering => &*input,
        _ if partial => "be",
        _ => "",
    };
    if matches!(state, State::Handshaking | State::InitWaiting) {
        let began = callbacks.until(&Call::Init).await;
        if partial {
            peer.send(rest).await;
        }
        return began;
    }
    peer.send(format!("enter\n{rest}")).await;
    let mut began = callbacks.until(&Call::packet("enter")).await;
    match state {
        State::ContextWaiting => {
            pool.addresses()[0].1.send(WaitInContext(release.waits.clone())).await.unwrap();
            began = Instant::now();
        }
        State::HalfClosed => {
            peer.finish().await;
            began = callbacks.until(&Call::HalfClosed).await;
        }
        _ => {}
    }
    began
}

/// Leaves the state, and checks that the connection works: what stands behind is answered.
async fn go_on(
    state: State,
    partial: bool,
    peer: &mut Peer<DuplexStream>,
    pool: &Pool<Connection<Probe>>,
    release: &Release,
) {
    match state {
        State::Handshaking | State::Upgrading => peer.send("x").await,
        State::InitWaiting | State::Waiting | State::ContextWaiting => release.waits.notify_one(),
        State::Blocking => drop(release.blocked.lock().unwrap().take()),
        State::Passive => pool.addresses()[0].1.do_send(User(Bytes::from_static(b"active"))),
        State::AboveMark => assert_eq!(peer.read_exact(LARGE + 1).await.len(), LARGE + 1),
        State::SendingFile => assert_eq!(peer.read_exact(LARGE).await.len(), LARGE),
        State::Closing => return assert_eq!(peer.read_to_end().await.len(), LARGE + 1),
        State::Slowed => elapse(SLOWED_FOR - AN_HOUR + ms(50)).await,
        State::HalfClosed => {
            pool.addresses()[0].1.do_send(User(Bytes::from_static(b"behind")));
            return peer.expect(b"behind\n").await;
        }
        State::Ready | State::Lingering => {}
    }
    peer.send(if partial { "hind\n" } else { "behind\n" }).await;
    peer.expect(b"behind\n").await;
}
