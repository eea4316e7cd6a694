//! Texts to connections, and the end of a connection with a last text.

use std::time::Duration;

use actix_acceptor::ConnectionId;
use actix_web::web::Data;
use actix_web::HttpRequest;
use serde::Deserialize;
use serde_json::{json, to_value};

use super::actions::{check_peer, seconds};
use crate::access::Action;
use crate::audit::perform;
use crate::error::{ApiError, ApiResult};
use crate::pools::To;
use crate::shared::Shared;

/// How long a connection has to send what is queued, if the request does not say it.
const GRACE: Duration = Duration::from_secs(5);
const NO_TEXTS: &str = "this pool cannot send text: see `DashboardPool::with_text` and `with_bytes`";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Send {
    text: String,
    to: Target,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Target {
    Connection(u64),
    Topic(String),
    All,
}

pub(super) async fn send(shared: Data<Shared>, request: HttpRequest, action: Action<Send>) -> ApiResult {
    let watched = action.pool(&shared, &request)?;
    perform(&shared, action.on(watched, "send", ""), async {
        let texts = watched.of.texts.as_ref().ok_or_else(|| ApiError::not_offered(NO_TEXTS))?;
        let to = match &action.body.to {
            Target::Connection(id) => To::Connection(ConnectionId::from(*id)),
            Target::Topic(name) => To::Topic(name),
            Target::All => To::All,
        };
        let sent = texts.send(action.body.text.clone(), to).map_err(ApiError::failed)?;
        match action.body.to {
            Target::Connection(id) if sent.delivered + sent.full == 0 => Err(ApiError::not_found(format!(
                "connection {id} cannot be sent text: it has ended, or has another protocol"
            ))),
            _ => Ok(to_value(sent).unwrap_or_default()),
        }
    })
    .await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Close {
    text: Option<String>,
    grace: Option<f64>,
    peer: Option<String>,
}

pub(super) async fn close(shared: Data<Shared>, request: HttpRequest, action: Action<Close>) -> ApiResult {
    let (watched, info) = action.connection(&shared, &request)?;
    let subject = format!("connection {} of {}", info.id, info.peer);
    perform(&shared, action.on(watched, "close", &subject), async {
        check_peer(&info, action.body.peer.as_deref())?;
        let grace = action.body.grace.map_or(Ok(GRACE), |grace| seconds("grace", grace))?;
        let is_closing = match action.body.text.clone().filter(|text| !text.is_empty()) {
            None => watched.of.pool.close(info.id, None, grace),
            Some(text) => {
                let texts = watched.of.texts.as_ref().ok_or_else(|| ApiError::not_offered(NO_TEXTS))?;
                texts.close(info.id, text, grace).map_err(ApiError::failed)?
            }
        };
        if !is_closing {
            return Err(ApiError::not_found(format!("no connection {}: it has ended", info.id)));
        }
        Ok(json!({"closing": true}))
    })
    .await
}
