//! The record of what viewers did: log lines, and events.

use std::future::Future;
use std::sync::atomic::Ordering::Relaxed;

use actix_web::HttpResponse;
use serde_json::Value;
use tracing::{info, warn};

use crate::access::Viewer;
use crate::client::Client;
use crate::error::{ApiError, ApiResult};
use crate::events::Level;
use crate::report::Entry;
use crate::session::Session;
use crate::shared::{Shared, Watched};
use crate::text::clean;

/// How many characters of the parameters are logged.
const MAX_PARAMETERS: usize = 200;

/// An action, for the record.
pub(crate) struct Performed<'a> {
    pub(crate) viewer: &'a Viewer,
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
    let mut record = Record { shared, of, outcome: None };
    let result = perform.await;
    record.outcome = Some(match &result {
        Ok(answer) => (true, format!("ok: {answer}")),
        Err(error) => (false, format!("{}: {error}", error.code())),
    });
    drop(record);
    result.map(|answer| HttpResponse::Ok().json(answer))
}

/// Records an action when it is dropped. If the viewer disconnects before the response, the action may still be done.
struct Record<'a> {
    shared: &'a Shared,
    of: Performed<'a>,
    outcome: Option<(bool, String)>,
}

impl Drop for Record<'_> {
    fn drop(&mut self) {
        let Performed { viewer, pool, action, parameters } = &self.of;
        pool.latest.acted();
        let unknown = || (false, "unknown: the viewer disconnected before the action was done".to_owned());
        let (is_done, outcome) = self.outcome.take().unwrap_or_else(unknown);
        let of_pool = (Some(pool.id.as_str()), pool.of.pool.name());
        record(self.shared, viewer, of_pool, action, parameters, (is_done, &outcome));
    }
}

/// Records an action that was refused before it began, or whose pool or connection does not exist.
pub(crate) fn refused(shared: &Shared, viewer: &Viewer, path: &str, error: &ApiError) {
    let outcome = format!("{}: {error}", error.code());
    record(shared, viewer, (None, ""), "refused", path, (false, &outcome));
}

fn record(
    shared: &Shared,
    viewer: &Viewer,
    (pool, name): (Option<&str>, &str),
    action: &'static str,
    parameters: &str,
    (is_done, outcome): (bool, &str),
) {
    let (parameters, outcome) = (clean(parameters, MAX_PARAMETERS), clean(outcome, MAX_PARAMETERS));
    let (session, Origin { peer, forwarded_for, note }) = (viewer.entry.name(), Origin::of(&viewer.client));
    let pool_name = clean(name, MAX_PARAMETERS);
    info!(action, pool = pool_name, parameters, outcome, peer, forwarded_for, session, "dashboard action");
    let level = if is_done { Level::Info } else { Level::Warn };
    let text = format!("{action} {parameters} by {session} at {peer}{note}: {outcome}");
    shared.events.record(&shared.limit, "action", pool, level, &text);
}

/// Records that a viewer signed in or out, with the session that its actions name.
pub(crate) fn sign_in(shared: &Shared, client: &Client, session: Session, outcome: &str) {
    record_sign_in(shared, client, &Entry::Session(session).name(), outcome);
}

fn record_sign_in(shared: &Shared, client: &Client, session: &str, outcome: &str) {
    let Origin { peer, forwarded_for, note } = Origin::of(client);
    info!(peer, forwarded_for, session, outcome, "dashboard sign-in");
    let by = if session.is_empty() { "" } else { ": " };
    shared.events.record(&shared.limit, "sign_in", None, Level::Info, &format!("{peer}{note}: {outcome}{by}{session}"));
}

/// Records a wrong token.
pub(crate) fn wrong_token(shared: &Shared, client: &Client, outcome: &str) {
    record_sign_in(shared, client, "", outcome);
    if client.unverified.is_some() && !shared.has_warned_of_proxy.swap(true, Relaxed) {
        warn!(peer = %client, "wrong tokens count for the address of a proxy, so all of its clients may be locked out; \
            set `Dashboard::trusted_proxies` to count them per client");
    }
}

/// Where a request comes from, for the record.
struct Origin {
    peer: String,
    /// Not verified. Empty if the peer is a trusted proxy or does not send the header.
    forwarded_for: String,
    /// The same, for an event.
    note: String,
}

impl Origin {
    fn of(client: &Client) -> Self {
        let forwarded_for = client.unverified.clone().unwrap_or_default();
        let note = match &client.unverified {
            Some(unverified) => format!(" (unverified X-Forwarded-For: {unverified})"),
            None => String::new(),
        };
        Origin { peer: client.to_string(), forwarded_for, note }
    }
}
