//! The record of what viewers did: log lines, and events.

use std::future::Future;
use std::net::SocketAddr;

use actix_web::HttpResponse;
use serde_json::Value;
use tracing::info;

use crate::access::Viewer;
use crate::error::{ApiError, ApiResult};
use crate::events::Level;
use crate::shared::{Shared, Watched};
use crate::text::clean;

/// How many characters of the parameters are logged.
const MAX_PARAMETERS: usize = 200;

/// An action, for the record.
pub(crate) struct Performed<'a> {
    pub(crate) viewer: Viewer,
    pub(crate) pool: &'a Watched,
    pub(crate) action: &'static str,
    /// The connection, if it is in the path, and the body.
    pub(crate) parameters: String,
}

/// Performs an action and records it with its outcome.
pub(crate) async fn perform(
    shared: &Shared,
    of: Performed<'_>,
    perform: impl Future<Output = Result<Value, ApiError>>,
) -> ApiResult {
    let result = perform.await;
    of.pool.latest.acted();
    let outcome = match &result {
        Ok(answer) => format!("ok: {answer}"),
        Err(error) => format!("{}: {error}", error.code()),
    };
    let (pool, name) = (of.pool.id.as_str(), of.pool.of.pool.name());
    record(shared, of.viewer, (Some(pool), name), of.action, &of.parameters, (result.is_ok(), &outcome));
    result.map(|answer| HttpResponse::Ok().json(answer))
}

/// Records an action that was refused before it was read.
pub(crate) fn refused(shared: &Shared, viewer: Viewer, path: &str, error: &ApiError) {
    let outcome = format!("{}: {error}", error.code());
    record(shared, viewer, (None, ""), "refused", path, (false, &outcome));
}

fn record(
    shared: &Shared,
    viewer: Viewer,
    (pool, name): (Option<&str>, &str),
    action: &'static str,
    parameters: &str,
    (is_done, outcome): (bool, &str),
) {
    let (parameters, outcome) = (clean(parameters, MAX_PARAMETERS), clean(outcome, MAX_PARAMETERS));
    let (peer, session) = (shown(viewer.peer), viewer.entry.name());
    info!(action, pool = clean(name, MAX_PARAMETERS), parameters, outcome, peer, session, "dashboard action");
    let level = if is_done { Level::Info } else { Level::Warn };
    let text = format!("{action} {parameters} by {session} at {peer}: {outcome}");
    shared.events.record("action", pool, level, &text);
}

/// Records that a viewer signed in or out, or failed to.
pub(crate) fn sign_in(shared: &Shared, peer: Option<SocketAddr>, outcome: &str) {
    let (peer, outcome) = (shown(peer), clean(outcome, MAX_PARAMETERS));
    info!(peer, outcome, "dashboard sign-in");
    shared.events.record("sign_in", None, Level::Info, &format!("{peer}: {outcome}"));
}

fn shown(peer: Option<SocketAddr>) -> String {
    peer.map_or_else(|| "unknown".to_owned(), |peer| peer.to_string())
}
