//! The connections of a pool: a page of rows, and one with its names and topics.

use std::cmp::Ordering;
use std::fmt::{Display, Write};
use std::hint::black_box;
use std::sync::Arc;

use actix_acceptor::ConnectionInfo;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::query::{connection, part, query, respond_from_lists, Filter, Order, PageNumbers, Paging, MAX_ROWS};
use crate::access::Viewer;
use crate::error::ApiResult;
use crate::shared::{phase_name, Shared, Watched};

#[derive(Deserialize)]
struct Parameters {
    #[serde(default)]
    sort: Column,
    #[serde(default)]
    order: Order,
    filter: Option<String>,
    listener: Option<String>,
    state: Option<State>,
    page: Option<usize>,
    limit: Option<usize>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Column {
    #[default]
    Id,
    Label,
    Peer,
    Listener,
    Tls,
    State,
    Age,
    Idle,
    BytesIn,
    BytesOut,
    Packets,
    Unsent,
    Dropped,
    Acceptor,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Handshaking,
    Open,
    Waiting,
    Closing,
}

#[derive(Serialize)]
struct Page<'a> {
    total: usize,
    matching: usize,
    #[serde(flatten)]
    numbers: PageNumbers,
    taken_ms: u64,
    slow: usize,
    connections: &'a [&'a ConnectionInfo],
}

pub(super) async fn list(shared: Data<Shared>, _: Viewer, request: HttpRequest) -> ApiResult {
    let watched = shared.pool(&part(&request, "pool"))?.clone();
    let parameters: Parameters = query(&request)?;
    let paging = Paging::new(parameters.page, parameters.limit)?;
    respond_from_lists(move || page(&watched, parameters, paging)).await
}

/// A page as JSON.
fn page(watched: &Watched, parameters: Parameters, paging: Paging) -> serde_json::Result<Vec<u8>> {
    let Parameters { sort, order, filter, listener, state, .. } = parameters;
    let filter = Filter::new(filter);
    let (taken, high_watermark) = (watched.connections(), watched.of.pool.settings().high_watermark as u64);
    let mut text = String::new();
    let mut shown_matches = |value: &dyn Display| {
        text.clear();
        let _ = write!(text, "{value}");
        filter.matches(&text)
    };
    let (is_number, is_address) = (filter.is_number(), filter.is_address());
    let mut is_match = |connection: &ConnectionInfo| {
        listener.as_deref().is_none_or(|listener| *connection.listener == *listener)
            && state.is_none_or(|state| phase_name(connection.state) == state.name())
            && (filter.is_empty()
                || connection.label.as_ref().is_some_and(|label| filter.matches(label))
                || (is_number && shown_matches(&connection.id))
                || ((is_address || connection.peer.socket().is_none()) && shown_matches(&connection.peer)))
    };
    let mut rows = Vec::with_capacity(if filter.is_empty() { taken.list.len() } else { 0 });
    for some in taken.list.chunks(64) {
        if !filter.is_empty() {
            load_labels(some);
        }
        rows.extend(some.iter().filter(|connection| is_match(connection)));
    }
    let matching = rows.len();
    let connections = paging.sorted(&mut rows, |a, b| sort.compare(order, a, b).then(a.id.cmp(&b.id)));
    serde_json::to_vec(&Page {
        total: taken.list.len(),
        matching,
        numbers: paging.numbers(matching),
        taken_ms: taken.taken_ms,
        slow: taken.list.iter().filter(|connection| connection.unsent > high_watermark).count(),
        connections,
    })
}

/// Loads the labels into the caches of the processor. Loads that do not wait for each other take a fraction of the time that the
/// comparisons need to load one label after the other.
fn load_labels(connections: &[ConnectionInfo]) {
    let first = |connection: &ConnectionInfo| connection.label.as_ref().and_then(|label| label.bytes().next());
    black_box(connections.iter().filter_map(first).fold(0, |sum, byte| sum ^ byte));
}

impl State {
    fn name(self) -> &'static str {
        match self {
            State::Handshaking => "handshaking",
            State::Open => "open",
            State::Waiting => "waiting",
            State::Closing => "closing",
        }
    }
}

impl Column {
    fn compare(self, order: Order, a: &ConnectionInfo, b: &ConnectionInfo) -> Ordering {
        // Connections without a label come last, in both orders.
        if let Column::Label = self {
            return match (&a.label, &b.label) {
                (Some(a), Some(b)) => order.of(a.cmp(b)),
                (a, b) => a.is_none().cmp(&b.is_none()),
            };
        }
        order.of(match self {
            Column::Id => a.id.cmp(&b.id),
            Column::Label => Ordering::Equal,
            Column::Peer => match (a.peer.socket(), b.peer.socket()) {
                (Some(a), Some(b)) => a.cmp(&b),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) if a.peer == b.peer => Ordering::Equal,
                (None, None) => a.peer.to_string().cmp(&b.peer.to_string()),
            },
            Column::Listener => a.listener.cmp(&b.listener),
            Column::Tls => tls(a).cmp(&tls(b)),
            Column::State => phase_name(a.state).cmp(phase_name(b.state)),
            Column::Age => a.age.cmp(&b.age),
            Column::Idle => a.idle.cmp(&b.idle),
            Column::BytesIn => a.bytes_in.cmp(&b.bytes_in),
            Column::BytesOut => a.bytes_out.cmp(&b.bytes_out),
            Column::Packets => a.packets.cmp(&b.packets),
            Column::Unsent => a.unsent.cmp(&b.unsent),
            Column::Dropped => a.dropped.cmp(&b.dropped),
            Column::Acceptor => a.acceptor.cmp(&b.acceptor),
        })
    }
}

fn tls(connection: &ConnectionInfo) -> Option<(&str, Option<&str>)> {
    connection.tls.as_ref().map(|tls| (tls.version.as_str(), tls.alpn.as_deref()))
}

pub(super) async fn one(shared: Data<Shared>, _: Viewer, request: HttpRequest) -> ApiResult {
    let (watched, info) = connection(&shared, &request)?;
    let (mut names, mut topics) = match watched.of.pool.connection(info.id) {
        Some(live) => (live.names(), live.topics()),
        None => (Vec::new(), Vec::new()),
    };
    for list in [&mut names, &mut topics] {
        list.sort_unstable();
        list.truncate(MAX_ROWS);
    }
    let texts = |list: &[Arc<str>]| list.iter().map(|text| text.to_string()).collect::<Vec<_>>();
    Ok(HttpResponse::Ok().json(json!({"connection": info, "names": texts(&names), "topics": texts(&topics)})))
}
