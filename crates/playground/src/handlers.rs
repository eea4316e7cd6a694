//! From options to a running pool: which behaviour goes through which door.

use std::sync::Arc;

use actix_acceptor::{
    handlers::{ProtocolService, Service},
    AcceptorPool, Builder, Framing, Pool, PoolHandle, Protocol, StartError,
};

use crate::actor::EchoActor;
use crate::chat::{Chat, Hub};
use crate::echo::{self, Echo};
use crate::manners::Manners;
use crate::options::{Options, Served};
use crate::ping::Ping;
use crate::reach::{Reach, Registry};
use crate::security::Security;
use crate::session::Session;
use crate::verbs::Dialect;

/// What all connections have in common.
pub struct Setting {
    pub options: Options,
    pub dialect: Dialect,
    pub manners: Manners,
    pub security: Security,
}

impl Setting {
    pub fn new(options: Options, security: Security) -> Self {
        let (dialect, manners) = (Dialect::new(options.framing()), Manners::new(options.clone()));
        Setting { options, dialect, manners, security }
    }
}

/// A running pool, and how its connections are reached.
pub type Running = (PoolHandle, Box<dyn Reach>);

pub async fn start(setting: &Arc<Setting>) -> Result<Running, StartError> {
    let here = || setting.clone();
    match setting.options.handler {
        Served::Echo => {
            let setting = here();
            callbacks(here(), AcceptorPool::with_protocol(move |_| Echo::new(setting.clone()))).await
        }
        Served::Loop => {
            let setting = here();
            callbacks(here(), AcceptorPool::with_events(move |_| echo::on_init(&setting), echo::on_event)).await
        }
        Served::Ping => {
            let setting = here();
            callbacks(here(), AcceptorPool::with_protocol(move |_| Ping::new(setting.clone()))).await
        }
        Served::Chat => {
            let (setting, hub) = (here(), Hub::open());
            let door = AcceptorPool::with_protocol(move |peer| Chat::new(peer.id, hub.clone(), setting.clone()));
            callbacks(here(), door).await
        }
        Served::Async => {
            let (setting, registry) = (here(), Registry::default());
            let enroll = registry.clone();
            let door = AcceptorPool::with_fn(move |socket| {
                let (orders, place) = enroll.enter(socket.id());
                let session = Session::new(socket, setting.clone(), orders);
                async move {
                    let outcome = session.run().await;
                    drop(place);
                    outcome
                }
            });
            let pool = open(here(), door).await?;
            Ok((pool.untyped(), Box::new(registry)))
        }
        Served::Actor => {
            let setting = here();
            let door = AcceptorPool::with_actor(move |socket| Ok(EchoActor::begin(socket, setting.clone())));
            let pool = open(here(), door).await?;
            Ok((pool.untyped(), Box::new(pool)))
        }
    }
}

/// The doors whose connections are driven by the library: it cuts the packets and keeps the marks.
async fn callbacks<P>(setting: Arc<Setting>, door: Builder<ProtocolService<P>>) -> Result<Running, StartError>
where
    P: Watched,
{
    let pool = open(setting.clone(), door.framing(setting.dialect.framing.clone())).await?;
    Ok((pool.untyped(), Box::new(pool)))
}

/// What the console can learn from, and tell, a connection with callbacks.
pub trait Watched: Protocol<Codec = Framing, Reply = bytes::Bytes> {
    fn packets(&mut self) -> u64;

    /// A message that sends back nothing.
    fn nothing() -> Self::User;
}

/// What is alike at all doors.
async fn open<D: Service>(setting: Arc<Setting>, pool: Builder<D>) -> Result<Pool<D::Actor>, StartError> {
    let options = &setting.options;
    let listeners = options.listen.iter().map(|url| setting.security.dress(url));
    listeners.fold(pool.settings(options.settings()), Builder::listener).start().await
}
