//! [`Format`], how a connection encodes its replies: connections of the same format receive the same bytes.

use std::any::Any;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::framing::Framing;
use crate::sync::{AtomicU8, RwLock};

/// Identifies an encoding among the connections of one pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Format(u8);

impl Format {
    /// Only the connection's own codec can encode its replies.
    pub(crate) const OWN: Format = Format(0);
    /// The connection has no codec: it receives bytes as they are.
    pub(crate) const BYTES: Format = Format(127);
    const FIRST_FACTORY: u8 = 128;
    const FACTORIES: usize = 128;

    /// The format of the codecs that the factory with this number makes. `None` if the number is too large.
    pub(crate) fn of_factory(number: u8) -> Option<Format> {
        number.checked_add(Self::FIRST_FACTORY).map(Format)
    }

    /// The number of the codec factory.
    pub(crate) fn factory(self) -> Option<u8> {
        self.0.checked_sub(Self::FIRST_FACTORY)
    }

    /// The format of this connection for a publisher of another pool, whose formats differ.
    pub(crate) fn in_other_pool(self) -> Format {
        if self == Format::BYTES {
            self
        } else {
            Format::OWN
        }
    }
}

/// Identifies a codec factory among those of the process. All codecs that it makes encode alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FactoryId(u64);

impl FactoryId {
    pub(crate) fn new() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        FactoryId(LAST.fetch_add(1, Relaxed))
    }
}

/// A format that other threads read.
#[derive(Debug, Default)]
pub(crate) struct AtomicFormat(AtomicU8);

impl AtomicFormat {
    #[inline]
    pub(crate) fn get(&self) -> Format {
        Format(self.0.load(Relaxed))
    }

    pub(crate) fn set(&self, format: Format) {
        self.0.store(format.0, Relaxed);
    }
}

/// The framings and codec factories that the connections of a pool use, each with a format of its own.
#[derive(Debug, Default)]
pub(crate) struct Formats {
    framings: RwLock<Vec<Framing>>,
    factories: RwLock<Vec<FactoryId>>,
    latest: AtomicFormat,
}

impl Formats {
    /// The format of a codec, if it is a [`Framing`] and there are not too many different ones.
    pub(crate) fn of_framing(&self, codec: &dyn Any) -> Option<Format> {
        let framing = codec.downcast_ref::<Framing>()?;
        let known = |framings: &[Framing]| framings.iter().position(|other| other.encodes_like(framing));
        let position = known(&self.framings.read());
        let position = position.or_else(|| {
            let mut framings = self.framings.write();
            known(&framings).or_else(|| {
                let has_room = framings.len() + 1 < usize::from(Format::BYTES.0);
                has_room.then(|| {
                    framings.push(framing.clone());
                    framings.len() - 1
                })
            })
        });
        Some(position.map_or(Format::OWN, |position| Format(position as u8 + 1)))
    }

    /// The format of the codecs that a factory makes, if there are not too many different ones.
    pub(crate) fn of_factory(&self, factory: FactoryId) -> Format {
        let known = |factories: &[FactoryId]| factories.iter().position(|other| *other == factory);
        let position = known(&self.factories.read());
        let position = position.or_else(|| {
            let mut factories = self.factories.write();
            known(&factories).or_else(|| {
                let has_room = factories.len() < Format::FACTORIES;
                has_room.then(|| {
                    factories.push(factory);
                    factories.len() - 1
                })
            })
        });
        position.and_then(|position| Format::of_factory(position as u8)).unwrap_or(Format::OWN)
    }

    /// The codec factory with this format.
    pub(crate) fn factory(&self, format: Format) -> Option<FactoryId> {
        self.factories.read().get(usize::from(format.factory()?)).copied()
    }

    /// The framing with this format.
    pub(crate) fn framing(&self, format: Format) -> Option<Framing> {
        let position = usize::from(format.0.checked_sub(1)?);
        self.framings.read().get(position).cloned()
    }

    /// The format of the connection that was accepted last: the most likely one.
    pub(crate) fn latest(&self) -> Format {
        self.latest.get()
    }

    pub(crate) fn set_latest(&self, format: Format) {
        self.latest.set(format);
    }
}
