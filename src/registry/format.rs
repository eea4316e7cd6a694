//! [`Format`], how a connection encodes its replies: connections of the same format receive the same bytes.

use std::any::Any;
use std::sync::atomic::Ordering::Relaxed;

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
    const FIRST_VERSION: u8 = 128;

    /// The format of a codec other than [`Framing`], made by the version of the codec factory with this number.
    pub(crate) fn of_version(version: u8) -> Format {
        version.checked_add(Self::FIRST_VERSION).map_or(Format::OWN, Format)
    }

    /// The format of this connection for a publisher of another pool, whose formats differ.
    pub(crate) fn in_other_pool(self) -> Format {
        if self == Format::BYTES {
            self
        } else {
            Format::OWN
        }
    }

    /// The version of the codec factory.
    pub(crate) fn version(self) -> Option<u8> {
        self.0.checked_sub(Self::FIRST_VERSION)
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

/// The framings that the connections of a pool use, each with a format of its own.
#[derive(Debug, Default)]
pub(crate) struct Formats {
    framings: RwLock<Vec<Framing>>,
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
