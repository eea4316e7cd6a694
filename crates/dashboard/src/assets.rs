//! The static files of the page, embedded in the program.

use std::hash::{DefaultHasher, Hasher};

use actix_web::http::header::{self, CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use actix_web::{HttpRequest, HttpResponse};

use crate::error::{ApiError, ApiResult};

/// A static file.
pub(crate) struct Asset {
    pub(crate) name: &'static str,
    content_type: &'static str,
    content: &'static [u8],
}

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

macro_rules! asset {
    ($name:literal, $content_type:expr) => {
        Asset { name: $name, content_type: $content_type, content: include_bytes!(concat!("../assets/", $name)) }
    };
}

/// The page, served to those who may read.
pub(crate) const PAGE: Asset = asset!("index.html", HTML);
/// The login form.
pub(crate) const LOGIN: Asset = asset!("login.html", HTML);
/// The files that both refer to. They contain no data, so all may read them.
pub(crate) const FILES: &[Asset] = &[
    asset!("style.css", STYLE),
    asset!("theme.js", SCRIPT),
    asset!("login.js", SCRIPT),
    asset!("app.js", SCRIPT),
    asset!("actions.js", SCRIPT),
    asset!("api.js", SCRIPT),
    asset!("charts.js", SCRIPT),
    asset!("connections.js", SCRIPT),
    asset!("dialog.js", SCRIPT),
    asset!("dom.js", SCRIPT),
    asset!("drain.js", SCRIPT),
    asset!("events.js", SCRIPT),
    asset!("format.js", SCRIPT),
    asset!("groups.js", SCRIPT),
    asset!("overview.js", SCRIPT),
    asset!("settings.js", SCRIPT),
    asset!("stream.js", SCRIPT),
    asset!("table.js", SCRIPT),
];

impl Asset {
    /// The file, or 304 if the browser has it.
    pub(crate) fn respond(&self, request: &HttpRequest) -> HttpResponse {
        let mut hasher = DefaultHasher::new();
        hasher.write(self.content);
        let tag = format!("\"{:016x}\"", hasher.finish());
        let known = request.headers().get(IF_NONE_MATCH).and_then(|value| value.to_str().ok());
        let is_known = known.is_some_and(|known| known.split(',').any(|known| known.trim() == tag));
        let mut response = if is_known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
        // Asked for each time, so that a page fits the program.
        response.insert_header((CACHE_CONTROL, "no-cache")).insert_header((ETAG, tag));
        if is_known {
            return response.finish();
        }
        response.insert_header((CONTENT_TYPE, self.content_type)).body(self.content)
    }
}

pub(crate) async fn file(request: HttpRequest) -> ApiResult {
    let name = request.match_info().get("file").unwrap_or_default();
    let file = FILES.iter().find(|file| file.name == name);
    file.map(|file| file.respond(&request)).ok_or_else(|| ApiError::not_found("no such file"))
}

/// Leads from `/dashboard` to `/dashboard/`, also behind a proxy that serves it at another path.
pub(crate) async fn add_slash(request: HttpRequest) -> HttpResponse {
    let last = request.path().rsplit('/').next().unwrap_or_default();
    redirect(&format!("{last}/"))
}

/// An application that removes the slash at the end of paths takes `/dashboard/` for `/dashboard`, so that [`add_slash`] leads to
/// `/dashboard/dashboard/`. This leads from there to a path without a slash at its end.
pub(crate) async fn to_page() -> HttpResponse {
    redirect("../page")
}

fn redirect(to: &str) -> HttpResponse {
    HttpResponse::TemporaryRedirect().insert_header((header::LOCATION, to)).finish()
}
