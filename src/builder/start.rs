//! The start of a pool: all settings are validated, then the listeners opened and the pool's actor started.

use std::sync::Arc;

use tokio::net::ToSocketAddrs;

use super::Builder;
use crate::acceptor::AcceptorContext;
use crate::config::SharedConfig;
use crate::error::{InvalidSetting, StartError};
use crate::handlers::{invalid_max_frame, Service};
use crate::limits::Limits;
use crate::limits::ReserveDescriptor;
use crate::listener::{open_first, open_listeners, resolve, BuilderServices, Listener};
use crate::listener::{SocketOptions, Transport};
use crate::pool::{AcceptorPool, Placement, Pool, PoolState};
use crate::registry::{OutboxLimit, Registries, RegistryShared};
use crate::telemetry::{Alarm, Observers};
use crate::time::is_clock_paused;
use crate::watchdog::Watchdog;

impl<S: Service> Builder<S> {
    /// Opens a TCP port and starts the pool.
    ///
    /// `address` is, for example, `"127.0.0.1:7878"`, `("localhost", 7878)` or a `SocketAddr`. If a name resolves to several
    /// addresses, the first that can be bound is used. With port 0 the system chooses one, which
    /// [`local_addr`](crate::Pool::local_addr) returns.
    ///
    /// Returns when the port is open and every acceptor is ready. Must be called inside an actix system.
    ///
    /// # Errors
    /// See [`StartError`]. Nothing is left running.
    pub async fn bind(mut self, address: impl ToSocketAddrs + std::fmt::Debug) -> Result<Pool<S::Actor>, StartError> {
        self.check()?;
        let requested = format!("{address:?}").trim_matches('"').to_owned();
        let addresses = resolve(address, &requested, self.start_timeout).await?;
        let tcp = open_first(&addresses, &requested, &SocketOptions::default(), 1)?;
        self.listen(tcp).await
    }

    /// Starts the pool on a [`Transport`], for example an open [`Tcp`](crate::transport::Tcp).
    ///
    /// # Errors
    /// See [`StartError`]. Nothing is left running.
    pub async fn listen(self, transport: impl Transport) -> Result<Pool<S::Actor>, StartError> {
        let listener = Listener::from_transport(transport);
        let listener = match (&self.name, self.listeners.is_empty()) {
            (Some(name), true) => listener.name(name.clone()),
            _ => listener,
        };
        self.listener(listener).start().await
    }

    /// Opens the listeners added with [`listener`](Builder::listener), all or none, and starts the pool.
    ///
    /// # Errors
    /// See [`StartError`]. Nothing is left running.
    pub async fn start(mut self) -> Result<Pool<S::Actor>, StartError> {
        self.check()?;
        if self.listeners.is_empty() {
            let why = "at least one is required (got none); add one with `.listener(Listener::tcp(address))`";
            return Err(StartError::InvalidSetting(InvalidSetting::new("listener", why)));
        }
        self.launch().await
    }

