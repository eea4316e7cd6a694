//! [`SystemdNotify`]: reports the state of pools to systemd.
//!
//! ```text
//! pools ── status changes ──▶ thread ──▶ READY, STATUS, RELOADING, STOPPING ──▶ NOTIFY_SOCKET
//! acceptors ◀── ping ── every WATCHDOG_USEC / 2 ──┘ └── all have answered ──▶ WATCHDOG ──▲
//! ```
//!
//! The thread has a runtime of its own, so that neither a blocked arbiter nor a full socket delays the other.

use std::fmt;
use std::future::pending;
use std::pin::pin;
use std::time::Duration;

use actix::Addr;
use futures::future::{join_all, select_all, BoxFuture};
use futures::FutureExt;
use sd_notify::NotifyState;
use tokio::sync::watch;
use tokio::time::{interval, timeout, MissedTickBehavior};
use tracing::warn;

use crate::acceptor::{Acceptor, Ping};
use crate::pool::{Pool, Status};
use crate::supervised::SupervisedPool;
use crate::telemetry::LogThrottle;

/// Reports the state of a process to systemd, for services with `Type=notify` or `Type=notify-reload`. Feature `sd-notify`.
///
/// A process has one state, so this value is made once, with all pools of the process, when all of them have started:
///
/// | message | when |
/// |---|---|
/// | `READY=1` | at the start, and after each [`reload`](SystemdNotify::reload) |
/// | `STATUS=...` | "listening on ..." for each pool, "suspended", "restarting" or "draining"; shown by `systemctl status` |
/// | `RELOADING=1` | when a [`reload`](SystemdNotify::reload) begins |
/// | `WATCHDOG=1` | with `WatchdogSec`: each time that half of it has passed, once every acceptor has answered a message |
/// | `STOPPING=1` | when the last of the pools begins to drain, or has ended |
///
/// With `WatchdogSec`, systemd ends a process one of whose arbiters is blocked for that time; with `Restart=on-failure`, it
/// starts it again. An acceptor that is down and about to be restarted does not count as blocked, and the arbiter on which the pool was
/// started is not checked. From `STOPPING=1` on, `TimeoutStopSec` is the limit. A process that ends at once may end before that
/// message is sent.
///
/// A pool that ends with an error counts as stopping. If it is restarted by [`AcceptorPool::supervised`], pass the
/// [`SupervisedPool`], which counts as stopping when its supervision ends.
///
/// Without the environment variable `NOTIFY_SOCKET`, which systemd sets, all of this has no effect. The environment is not changed.
/// Messages are sent by a thread, which ends when all pools have ended. If a message cannot be sent, a warning is logged.
/// Sockets in the abstract namespace are not supported.
///
/// [`AcceptorPool::supervised`]: crate::AcceptorPool::supervised
///
/// ```no_run
/// use actix_acceptor::{AcceptorPool, Drain, Socket, SystemdNotify};
///
/// #[actix::main]
/// async fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let pool = AcceptorPool::with_fn(|_: Socket| async {}).bind("127.0.0.1:7878").await?;
///     SystemdNotify::start(&[&pool]);
///     pool.drain_on_signal(Drain::configured()).await?;
///     Ok(pool.stopped().await?)
/// }
/// ```
#[derive(Clone)]
pub struct SystemdNotify {
    /// `None` if the process was not started by systemd.
    reloads: Option<watch::Sender<Reloads>>,
}

impl SystemdNotify {
    /// Reports `READY=1`, and from now on what the pools do: each a [`Pool`] or a [`SupervisedPool`]. Returns at once. Dropping
    /// the value has no effect.
    pub fn start(pools: &[&dyn SystemdPool]) -> Self {
        if std::env::var_os("NOTIFY_SOCKET").is_none() {
            return SystemdNotify { reloads: None };
        }
        let reloads = watch::Sender::new(Reloads::default());
        let pools = pools.iter().map(|pool| pool.boxed()).collect();
        let report = Report { pools, reloads: reloads.clone() };
        let thread = std::thread::Builder::new().name("systemd-notify".to_owned()).spawn(move || report.run());
        match thread {
            Ok(_) => SystemdNotify { reloads: Some(reloads) },
            Err(error) => {
                warn!(%error, "cannot start the thread that notifies systemd");
                SystemdNotify { reloads: None }
            }
        }
    }

