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

pub(crate) use query::{connection, part};

use actix_web::guard::{Any, Get, Head};
use actix_web::web::{get, post, resource, route, ServiceConfig};
use actix_web::Route;

use crate::assets;
use crate::error::{ApiError, ApiResult};

/// Adds all routes. `path` is that of the dashboard; empty if it is at the root.
pub(crate) fn add(config: &mut ServiceConfig, path: &str) {
    // After the other paths, which it may be equal to.
    let last = path.rsplit_once('/').map(|(_, last)| format!("/{last}"));
    if last.is_some() {
        config.route("", read().to(assets::add_slash));
    }
    config
        .route("/", read().to(login::page))
        // For applications that remove the slash at the end of paths.
        .route("/page", read().to(login::page))
        .service(resource("/login").route(read().to(login::form)).post(login::sign_in))
        .route("/logout", post().to(login::sign_out))
        .route("/metrics", read().to(metrics::metrics))
        .route("/stream", get().to(pools::stream))
        .route("/api/pools", read().to(pools::overview))
        .route("/api/process", read().to(pools::process))
        .route("/api/events", read().to(pools::events))
        .route("/api/pools/{pool}", read().to(pools::pool))
        .route("/api/pools/{pool}/history", read().to(pools::history))
        .route("/api/pools/{pool}/connections", read().to(connections::list))
        .route("/api/pools/{pool}/connections/{id}", read().to(connections::one))
        .route("/api/pools/{pool}/topics", read().to(lists::topics))
        .route("/api/pools/{pool}/topic", read().to(lists::topic))
        .route("/api/pools/{pool}/names", read().to(lists::names))
        .service(resource("/api/pools/{pool}/settings").route(read().to(settings::list)).post(settings::change))
        .route("/api/pools/{pool}/suspend", post().to(actions::suspend))
        .route("/api/pools/{pool}/resume", post().to(actions::resume))
        .route("/api/pools/{pool}/send", post().to(send::send))
        .route("/api/pools/{pool}/connections/{id}/close", post().to(send::close))
        .route("/api/pools/{pool}/connections/{id}/kill", post().to(actions::kill))
        .route("/api/pools/{pool}/deny", post().to(settings::deny))
        .route("/api/pools/{pool}/undeny", post().to(settings::undeny))
        .route("/api/pools/{pool}/certificates", post().to(actions::certificates))
        .route("/api/pools/{pool}/drain", post().to(actions::drain));
    if let Some(last) = last {
        config.route(&last, read().to(assets::to_page));
    }
    config.route("/{file}", read().to(assets::file)).default_service(route().to(missing));
}

/// Requests that read, `HEAD` included.
fn read() -> Route {
    route().guard(Any(Get()).or(Head()))
}

async fn missing() -> ApiResult {
    Err(ApiError::not_found("no such path: see API.md of actix-acceptor-dashboard"))
}
