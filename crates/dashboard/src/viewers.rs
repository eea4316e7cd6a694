//! The viewers that receive updates.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_core::Stream;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::session::Session;

/// How many viewers receive updates.
pub(crate) const MAX_VIEWERS: usize = 32;
/// How many messages a viewer may be behind.
const MAX_BEHIND: usize = 8;

#[derive(Default)]
pub(crate) struct Viewers(Mutex<Vec<Viewer>>);

struct Viewer {
    messages: mpsc::Sender<Bytes>,
    session: Option<Session>,
}

/// The updates of one viewer: the body of a response without an end.
pub(crate) struct Updates(mpsc::Receiver<Bytes>);

impl Viewers {
    /// Adds a viewer, with its first message. `None` if there are too many.
    pub(crate) fn add(&self, session: Option<Session>, first: Bytes) -> Option<Updates> {
        let mut viewers = self.0.lock();
        viewers.retain(|viewer| !viewer.messages.is_closed());
        if viewers.len() >= MAX_VIEWERS {
            return None;
        }
        let (messages, updates) = mpsc::channel(MAX_BEHIND);
        messages.try_send(first).ok()?;
        viewers.push(Viewer { messages, session });
        Some(Updates(updates))
    }

    pub(crate) fn len(&self) -> usize {
        let mut viewers = self.0.lock();
        viewers.retain(|viewer| !viewer.messages.is_closed());
        viewers.len()
    }

    /// Sends a message to each viewer. Those that have left, are behind, or whose session is no longer valid are removed, which ends
    /// their response.
    pub(crate) fn send(&self, message: &Bytes, is_valid: impl Fn(Session) -> bool) {
        self.0
            .lock()
            .retain(|viewer| viewer.session.is_none_or(&is_valid) && viewer.messages.try_send(message.clone()).is_ok());
    }

    /// Ends the responses of all viewers.
    pub(crate) fn disconnect(&self) {
        self.0.lock().clear();
    }
}

impl Stream for Updates {
    type Item = Result<Bytes, actix_web::Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(cx).map(|message| message.map(Ok))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_viewer_that_does_not_read_is_disconnected() {
        let viewers = Viewers::default();
        let (mut slow, mut fast) =
            (viewers.add(None, Bytes::new()).expect("room"), viewers.add(None, Bytes::new()).expect("room"));
        for _ in 0..20 {
            viewers.send(&Bytes::from_static(b"x"), |_| true);
            assert!(fast.0.try_recv().is_ok());
        }
        assert_eq!(viewers.len(), 1);
        for _ in 0..MAX_BEHIND {
            assert!(slow.0.try_recv().is_ok());
        }
        assert_eq!(slow.0.try_recv(), Err(mpsc::error::TryRecvError::Disconnected));
    }

    #[test]
    fn viewers_are_limited_and_leave_room_when_they_end() {
        let viewers = Viewers::default();
        let mut updates: Vec<_> = (0..MAX_VIEWERS).filter_map(|_| viewers.add(None, Bytes::new())).collect();
        assert_eq!(updates.len(), MAX_VIEWERS);
        assert!(viewers.add(None, Bytes::new()).is_none());
        updates.pop();
        assert!(viewers.add(None, Bytes::new()).is_some());
    }
}
