//! Actions on a pool or one connection: suspend, resume, kill, reload certificates, drain.

use std::sync::Arc;
use std::time::Duration;

use actix_acceptor::info::Status;
use actix_acceptor::{ConnectionInfo, Drain, SuspendMode};
use actix_web::web::{block, Data};
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Deserializer};
use serde_json::json;

use crate::access::Action;
use crate::audit::{perform, Performed};
use crate::error::{with_sources, ApiError, ApiResult};
use crate::pools::guarded;
use crate::shared::{Shared, Watched};

/// The body of actions without parameters.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

impl<T> Action<T> {
    /// For the record. `subject` is what the path names besides the pool.
    pub(super) fn on<'a>(&'a self, pool: &'a Watched, action: &'static str, subject: &str) -> Performed<'a> {
        let parameters = [subject, &self.text].join(if subject.is_empty() { "" } else { " " });
        Performed { viewer: &self.viewer, pool, action, parameters }
    }
}

/// A number of seconds.
pub(super) fn seconds(name: &str, seconds: f64) -> Result<Duration, ApiError> {
    let invalid = |_| ApiError::parameter(format!("{name}: must be a number of seconds from 0 on (got {seconds})"));
    Duration::try_from_secs_f64(seconds).map_err(invalid)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Suspend {
    mode: Mode,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Mode {
    Close,
    Hold,
}

pub(super) async fn suspend(shared: Data<Shared>, request: HttpRequest, action: Action<Suspend>) -> ApiResult {
    let watched = action.pool(&shared, &request)?;
    let mode = match action.body.mode {
        Mode::Close => SuspendMode::Close,
        Mode::Hold => SuspendMode::Hold,
    };
    perform(&shared, action.on(watched, "suspend", ""), async {
        watched.of.pool.suspend(mode).await?;
        Ok(json!({"status": watched.of.pool.status()}))
    })
    .await
}

pub(super) async fn resume(shared: Data<Shared>, request: HttpRequest, action: Action<Nothing>) -> ApiResult {
    let watched = action.pool(&shared, &request)?;
    perform(&shared, action.on(watched, "resume", ""), async {
        watched.of.pool.resume().await?;
        Ok(json!({"status": watched.of.pool.status()}))
    })
    .await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kill {
    peer: Option<String>,
}

/// Ids begin again when the program restarts. An action is refused if the connection has another peer than the viewer saw.
pub(super) fn check_peer(info: &ConnectionInfo, expected: Option<&str>) -> Result<(), ApiError> {
    match expected {
        Some(expected) if info.peer.to_string() != expected => {
            Err(ApiError::changed(format!("connection {} is now that of {}, not of {expected}", info.id, info.peer)))
        }
        _ => Ok(()),
    }
}

pub(super) async fn kill(shared: Data<Shared>, request: HttpRequest, action: Action<Kill>) -> ApiResult {
    let (watched, info) = action.connection(&shared, &request)?;
    let subject = format!("connection {} of {}", info.id, info.peer);
    perform(&shared, action.on(watched, "kill", &subject), async {
        check_peer(&info, action.body.peer.as_deref())?;
        if !watched.of.pool.kill(info.id) {
            return Err(ApiError::not_found(format!("no connection {}: it has ended", info.id)));
        }
        Ok(json!({"killed": true}))
    })
    .await
}

pub(super) async fn certificates(shared: Data<Shared>, request: HttpRequest, action: Action<Nothing>) -> ApiResult {
    let watched = action.pool(&shared, &request)?;
    perform(&shared, action.on(watched, "certificates", ""), async {
        let reload =
            watched.of.certificates.clone().ok_or_else(|| {
                ApiError::not_offered("the program has not set `DashboardPool::on_reload_certificates`")
            })?;
        let reloaded = block(move || guarded(|| reload().map_err(|error| with_sources(&*error)))).await;
        let reloaded = reloaded.map_err(|error| ApiError::failed(error.to_string()))?;
        reloaded.and_then(|reloaded| reloaded).map_err(ApiError::failed)?;
        Ok(json!({"reloaded": true}))
    })
    .await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DrainBody {
    /// `None`: as configured. `Some(None)`: no limit.
    #[serde(default, deserialize_with = "given")]
    grace: Option<Option<f64>>,
    delay: Option<f64>,
}

/// Tells a null from a missing field.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<f64>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// Starts a drain, and answers at once.
pub(super) async fn drain(shared: Data<Shared>, request: HttpRequest, action: Action<DrainBody>) -> ApiResult {
    let watched = action.pool(&shared, &request)?;
    let performed = perform(&shared, action.on(watched, "drain", ""), async {
        let mut drain = Drain::configured();
        if let Some(grace) = action.body.grace {
            drain = drain.with_grace(grace.map(|grace| seconds("grace", grace)).transpose()?);
        }
        if let Some(delay) = action.body.delay {
            drain = drain.delay(seconds("delay", delay)?);
        }
        if watched.of.pool.status() == Status::Ended {
            return Err(ApiError::not_running());
        }
        // Goes on if the worker ends: the first poll sends the request to the pool.
        let pool = Arc::clone(watched);
        actix_web::rt::spawn(async move { pool.drains.set_report(pool.of.pool.drain(drain).await) });
        Ok(json!({"draining": true}))
    });
    performed.await.map(|_| HttpResponse::Accepted().json(json!({"draining": true})))
}
