//! A listener as the acceptors see it: what they are to do with its peers just now.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use tokio::sync::watch;

use crate::limits::Port;
use crate::table::Common;
use crate::telemetry::PoolEvent;
use crate::transport::{Accept, Address, Handshake, Transport};

/// What acceptors do with a listener's peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Take them.
    Open,
    /// Leave them in the kernel's queue.
    Held,
    /// Take those that are queued, then let go of the port until it is open again.
    Shut(BacklogPolicy),
    /// The same, and for good.
    Gone(BacklogPolicy),
}

/// What happens to the peers that are in the kernel's queue when a port closes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum BacklogPolicy {
    /// They are accepted and served, as far as the limits allow; the others are refused.
    #[default]
    Accept,
    /// They are accepted and closed.
    Refuse,
    /// They are left to the kernel, which resets them.
    Drop,
}

/// One listener of a pool.
pub(crate) struct Inlet {
    pub(crate) transport: Box<dyn Transport>,
    pub(crate) port: Arc<Port>,
    /// What its peers go through before they are ready.
    pub(crate) steps: Vec<Arc<dyn Handshake>>,
    mode: watch::Sender<Mode>,
    /// How many acceptors have a share of the port open.
    shares: watch::Sender<usize>,
    /// How many of them are taking peers.
    taking: watch::Sender<usize>,
    /// Last, so that it is told of the end when the port is closed.
    told: Told,
}

/// What observers think of the port.
struct Told {
    is_open: AtomicBool,
    common: OnceLock<Arc<Common>>,
    listener: Arc<str>,
    address: Address,
}

impl Told {
    fn tell(&self, open: bool) {
        if self.is_open.swap(open, Relaxed) == open {
            return;
        }
        let (listener, address) = (&*self.listener, &self.address);
        if let Some(common) = self.common.get() {
            common.observers.tell(|| match open {
                true => PoolEvent::ListenerStarted { listener, address },
                false => PoolEvent::ListenerStopped { listener, address },
            });
        }
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        self.tell(false);
    }
}

impl Inlet {
    pub(crate) fn new(transport: Box<dyn Transport>, port: Arc<Port>, steps: Vec<Arc<dyn Handshake>>) -> Arc<Self> {
        let (listener, address) = (port.name().clone(), transport.local_addr());
        let told = Told { is_open: AtomicBool::new(false), common: OnceLock::new(), listener, address };
        let (mode, shares) = (watch::Sender::new(Mode::Open), watch::Sender::new(0));
        let taking = watch::Sender::new(0);
        Arc::new(Inlet { transport, port, steps, mode, shares, taking, told })
    }

    /// Tells every acceptor what to do. Told the same again, they look at the limits anew.
    pub(crate) fn set_mode(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    pub(crate) fn mode(&self) -> Mode {
        *self.mode.borrow()
    }

    /// Whether nothing that peers go through here keeps this one out from the start.
    pub(super) fn allows(&self, peer: &Address) -> bool {
        self.steps.iter().all(|step| step.allows(peer))
    }

    /// Whether this peer would be kept out however much room there was.
    pub(super) fn denies(&self, peer: &Address) -> bool {
        self.port.denies(peer) || !self.allows(peer)
    }

    /// Waits until no acceptor takes peers, whatever it has open.
    pub(crate) async fn at_rest(&self) {
        // The sender is here: it cannot be gone.
        let _ = self.taking.subscribe().wait_for(|taking| *taking == 0).await;
    }

    /// Marks an acceptor as one that takes peers, until the mark is dropped.
    pub(super) fn taking(&self) -> Taking<'_> {
        self.taking.send_modify(|taking| *taking += 1);
        Taking(self)
    }

    pub(super) fn orders(&self) -> watch::Receiver<Mode> {
        self.mode.subscribe()
    }

    /// The port is open: the observers are told if that is news, and again when it is closed for good.
    pub(crate) fn tell_open(&self, common: &Arc<Common>) {
        self.told.common.get_or_init(|| common.clone());
        self.told.tell(true);
    }

    /// The port is closed for now.
    pub(crate) fn tell_closed(&self) {
        self.told.tell(false);
    }

    /// Waits until no acceptor has a share open.
    pub(crate) async fn unshared(&self) {
        // The sender is here: it cannot be gone.
        let _ = self.shares.subscribe().wait_for(|shares| *shares == 0).await;
    }
}

/// An acceptor's share of the port, counted while it is open.
pub(super) struct Share {
    pub(super) accept: Box<dyn Accept>,
    counted: Counted,
}

/// An acceptor that takes peers.
pub(super) struct Taking<'a>(&'a Inlet);

impl Drop for Taking<'_> {
    fn drop(&mut self) {
        self.0.taking.send_modify(|taking| *taking -= 1);
    }
}

struct Counted(Arc<Inlet>);

impl Share {
    pub(super) fn of(inlet: &Arc<Inlet>) -> io::Result<Self> {
        inlet.shares.send_modify(|shares| *shares += 1);
        // Counted before it is open, and until it is closed: whoever waits for the port to be free finds it so.
        let counted = Counted(inlet.clone());
        Ok(Share { accept: inlet.transport.share()?, counted })
    }

    pub(super) fn inlet(&self) -> &Arc<Inlet> {
        &self.counted.0
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.shares.send_modify(|shares| *shares -= 1);
    }
}
