//! A web page that shows and operates the pools of [`actix_acceptor`], for any [`actix_web`] application.
//!
//! ```text
//! browser ─▶ actix-web ─▶ Dashboard ─┬─ page and static files
//!                                    ├─ JSON, /metrics     numbers and lists of the pools, read on request
//!                                    ├─ /stream            one message per second and viewer
//!                                    └─ actions            the methods of `Pool`: suspend, change settings, send, close, drain
//! ```
//!
//! # Example
//!
//! ```no_run
//! use actix_acceptor::prelude::*;
//! use actix_acceptor_dashboard::{Dashboard, DashboardPool};
//! use actix_web::{App, HttpServer};
//! use bytes::Bytes;
//!
//! struct Echo;
//!
//! impl Protocol for Echo {
//!     type Codec = Framing;
//!     type Reply = Bytes;
//!     type User = ();
//!
//!     fn packet(&mut self, packet: Bytes, _: &mut Conn<Self>) -> Next<Self> {
//!         Next::Send(packet)
//!     }
//! }
//!
//! #[actix::main]
//! async fn main() -> Result<(), MainError> {
//!     let pool = AcceptorPool::with_protocol(|_| Echo).framing(Framing::lines()).bind("0.0.0.0:7878").await?;
//!     // The text that an operator enters becomes a reply.
//!     let dashboard = Dashboard::new(DashboardPool::with_text(&pool, Bytes::from));
//!     let server = HttpServer::new(move || App::new().service(dashboard.clone()));
//!     let server = server.bind("127.0.0.1:8080")?.workers(1).shutdown_timeout(1).run();
//!     println!("http://127.0.0.1:8080/dashboard/");
//!     Ok(server.await?)
//! }
//! ```
//!
//! Create a [`Dashboard`] once and clone it into the applications, since the closure of `HttpServer::new` runs for each worker. All
//! clones share their state, so a viewer may reach any worker. The page is at `/dashboard/`, or at
//! [another path](Dashboard::path); in an application that removes the slash at the end of paths (`NormalizePath`), it is at
//! `/dashboard/page`, where `/dashboard` leads.
//!
//! # The page
//!
//! The part of the URL after `#` selects a view: `#0/connections` is the table of the first pool, `#0/connections/7` also shows
//! connection 7. While a table is shown, one page of it, at most 100 rows, is read once a second; a hidden browser tab reads
//! nothing. After 4 seconds without an update, the page shows how old its numbers are, and reconnects. After a restart of the
//! program, it says so and starts again from zero. It can be used with the keyboard, with screen readers, and at widths from 320
//! px. It loads 110 KB from this crate, and nothing from elsewhere. It needs a browser released in 2024 or later (at least Chrome
//! 123, Firefox 120 or Safari 17.5).
//!
//! # Security
//!
//! Without a [token](Dashboard::token), only requests from a loopback address to a loopback `Host` are served, so that other
//! machines, and pages of other sites in a browser on this machine, have no access. If the application listens on another address,
//! a warning is logged when it starts. With a token, every request needs it: in the header `Authorization: Bearer`, or through a
//! session, whose cookie the login form sets (`HttpOnly`, `SameSite=Strict`, and `Secure` with TLS). The cookie contains the expiry
//! and the number of the session and an HMAC of both with a random key, but not the token. Comparisons take constant time.
//!
//! An address can send 5 wrong tokens a minute with the login form, and as many in `Authorization`; after that, its attempts are
//! refused, even with the right token, until the minute has passed. Wrong tokens of one address have no effect on others, and
//! sessions are not limited. For IPv6, an address is a network of 64 bits. While more than 4,096 addresses of a version of IP have
//! sent wrong tokens within a minute, further ones share 60 a minute with their network of 16 bits (IPv4) or 32 bits (IPv6). Behind
//! a reverse proxy, set [`Dashboard::trusted_proxies`]: otherwise, all viewers have the address of the proxy and share its limit.
//!
//! If the page is used over a network, use TLS, directly or at a reverse proxy: the token and the cookie are secrets.
//!
//! A dashboard behind a proxy needs a token, since the server takes a proxy on the same machine for a local viewer. Without a
//! token, requests with signs of a proxy are refused: HTTP/1.0, headers that proxies add, and an `Origin` or `Referer` that is not
//! a loopback address. A proxy that forwards requests unchanged cannot be recognized.
//!
//! The proxy has to keep the `Host` of the browser, since a request is refused if its `Origin` is another host, and to set
//! `X-Forwarded-For`. For nginx, with `trusted_proxies(["127.0.0.1"])`:
//!
//! ```nginx
//! location /dashboard/ {
//!     proxy_pass http://127.0.0.1:8080;
//!     proxy_http_version 1.1;
//!     proxy_set_header Host $http_host;
//!     proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
//!     proxy_set_header X-Forwarded-Proto $scheme;
//! }
//! ```
//!
//! Actions need a header that forms and pages of other sites cannot set; see [`api`]. Responses have a strict
//! `Content-Security-Policy`, and the page shows what peers send (labels, names, topics) as text. Each action is logged at info
//! (`action`, `pool`, `parameters`, `outcome`, `peer`, `forwarded_for`, `session`), with control characters escaped; of a text that
//! is sent to peers, only the length is logged. [`Dashboard::read_only`] refuses all actions.
//!
//! # Costs
//!
//! A thread reads [`Pool::info`](actix_acceptor::Pool::info) once a second, for the history (at most 80 KiB per pool, for 60
//! minutes) and for all viewers. An observer keeps the last 200 events of each pool, at most 10 of each kind per second. Lists are
//! read on request, at most once a second for all viewers together, and sorted and filtered on a thread for blocking calls, so that
//! the workers of the application serve its other requests meanwhile. Packets cost nothing extra. At most 32 viewers receive
//! updates, one message a second each; a viewer that does not read them is disconnected.
//!
//! With 18,000 connections and 40,000 packets a second on one core, of which the server used 44 %, the threads of the dashboard and
//! its web server used this share of the server's CPU:
//!
//! | | share |
//! |---|---|
//! | no viewer | 0.3 % |
//! | one viewer: updates, a page of the table, sorted by idle time and filtered by address, and one connection, each once a second | 1.5 % |
//!
//! In both cases, the CPU time of the whole server and the response time differed from those without a dashboard by no more than
//! the noise of the machine. `cargo run --release -p bench -- dashboard` measures it.
//!
//! When the web server stops gracefully, it waits for responses in progress, and the stream of updates of a viewer never ends by
//! itself: set `HttpServer::shutdown_timeout`, or call [`Dashboard::disconnect`] first.

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod access;
pub mod api;
mod assets;
mod attempts;
mod audit;
mod client;
mod dashboard;
mod drains;
mod error;
mod events;
mod history;
mod latest;
mod local;
mod pools;
mod process;
mod report;
mod routes;
mod sampler;
mod session;
mod shared;
mod snapshot;
mod text;
mod viewers;

pub use dashboard::Dashboard;
pub use pools::DashboardPool;
