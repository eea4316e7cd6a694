//! [`Step`], a handshake step that can be compared with another one.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use super::Handshake;
#[cfg(feature = "proxy-protocol")]
use super::ProxyProtocol;
#[cfg(any(feature = "native-tls", feature = "rustls-no-provider"))]
use super::Tls;

/// A handshake step that the user has added to a listener.
#[derive(Clone)]
pub(crate) struct Step {
    handshake: Arc<dyn Handshake>,
    /// The same value. Its type tells whether it can be compared.
    value: Arc<dyn Any + Send + Sync>,
}

impl Step {
    pub(crate) fn new(step: impl Handshake) -> Self {
        let step = Arc::new(step);
        Step { handshake: step.clone(), value: step }
    }

    /// Whether the other has the same effect: it is equal, or both are TLS with the same settings, certificates and keys.
    pub(crate) fn is_alike(&self, other: &Step) -> bool {
        #[cfg(any(feature = "native-tls", feature = "rustls-no-provider"))]
        if let (Some(one), Some(other)) = (self.value.downcast_ref::<Tls>(), other.value.downcast_ref::<Tls>()) {
            return one.is_alike(other);
        }
        self == other
    }

    pub(crate) fn handshake(&self) -> &Arc<dyn Handshake> {
        &self.handshake
    }
}

/// Clones of one `Tls` are equal, and so are equal descriptions of the PROXY protocol. Nothing is known of other steps: each
/// is equal only to its clones.
impl PartialEq for Step {
    fn eq(&self, other: &Self) -> bool {
        #[cfg(any(feature = "native-tls", feature = "rustls-no-provider"))]
        if let (Some(one), Some(other)) = (self.value.downcast_ref::<Tls>(), other.value.downcast_ref::<Tls>()) {
            return one.is_same(other);
        }
        #[cfg(feature = "proxy-protocol")]
        if let (Some(one), Some(other)) =
            (self.value.downcast_ref::<ProxyProtocol>(), other.value.downcast_ref::<ProxyProtocol>())
        {
            return one == other;
        }
        Arc::ptr_eq(&self.value, &other.value)
    }
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Step")
    }
}
