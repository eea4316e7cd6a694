//! [`DashboardPool`], a pool with the closures that some actions need.

use std::fmt;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Arc;
use std::time::Duration;

use actix_acceptor::messages::EncodeOnce;
use actix_acceptor::{BoxError, Connection, ConnectionId, Pool, PoolHandle, Protocol};
use bytes::Bytes;

/// A pool for a [`Dashboard`](crate::Dashboard), with the closures that some actions need.
///
/// A reference to a [`Pool`] converts into one without closures: it can neither send text nor reload certificates.
#[derive(Clone)]
pub struct DashboardPool {
    pub(crate) pool: PoolHandle,
    pub(crate) texts: Option<Arc<dyn SendText>>,
    pub(crate) certificates: Option<Arc<ReloadCertificates>>,
}

pub(crate) type ReloadCertificates = dyn Fn() -> Result<(), BoxError> + Send + Sync;

/// To which connections a text is sent.
pub(crate) enum To<'a> {
    Connection(ConnectionId),
    Topic(&'a str),
    All,
}

/// How a text was delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Sent {
    pub(crate) delivered: usize,
    pub(crate) full: usize,
}

/// The way from a text to the replies of a pool.
pub(crate) trait SendText: Send + Sync {
    fn send(&self, text: String, to: To<'_>) -> Result<Sent, String>;
    fn close(&self, id: ConnectionId, last_text: String, grace: Duration) -> Result<bool, String>;
}

struct Replies<P: Protocol, F> {
    pool: Pool<Connection<P>>,
    reply: F,
}

struct RawBytes<F> {
    pool: PoolHandle,
    bytes: F,
}

impl DashboardPool {
    fn new<A>(pool: &Pool<A>) -> Self {
        DashboardPool { pool: pool.untyped(), texts: None, certificates: None }
    }

    /// A pool to whose connections a viewer can send text, which `reply` converts into a reply. It reaches the connections that
    /// have the protocol of the pool's handle.
    ///
    /// If the closure, the codec or a clone of the reply panics, the action fails.
    pub fn with_text<P: Protocol>(
        pool: &Pool<Connection<P>>,
        reply: impl Fn(String) -> P::Reply + Send + Sync + 'static,
    ) -> Self
    where
        P::Codec: EncodeOnce,
        P::Reply: Clone,
    {
        let texts: Arc<dyn SendText> = Arc::new(Replies { pool: pool.clone(), reply });
        DashboardPool { texts: Some(texts), ..Self::new(pool) }
    }

    /// A pool with any handler, to whose connections a viewer can send text as bytes, without a codec. `bytes` adds what the
    /// protocol needs, such as a line feed.
    ///
    /// ```
    /// # use actix_acceptor::{AcceptorPool, Socket};
    /// # use actix_acceptor_dashboard::{Dashboard, DashboardPool};
    /// # actix_rt::System::new().block_on(async {
    /// # let pool = AcceptorPool::with_fn(|_: Socket| async {}).bind("127.0.0.1:0").await?;
    /// let dashboard = Dashboard::new(DashboardPool::with_bytes(&pool, |text| (text + "\n").into()));
    /// # pool.stop(None).await;
    /// # Ok::<_, actix_acceptor::StartError>(()) }).expect("it works");
    /// ```
    pub fn with_bytes<A>(pool: &Pool<A>, bytes: impl Fn(String) -> Bytes + Send + Sync + 'static) -> Self {
        let texts: Arc<dyn SendText> = Arc::new(RawBytes { pool: pool.untyped(), bytes });
        DashboardPool { texts: Some(texts), ..Self::new(pool) }
    }

    /// Lets a viewer reload the certificates, for example with `Tls::reload`. The closure runs on a thread for blocking calls, so
    /// it may read files. If it fails, the viewer sees the error with its sources.
    ///
    /// ```
    /// # use actix_acceptor::{AcceptorPool, BoxError, Socket};
    /// # use actix_acceptor_dashboard::{Dashboard, DashboardPool};
    /// # actix_rt::System::new().block_on(async {
    /// # let pool = AcceptorPool::with_fn(|_: Socket| async {}).bind("127.0.0.1:0").await?;
    /// # struct Tls;
    /// # impl Tls { fn reload(&self) -> Result<(), BoxError> { Ok(()) } }
    /// # let tls = Tls;
    /// let dashboard = Dashboard::new(DashboardPool::from(&pool).on_reload_certificates(move || Ok(tls.reload()?)));
    /// # pool.stop(None).await;
    /// # Ok::<_, actix_acceptor::StartError>(()) }).expect("it works");
    /// ```
    pub fn on_reload_certificates(mut self, reload: impl Fn() -> Result<(), BoxError> + Send + Sync + 'static) -> Self {
        self.certificates = Some(Arc::new(reload));
        self
    }
}

impl<A> From<&Pool<A>> for DashboardPool {
    fn from(pool: &Pool<A>) -> Self {
        DashboardPool::new(pool)
    }
}

impl fmt::Debug for DashboardPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DashboardPool").field("pool", &self.pool).finish_non_exhaustive()
    }
}

/// Calls code of the program.
pub(crate) fn guarded<T>(f: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(f)).map_err(|panic| {
        let text = panic.downcast_ref::<&str>().copied().map(str::to_owned);
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        // The value's own drop may panic, too.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(panic)));
        format!("the program panicked: {text}")
    })
}

impl<P, F> SendText for Replies<P, F>
where
    P: Protocol,
    P::Codec: EncodeOnce,
    P::Reply: Clone,
    F: Fn(String) -> P::Reply + Send + Sync,
{
    fn send(&self, text: String, to: To<'_>) -> Result<Sent, String> {
        guarded(|| {
            let reply = (self.reply)(text);
            let report = match to {
                To::Connection(id) => self.pool.send_to([id], reply),
                To::All => self.pool.broadcast(reply),
                To::Topic(name) => {
                    let published = self.pool.topic(name).publish(reply);
                    return match published.error {
                        Some(error) => Err(error.to_string()),
                        None => Ok(Sent { delivered: published.members, full: published.dropped }),
                    };
                }
            };
            let report = report.map_err(|error| error.to_string())?;
            Ok(Sent { delivered: report.delivered, full: report.full.len() })
        })?
    }

    fn close(&self, id: ConnectionId, last_text: String, grace: Duration) -> Result<bool, String> {
        guarded(|| self.pool.close(id, Some((self.reply)(last_text)), grace))
    }
}

impl<F: Fn(String) -> Bytes + Send + Sync> SendText for RawBytes<F> {
    fn send(&self, text: String, to: To<'_>) -> Result<Sent, String> {
        let bytes = guarded(|| (self.bytes)(text))?;
        let report = match to {
            To::Connection(id) => self.pool.send_to([id], bytes),
            To::All => self.pool.broadcast(bytes),
            To::Topic(name) => {
                let published = self.pool.topic(name).publish(bytes);
                return Ok(Sent { delivered: published.members, full: published.dropped });
            }
        };
        Ok(Sent { delivered: report.delivered, full: report.full.len() })
    }

    fn close(&self, id: ConnectionId, last_text: String, grace: Duration) -> Result<bool, String> {
        let bytes = guarded(|| (self.bytes)(last_text))?;
        Ok(self.pool.close(id, Some(bytes), grace))
    }
}
