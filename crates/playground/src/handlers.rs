//! Starts the pool of the chosen handler.

use std::sync::Arc;

use actix_acceptor::{
    handlers::{ProtocolService, Service},
    AcceptorPool, Builder, Framing, Pool, PoolHandle, Protocol, StartError,
};

use crate::access::{ConnectionAccess, SocketAccess};
use crate::actor::EchoActor;
use crate::blocking::BlockingLimit;
use crate::chat::Chat;
use crate::echo::{self, Echo};
use crate::live::LiveOptions;
use crate::options::{HandlerName, Options};
use crate::ping::Ping;
use crate::security::Security;
use crate::session::Session;
use crate::sessions::Sessions;
use crate::verb::PacketText;

/// The configuration that all connections share.
#[derive(Debug)]
pub struct ServerConfig {
    pub options: Options,
    pub packet_text: PacketText,
    pub live: LiveOptions,
    pub security: Security,
    /// The connections of the handlers `async` and `actor`.
    pub sessions: Sessions,
    /// Their blocking jobs.
    pub blocking: BlockingLimit,
}

impl ServerConfig {
    pub fn new(options: Options, security: Security) -> Self {
        let (packet_text, live) = (PacketText::new(options.framing()), LiveOptions::new(options.clone()));
        let blocking = BlockingLimit::new(options.settings().max_blocking);
        ServerConfig { options, packet_text, live, security, sessions: Sessions::default(), blocking }
    }
}

/// A running pool and the access to its connections.
pub type Running = (PoolHandle, Box<dyn ConnectionAccess>);

pub async fn start(config: &Arc<ServerConfig>) -> Result<Running, StartError> {
    let shared = || config.clone();
    match config.options.handler {
        HandlerName::Echo => {
            let config = shared();
            callbacks(shared(), AcceptorPool::with_protocol(move |_| Echo::new(config.clone()))).await
        }
        HandlerName::Loop => {
            let config = shared();
            callbacks(shared(), AcceptorPool::with_events(move |_| echo::on_init(&config), echo::on_event)).await
        }
        HandlerName::Ping => {
            let config = shared();
            callbacks(shared(), AcceptorPool::with_protocol(move |_| Ping::new(config.clone()))).await
        }
        HandlerName::Chat => {
            let config = shared();
            callbacks(shared(), AcceptorPool::with_protocol(move |_| Chat::new(config.clone()))).await
        }
        HandlerName::Async => {
            let config = shared();
            let builder = AcceptorPool::with_fn(move |socket| Session::new(socket, config.clone()).run());
            let pool = open(shared(), builder).await?.untyped();
            let mailboxes = shared().sessions.clone();
            Ok((pool.clone(), Box::new(SocketAccess { pool, config: shared(), mailboxes })))
        }
        HandlerName::Actor => {
            let config = shared();
            let builder = AcceptorPool::with_actor(move |socket| Ok(EchoActor::start_with(socket, config.clone())));
            let mailboxes = open(shared(), builder).await?;
            let pool = mailboxes.untyped();
            Ok((pool.clone(), Box::new(SocketAccess { pool, config: shared(), mailboxes })))
        }
    }
}

/// Starts a pool whose connections are driven by the library: it frames the packets and applies the watermarks.
async fn callbacks<P>(config: Arc<ServerConfig>, builder: Builder<ProtocolService<P>>) -> Result<Running, StartError>
where
    P: Controllable,
{
    let pool = open(config.clone(), builder.framing(config.packet_text.framing.clone())).await?;
    Ok((pool.untyped(), Box::new(pool)))
}

/// What the console needs from a connection with callbacks.
pub trait Controllable: Protocol<Codec = Framing, Reply = bytes::Bytes> {
    fn packets(&mut self) -> u64;

    /// A message without an effect.
    fn no_op() -> Self::User;
}

/// Starts a pool with the settings and listeners of the options.
async fn open<D: Service>(config: Arc<ServerConfig>, pool: Builder<D>) -> Result<Pool<D::Actor>, StartError> {
    let options = &config.options;
    let listeners = options.listen.iter().map(|url| config.security.listener(url));
    listeners.fold(pool.settings(options.settings()), Builder::listener).start().await
}
