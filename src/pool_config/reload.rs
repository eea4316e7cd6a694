//! [`Pool::reload`]: a new configuration for a running pool.

use super::{PoolConfig, NO_FRAMING};
use crate::error::{ConfigError, InvalidSetting, ReloadError, StartError};
use crate::pool::{Pool, Refused, Reload, Reloaded};

impl<A> Pool<A> {
    /// Applies a configuration while the pool runs, whole or not at all, and returns what changed.
    ///
    /// What it leaves out stays as it is. Its listeners replace all listeners, as with
    /// [`set_listeners`](Pool::set_listeners): those whose address is not in the list are closed, and live connections stay
    /// open. Certificates are read again for new connections. The framing applies to new connections as well; it is an error
    /// if the codec of the handler is not [`Framing`](crate::Framing).
    ///
    /// Everything that can fail comes first: values are checked, certificates read and listeners opened. Reading
    /// certificates may block for some milliseconds.
    ///
    /// # Errors
    /// See [`ReloadError`]. On an error nothing has changed.
    ///
    /// ```
    /// # #[cfg(feature = "config")]
    /// # actix_rt::System::new().block_on(async {
    /// # use actix_acceptor::{AcceptorPool, PoolConfig, Socket};
    /// # let pool = AcceptorPool::with_fn(|_: Socket| async {}).bind("127.0.0.1:0").await?;
    /// let config = PoolConfig::from_toml("settings.max_connections = 100\ndrain.grace = '30s'")?;
    /// let reloaded = pool.reload(&config).await?;
    /// assert!(reloaded.settings.contains("max_connections"));
    /// assert!(reloaded.drain.is_some());
    ///
    /// let invalid = PoolConfig::from_toml("settings = { max_connections = 50, high_watermark = 1 }")?;
    /// let error = pool.reload(&invalid).await.unwrap_err();
    /// assert!(error.to_string().contains("settings.high_watermark"));
    /// assert_eq!(pool.settings().max_connections, 100);
    /// # pool.stop(None).await;
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).expect("it works");
    /// ```
    pub async fn reload(&self, config: &PoolConfig) -> Result<Reloaded, ReloadError> {
        let checked = config.check().map_err(ReloadError::Invalid)?;
        let (settings, listeners) = (checked.settings, checked.listeners);
        let reload = Reload { settings, listeners, framing: checked.framing, drain: checked.drain };
        match self.request(reload).await {
            Some(Ok(reloaded)) => Ok(reloaded),
            Some(Err(refused)) => Err(error(config, refused)),
            None => Err(ReloadError::NotRunning),
        }
    }
}

fn error(config: &PoolConfig, refused: Refused) -> ReloadError {
    match refused {
        Refused::Settings(invalid) => {
            let key = |InvalidSetting { setting, why }| ConfigError::new(format!("settings.{setting}"), why);
            ReloadError::Invalid(invalid.into_iter().map(|invalid| config.locate(key(invalid))).collect())
        }
        Refused::NoFraming => ReloadError::Invalid(vec![config.locate(ConfigError::new("framing", NO_FRAMING))]),
        Refused::Listeners(StartError::ListenerClosed) => ReloadError::NotRunning,
        Refused::Listeners(error) => listeners_error(error),
        Refused::NotRunning => ReloadError::NotRunning,
    }
}

/// The error of listeners: their values are invalid, or the system rejected them.
fn listeners_error(error: StartError) -> ReloadError {
    let is_of_value = |error: &StartError| matches!(error, StartError::Config(error) if error.is_of_value());
    match error {
        StartError::Config(error) if error.is_of_value() => ReloadError::Invalid(vec![error]),
        StartError::Several(errors) if errors.iter().all(is_of_value) => {
            let config = |error| if let StartError::Config(error) = error { Some(error) } else { None };
            ReloadError::Invalid(errors.into_iter().filter_map(config).collect())
        }
        error => ReloadError::Listeners(error),
    }
}
