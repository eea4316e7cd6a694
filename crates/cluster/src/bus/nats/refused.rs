//! What the server has refused on a connection, according to errors that it does not send in response to a request.

use std::collections::HashSet;

use parking_lot::Mutex;

/// At most this many subjects are kept.
const MAX_SUBJECTS: usize = 100_000;

/// The subscriptions that the server has refused.
#[derive(Debug, Default)]
pub(super) struct Refused(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    subjects: HashSet<String>,
    /// How many were refused without their subject being named.
    unnamed: u64,
}

/// What an error of the server is about.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal<'a> {
    Subscription(&'a str),
    /// A subscription above the limit of the server or the account.
    AnySubscription,
    Publish(&'a str),
    Other,
}

impl<'a> Refusal<'a> {
    pub(super) fn of(error: &'a str) -> Self {
        let text = error.to_ascii_lowercase();
        let subject = error.split('"').nth(1).unwrap_or_default();
        if text.starts_with("permissions violation for subscription to") {
            Refusal::Subscription(subject)
        } else if text.starts_with("permissions violation for publish to") {
            Refusal::Publish(subject)
        } else if text.starts_with("maximum subscriptions exceeded") {
            Refusal::AnySubscription
        } else {
            Refusal::Other
        }
    }
}

impl Refused {
    pub(super) fn add(&self, subject: &str) {
        let mut state = self.0.lock();
        if state.subjects.len() < MAX_SUBJECTS {
            state.subjects.insert(subject.to_owned());
        } else {
            state.unnamed += 1;
        }
    }

    pub(super) fn add_unnamed(&self) {
        self.0.lock().unnamed += 1;
    }

    pub(super) fn contains(&self, subject: &str) -> bool {
        self.0.lock().subjects.contains(subject)
    }

    pub(super) fn remove(&self, subject: &str) {
        self.0.lock().subjects.remove(subject);
    }

    pub(super) fn unnamed(&self) -> u64 {
        self.0.lock().unnamed
    }
}

/// Whether a subject is one of messages, rather than of requests, answers and the key-value store.
pub(super) fn is_of_messages(subject: &str) -> bool {
    matches!(subject.split('.').nth(1), Some("topic" | "all" | "members"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_errors_of_the_server_name_what_it_refuses() {
        let of = Refusal::of;
        assert_eq!(
            of("Permissions Violation for Subscription to \"acceptor.topic.Ab\" using queue \"q\""),
            Refusal::Subscription("acceptor.topic.Ab")
        );
        assert_eq!(
            of("Permissions Violation for Publish to \"acceptor.topic.a\""),
            Refusal::Publish("acceptor.topic.a")
        );
        assert_eq!(of("maximum subscriptions exceeded"), Refusal::AnySubscription);
        assert_eq!(of("Stale Connection"), Refusal::Other);
        assert!(is_of_messages("acceptor.all") && is_of_messages("acceptor.topic.a"));
        assert!(!is_of_messages("$JS.API.STREAM.INFO.x") && !is_of_messages("acceptor.node.topic"));
    }
}
