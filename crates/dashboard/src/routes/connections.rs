//! The connections of a pool: a page of rows, and one with its names and topics.

use std::cmp::Ordering;
use std::sync::Arc;

use actix_acceptor::ConnectionInfo;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::query::{connection, part, query, Filter, Order, PageNumbers, Paging, MAX_ROWS};
use crate::access::Viewer;
use crate::error::ApiResult;
use crate::shared::{phase_name, Shared};

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
    let watched = shared.pool(part(&request, "pool"))?;
    let Parameters { sort, order, filter, listener, state, page, limit } = query(&request)?;
    let (paging, filter) = (Paging::new(page, limit)?, Filter::new(filter));
    let (taken, high_watermark) = (watched.connections(), watched.of.pool.settings().high_watermark as u64);
    let is_match = |connection: &ConnectionInfo| {
        listener.as_deref().is_none_or(|listener| *connection.listener == *listener)
            && state.is_none_or(|state| phase_name(connection.state) == state.name())
            && (filter.is_empty()
                || connection.label.as_ref().is_some_and(|label| filter.matches(label))
                || filter.matches(&connection.id.to_string())
                || filter.matches(&connection.peer.to_string()))
    };
    let mut rows: Vec<_> = taken.list.iter().filter(|connection| is_match(connection)).collect();
    let matching = rows.len();
    let connections = paging.sorted(&mut rows, |a, b| order.of(sort.compare(a, b)).then(a.id.cmp(&b.id)));
    Ok(HttpResponse::Ok().json(Page {
        total: taken.list.len(),
        matching,
        numbers: paging.numbers(matching),
        taken_ms: taken.taken_ms,
        slow: taken.list.iter().filter(|connection| connection.unsent > high_watermark).count(),
        connections,
    }))
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
    fn compare(self, a: &ConnectionInfo, b: &ConnectionInfo) -> Ordering {
        match self {
            Column::Id => a.id.cmp(&b.id),
            // Connections without a label come last.
            Column::Label => a.label.is_none().cmp(&b.label.is_none()).then_with(|| a.label.cmp(&b.label)),
            Column::Peer => match (a.peer.socket(), b.peer.socket()) {
                (Some(a), Some(b)) => a.cmp(&b),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => a.peer.to_string().cmp(&b.peer.to_string()),
            },
            Column::Listener => a.listener.cmp(&b.listener),
            Column::Tls => {
                let of = |connection: &ConnectionInfo| {
                    connection.tls.as_ref().map(|tls| (tls.version.clone(), tls.alpn.clone()))
                };
                of(a).cmp(&of(b))
            }
            Column::State => phase_name(a.state).cmp(phase_name(b.state)),
            Column::Age => a.age.cmp(&b.age),
            Column::Idle => a.idle.cmp(&b.idle),
            Column::BytesIn => a.bytes_in.cmp(&b.bytes_in),
            Column::BytesOut => a.bytes_out.cmp(&b.bytes_out),
            Column::Packets => a.packets.cmp(&b.packets),
            Column::Unsent => a.unsent.cmp(&b.unsent),
            Column::Dropped => a.dropped.cmp(&b.dropped),
            Column::Acceptor => a.acceptor.cmp(&b.acceptor),
        }
    }
}

pub(super) async fn one(shared: Data<Shared>, _: Viewer, request: HttpRequest) -> ApiResult {
    let (watched, info) = connection(&shared, &request)?;
    let pool = &watched.of.pool;
    let (names, topics) = (watched.names(), watched.topics());
    let is_owner = |name: &&Arc<str>| pool.whereis(name).is_some_and(|owner| owner.id() == info.id);
    let names: Vec<_> = names.list.iter().filter(is_owner).take(MAX_ROWS).collect();
    let is_member = |(name, _): &&(Arc<str>, usize)| pool.topic(name).contains(info.id);
    let topics: Vec<_> = topics.list.iter().filter(is_member).take(MAX_ROWS).map(|(name, _)| name).collect();
    Ok(HttpResponse::Ok().json(json!({
        "connection": info,
        "names": names.iter().map(|name| &***name).collect::<Vec<&str>>(),
        "topics": topics.iter().map(|name| &***name).collect::<Vec<&str>>(),
    })))
}
