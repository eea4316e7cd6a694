//! The gate: everything is checked at once, then the ports are opened and the pool made.

use std::any::TypeId;
use std::sync::Arc;

use actix::prelude::System;
use tokio::net::ToSocketAddrs;

use super::Builder;
use crate::acceptor::AcceptorContext;
use crate::error::{InvalidSetting, StartError};
use crate::handlers::Service;
use crate::limits::Limits;
use crate::limits::ReserveDescriptor;
use crate::listener::{open_first, open_listeners, resolve, Listener};
use crate::listener::{SocketOptions, Transport};
use crate::pool::{AcceptorPool, Placement, Pool, PoolState};
use crate::registry::{Registries, RegistryShared};
use crate::telemetry::{Alarm, Observers};
use crate::watchdog::Watchdog;

impl<D: Service> Builder<D> {
    /// Opens a TCP port and starts the pool: `"127.0.0.1:7000"`, `("localhost", 7000)`, or a `SocketAddr`. Of several
    /// addresses that a name stands for, the first that can be bound is taken. Port 0 lets the system choose one, told by
    /// [`local_addr`](crate::PoolHandle::local_addr).
    ///
    /// Returns when the port is open and every acceptor is ready. Must be called inside an actix system.
    ///
    /// # Errors
    /// See [`StartError`]. Nothing is left running then.
    pub async fn bind(self, address: impl ToSocketAddrs + std::fmt::Debug) -> Result<Pool<D::Actor>, StartError> {
        self.check()?;
        let asked = format!("{address:?}").trim_matches('"').to_owned();
        let addresses = resolve(address, &asked, self.start_timeout).await?;
        let tcp = open_first(&addresses, &asked, &SocketOptions::default())?;
        self.listen(tcp).await
    }

    /// Starts the pool on a transport of one's own, or on a [`Tcp`](crate::listener::Tcp) that is open already.
    ///
    /// # Errors
    /// See [`StartError`]. Nothing is left running then.
    pub async fn listen(self, transport: impl Transport) -> Result<Pool<D::Actor>, StartError> {
        let listener = Listener::from_transport(transport);
        let listener = match (&self.name, self.listeners.is_empty()) {
            (Some(name), true) => listener.name(name.clone()),
            _ => listener,
        };
        self.listener(listener).start().await
    }

    /// Opens the listeners, all or none, and starts the pool.
    ///
    /// # Errors
    /// See [`StartError`]. Nothing is left running then.
    pub async fn start(self) -> Result<Pool<D::Actor>, StartError> {
        self.check()?;
        if System::try_current().is_none() {
            return Err(StartError::NoSystem);
        }
        if self.listeners.is_empty() {
            return Err(StartError::InvalidSetting(InvalidSetting::new("listener", "there is none")));
        }
        let settings = self.settings;
        let slots = AcceptorPool::slots(&settings, self.placement);
        let limits = Limits::new(
            settings.max_connections,
            settings.max_handshakes,
            settings.peer_prefix,
            settings.policy(),
            self.overload,
        );
        let states = open_listeners(self.listeners, &limits, self.start_timeout, &[]).await?;
        let named = self.name.is_some();
        let name = self.name.unwrap_or_else(|| states[0].transport.local_addr().to_string().into());
        AcceptorPool::set_max_connections(&name, &limits, settings.max_connections, slots, 0);
        let observers = Observers::new(name.clone(), self.observers);
        let registries = Arc::new(Registries::new(slots, RegistryShared::new(observers, self.alarms)));
        let opened = self.door.open(settings.terms());
        let watchdog = settings.watchdog.map(|limit| {
            Watchdog::start(limit, name.clone(), registries.clone(), self.placement == Placement::Current)
        });
        let watchdog = watchdog.transpose().map_err(|source| {
            let what = "a thread for the watchdog".to_owned();
            StartError::SystemError { what, source }
        })?;
        let actor = TypeId::of::<D::Actor>();
        let shared = PoolState::new(name.clone(), limits, registries.clone(), settings.clone(), actor, opened.left);
        // Only a name that was chosen must be unique; a default name stays unregistered if it is taken.
        if !shared.register_name() && named {
            return Err(StartError::NameTaken { name: name.to_string() });
        }
        let reserve = settings.reserve_descriptor.then(ReserveDescriptor::keep);
        let acceptors = AcceptorContext::new(name, opened.spawner, registries, states, reserve);
        let (placement, start_timeout) = (self.placement, self.start_timeout);
        AcceptorPool::launch(shared.clone(), acceptors, placement, opened.reconfigure, watchdog, start_timeout).await?;
        Ok(Pool::new(shared))
    }
}

impl<D> Builder<D> {
    fn check(&self) -> Result<(), StartError> {
        let mut wrong: Vec<_> = self.invalid.iter().cloned().chain(self.settings.invalid_settings()).collect();
        if !self.alarms.iter().all(Alarm::is_valid) {
            wrong.push(InvalidSetting::new("alarm", "the low mark must be below the high mark"));
        }
        if self.start_timeout.is_zero() {
            wrong.push(InvalidSetting::new("start_timeout", "must be greater than zero (got 0s)"));
        }
        StartError::all(wrong.into_iter().map(StartError::from).collect()).map_or(Ok(()), Err)
    }
}
