//! Which requests are served: the check of every request, and the extractors [`Viewer`] and [`Action`].

use std::future::{ready, Future, Ready};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use actix_acceptor::ConnectionInfo;
use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::http::StatusCode;
use actix_web::middleware::Next;
use actix_web::web::{Bytes, Data};
use actix_web::{FromRequest, HttpRequest, ResponseError};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::audit;
use crate::client::Client;
use crate::error::ApiError;
use crate::local::{self, is_navigation};
use crate::report::Entry;
use crate::routes::{connection, part};
use crate::session::cookie_name;
use crate::shared::{Shared, Watched};

const POLICY: &str =
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
                      base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
const LOOPBACK_ONLY: &str = "this dashboard has no token, so it is served only to programs on this machine, at \
     http://127.0.0.1 or http://localhost, and not through a proxy; set `Dashboard::token` to serve it to others";

/// Checks a request and adds headers to the response.
pub(crate) async fn guard(
    shared: Data<Shared>,
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<EitherBody<impl MessageBody>>, actix_web::Error> {
    let mut response = match check(&shared, request.request()) {
        Ok(()) => next.call(request).await?.map_into_left_body(),
        Err(error) => request.into_response(error.error_response()).map_into_right_body(),
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // With `no-referrer`, a browser would send the login form with the origin `null`.
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    Ok(response)
}

fn check(shared: &Shared, request: &HttpRequest) -> Result<(), ApiError> {
    if is_of_other_site(request) {
        return Err(ApiError::forbidden("cross_site", "requests from other sites are refused"));
    }
    if !shared.keys.requires_token() {
        let refused = |why| ApiError::forbidden("loopback_only", format!("{why}: {LOOPBACK_ONLY}"));
        local::check(request).map_err(refused)?;
    }
    Ok(())
}

/// Whether a page of another site has sent a request. Navigation to the page is not refused: links may point to it.
fn is_of_other_site(request: &HttpRequest) -> bool {
    let text = |name: &str| request.headers().get(name).map(|value| value.to_str().unwrap_or_default());
    if let Some(site) = text("sec-fetch-site") {
        return !matches!(site, "same-origin" | "none") && !is_navigation(request);
    }
    let Some(origin) = text("origin") else { return false };
    let host = text("host").or_else(|| request.uri().authority().map(|authority| authority.as_str()));
    let of_origin = origin.split_once("://").map(|(_, host)| host);
    !of_origin.zip(host).is_some_and(|(origin, host)| origin.eq_ignore_ascii_case(host))
}

/// A request that may read.
#[derive(Clone, Debug)]
pub(crate) struct Viewer {
    pub(crate) entry: Entry,
    pub(crate) client: Client,
}

impl Viewer {
    pub(crate) fn of(shared: &Shared, request: &HttpRequest) -> Result<Self, ApiError> {
        let client = shared.proxies.client(request);
        if !shared.keys.requires_token() {
            return Ok(Viewer { entry: Entry::Loopback, client });
        }
        // The session first: a proxy may add a header of its own.
        if let Some(session) = shared.keys.session(request.headers(), &cookie_name(request)) {
            return Ok(Viewer { entry: Entry::Session(session), client });
        }
        if let Some(token) = bearer(request.headers()) {
            let now = Instant::now();
            shared.wrong_bearers.check(client.address, now).map_err(too_many_attempts)?;
            if shared.keys.is_token(token) {
                return Ok(Viewer { entry: Entry::Token, client });
            }
            if shared.wrong_bearers.count(client.address, now) {
                audit::wrong_token(shared, &client, "wrong token in Authorization");
            }
        }
        let message = "sign in at `login`, or send the header `Authorization: Bearer TOKEN`";
        Err(ApiError::new(StatusCode::UNAUTHORIZED, "unauthorized", message))
    }
}

pub(crate) fn too_many_attempts(seconds: u64) -> ApiError {
    let message = format!("too many wrong tokens: try again in {seconds} seconds");
    ApiError::new(StatusCode::TOO_MANY_REQUESTS, "too_many_attempts", message).retry_after(seconds)
}

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"bearer ").then_some(token.trim_ascii())
}

