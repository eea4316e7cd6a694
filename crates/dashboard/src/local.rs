//! Whether a request comes from a program on this machine: the condition of a dashboard without a token.

use std::net::IpAddr;

use actix_web::http::{header, Version};
use actix_web::HttpRequest;

/// Prefixes of the names of headers that proxies add.
const OF_PROXIES: [&str; 12] = [
    "cdn-loop",
    "cf-",
    "forwarded",
    "true-client-ip",
    "via",
    "x-amzn-",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-envoy-",
    "x-forwarded",
    "x-real-",
    "x-request-id",
];

/// Whether a request comes directly from a program on this machine, and is meant for this server: a page of another site whose name
/// resolves to a loopback address sends its own `Host`, and a proxy on this machine forwards requests of others.
///
/// A proxy that forwards a request without a trace of itself or of the browser cannot be recognized.
///
/// # Errors
/// The sign that it does not.
pub(crate) fn check(request: &HttpRequest) -> Result<(), String> {
    if !request.peer_addr().is_some_and(|peer| peer.ip().to_canonical().is_loopback()) {
        return Err("the peer is not a loopback address".to_owned());
    }
    if request.version() < Version::HTTP_11 {
        return Err("the request has version HTTP/1.0, which some proxies use".to_owned());
    }
    let headers = request.headers();
    let is_of_proxy = |name: &&str| OF_PROXIES.iter().any(|prefix| name.starts_with(prefix));
    if let Some(name) = headers.keys().map(|name| name.as_str()).find(is_of_proxy) {
        return Err(format!("the request has the header `{name}`, which proxies add"));
    }
    // HTTP/2 names the host in the URI.
    let mut hosts = request.uri().authority().map(|authority| Ok(authority.as_str())).into_iter();
    let mut hosts = hosts.by_ref().chain(headers.get_all(header::HOST).map(|host| host.to_str())).peekable();
    if hosts.peek().is_none() || !hosts.all(|host| host.is_ok_and(is_loopback_host)) {
        return Err("the host of the request is not a loopback address".to_owned());
    }
    // A browser that reaches a proxy by another name sends that name. When a link to the page is followed, `Referer` is the site of
    // the link.
    let names = [header::ORIGIN, header::REFERER];
    for name in names.iter().filter(|name| **name == header::ORIGIN || !is_navigation(request)) {
        let mut urls = headers.get_all(name).map(|url| url.to_str());
        if !urls.all(|url| url.is_ok_and(|url| host_of(url).is_some_and(is_loopback_host))) {
            return Err(format!("the host in the header `{name}` is not a loopback address"));
        }
    }
    Ok(())
}

/// Whether the browser opens a page, rather than a page that is open reads or acts.
pub(crate) fn is_navigation(request: &HttpRequest) -> bool {
    let mode = request.headers().get("sec-fetch-mode");
    request.method().is_safe() && mode.is_some_and(|mode| mode == "navigate")
}

/// The host and port of a URL.
fn host_of(url: &str) -> Option<&str> {
    url.split_once("://")?.1.split(['/', '?', '#', '\\']).next()
}

fn is_loopback_host(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let ip = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || ip.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_hosts_are_recognized() {
        for host in ["localhost", "LOCALHOST:8080", "127.0.0.1", "127.0.0.1:80", "127.9.9.9:1", "[::1]", "[::1]:8080"] {
            assert!(is_loopback_host(host), "{host}");
            for path in ["", "/", "/dashboard/", "?x", "#x"] {
                assert_eq!(host_of(&format!("http://{host}{path}")), Some(host));
            }
        }
        for host in [
            "",
            ":80",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example:80",
            "127.0.0.1@evil.example",
            "127.0.0.1:80@evil.example",
            "192.0.2.1",
            "localhost:x",
            "::2",
        ] {
            assert!(!is_loopback_host(host), "{host}");
        }
    }
}