    /// Starts the pool without a listener: until [`Pool::set_listeners`] opens some, the pool serves only the streams that it
    /// [adopts](Pool::adopt). Listeners that were added before are opened as by [`start`](Builder::start).
    ///
    /// For programs that prepare something with the running pool before the first peer arrives. The value that they have
    /// prepared can be given to the connections with [`Listener::env`]:
    ///
    /// ```
    /// use actix_acceptor::{AcceptorPool, Listener, Socket};
    ///
    /// async fn serve(socket: Socket) {
    ///     let prepared = socket.env::<String>();
    ///     // ..
    /// }
    ///
    /// # actix::System::new().block_on(async {
    /// let pool = AcceptorPool::with_fn(serve).start_without_listeners().await?;
    /// assert!(pool.listeners().is_empty());
    /// let prepared = format!("prepared with {}", pool.name());
    /// pool.set_listeners(vec![Listener::tcp("127.0.0.1:0").env(prepared)]).await?;
    /// assert_eq!(pool.listeners().len(), 1);
    /// # pool.stop(None).await;
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).expect("it works");
    /// ```
    ///
    /// Without [`name`](Builder::name), the name of the pool is `pool`.
    ///
    /// # Errors
    /// See [`StartError`]. Nothing is left running.
    pub async fn start_without_listeners(mut self) -> Result<Pool<S::Actor>, StartError> {
        self.check()?;
        self.launch().await
    }

    async fn launch(self) -> Result<Pool<S::Actor>, StartError> {
        let placement = self.placement()?;
        let settings = self.settings;
        let slots = AcceptorPool::slots(&settings, placement);
        let limits = Limits::new(SharedConfig::new(settings.clone()), self.overload);
        let services = BuilderServices { of_builder: self.service.into_listener_service(), named: self.named_services };
        let states = open_listeners(self.listeners, &services, &limits, self.start_timeout, &[], slots).await?;
        let states: Vec<_> = states.iter().map(|opened| opened.listener().clone()).collect();
        let named = self.name.is_some();
        let default_name = || states.first().map_or("pool".into(), |listener| listener.address().to_string().into());
        let name = self.name.unwrap_or_else(default_name);
        AcceptorPool::set_max_connections(&name, &limits, settings.max_connections, slots, 0);
        let observers = Observers::new(name.clone(), self.observers);
        let registries =
            Arc::new(Registries::new(slots, RegistryShared::new(observers, self.alarms, OutboxLimit::new(&settings))));
        let watchdog = settings
            .watchdog
            .map(|limit| Watchdog::start(limit, name.clone(), registries.clone(), placement == Placement::Current));
        let watchdog = watchdog.transpose().map_err(|source| {
            let what = "the watchdog's thread".to_owned();
            StartError::SystemError { what, source }
        })?;
        let shared = PoolState::new(name.clone(), limits.clone(), registries.clone(), services);
        shared.set_drain_config(self.drain);
        // Only a name that was chosen must be unique; a default name stays unregistered if it is taken.
        if !shared.register_name() && named {
            return Err(StartError::NameTaken { name: name.to_string() });
        }
        registries.shared().set_pool(shared.clone());
        let reserve = settings.reserve_descriptor.then(ReserveDescriptor::open);
        let acceptors = AcceptorContext::new(name, registries, states, limits, reserve);
        AcceptorPool::launch(shared.clone(), acceptors, placement, watchdog, self.start_timeout).await?;
        Ok(Pool::new(shared))
    }
}

impl<S: Service> Builder<S> {
    /// Where the acceptors run. On a paused clock that is the current arbiter, since the clocks of others are not paused.
    fn placement(&self) -> Result<Placement, StartError> {
        if self.placement == Placement::Current || !is_clock_paused() {
            return Ok(self.placement);
        }
        let is_in_process = self.listeners.iter().all(Listener::is_in_process);
        is_in_process.then_some(Placement::Current).ok_or(StartError::PausedClock)
    }

    /// Checks the settings and the thread.
    fn check(&mut self) -> Result<(), StartError> {
        let framing = self.service.frame_limit().and_then(invalid_max_frame);
        let mut invalid: Vec<_> =
            framing.into_iter().chain(self.settings.invalid_settings()).chain(self.invalid_services.clone()).collect();
        invalid.extend(self.alarms.iter().find_map(Alarm::invalid));
        if self.start_timeout.is_zero() {
            invalid.push(InvalidSetting::new("start_timeout", "must be greater than zero (got 0s)"));
        }
        let config = std::mem::take(&mut self.config_errors).into_iter().map(StartError::from);
        let listeners = self.listeners.iter().flat_map(|listener| listener.invalid_settings(&self.named_services));
        match StartError::all(config.chain(invalid.into_iter().map(StartError::from)).chain(listeners).collect()) {
            Some(invalid) => Err(invalid),
            None if AcceptorPool::is_system_running() => Ok(()),
            None => Err(StartError::NoSystem),
        }
    }
}
