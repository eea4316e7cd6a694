//! The gate: everything is checked at once, then the port is opened and the pool made.

use std::any::TypeId;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::System;
use tokio::net::{lookup_host, ToSocketAddrs};

use super::Builder;
use crate::acceptor::{Complaints, Crew};
use crate::doors::Door;
use crate::error::StartError;
use crate::pool::{AcceptorPool, Housing, Plan, Pool, Restarts, Shared, Staff};
use crate::protocol::Limits;
use crate::table::{millis, Common, Table};
use crate::transport::{Tcp, Transport};

impl<D: Door> Builder<D> {
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
        let tcp = open_port(address, &asked, self.start_timeout).await?;
        self.listen(tcp).await
    }

    /// Starts the pool on a transport of one's own, or on a [`Tcp`] that is open already.
    ///
    /// # Errors
    /// See [`StartError`]. Nothing is left running then.
    pub async fn listen(self, transport: impl Transport) -> Result<Pool<D::Actor>, StartError> {
        self.check()?;
        if System::try_current().is_none() {
            return Err(StartError::NoSystem);
        }
        let limits = self.limits();
        let common = Arc::<Common>::default();
        let tables: Vec<_> = (0..self.places()).map(|_| Table::new(common.clone())).collect();
        let addrs = vec![transport.local_addr()];
        let named = self.name.is_some();
        let name = self.name.unwrap_or_else(|| addrs[0].to_string().into());
        let opened = self.door.open(limits, name.clone());
        let actor = TypeId::of::<D::Actor>();
        let shared = Shared::new(name.clone(), addrs, tables.clone(), common, actor, opened.left);
        // A name that nobody chose cannot be in anybody's way.
        if !shared.enter_name() && named {
            return Err(StartError::NameTaken { name: name.to_string() });
        }
        let staff = Staff::new(self.housing, tables.len());
        let crew = Arc::new(Crew {
            transports: vec![Arc::new(transport)],
            seam: opened.seam,
            listener: name,
            tables,
            complaints: Complaints::new(),
        });
        let restarts = Restarts::new(self.restarts.0, self.restarts.1);
        let (grace, start_timeout) = (self.grace, self.start_timeout);
        AcceptorPool::launch(Plan { shared: shared.clone(), crew, staff, restarts, grace, start_timeout }).await?;
        Ok(Pool::new(shared))
    }
}

impl<D> Builder<D> {
    fn check(&self) -> Result<(), StartError> {
        let bad = |setting, why| Err(StartError::InvalidSetting { setting, why });
        if let Some((setting, why)) = self.refused {
            return bad(setting, why);
        }
        if self.acceptors == Some(0) {
            return bad("acceptors", "a pool needs at least one");
        }
        if self.low_watermark > self.high_watermark {
            return bad("watermarks", "the low mark is above the high one");
        }
        if self.mailbox == 0 {
            return bad("mailbox_capacity", "a mailbox needs room for one message");
        }
        if self.max_age.is_none() && !self.max_age_jitter.is_zero() {
            return bad("max_age_jitter", "there is no maximum age");
        }
        if self.start_timeout.is_zero() {
            return bad("start_timeout", "a start takes time");
        }
        Ok(())
    }

    fn limits(&self) -> Limits {
        let millis = |limit: Option<Duration>| millis(limit.filter(|limit| !limit.is_zero()));
        Limits {
            idle: millis(self.idle),
            packet: millis(self.packet),
            send: millis(self.send),
            max_age: millis(self.max_age),
            max_age_jitter: millis(Some(self.max_age_jitter)),
            high_watermark: self.high_watermark,
            low_watermark: self.low_watermark,
            half_close: self.half_close,
            active: self.active,
            mailbox: self.mailbox,
        }
    }

    fn places(&self) -> usize {
        self.acceptors.unwrap_or_else(|| match self.housing {
            Housing::Current => 1,
            Housing::Arbiters => std::thread::available_parallelism().map_or(1, |cores| cores.get()),
        })
    }
}

/// Resolves the address and binds the first one that can be bound.
async fn open_port(address: impl ToSocketAddrs, asked: &str, limit: Duration) -> Result<Tcp, StartError> {
    let system = |source| StartError::SystemError { what: asked.to_owned(), source };
    let addresses = match tokio::time::timeout(limit, lookup_host(address)).await {
        Err(_) => return Err(StartError::ListenerTimeout { address: asked.to_owned(), limit }),
        Ok(resolved) => resolved.map_err(system)?,
    };
    let mut last = io::Error::new(io::ErrorKind::AddrNotAvailable, "the name stands for no address");
    for address in addresses {
        match Tcp::bind(address) {
            Ok(tcp) => return Ok(tcp),
            Err(error) => last = error,
        }
    }
    Err(system(last))
}
