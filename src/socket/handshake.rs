//! The handshake of a [`Socket`]: before its handler gets it, and later, as STARTTLS.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{select, Either};

use super::span::in_span;
use super::Socket;
use crate::handshake::{Handshake, HandshakeChain, HandshakeEnd, HandshakeError};

impl Socket {
    /// Runs the listener's handshake, then hands the socket over.
    pub(crate) fn when_ready(mut self, hand_over: impl FnOnce(Socket) + 'static) {
        match self.handshake.take() {
            None => hand_over(self),
            Some(chain) => {
                let shared = self.shared();
                actix_rt::spawn(in_span(shared, async move {
                    if let Some(Ok(())) = self.run_handshake(*chain).await {
                        hand_over(self);
                    }
                }));
            }
        }
    }

    /// Runs a handshake. A failure is recorded as the close reason. Returns `None` if the pool or the maximum age
    /// ended the connection first.
    async fn run_handshake(&mut self, chain: HandshakeChain) -> Option<Result<(), HandshakeEnd>> {
        let steps = chain.begin(self.io.take(), self.shared.state().clone(), Duration::ZERO);
        let shared = self.shared.clone();
        shared.set_in_handshake(true);
        let outcome = match select(steps, pin!(shared.ended())).await {
            Either::Left((outcome, _)) => outcome,
            Either::Right(_) => return None,
        };
        shared.set_in_handshake(false);
        Some(match outcome {
            Ok(handshaken) => {
                self.io = handshaken.stream;
                self.negotiated = handshaken.negotiated.or(&self.negotiated);
                Ok(())
            }
            Err(failure) => {
                self.shared.handshake_failed(&failure);
                Err(failure)
            }
        })
    }

    /// Runs a handshake on the live connection, such as TLS after STARTTLS, within the pool's
    /// [`handshake_timeout`](crate::Builder::handshake_timeout).
    ///
    /// The caller must reject plaintext that it has read after the STARTTLS command: a man in the middle could have
    /// injected it to be read as if it were encrypted.
    ///
    /// # Errors
    /// The reason for which the handshake failed. The socket is closed.
    pub async fn upgrade(mut self, handshake: impl Handshake) -> Result<Socket, HandshakeError> {
        let limits = self.shared.state().listener().limits();
        let (limit, slots) = (limits.config().load().handshake_timeout(), limits.handshakes().clone());
        let Some(chain) = HandshakeChain::new(vec![Arc::new(handshake)], limit, slots) else { return Ok(self) };
        match self.run_handshake(*chain).await {
            Some(Ok(())) => Ok(self),
            Some(Err(HandshakeEnd::Failed(error))) => Err(error),
            Some(Err(HandshakeEnd::Refused(reason))) => {
                Err(HandshakeError::failed(format!("refused: {}", reason.name())))
            }
            Some(Err(HandshakeEnd::Panicked(text))) => {
                Err(HandshakeError::failed(format!("the handshake panicked: {text}")))
            }
            None => {
                self.shared.handle_signals()?;
                Err(io::Error::from(io::ErrorKind::ConnectionAborted).into())
            }
        }
    }
}
