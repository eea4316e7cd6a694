//! A transport that follows a script: in memory, or in front of a real port.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use actix_acceptor::transport::Address;
use actix_acceptor::transport::{Accept, Accepted, Stream, Tcp, Transport};
use tokio::io::{duplex, DuplexStream};

use super::Peer;

/// What the next `try_accept` does.
type Step = Box<dyn FnOnce() -> io::Result<Accepted> + Send>;
/// What the next `share` does first.
type BeforeShare = Box<dyn FnOnce() -> io::Result<()> + Send>;

/// The transport; its [`ScriptHandle`] says what happens.
pub struct ScriptedTransport {
    tcp: Option<Tcp>,
    script: Arc<Mutex<Script>>,
}

/// Says what a [`ScriptedTransport`] does next.
#[derive(Clone)]
pub struct ScriptHandle(Arc<Mutex<Script>>);

#[derive(Default)]
struct Script {
    steps: VecDeque<Step>,
    scenes: VecDeque<BeforeShare>,
    broken: VecDeque<io::Error>,
    waiting: Vec<Waker>,
}

impl ScriptedTransport {
    /// Peers come by [`ScriptHandle::connect`] alone.
    pub fn in_memory() -> (ScriptedTransport, ScriptHandle) {
        Self::new(None)
    }

    /// Peers come by a real port; what the director says comes first.
    pub fn in_front_of(tcp: Tcp) -> (ScriptedTransport, ScriptHandle) {
        Self::new(Some(tcp))
    }

    fn new(tcp: Option<Tcp>) -> (ScriptedTransport, ScriptHandle) {
        let script = Arc::<Mutex<Script>>::default();
        (ScriptedTransport { tcp, script: script.clone() }, ScriptHandle(script))
    }
}

impl ScriptHandle {
    /// A peer connects; both directions hold up to 64 KiB.
    pub fn connect(&self) -> Peer<DuplexStream> {
        let (theirs, ours) = duplex(64 * 1024);
        self.accept(move || Ok(Accepted { stream: Stream::other(ours), peer: Address::Other("memory".into()) }));
        Peer(theirs)
    }

    /// What one coming `try_accept` does: yield a stream, fail, panic, or block.
    pub fn accept(&self, step: impl FnOnce() -> io::Result<Accepted> + Send + 'static) {
        self.wake(|script| script.steps.push_back(Box::new(step)));
    }

    /// One coming `try_accept` fails with an error of the system's.
    pub fn accept_fails(&self, code: i32) {
        self.accept(move || Err(io::Error::from_raw_os_error(code)));
    }

    /// One coming `poll_ready` fails: the listener is broken.
    pub fn ready_fails(&self, error: io::Error) {
        self.wake(|script| script.broken.push_back(error));
    }

    /// What one coming `share` does first: fail, panic, or block.
    pub fn share(&self, scene: impl FnOnce() -> io::Result<()> + Send + 'static) {
        self.0.lock().unwrap().scenes.push_back(Box::new(scene));
    }

    /// How many steps have not been taken yet.
    pub fn left(&self) -> usize {
        let script = self.0.lock().unwrap();
        script.steps.len() + script.broken.len()
    }

    fn wake(&self, change: impl FnOnce(&mut Script)) {
        let waiting = {
            let mut script = self.0.lock().unwrap();
            change(&mut script);
            std::mem::take(&mut script.waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }
}

impl Transport for ScriptedTransport {
    fn local_addr(&self) -> Address {
        self.tcp.as_ref().map_or(Address::Other("memory".into()), Transport::local_addr)
    }

    fn share(&self) -> io::Result<Box<dyn Accept>> {
        let scene = self.script.lock().unwrap().scenes.pop_front();
        scene.map_or(Ok(()), |scene| scene())?;
        let tcp = self.tcp.as_ref().map(Transport::share).transpose()?;
        Ok(Box::new(Share { tcp, script: self.script.clone() }))
    }
}

struct Share {
    tcp: Option<Box<dyn Accept>>,
    script: Arc<Mutex<Script>>,
}

impl Accept for Share {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut script = self.script.lock().unwrap();
        if let Some(error) = script.broken.pop_front() {
            return Poll::Ready(Err(error));
        }
        if !script.steps.is_empty() {
            return Poll::Ready(Ok(()));
        }
        script.waiting.push(cx.waker().clone());
        drop(script);
        self.tcp.as_mut().map_or(Poll::Pending, |tcp| tcp.poll_ready(cx))
    }

    fn try_accept(&mut self) -> io::Result<Accepted> {
        // The script is let go of before the step: it may panic or block.
        let step = self.script.lock().unwrap().steps.pop_front();
        match (step, &mut self.tcp) {
            (Some(step), _) => step(),
            (None, Some(tcp)) => tcp.try_accept(),
            (None, None) => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}