    /// Awaits a future that reloads the configuration, and returns its result. Reports `RELOADING=1` before, and `READY=1`
    /// afterwards, even if the reload has failed: the process runs with its former configuration.
    ///
    /// ```
    /// # use actix_acceptor::{AcceptorPool, PoolConfig, Socket, SystemdNotify};
    /// # actix_rt::System::new().block_on(async {
    /// # let pool = AcceptorPool::with_fn(|_: Socket| async {}).bind("127.0.0.1:0").await?;
    /// let systemd = SystemdNotify::start(&[&pool]);
    /// let config = PoolConfig::default();
    /// let reloaded = systemd.reload(pool.reload(&config)).await?;
    /// assert!(reloaded.is_empty());
    /// # pool.stop(None).await;
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).expect("it works");
    /// ```
    pub async fn reload<T>(&self, reload: impl Future<Output = T>) -> T {
        let _reloading = self.reloads.clone().map(Reloading::begin);
        reload.await
    }
}

impl fmt::Debug for SystemdNotify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SystemdNotify").field("is_active", &self.reloads.is_some()).finish()
    }
}

/// The reloads so far. Counted, so that one that is over before the thread looks is reported as well.
#[derive(Clone, Copy, Default)]
struct Reloads {
    begun: u64,
    ended: u64,
}

/// A reload in progress.
struct Reloading(watch::Sender<Reloads>);

impl Reloading {
    fn begin(reloads: watch::Sender<Reloads>) -> Self {
        reloads.send_modify(|reloads| reloads.begun += 1);
        Reloading(reloads)
    }
}

impl Drop for Reloading {
    fn drop(&mut self) {
        self.0.send_modify(|reloads| reloads.ended += 1);
    }
}

/// What the thread reports.
struct Report {
    pools: Vec<Box<dyn Follow>>,
    reloads: watch::Sender<Reloads>,
}

impl Report {
    fn run(self) {
        match tokio::runtime::Builder::new_current_thread().enable_time().build() {
            Ok(runtime) => runtime.block_on(self.follow()),
            Err(error) => warn!(%error, "cannot start the runtime that notifies systemd"),
        }
    }

    /// Reports until all pools have ended. The watchdog of systemd stops at `STOPPING`.
    async fn follow(self) {
        let socket = Notifier(LogThrottle::new());
        tokio::select! {
            biased; // `READY` is the first message.
            () = self.report_states(&socket) => {}
            () = self.report_alive(&socket) => {}
        }
    }

    async fn report_states(&self, socket: &Notifier) {
        let (mut reloads, mut begun, mut ready, mut shown) = (self.reloads.subscribe(), 0, None, String::new());
        let mut is_stopping = false;
        loop {
            // Subscribed before the states are read, so that no change is missed.
            let changes: Vec<_> = self.pools.iter().map(|pool| pool.changed()).collect();
            let states: Vec<_> = self.pools.iter().map(|pool| pool.state()).collect();
            let all = |is: fn(&State) -> bool| !states.is_empty() && states.iter().all(is);
            let text = states.iter().map(|state| &*state.text).collect::<Vec<_>>().join("; ");
            let status = NotifyState::Status(&text);
            let counts = *reloads.borrow_and_update();
            if all(|state| state.is_stopping) {
                if !is_stopping {
                    is_stopping = true;
                    socket.notify(&[NotifyState::Stopping, status]);
                }
            } else {
                if counts.begun != begun {
                    begun = counts.begun;
                    socket.notify_reloading();
                }
                if counts.ended == counts.begun && ready != Some(counts.ended) {
                    ready = Some(counts.ended);
                    socket.notify(&[NotifyState::Ready, status]);
                } else if text != shown {
                    socket.notify(&[status]);
                }
            }
            shown = text;
            if all(|state| state.has_ended) {
                return;
            }
            tokio::select! {
                _ = reloads.changed() => {}
                () = first_of(changes) => {}
            }
        }
    }

    /// Reports that every arbiter answers, each time that the period has passed. One answer that is late is waited for, so what
    /// counts is the time between two messages.
    async fn report_alive(&self, socket: &Notifier) {
        let Some(limit) = sd_notify::watchdog_enabled() else { return pending().await };
        let period = (limit / 2).clamp(Duration::from_millis(1), Duration::from_secs(24 * 60 * 60));
        let mut due = interval(period);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            due.tick().await;
            let acceptors = self.pools.iter().flat_map(|pool| pool.acceptors());
            // An error means that the acceptor has ended.
            let mut answers = pin!(join_all(acceptors.map(|acceptor| acceptor.send(Ping))));
            while timeout(period, &mut answers).await.is_err() {
                socket.0.log(|left_out| {
                    warn!(?period, left_out, "an acceptor does not answer; systemd is not notified until it does");
                });
            }
            socket.notify(&[NotifyState::Watchdog]);
        }
    }
}

