//! The parameters of requests.

use std::cmp::Ordering;

use actix_acceptor::{ConnectionId, ConnectionInfo};
use actix_web::http::header::ContentType;
use actix_web::http::StatusCode;
use actix_web::web::{block, Query};
use actix_web::{HttpRequest, HttpResponse};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{ApiError, ApiResult};
use crate::shared::{Shared, Watched};

/// The most rows of a page.
pub(super) const MAX_ROWS: usize = 100;

/// Reads the parameters. Unknown ones are ignored.
pub(super) fn query<T: DeserializeOwned>(request: &HttpRequest) -> Result<T, ApiError> {
    let query = Query::<T>::from_query(request.query_string());
    query.map(Query::into_inner).map_err(|error| ApiError::parameter(error.to_string()))
}

/// A part of the path, decoded. The router decodes all but `%25`, `%2B` and `%2F`.
pub(crate) fn part(request: &HttpRequest, name: &str) -> String {
    let mut rest = request.match_info().get(name).unwrap_or_default();
    let mut decoded = String::with_capacity(rest.len());
    while let Some((before, after)) = rest.split_once('%') {
        decoded.push_str(before);
        let (character, after) = match after.get(..2).map(str::to_ascii_uppercase).as_deref() {
            Some("25") => ('%', &after[2..]),
            Some("2B") => ('+', &after[2..]),
            Some("2F") => ('/', &after[2..]),
            _ => ('%', after),
        };
        decoded.push(character);
        rest = after;
    }
    decoded + rest
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(super) enum Order {
    #[default]
    Asc,
    Desc,
}

impl Order {
    pub(super) fn of(self, ordering: Ordering) -> Ordering {
        if self == Order::Desc {
            ordering.reverse()
        } else {
            ordering
        }
    }
}

/// Which page, and how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paging {
    page: usize,
    limit: usize,
}

/// The fields of a response that has pages.
#[derive(Debug, Serialize)]
pub(super) struct PageNumbers {
    page: usize,
    pages: usize,
    limit: usize,
}

impl Paging {
    pub(super) fn new(page: Option<usize>, limit: Option<usize>) -> Result<Self, ApiError> {
        let (page, limit) = (page.unwrap_or(1), limit.unwrap_or(50));
        if page == 0 {
            return Err(ApiError::parameter("page: must be at least 1 (got 0)"));
        }
        if !(1..=MAX_ROWS).contains(&limit) {
            return Err(ApiError::parameter(format!("limit: must be 1 to {MAX_ROWS} (got {limit})")));
        }
        Ok(Paging { page, limit })
    }

    pub(super) fn numbers(self, matching: usize) -> PageNumbers {
        PageNumbers { page: self.page, pages: matching.div_ceil(self.limit).max(1), limit: self.limit }
    }

    /// The rows of the page. Of `rows`, only as many are sorted as necessary.
    pub(super) fn sorted<T>(self, rows: &mut [T], compare: impl Fn(&T, &T) -> Ordering) -> &[T] {
        let start = (self.page - 1).saturating_mul(self.limit).min(rows.len());
        let end = (start + self.limit).min(rows.len());
        if start == end {
            return &[];
        }
        if start > 0 {
            rows.select_nth_unstable_by(start, &compare);
        }
        let rest = &mut rows[start..];
        if end - start < rest.len() {
            rest.select_nth_unstable_by(end - start, &compare);
        }
        let page = &mut rest[..end - start];
        page.sort_unstable_by(&compare);
        page
    }

    /// The rows of the page, of rows that are sorted.
    pub(super) fn of<T>(self, rows: &[T]) -> &[T] {
        let start = (self.page - 1).saturating_mul(self.limit).min(rows.len());
        &rows[start..(start + self.limit).min(rows.len())]
    }
}

/// The part that a row has to contain, in any case.
pub(super) struct Filter(String);

