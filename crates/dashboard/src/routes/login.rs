//! The page, and signing in and out.

use std::time::Instant;

use actix_web::http::header::{ContentType, LOCATION, SET_COOKIE};
use actix_web::http::StatusCode;
use actix_web::web::{Bytes, Data, Query};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;

use crate::access::{body, is_json, too_many_attempts, Action, Viewer};
use crate::assets::{LOGIN, PAGE};
use crate::audit;
use crate::error::{ApiError, ApiResult};
use crate::session::{cookie_name, LIFETIME};
use crate::shared::Shared;

/// The page, or the way to the login form.
pub(super) async fn page(shared: Data<Shared>, request: HttpRequest) -> HttpResponse {
    match Viewer::of(&shared, &request) {
        Ok(_) => PAGE.respond(&request),
        Err(_) => redirect("login"),
    }
}

pub(super) async fn form(request: HttpRequest) -> HttpResponse {
    LOGIN.respond(&request)
}

#[derive(Deserialize)]
struct Given {
    token: String,
}

/// Signs in, by a form or by JSON.
pub(super) async fn sign_in(
    shared: Data<Shared>,
    request: HttpRequest,
    read: Result<Bytes, actix_web::Error>,
) -> ApiResult {
    let is_json = is_json(&request);
    match check(&shared, &request, body(std::future::ready(read)).await?) {
        Ok(cookie) => {
            let mut response = if is_json { HttpResponse::NoContent() } else { HttpResponse::SeeOther() };
            if !is_json {
                response.insert_header((LOCATION, "./"));
            }
            Ok(response.insert_header((SET_COOKIE, cookie)).finish())
        }
        Err(error) if is_json || error.code() == "invalid_body" => Err(error),
        Err(error) => Ok(redirect(&format!("login?error={}", error.code()))),
    }
}

/// Returns the cookie.
fn check(shared: &Shared, request: &HttpRequest, body: Bytes) -> Result<String, ApiError> {
    if !shared.keys.requires_token() {
        return Err(ApiError::not_offered("this dashboard has no token: there is no need to sign in"));
    }
    let (client, now) = (shared.proxies.client(request), Instant::now());
    shared.wrong_logins.check(client.address, now).map_err(too_many_attempts)?;
    let given = if is_json(request) {
        serde_json::from_slice(&body).map_err(|error| ApiError::body(error.to_string()))
    } else {
        let text = std::str::from_utf8(&body).map_err(|error| ApiError::body(error.to_string()));
        text.and_then(|text| Query::<Given>::from_query(text).map_err(|error| ApiError::body(error.to_string())))
            .map(Query::into_inner)
    };
    let Given { token } = given?;
    if !shared.keys.is_token(token.trim().as_bytes()) {
        if shared.wrong_logins.count(client.address, now) {
            audit::wrong_token(shared, &client, "wrong token");
        }
        return Err(ApiError::new(StatusCode::UNAUTHORIZED, "wrong_token", "the token is wrong"));
    }
    let (session, value) = shared.keys.open();
    audit::sign_in(shared, &client, session, "signed in");
    Ok(cookie(request, &value, LIFETIME.as_secs()))
}

pub(super) async fn sign_out(
    shared: Data<Shared>,
    request: HttpRequest,
    action: Action<serde_json::Value>,
) -> ApiResult {
    if let Some(session) = action.viewer.entry.session() {
        shared.keys.end(session);
        audit::sign_in(&shared, &action.viewer.client, session, "signed out");
    }
    Ok(HttpResponse::NoContent().insert_header((SET_COOKIE, cookie(&request, "", 0))).finish())
}

/// Without a `Path`, a cookie belongs to the directory of the page as the browser sees it, also behind a proxy that serves it at
/// another path.
fn cookie(request: &HttpRequest, value: &str, max_age: u64) -> String {
    let secure = if is_secure(request) { "; Secure" } else { "" };
    format!("{}={value}; HttpOnly; SameSite=Strict; Max-Age={max_age}{secure}", cookie_name(request))
}

/// Whether the browser uses TLS, according to its headers and those of a proxy. Wrong headers affect only the cookie of the client
/// that sent them.
fn is_secure(request: &HttpRequest) -> bool {
    let has = |name: &str, is_https: fn(&str) -> bool| {
        let mut lines = request.headers().get_all(name).filter_map(|value| value.to_str().ok());
        lines.any(|line| line.split([',', ';']).any(|part| is_https(part.trim())))
    };
    request.app_config().secure()
        || has("origin", |part| part.starts_with("https://"))
        || has("x-forwarded-proto", |part| part.eq_ignore_ascii_case("https"))
        || has("forwarded", |part| part.eq_ignore_ascii_case("proto=https"))
}

fn redirect(to: &str) -> HttpResponse {
    HttpResponse::SeeOther().insert_header((LOCATION, to)).insert_header(ContentType::plaintext()).finish()
}
