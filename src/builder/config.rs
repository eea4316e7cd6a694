//! [`Builder::config`]: a pool that starts with a [`PoolConfig`].

use super::Builder;
use crate::error::ConfigError;
use crate::handlers::Service;
use crate::pool_config::{PoolConfig, NO_FRAMING};

impl<S: Service> Builder<S> {
    /// Applies a configuration. What it leaves out stays as set in the builder; its listeners replace those that were added
    /// before. Listeners that are added afterwards, also by [`bind`](Builder::bind) and [`listen`](Builder::listen), are opened
    /// in addition to them.
    ///
    /// This reads the certificates of the listeners, which may block for some milliseconds. [`start`](Builder::start) returns
    /// the errors: [`StartError::Config`](crate::StartError::Config) names the file and the key.
    ///
    /// ```
    /// # #[cfg(feature = "config")]
    /// # actix_rt::System::new().block_on(async {
    /// use actix_acceptor::{AcceptorPool, PoolConfig, Socket};
    ///
    /// let config = PoolConfig::from_toml(r#"
    ///     settings.max_connections = 100
    ///     listeners = [{ address = "tcp://127.0.0.1:0", name = "public" }]
    /// "#)?;
    /// let pool = AcceptorPool::with_fn(|_: Socket| async {}).acceptors(1).config(&config).start().await?;
    /// assert_eq!(pool.settings().max_connections, 100);
    /// assert_eq!(&*pool.listeners()[0].name, "public");
    /// # pool.stop(None).await;
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).expect("it works");
    /// ```
    pub fn config(mut self, config: &PoolConfig) -> Self {
        let checked = match config.check() {
            Ok(checked) => checked,
            Err(errors) => {
                self.config_errors.extend(errors);
                return self;
            }
        };
        self.settings.apply(checked.settings);
        self.drain.apply(checked.drain);
        if let Some(listeners) = checked.listeners {
            self.listeners = listeners;
        }
        if let Some(change) = checked.framing
            && !self.service.change_framing(change)
        {
            self.config_errors.push(config.locate(ConfigError::new("framing", NO_FRAMING)));
        }
        self
    }
}
