//! The routes, below the path of the dashboard.

mod actions;
mod connections;
mod lists;
mod login;
mod metrics;
mod pools;
mod query;
mod send;
mod settings;

use actix_web::web::{get, post, resource, ServiceConfig};

use crate::assets;
use crate::error::{ApiError, ApiResult};

/// Adds all routes. `path` is that of the dashboard; empty if it is at the root.
pub(crate) fn add(config: &mut ServiceConfig, path: &str) {
    if !path.is_empty() {
        config.route("", get().to(assets::add_slash));
    }
    config
        .route("/", get().to(login::page))
        .service(resource("/login").get(login::form).post(login::sign_in))
        .route("/logout", post().to(login::sign_out))
        .route("/metrics", get().to(metrics::metrics))
        .route("/stream", get().to(pools::stream))
        .route("/api/pools", get().to(pools::overview))
        .route("/api/process", get().to(pools::process))
        .route("/api/events", get().to(pools::events))
        .route("/api/pools/{pool}", get().to(pools::pool))
        .route("/api/pools/{pool}/history", get().to(pools::history))
        .route("/api/pools/{pool}/connections", get().to(connections::list))
        .route("/api/pools/{pool}/connections/{id}", get().to(connections::one))
        .route("/api/pools/{pool}/topics", get().to(lists::topics))
        .route("/api/pools/{pool}/topic", get().to(lists::topic))
        .route("/api/pools/{pool}/names", get().to(lists::names))
        .service(resource("/api/pools/{pool}/settings").get(settings::list).post(settings::change))
        .route("/api/pools/{pool}/suspend", post().to(actions::suspend))
        .route("/api/pools/{pool}/resume", post().to(actions::resume))
        .route("/api/pools/{pool}/send", post().to(send::send))
        .route("/api/pools/{pool}/connections/{id}/close", post().to(send::close))
        .route("/api/pools/{pool}/connections/{id}/kill", post().to(actions::kill))
        .route("/api/pools/{pool}/deny", post().to(settings::deny))
        .route("/api/pools/{pool}/undeny", post().to(settings::undeny))
        .route("/api/pools/{pool}/certificates", post().to(actions::certificates))
        .route("/api/pools/{pool}/drain", post().to(actions::drain))
        .route("/{file}", get().to(assets::file))
        .default_service(get().to(missing));
}

async fn missing() -> ApiResult {
    Err(ApiError::not_found("no such path: see API.md of actix-acceptor-dashboard"))
}
