//! What is read about pools and the process, and the updates.

use actix_web::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use actix_web::http::StatusCode;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use serde_json::json;

use super::query::{part, query};
use crate::access::Viewer;
use crate::error::{ApiError, ApiResult};
use crate::process::ProcessReport;
use crate::report::{self, PoolReport};
use crate::sampler::message;
use crate::shared::Shared;
use crate::viewers::MAX_VIEWERS;

pub(super) async fn overview(shared: Data<Shared>, viewer: Viewer) -> ApiResult {
    Ok(HttpResponse::Ok().json(report::overview(&shared, viewer.entry)))
}

pub(super) async fn pool(shared: Data<Shared>, _: Viewer, request: HttpRequest) -> ApiResult {
    Ok(HttpResponse::Ok().json(PoolReport::new(shared.pool(&part(&request, "pool"))?)))
}

pub(super) async fn process(_: Viewer) -> ApiResult {
    Ok(HttpResponse::Ok().json(ProcessReport::read()))
}

#[derive(Deserialize)]
struct Period {
    minutes: Option<u32>,
}

pub(super) async fn history(shared: Data<Shared>, _: Viewer, request: HttpRequest) -> ApiResult {
    let watched = shared.pool(&part(&request, "pool"))?;
    let minutes = query::<Period>(&request)?.minutes.unwrap_or(1);
    let columns = watched.history.lock().columns(minutes);
    let columns =
        columns.ok_or_else(|| ApiError::parameter(format!("minutes: must be 1, 10 or 60 (got {minutes})")))?;
    Ok(HttpResponse::Ok().json(columns))
}

#[derive(Deserialize)]
struct Which {
    #[serde(default)]
    after: u64,
    pool: Option<String>,
}

pub(super) async fn events(shared: Data<Shared>, _: Viewer, request: HttpRequest) -> ApiResult {
    let Which { after, pool } = query(&request)?;
    let pool = pool.map(|pool| shared.pool(&pool)).transpose()?;
    let (mut events, last) = shared.events.after(after);
    events.retain(|event| pool.is_none_or(|pool| event.pool.as_ref() == Some(&pool.id)));
    Ok(HttpResponse::Ok().json(json!({"last": last, "events": events})))
}

pub(super) async fn stream(shared: Data<Shared>, viewer: Viewer) -> ApiResult {
    let hello = message("hello", None, &report::overview(&shared, viewer.entry));
    let first = [b"retry: 2000\n", &*hello].concat();
    let updates = shared.viewers.add(viewer.entry.session(), first.into()).ok_or_else(|| {
        let message = format!("{MAX_VIEWERS} viewers receive updates, which is the limit");
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "too_many_viewers", message).retry_after(10)
    })?;
    let mut response = HttpResponse::Ok();
    response.insert_header((CONTENT_TYPE, "text/event-stream"));
    // Neither nginx nor a middleware that compresses may hold updates back until there are more.
    response.insert_header(("x-accel-buffering", "no")).insert_header((CONTENT_ENCODING, "identity"));
    Ok(response.streaming(updates))
}