impl Filter {
    pub(super) fn new(text: Option<String>) -> Self {
        Filter(text.unwrap_or_default().to_lowercase())
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        if !text.is_ascii() {
            return text.to_lowercase().contains(&self.0);
        }
        let Some((first, rest)) = self.0.as_bytes().split_first() else { return true };
        // Most places differ in the first byte, which is compared without a call.
        let mut places = text.as_bytes().windows(self.0.len());
        places.any(|place| place[0].to_ascii_lowercase() == *first && place[1..].eq_ignore_ascii_case(rest))
    }

    /// Whether a number may contain it. If not, numbers need not be formatted.
    pub(super) fn is_number(&self) -> bool {
        self.0.bytes().all(|byte| byte.is_ascii_digit())
    }

    /// Whether an IP address with a port may contain it.
    pub(super) fn is_address(&self) -> bool {
        self.0.bytes().all(|byte| byte.is_ascii_hexdigit() || b".:[]%".contains(&byte))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A response whose JSON is made from all connections, topics or names of a pool. That takes milliseconds with many of them, so it is
/// done on a thread for blocking calls, and the worker, which may be the application's, serves other requests meanwhile.
pub(super) async fn respond_from_lists(
    json: impl FnOnce() -> serde_json::Result<Vec<u8>> + Send + 'static,
) -> ApiResult {
    let failed = |why: String| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "failed", why);
    let json = block(json).await.map_err(|error| failed(error.to_string()))?;
    let json = json.map_err(|error| failed(error.to_string()))?;
    Ok(HttpResponse::Ok().insert_header(ContentType::json()).body(json))
}

/// The pool that the path names, and a connection of it that lives.
pub(crate) fn connection<'a>(
    shared: &'a Shared,
    request: &HttpRequest,
) -> Result<(&'a Watched, ConnectionInfo), ApiError> {
    let watched = shared.pool(&part(request, "pool"))?;
    let id = part(request, "id");
    let number: u64 = id.parse().map_err(|_| ApiError::parameter(format!("invalid connection id {id:?}")))?;
    let info = watched.of.pool.connection_info(ConnectionId::from(number));
    let info = info.ok_or_else(|| ApiError::not_found(format!("no connection {number}: it has ended")))?;
    Ok((watched, info))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_contain_each_row_once_in_order() {
        for (rows, limit) in [(0, 10), (1, 10), (10, 10), (95, 10), (101, 100), (7, 1)] {
            let all: Vec<u32> = (0..rows).map(|n| n * 7_919 % 10_007).collect();
            let mut sorted = all.clone();
            sorted.sort_unstable();
            let mut seen = Vec::new();
            for page in 1..=rows as usize / limit + 2 {
                let paging = Paging::new(Some(page), Some(limit)).expect("valid");
                seen.extend_from_slice(paging.sorted(&mut all.clone(), Ord::cmp));
            }
            assert_eq!(seen, sorted, "{rows} {limit}");
        }
        let far = Paging::new(Some(usize::MAX), Some(100)).expect("valid");
        assert!(far.of(&[1, 2, 3]).is_empty());
    }

    #[test]
    fn a_part_of_an_address_may_be_in_one() {
        for address in ["127.0.0.1:50312", "[2001:DB8::ab]:443", "[fe80::1%3]:1"] {
            let filter = |range| Filter::new(address.get(range).map(str::to_owned));
            for (start, end) in
                (0..address.len()).flat_map(|start| (start..=address.len()).map(move |end| (start, end)))
            {
                assert!(filter(start..end).is_address(), "{address} {start} {end}");
            }
        }
        let is_number = |part: &str| Filter::new(Some(part.to_owned())).is_number();
        assert!(is_number("") && is_number("42") && !is_number("4a"));
    }

    #[test]
    fn a_filter_ignores_the_case() {
        let filter = |text: &str| Filter::new(Some(text.to_owned()));
        for (part, text, expected) in [
            ("", "", true),
            ("ANN", "joanna", true),
            ("ann", "JOANNA", true),
            ("ann", "an", false),
            ("anne", "anna", false),
            ("GRÜSSE", "grüsse", true),
            ("ß", "strasse", false),
            ("e", "é", false),
        ] {
            assert_eq!(filter(part).matches(text), expected, "{part:?} {text:?}");
        }
    }
}
