//! Topics and names.

use std::sync::Arc;

use actix_web::web::Data;
use actix_web::HttpRequest;
use serde::Deserialize;
use serde_json::{json, to_value, Value};

use super::query::{part, query, respond_from_lists, Filter, Order, Paging};
use crate::access::Viewer;
use crate::error::{ApiError, ApiResult};
use crate::shared::Shared;

#[derive(Deserialize)]
struct Parameters {
    filter: Option<String>,
    #[serde(default)]
    sort: Column,
    #[serde(default)]
    order: Order,
    name: Option<String>,
    page: Option<usize>,
    limit: Option<usize>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Column {
    #[default]
    Name,
    Members,
}

pub(super) async fn topics(shared: Data<Shared>, _: Viewer, request: HttpRequest) -> ApiResult {
    let watched = shared.pool(&part(&request, "pool"))?.clone();
    let Parameters { filter, sort, order, page, limit, .. } = query(&request)?;
    let (paging, filter) = (Paging::new(page, limit)?, Filter::new(filter));
    respond_from_lists(move || {
        let taken = watched.topics();
        let mut rows: Vec<_> = taken.list.iter().filter(|(name, _)| filter.matches(name)).collect();
        let matching = rows.len();
        let page = paging.sorted(&mut rows, |(name_a, members_a), (name_b, members_b)| match sort {
            Column::Name => order.of(name_a.cmp(name_b)),
            Column::Members => order.of(members_a.cmp(members_b)).then_with(|| name_a.cmp(name_b)),
        });
        let topics = page.iter().map(|(name, members)| json!({"name": &**name, "members": members}));
        let counts = json!({"total": taken.list.len(), "matching": matching, "topics": topics.collect::<Vec<_>>()});
        with_numbers(counts, paging, matching)
    })
    .await
}

pub(super) async fn topic(shared: Data<Shared>, _: Viewer, request: HttpRequest) -> ApiResult {
    let watched = shared.pool(&part(&request, "pool"))?.clone();
    let Parameters { name, page, limit, .. } = query(&request)?;
    let name = name.ok_or_else(|| ApiError::parameter("name: missing; it is the name of a topic"))?;
    let paging = Paging::new(page, limit)?;
    respond_from_lists(move || {
        let pool = &watched.of.pool;
        let members = pool.topic(&name).members();
        let connections = paging.of(&members).iter().filter_map(|id| pool.connection_info(*id));
        let connections = to_value(connections.collect::<Vec<_>>())?;
        let counts = json!({"name": name, "members": members.len(), "connections": connections});
        with_numbers(counts, paging, members.len())
    })
    .await
}

pub(super) async fn names(shared: Data<Shared>, _: Viewer, request: HttpRequest) -> ApiResult {
    let watched = shared.pool(&part(&request, "pool"))?.clone();
    let Parameters { filter, order, page, limit, .. } = query(&request)?;
    let (paging, filter) = (Paging::new(page, limit)?, Filter::new(filter));
    respond_from_lists(move || {
        let taken = watched.names();
        let mut rows: Vec<&Arc<str>> = taken.list.iter().filter(|name| filter.matches(name)).collect();
        if order == Order::Desc {
            rows.reverse();
        }
        let owner = |name: &str| watched.of.pool.whereis(name).map(|owner| owner.id());
        let names = paging.of(&rows).iter().map(|name| json!({"name": &***name, "connection": owner(name)}));
        let counts = json!({"total": taken.list.len(), "matching": rows.len(), "names": names.collect::<Vec<_>>()});
        with_numbers(counts, paging, rows.len())
    })
    .await
}

fn with_numbers(mut response: Value, paging: Paging, matching: usize) -> serde_json::Result<Vec<u8>> {
    if let (Value::Object(response), Value::Object(numbers)) = (&mut response, to_value(paging.numbers(matching))?) {
        response.extend(numbers);
    }
    serde_json::to_vec(&response)
}
