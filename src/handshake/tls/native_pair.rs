//! Tests by a handshake in memory whether certificate and key match, which the system's TLS library does not report.
//!
//! This needs neither descriptors nor a thread, so it does not fail for lack of them.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::rc::Rc;

use native_tls::{HandshakeError, MidHandshakeTlsStream, TlsAcceptor, TlsConnector, TlsStream};

/// More turns than a handshake needs.
const MAX_TURNS: usize = 20;

/// Whether a client completes a handshake with this acceptor.
pub(super) fn is_matching(acceptor: &TlsAcceptor) -> Result<bool, native_tls::Error> {
    let connector = TlsConnector::builder()
        .danger_accept_invalid_certs(true)
        .danger_accept_invalid_hostnames(true)
        .use_sni(false)
        .build()?;
    let (here, there) = End::pair();
    let mut client = Side::of(connector.connect("localhost", here));
    let mut server = Side::of(acceptor.accept(there));
    for _ in 0..MAX_TURNS {
        match (&client, &server) {
            (Side::Done(_), Side::Done(_)) => return Ok(true),
            (Side::Failed, _) | (_, Side::Failed) => return Ok(false),
            _ => {}
        }
        (client, server) = (client.turn(), server.turn());
    }
    Ok(false)
}

/// One side of the handshake. There are two, on the stack, for the time of the check.
#[allow(clippy::large_enum_variant)]
enum Side {
    Waiting(MidHandshakeTlsStream<End>),
    /// Kept until the other side is done, since its end would be read there.
    Done(#[allow(dead_code)] TlsStream<End>),
    Failed,
}

impl Side {
    fn of(result: Result<TlsStream<End>, HandshakeError<End>>) -> Self {
        match result {
            Ok(stream) => Side::Done(stream),
            Err(HandshakeError::WouldBlock(waiting)) => Side::Waiting(waiting),
            Err(HandshakeError::Failure(_)) => Side::Failed,
        }
    }

    fn turn(self) -> Self {
        match self {
            Side::Waiting(waiting) => Side::of(waiting.handshake()),
            ended => ended,
        }
    }
}

/// One end of a stream in memory.
#[derive(Debug)]
struct End {
    input: Rc<RefCell<VecDeque<u8>>>,
    output: Rc<RefCell<VecDeque<u8>>>,
}

impl End {
    fn pair() -> (Self, Self) {
        let (one, other) = (Rc::default(), Rc::default());
        (End { input: Rc::clone(&one), output: Rc::clone(&other) }, End { input: other, output: one })
    }
}

impl Read for End {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut input = self.input.borrow_mut();
        if input.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        input.read(buf)
    }
}

impl Write for End {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.output.borrow_mut().extend(buf);
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
