//! [`Shutdown`]: one shutdown for all servers of a process.
//!
//! ```text
//! first signal, or the end of a pool ─▶ drain all pools at the same time ─▶ then ─▶ report
//! second signal, in every phase ─▶ end all pools at once, skip the rest of `then` ─▶ report
//! ```

mod pools;
mod signals;

use std::fmt;
use std::future::IntoFuture;
use std::io;
use std::time::Duration;

use futures::future::{join_all, select_all, LocalBoxFuture};
use futures::FutureExt;

use crate::pool::{Drain, DrainReport, Pool};
use crate::supervised::SupervisedPool;

use signals::Signals;

/// One shutdown for a whole process: several pools, and other servers beside them, such as one of actix-web.
///
/// 1. It waits for the first SIGTERM or SIGINT (on systems other than Unix, Ctrl-C), or for the future of
///    [`when`](Shutdown::when). If a pool ends by itself, the shutdown also begins.
/// 2. All pools are drained at the same time, each as its [`Drain`] says.
/// 3. The functions of [`then`](Shutdown::then) run, one after the other.
///
/// A second signal takes effect at once, in every phase: pools that are still draining end without a grace period, and the
/// remaining `then` functions are skipped. The future of a function that is running is dropped.
///
/// Once the shutdown is over, the signals end the process again: see [`Pool::drain_on_signal`].
///
/// # With actix-web
/// The server of actix-web must not handle the signals itself ([`disable_signals`]), or it ends the actix system, and with it the
/// pool, while connections are drained. During the drain, the web server still answers, for example a readiness probe.
///
/// ```ignore
/// let server = HttpServer::new(app).disable_signals().bind("127.0.0.1:7879")?.run();
/// let web = server.handle();
/// actix_web::rt::spawn(server);
/// Shutdown::on_signals().drain(&pool, Drain::grace(Duration::from_secs(30))).then(move || web.stop(true)).await?;
/// ```
///
/// The example `with_actix_web` is a whole program.
///
/// [`disable_signals`]: https://docs.rs/actix-web/latest/actix_web/struct.HttpServer.html#method.disable_signals
///
/// # Example
/// ```
/// use actix_acceptor::{AcceptorPool, Drain, Shutdown, Socket};
/// use std::time::Duration;
///
/// # actix_rt::System::new().block_on(async {
/// let serve = |_: Socket| async {};
/// let (public, inside) =
///     (AcceptorPool::with_fn(serve).bind("127.0.0.1:0").await?, AcceptorPool::with_fn(serve).bind("127.0.0.1:0").await?);
/// let (shut_down, requested) = tokio::sync::oneshot::channel::<()>();
/// let shutdown = Shutdown::when(requested)
///     .drain(&public, Drain::grace(Duration::from_secs(30)).delay(Duration::from_millis(10)))
///     .drain(&inside, Drain::immediate())
///     .then(|| async { println!("all connections have ended") });
/// shut_down.send(()).expect("the receiver exists");
/// let report = shutdown.await?;
/// assert_eq!((report.pools.len(), report.was_cut_short), (2, false));
/// # Ok::<_, Box<dyn std::error::Error>>(()) }).expect("it works");
/// ```
#[must_use = "a shutdown does nothing until it is awaited"]
pub struct Shutdown {
    trigger: Begin,
    pools: Vec<(Box<dyn Target>, Drain)>,
    then: Vec<Then>,
}

enum Begin {
    /// Listened for since the shutdown was made, or the error of the system.
    Signals(io::Result<Signals>),
    When(When),
}

type Then = Box<dyn FnOnce() -> LocalBoxFuture<'static, ()>>;

/// How a [`Shutdown`] went.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// The reports of the pools, in the order of the calls of [`Shutdown::drain`].
    pub pools: Vec<DrainReport>,
    /// Whether a second signal has cut the shutdown short.
    pub was_cut_short: bool,
}

impl Shutdown {
    /// A shutdown that begins with SIGTERM or SIGINT; on systems other than Unix, with Ctrl-C.
    ///
    /// From this call until the shutdown is over or dropped, the signals do not end the process. If one arrives before the shutdown
    /// is awaited, the shutdown begins as soon as it is. Must be called in a tokio runtime, such as that of `#[actix::main]`;
    /// otherwise, awaiting it returns an error.
    pub fn on_signals() -> Self {
        Self::new(Begin::Signals(Signals::listen()))
    }

    fn new(trigger: Begin) -> Self {
        Shutdown { trigger, pools: Vec::new(), then: Vec::new() }
    }

    /// A shutdown that begins when a future completes. It does not handle signals, so a signal does not cut it short.
    pub fn when(future: impl Future + 'static) -> Self {
        Self::new(Begin::When(When(Some(future.map(drop).boxed_local()))))
    }

