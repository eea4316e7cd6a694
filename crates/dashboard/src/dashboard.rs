//! [`Dashboard`], the service.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use actix_web::dev::{AppService, HttpServiceFactory};
use actix_web::middleware::from_fn;
use actix_web::web::{scope, Data, PayloadConfig};
use tracing::warn;

use crate::access::{guard, MAX_BODY};
use crate::client::Proxies;
use crate::pools::DashboardPool;
use crate::routes;
use crate::sampler::Sampler;
use crate::shared::Shared;

/// The shortest token.
const MIN_TOKEN: usize = 16;

/// A web page that shows and operates pools: a service for an actix-web application. See the [crate](crate) for an example.
///
/// Create it once and clone it into the applications: all clones share their state. Call the methods that change it before it is
/// cloned.
///
/// ```
/// # use actix_acceptor::{AcceptorPool, Socket};
/// # use actix_acceptor_dashboard::Dashboard;
/// # use actix_web::{App, HttpServer};
/// # actix_rt::System::new().block_on(async {
/// # let chat = AcceptorPool::with_fn(|_: Socket| async {}).name("chat").bind("127.0.0.1:0").await?;
/// # let feed = AcceptorPool::with_fn(|_: Socket| async {}).name("feed").bind("127.0.0.1:0").await?;
/// # let token = "0123456789abcdef";
/// let dashboard = Dashboard::new(&chat).pool(&feed).token(token).path("/ops").read_only(true);
/// // The closure runs once for each worker.
/// let server = HttpServer::new(move || App::new().service(dashboard.clone()));
/// # drop(server);
/// # chat.stop(None).await;
/// # feed.stop(None).await;
/// # Ok::<_, actix_acceptor::StartError>(()) }).expect("it works");
/// ```
///
/// In a test, or with one application:
///
/// ```
/// # use actix_acceptor::{AcceptorPool, Socket};
/// # use actix_acceptor_dashboard::Dashboard;
/// # use actix_web::{test, App};
/// # actix_rt::System::new().block_on(async {
/// # let pool = AcceptorPool::with_fn(|_: Socket| async {}).name("chat").bind("127.0.0.1:0").await?;
/// let app = test::init_service(App::new().service(Dashboard::new(&pool).token("0123456789abcdef"))).await;
/// let request = test::TestRequest::get().uri("/dashboard/api/pools");
/// let response = test::call_service(&app, request.to_request()).await;
/// assert_eq!(response.status(), 401);
/// # pool.stop(None).await;
/// # Ok::<_, actix_acceptor::StartError>(()) }).expect("it works");
/// ```
#[derive(Clone)]
pub struct Dashboard {
    inner: Arc<Inner>,
    path: String,
}

struct Inner {
    shared: Arc<Shared>,
    /// Started by the first use.
    sampler: OnceLock<Sampler>,
    has_warned: AtomicBool,
}

impl Dashboard {
    /// A dashboard for a pool with any handler, at the path `/dashboard`. Pass a reference to a pool, or a [`DashboardPool`] with
    /// the closures that some actions need.
    ///
    /// Events are recorded from when the pool is added, and history from when the dashboard is first used. The dashboard does not
    /// keep the pool running.
    ///
    /// # Panics
    /// If the system provides no random numbers.
    #[must_use]
    pub fn new(pool: impl Into<DashboardPool>) -> Self {
        let mut shared = Shared::new();
        shared.add(pool.into());
        Dashboard { inner: Inner::new(shared), path: "/dashboard".to_owned() }
    }

    /// Adds a pool. Its id is the number of pools that were added before it.
    ///
    /// # Panics
    /// If the dashboard has been cloned or used before.
    #[must_use]
    pub fn pool(self, pool: impl Into<DashboardPool>) -> Self {
        self.change(|shared| shared.add(pool.into()))
    }

    /// Requires this token for every request, and serves requests from any address. Default: no token, so that only requests from
    /// this machine are served.
    ///
    /// Use a random token, such as the output of `openssl rand -hex 32`, and keep it out of the source code.
    ///
    /// # Panics
    /// If the token is shorter than 16 characters, or contains characters other than visible ASCII. If the dashboard has been
    /// cloned or used before.
    #[must_use]
    pub fn token(self, token: impl AsRef<str>) -> Self {
        let token = token.as_ref();
        let length = token.len();
        assert!(length >= MIN_TOKEN, "Dashboard::token: must have at least {MIN_TOKEN} characters (got {length})");
        assert!(
            token.bytes().all(|byte| byte.is_ascii_graphic()),
            "Dashboard::token: must consist of visible ASCII characters without spaces"
        );
        self.change(|shared| shared.keys = shared.keys.with_token(token))
    }

