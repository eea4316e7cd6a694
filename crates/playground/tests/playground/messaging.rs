//! Topics, names, labels and outboxes.

mod names;
mod outbox;
mod state;
mod topics;

use std::ops::RangeBounds;

use serde_json::Value;

use crate::client::{Client, Wire};
use crate::process::{eventually, playground, Playground};
use crate::HANDLERS;

/// Runs a test with each of these handlers.
fn with_handlers(options: &str, mut test: impl FnMut(Playground, &str)) {
    for handler in HANDLERS {
        let options = format!("--handler {handler} {options}");
        test(playground(&options), &options);
    }
}

impl Client {
    /// Sends a verb, which ends with a newline if the framing is `raw`, and receives its answer without it.
    fn verb(&mut self, verb: &str) -> String {
        self.send(&format!("{verb}{}", self.newline()));
        self.text()
    }

    /// Receives a packet, without the newline that the verb of another client had if the framing is `raw`.
    fn text(&mut self) -> String {
        let packet = self.receive();
        packet.strip_suffix(self.newline()).unwrap_or_else(|| panic!("{packet:?} has no newline")).to_owned()
    }

    fn newline(&self) -> &'static str {
        if self.wire() == Wire::Raw {
            "\n"
        } else {
            ""
        }
    }
}

impl Playground {
    /// A client that has received an answer to this verb.
    fn with_verb(&self, verb: &str, answer: &str) -> Client {
        let mut client = self.connect();
        assert_eq!(client.verb(verb), answer, "{verb}");
        client
    }

    /// A client that is a member of this topic.
    fn member(&self, topic: &str) -> Client {
        self.with_verb(&format!("!join {topic}"), "joined")
    }

    /// Waits until `list` shows this value for a connection.
    #[track_caller]
    fn shows(&self, id: u64, field: &str, value: impl Into<Value>) {
        let value = value.into();
        eventually(|| self.listed(id)[field] == value);
    }

    /// Waits until `list` shows that many unsent bytes for a connection.
    #[track_caller]
    fn has_unsent(&self, id: u64, unsent: impl RangeBounds<u64>) {
        eventually(|| unsent.contains(&self.unsent(id)));
    }

    fn unsent(&self, id: u64) -> u64 {
        self.listed(id)["unsent"].as_u64().unwrap_or_default()
    }

    /// What `list` shows for a connection. Null if it is not listed.
    fn listed(&self, id: u64) -> Value {
        let list = self.json("list");
        list.as_array().unwrap().iter().find(|connection| connection["id"] == id).cloned().unwrap_or_default()
    }
}
