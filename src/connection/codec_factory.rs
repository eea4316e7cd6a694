//! [`CodecFactory`], the functions that make the codec of a connection: without arguments, or for a [`Peer`].

use std::sync::Arc;

use super::Peer;

/// A function that makes the codec of each connection: `|| codec`, or `|peer: &Peer| codec` if it depends on the peer, for
/// example on the listener that accepted it.
///
/// Used by [`AcceptorPool::with_codec`](crate::AcceptorPool::with_codec) and [`Pool::set_codec`](crate::Pool::set_codec). It is
/// implemented for all such functions and cannot be implemented for other types. The argument of a closure needs its type:
/// `|peer: &Peer|`, not `|peer|`.
///
/// Type parameters: the codec, and the arguments of the function, which the compiler infers.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a function that makes a codec of type `{C}`",
    note = "expected `|| codec` or `|peer: &Peer| codec`, with the type of the argument, that implements `Fn`, `Send` and `Sync`"
)]
pub trait CodecFactory<C, Args>: sealed::Sealed<C, Args> {}

impl<F: sealed::Sealed<C, Args>, C, Args> CodecFactory<C, Args> for F {}

mod sealed {
    use super::{Arc, MakeCodec, Peer};

    #[allow(private_interfaces)]
    pub trait Sealed<C, Args> {
        fn into_make(self) -> MakeCodec<C>;
    }

    #[allow(private_interfaces)]
    impl<F: Fn() -> C + Send + Sync + 'static, C> Sealed<C, ()> for F {
        fn into_make(self) -> MakeCodec<C> {
            MakeCodec::Shared(Arc::new(self))
        }
    }

    #[allow(private_interfaces)]
    impl<F: Fn(&Peer) -> C + Send + Sync + 'static, C> Sealed<C, (Peer,)> for F {
        fn into_make(self) -> MakeCodec<C> {
            MakeCodec::PerPeer(Arc::new(self))
        }
    }
}

/// A function of the user that makes codecs.
pub(crate) enum MakeCodec<C> {
    /// All codecs that it makes encode alike.
    Shared(Arc<dyn Fn() -> C + Send + Sync>),
    PerPeer(Arc<dyn Fn(&Peer) -> C + Send + Sync>),
}

impl<C: 'static> MakeCodec<C> {
    pub(crate) fn new<Args>(factory: impl CodecFactory<C, Args>) -> Self {
        factory.into_make()
    }

    /// Calls the user's function.
    pub(crate) fn make(&self, peer: &Peer) -> C {
        match self {
            MakeCodec::Shared(make) => make(),
            MakeCodec::PerPeer(make) => make(peer),
        }
    }

    /// Calls the user's function. `None` if it depends on the peer.
    pub(crate) fn make_shared(&self) -> Option<C> {
        match self {
            MakeCodec::Shared(make) => Some(make()),
            MakeCodec::PerPeer(_) => None,
        }
    }

    pub(crate) fn is_peer_dependent(&self) -> bool {
        matches!(self, MakeCodec::PerPeer(_))
    }

    /// Applies `change` to each codec that is made.
    pub(crate) fn map(self, change: impl Fn(C) -> C + Send + Sync + 'static) -> Self {
        match self {
            MakeCodec::Shared(make) => MakeCodec::Shared(Arc::new(move || change(make()))),
            MakeCodec::PerPeer(make) => MakeCodec::PerPeer(Arc::new(move |peer: &Peer| change(make(peer)))),
        }
    }
}

impl<C> Clone for MakeCodec<C> {
    fn clone(&self) -> Self {
        match self {
            MakeCodec::Shared(make) => MakeCodec::Shared(make.clone()),
            MakeCodec::PerPeer(make) => MakeCodec::PerPeer(make.clone()),
        }
    }
}