/// Resolves with the first of the futures.
async fn first_of(futures: Vec<BoxFuture<'_, ()>>) {
    match futures.is_empty() {
        true => pending().await,
        false => drop(select_all(futures).await),
    }
}

/// The socket of systemd. Its messages may block the thread while the queue of the socket is full.
struct Notifier(LogThrottle);

impl Notifier {
    fn notify(&self, states: &[NotifyState<'_>]) {
        if let Err(error) = sd_notify::notify(states) {
            self.0.log(|left_out| warn!(%error, left_out, "cannot notify systemd at NOTIFY_SOCKET"));
        }
    }

    /// systemd compares the time with that of its request to reload.
    fn notify_reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.notify(&[NotifyState::Reloading, now]),
            Err(error) => warn!(%error, "cannot read the clock to notify systemd of a reload"),
        }
    }
}

/// What [`SystemdNotify`] reports: implemented by [`Pool`] and [`SupervisedPool`], and by no other types.
#[allow(private_bounds)]
pub trait SystemdPool: Follow {}

impl<A: 'static> SystemdPool for Pool<A> {}
impl<A: 'static> SystemdPool for SupervisedPool<A> {}

trait Follow: Send + Sync {
    fn boxed(&self) -> Box<dyn Follow>;
    /// Resolves when the state has changed since this call.
    fn changed(&self) -> BoxFuture<'_, ()>;
    fn state(&self) -> State;
    fn acceptors(&self) -> Vec<Addr<Acceptor>>;
}

struct State {
    text: String,
    is_stopping: bool,
    has_ended: bool,
}

impl State {
    /// A message is a list of lines, and the path of a Unix socket may contain any character.
    fn new(text: &str, is_stopping: bool, has_ended: bool) -> Self {
        State { text: text.replace(char::is_control, "?"), is_stopping, has_ended }
    }
}

impl<A: 'static> Follow for Pool<A> {
    fn boxed(&self) -> Box<dyn Follow> {
        Box::new(self.clone())
    }

    fn changed(&self) -> BoxFuture<'_, ()> {
        let mut status = self.status_changes();
        async move { drop(status.changed().await) }.boxed()
    }

    fn state(&self) -> State {
        match self.status() {
            Status::Running => {
                let addresses: Vec<_> = self.local_addrs().iter().map(ToString::to_string).collect();
                State::new(&format!("listening on {}", addresses.join(", ")), false, false)
            }
            Status::Suspended(_) => State::new("suspended", false, false),
            Status::Draining => State::new("draining", true, false),
            Status::Ended => State::new("ended", true, true),
        }
    }

    fn acceptors(&self) -> Vec<Addr<Acceptor>> {
        Pool::acceptors(self)
    }
}

impl<A: 'static> Follow for SupervisedPool<A> {
    fn boxed(&self) -> Box<dyn Follow> {
        Box::new(self.clone())
    }

    fn changed(&self) -> BoxFuture<'_, ()> {
        let supervision = self.changes();
        let pool = self.pool().map(|pool| pool.status_changes());
        async move {
            tokio::select! {
                () = supervision => {}
                () = async {
                    match pool {
                        Some(mut status) => drop(status.changed().await),
                        None => pending().await,
                    }
                } => {}
            }
        }
        .boxed()
    }

    fn state(&self) -> State {
        let (has_ended, is_stopping) = (self.has_ended(), self.is_stopping());
        match self.pool() {
            _ if has_ended => State::new("ended", true, true),
            _ if is_stopping => State::new("draining", true, false),
            // It is replaced if it has failed.
            Some(pool) if pool.status() != Status::Ended => {
                State { is_stopping: false, has_ended: false, ..pool.state() }
            }
            _ => State::new("restarting", false, false),
        }
    }

    fn acceptors(&self) -> Vec<Addr<Acceptor>> {
        self.pool().map(|pool| pool.acceptors()).unwrap_or_default()
    }
}