    /// Adds a pool to be drained, a [`Pool`] or a [`SupervisedPool`]. The drains of all pools begin at the same moment.
    ///
    /// If the pool ends by itself, or by another call, the shutdown begins: [`Pool::stopped`] returns the reason.
    pub fn drain(mut self, pool: &impl Drainable, drain: Drain) -> Self {
        self.pools.push((Box::new(pool.clone()), drain));
        self
    }

    /// Adds a function that runs once all pools have ended. May be called repeatedly: the functions run in the order in which they
    /// were added, each when the future of the previous one has completed. The outputs of the futures are dropped.
    pub fn then<F: Future + 'static>(mut self, then: impl FnOnce() -> F + 'static) -> Self {
        self.then.push(Box::new(|| then().map(drop).boxed_local()));
        self
    }

    async fn run(self) -> io::Result<ShutdownReport> {
        let Shutdown { trigger, pools, then } = self;
        let ended = async {
            match pools.is_empty() {
                true => std::future::pending().await,
                false => drop(select_all(pools.iter().map(|(pool, _)| pool.ended())).await),
            }
        };
        let steps = Steps {
            ended,
            drain: join_all(pools.iter().map(|(pool, drain)| pool.drain(*drain))),
            at_once: join_all(pools.iter().map(|(pool, _)| pool.drain(Drain::grace(Duration::ZERO)))),
            then: async {
                for then in then {
                    then().await;
                }
            },
        };
        let (pools, was_cut_short) = match trigger {
            Begin::Signals(signals) => run(signals?, steps).await,
            Begin::When(when) => run(when, steps).await,
        };
        Ok(ShutdownReport { pools, was_cut_short })
    }
}

/// # Errors
/// The system's error when a signal handler cannot be installed. The pools keep running.
impl IntoFuture for Shutdown {
    type Output = io::Result<ShutdownReport>;
    type IntoFuture = LocalBoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        self.run().boxed_local()
    }
}

impl fmt::Debug for Shutdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shutdown")
            .field("pools", &self.pools.len())
            .field("then", &self.then.len())
            .finish_non_exhaustive()
    }
}

/// The parts of a shutdown. Each future is polled only when its turn comes.
struct Steps<Ended, Drains, AtOnce, Then> {
    /// Resolves when a pool has ended by itself.
    ended: Ended,
    drain: Drains,
    at_once: AtOnce,
    then: Then,
}

/// What begins a shutdown, and cuts it short.
trait Trigger {
    /// Waits for the next signal.
    fn next(&mut self) -> impl Future<Output = ()>;
}

impl Trigger for Signals {
    fn next(&mut self) -> impl Future<Output = ()> {
        self.receive()
    }
}

/// A future, which completes once.
struct When(Option<LocalBoxFuture<'static, ()>>);

impl Trigger for When {
    async fn next(&mut self) {
        match self.0.take() {
            Some(future) => future.await,
            None => std::future::pending().await,
        }
    }
}

/// Runs a shutdown. Returns whether the second signal has cut it short.
async fn run<R>(
    mut trigger: impl Trigger,
    steps: Steps<impl Future<Output = ()>, impl Future<Output = R>, impl Future<Output = R>, impl Future<Output = ()>>,
) -> (R, bool) {
    tokio::select! {
        () = trigger.next() => {}
        () = steps.ended => {}
    }
    let report = tokio::select! {
        report = steps.drain => report,
        () = trigger.next() => return (steps.at_once.await, true),
    };
    tokio::select! {
        () = steps.then => (report, false),
        () = trigger.next() => (report, true),
    }
}

/// What [`Shutdown::drain`] drains: implemented by [`Pool`] and [`SupervisedPool`], and by no other types.
#[allow(private_bounds)]
pub trait Drainable: Target + Clone + 'static {}

impl<A: 'static> Drainable for Pool<A> {}
impl<A: 'static> Drainable for SupervisedPool<A> {}

trait Target {
    fn ended(&self) -> LocalBoxFuture<'_, ()>;
    fn drain(&self, drain: Drain) -> LocalBoxFuture<'_, DrainReport>;
}

impl<A: 'static> Target for Pool<A> {
    fn ended(&self) -> LocalBoxFuture<'_, ()> {
        self.stopped().map(drop).boxed_local()
    }

    fn drain(&self, drain: Drain) -> LocalBoxFuture<'_, DrainReport> {
        Pool::drain(self, drain).boxed_local()
    }
}

impl<A: 'static> Target for SupervisedPool<A> {
    fn ended(&self) -> LocalBoxFuture<'_, ()> {
        self.stopped().map(drop).boxed_local()
    }

    fn drain(&self, drain: Drain) -> LocalBoxFuture<'_, DrainReport> {
        SupervisedPool::drain(self, drain).boxed_local()
    }
}