impl FromRequest for Viewer {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Viewer::of(shared_of(request), request))
    }
}

fn shared_of(request: &HttpRequest) -> &Shared {
    request.app_data::<Data<Shared>>().expect("the scope of the dashboard has its state")
}

/// The greatest body of a request.
pub(crate) const MAX_BODY: usize = 64 * 1024;

/// The body of a request.
pub(crate) async fn body(read: impl Future<Output = Result<Bytes, actix_web::Error>>) -> Result<Bytes, ApiError> {
    read.await.map_err(|error| match error.as_response_error().status_code() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            let message = format!("the body is longer than {MAX_BODY} bytes");
            ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message)
        }
        _ => ApiError::body(error.to_string()),
    })
}

pub(crate) fn is_json(request: &HttpRequest) -> bool {
    let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = content_type.and_then(|value| value.split(';').next()).unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("application/json")
}

/// A request that may act, with its body.
pub(crate) struct Action<T> {
    pub(crate) viewer: Viewer,
    pub(crate) body: T,
    /// The body as text, for the log.
    pub(crate) text: String,
}

impl<T: DeserializeOwned + 'static> FromRequest for Action<T> {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let shared = shared_of(request);
        let viewer = Viewer::of(shared, request);
        let may_act = may_act(shared, request);
        let (request, read) = (request.clone(), Bytes::from_request(request, payload));
        Box::pin(async move {
            let viewer = viewer?;
            let read = async {
                may_act?;
                let bytes = body(read).await?;
                let body = serde_json::from_slice(&bytes).map_err(|error| ApiError::body(error.to_string()))?;
                Ok((body, parameters(&bytes)))
            };
            match read.await {
                Ok((body, text)) => Ok(Action { viewer, body, text }),
                Err(error) => {
                    audit::refused(shared_of(&request), &viewer, request.path(), &error);
                    Err(error)
                }
            }
        })
    }
}

/// The body for the log. A text that is sent to a peer is data: only its length is shown.
fn parameters(body: &[u8]) -> String {
    let Ok(mut parameters) = serde_json::from_slice::<Value>(body) else { return String::new() };
    if let Some(text) = parameters.get_mut("text") {
        let length = text.as_str().map_or(0, |text| text.chars().count());
        *text = format!("{length} characters").into();
    }
    parameters.to_string()
}

impl<T> Action<T> {
    /// The pool that the path names.
    pub(crate) fn pool<'a>(&self, shared: &'a Shared, request: &HttpRequest) -> Result<&'a Arc<Watched>, ApiError> {
        self.found(shared, request, shared.pool(&part(request, "pool")))
    }

    /// The connection that the path names, if it lives.
    pub(crate) fn connection<'a>(
        &self,
        shared: &'a Shared,
        request: &HttpRequest,
    ) -> Result<(&'a Watched, ConnectionInfo), ApiError> {
        self.found(shared, request, connection(shared, request))
    }

    /// Records the action if its pool or connection does not exist.
    fn found<R>(&self, shared: &Shared, request: &HttpRequest, found: Result<R, ApiError>) -> Result<R, ApiError> {
        found.inspect_err(|error| audit::refused(shared, &self.viewer, request.path(), error))
    }
}

/// Pages of other sites cannot set the header, and forms can set neither.
fn may_act(shared: &Shared, request: &HttpRequest) -> Result<(), ApiError> {
    if request.headers().get("x-dashboard").is_none_or(|value| value != "1") {
        return Err(ApiError::forbidden("header_required", "actions need the header `X-Dashboard: 1`"));
    }
    if !is_json(request) {
        let message = "actions need the header `Content-Type: application/json`";
        return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "json_required", message));
    }
    // Viewers of a read-only dashboard can sign out.
    if shared.read_only && !request.path().ends_with("/logout") {
        return Err(ApiError::forbidden("read_only", "this dashboard is read-only"));
    }
    Ok(())
}