    /// Trusts the `X-Forwarded-For` of these reverse proxies: IP addresses, CIDR blocks, and `unix` for the peers of Unix sockets.
    /// Default: none.
    ///
    /// Wrong tokens are limited per address. Without this setting, all clients of a proxy have its address, so wrong tokens of one
    /// client can lock out the others. The proxies have to append the address of their client to the header, or to replace the
    /// header (nginx: `proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for`); if a proxy forwards the header unchanged, its
    /// clients choose their address, and so escape the limit.
    ///
    /// ```
    /// # use actix_acceptor::{AcceptorPool, Socket};
    /// # use actix_acceptor_dashboard::Dashboard;
    /// # actix_rt::System::new().block_on(async {
    /// # let pool = AcceptorPool::with_fn(|_: Socket| async {}).bind("127.0.0.1:0").await?;
    /// # let token = "0123456789abcdef";
    /// let dashboard = Dashboard::new(&pool).token(token).trusted_proxies(["127.0.0.1", "10.0.0.0/8"]);
    /// # pool.stop(None).await;
    /// # Ok::<_, actix_acceptor::StartError>(()) }).expect("it works");
    /// ```
    ///
    /// # Panics
    /// If a text is neither an IP address nor a CIDR block nor `unix`. If the dashboard has been cloned or used before.
    #[must_use]
    pub fn trusted_proxies<S: AsRef<str>>(self, proxies: impl IntoIterator<Item = S>) -> Self {
        let proxies = Proxies::parse(proxies).unwrap_or_else(|error| {
            panic!("Dashboard::trusted_proxies: must be IP addresses, CIDR blocks or \"unix\" (got {error})")
        });
        self.change(|shared| shared.proxies = proxies)
    }

    /// Refuses all actions. Default: false.
    ///
    /// # Panics
    /// If the dashboard has been cloned or used before.
    #[must_use]
    pub fn read_only(self, read_only: bool) -> Self {
        self.change(|shared| shared.read_only = read_only)
    }

    /// The path of the page. A trailing slash has no effect. Default: `/dashboard`.
    ///
    /// # Panics
    /// If it does not begin with a slash, or contains a brace, which actix-web would treat as a pattern.
    #[must_use]
    pub fn path(mut self, path: impl Into<String>) -> Self {
        let path = path.into();
        assert!(path.starts_with('/'), "Dashboard::path: must begin with a slash (got {path:?})");
        assert!(!path.contains(['{', '}']), "Dashboard::path: must not contain braces (got {path:?})");
        self.path = path.trim_end_matches('/').to_owned();
        self
    }

    /// Ends the updates of all viewers. Call it before stopping the web server gracefully, which waits for responses in progress.
    /// The page reconnects after a few seconds if it can.
    pub fn disconnect(&self) {
        self.inner.shared.viewers.disconnect();
    }

    fn change(self, change: impl FnOnce(&mut Shared)) -> Self {
        let Dashboard { inner, path } = self;
        let sole = Arc::into_inner(inner).filter(|inner| inner.sampler.get().is_none());
        let shared = sole.and_then(|inner| Arc::into_inner(inner.shared));
        let mut shared = shared.expect("a dashboard must be configured before it is cloned or used");
        change(&mut shared);
        Dashboard { inner: Inner::new(shared), path }
    }
}

impl Inner {
    fn new(shared: Shared) -> Arc<Self> {
        Arc::new(Inner { shared: Arc::new(shared), sampler: OnceLock::new(), has_warned: AtomicBool::new(false) })
    }
}

impl HttpServiceFactory for Dashboard {
    fn register(self, config: &mut AppService) {
        let Inner { shared, sampler, has_warned } = &*self.inner;
        let ip = config.config().local_addr().ip().to_canonical();
        if !shared.keys.requires_token() && !ip.is_loopback() && !has_warned.swap(true, Relaxed) {
            warn!(address = %config.config().local_addr(), "dashboard without a token on an address that others reach: \
                only requests from this machine are served; set `Dashboard::token`");
        }
        sampler.get_or_init(|| Sampler::start(shared));
        let data = Data::from(shared.clone());
        let of_guard = data.clone();
        // The dashboard, and with it the sampler, exists as long as the application.
        let keeps = self.clone();
        scope(&self.path)
            .app_data(data)
            .app_data(Data::new(keeps))
            .app_data(PayloadConfig::new(MAX_BODY))
            .wrap(from_fn(move |request, next| guard(of_guard.clone(), request, next)))
            .configure(|config| routes::add(config, &self.path))
            .register(config);
    }
}

impl fmt::Debug for Dashboard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pools: Vec<_> = self.inner.shared.pools.iter().map(|watched| &watched.of).collect();
        f.debug_struct("Dashboard").field("path", &self.path).field("pools", &pools).finish_non_exhaustive()
    }
}
