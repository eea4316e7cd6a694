//! Plain protocols, and a recorder of endings.

use actix_acceptor::{telemetry::CloseReason, Closed, Conn, ConnectionInfo, Framing, Next, Protocol};
use bytes::Bytes;
use tokio::sync::mpsc::{unbounded_channel, UnboundedReceiver, UnboundedSender};

use super::in_time;

/// Sends every packet back.
pub struct Echo;

impl Protocol for Echo {
    type Codec = Framing;
    type Reply = Bytes;
    type User = ();

    fn packet(&mut self, packet: Bytes, _: &mut Conn<Self>) -> Next<Self> {
        Next::Send(packet)
    }
}

/// Sends every packet back, and every message of the program's; tells how it ended.
pub struct Recorded(pub Recorder);

impl Protocol for Recorded {
    type Codec = Framing;
    type Reply = Bytes;
    type User = Bytes;

    fn packet(&mut self, packet: Bytes, _: &mut Conn<Self>) -> Next<Self> {
        Next::Send(packet)
    }

    fn user(&mut self, message: Bytes, _: &mut Conn<Self>) -> Next<Self> {
        Next::Send(message)
    }

    fn closed(&mut self, why: &Closed, _: &ConnectionInfo) {
        self.0.note(why);
    }
}

/// Takes down how connections end: give each protocol a clone, call [`note`](Recorder::note) in `closed`.
#[derive(Clone)]
pub struct Recorder(UnboundedSender<(CloseReason, String)>);

impl Recorder {
    pub fn new() -> (Recorder, Closings) {
        let (sender, receiver) = unbounded_channel();
        (Recorder(sender), Closings(receiver))
    }

    pub fn note(&self, why: &Closed) {
        let _ = self.0.send((why.reason(), why.to_string()));
    }
}

/// The endings a [`Recorder`] took down, in order.
pub struct Closings(UnboundedReceiver<(CloseReason, String)>);

impl Closings {
    /// Waits for the next ending: its reason, and the whole of it as text.
    pub async fn next(&mut self) -> (CloseReason, String) {
        in_time(self.0.recv()).await.expect("an ending: nobody is left to have one")
    }

    /// Waits for the next ending; its reason.
    pub async fn reason(&mut self) -> CloseReason {
        self.next().await.0
    }

    /// Whether no ending is there at present.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All endings until no recorder is left, which must be given up by then: the pool's too.
    pub async fn rest(mut self) -> Vec<CloseReason> {
        let mut rest = Vec::new();
        while let Some((reason, _)) = in_time(self.0.recv()).await {
            rest.push(reason);
        }
        rest
    }
}
