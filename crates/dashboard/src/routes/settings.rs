//! The settings of a pool, and its access rules.

use std::sync::Arc;

use actix_acceptor::limits::Rule;
use actix_acceptor::{Settings, SettingsPatch};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{json, to_value, Map, Value};

use super::query::part;
use crate::access::{Action, Viewer};
use crate::audit::perform;
use crate::error::{ApiError, ApiResult};
use crate::shared::Shared;

pub(super) async fn list(shared: Data<Shared>, _: Viewer, request: HttpRequest) -> ApiResult {
    let pool = &shared.pool(&part(&request, "pool"))?.of.pool;
    let written = |settings: Settings| to_value(settings).map_err(|error| ApiError::failed(error.to_string()));
    let (values, defaults) = (written(pool.settings())?, written(Settings::default())?);
    let settings = Settings::descriptions().into_iter().map(|setting| {
        let mut shown = to_value(&setting).unwrap_or_default();
        shown["value"] = values[setting.name].clone();
        shown["default"] = defaults[setting.name].clone();
        shown
    });
    Ok(HttpResponse::Ok().json(json!({"settings": settings.collect::<Vec<_>>()})))
}

/// The settings to change, and the values that the viewer has seen.
#[derive(Deserialize)]
pub(super) struct Change {
    #[serde(default)]
    was: Map<String, Value>,
    #[serde(flatten)]
    new: Map<String, Value>,
}

pub(super) async fn change(shared: Data<Shared>, request: HttpRequest, action: Action<Change>) -> ApiResult {
    let watched = action.pool(&shared, &request)?;
    perform(&shared, action.on(watched, "settings", ""), async {
        let Change { was, new } = &action.body;
        let patch = serde_json::from_value::<SettingsPatch>(Value::Object(new.clone()));
        let patch = patch.map_err(|error| ApiError::body(error.to_string()))?;
        let (was, others) = (was.clone(), Arc::new(Mutex::new(Vec::new())));
        let found = others.clone();
        // Compared and changed in one step.
        let compare_and_change = move |settings: &mut Settings| {
            let current = to_value(&*settings).unwrap_or_default();
            let differs = |(name, value): &(String, Value)| current.get(name) != Some(value);
            let differing: Vec<_> = was.into_iter().filter(differs).map(|(name, _)| name).collect();
            if differing.is_empty() {
                drop(settings.apply(patch));
            }
            *found.lock() = differing;
        };
        let changed = watched.of.pool.change(compare_and_change).await?;
        let others = others.lock().join(", ");
        if !others.is_empty() {
            return Err(ApiError::changed(format!("nothing was changed: {others} changed in the meantime")));
        }
        Ok(json!({"changed": changed}))
    })
    .await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Deny {
    address: String,
    #[serde(default)]
    kill: bool,
}

/// Denies an address, before all other rules.
pub(super) async fn deny(shared: Data<Shared>, request: HttpRequest, action: Action<Deny>) -> ApiResult {
    let watched = action.pool(&shared, &request)?;
    let pool = &watched.of.pool;
    perform(&shared, action.on(watched, "deny", ""), async {
        let rule = rule(&action.body.address)?;
        let first = move |settings: &mut Settings| {
            settings.rules.retain(|other| *other != rule);
            settings.rules.insert(0, rule);
        };
        pool.change(first).await?;
        let is_denied = |ip| action.body.kill && rule.matches(ip);
        let live = if action.body.kill { pool.list() } else { Vec::new() };
        let denied = live.iter().filter(|connection| connection.peer.ip().is_some_and(is_denied));
        let killed = denied.filter(|connection| pool.kill(connection.id)).count();
        Ok(json!({"rule": rule, "killed": killed}))
    })
    .await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Undeny {
    address: String,
}

pub(super) async fn undeny(shared: Data<Shared>, request: HttpRequest, action: Action<Undeny>) -> ApiResult {
    let watched = action.pool(&shared, &request)?;
    perform(&shared, action.on(watched, "undeny", ""), async {
        let rule = rule(&action.body.address)?;
        let changed = watched.of.pool.change(move |settings| settings.rules.retain(|other| *other != rule)).await?;
        if changed.is_empty() {
            return Err(ApiError::not_found(format!("no rule \"{rule}\"")));
        }
        Ok(json!({"rule": rule}))
    })
    .await
}

fn rule(address: &str) -> Result<Rule, ApiError> {
    Rule::deny(address.trim()).map_err(|error| ApiError::parameter(format!("address: {error}")))
}
