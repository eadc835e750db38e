//! Who looks at the frames of a reply on its way to the client.

use bytes::Bytes;
use smallvec::{SmallVec, smallvec};

use crate::dialect::{ErrorClass, ReplyObserver, StreamEnding, StreamMode, Translator};

/// Observes a reply while it is relayed.
pub enum Observer {
    /// Forwards the frames as they are.
    Watch(ReplyObserver),
    /// Forwards them in another dialect.
    Translate(Box<Translator>),
}

impl Observer {
    /// Observes `data`; returns the frames to forward.
    pub fn frame(&mut self, data: Bytes) -> Result<SmallVec<[Bytes; 2]>, String> {
        match self {
            Self::Watch(observer) => Ok(observer.frame(data)),
            Self::Translate(translator) => translator.frame(&data).map(|out| smallvec![out]),
        }
    }

    /// The reply ended: returns the frames that were held back.
    pub fn finish(&mut self) -> SmallVec<[Bytes; 2]> {
        match self {
            Self::Watch(observer) => observer.finish(),
            Self::Translate(translator) => smallvec![translator.finish()],
        }
    }

    /// The class of the error that a whole reply is, in place of an answer.
    pub fn failure(&self) -> Option<ErrorClass> {
        match self {
            Self::Watch(observer) => observer.failure(),
            Self::Translate(_) => None,
        }
    }

    pub fn ending(&self, mode: StreamMode) -> StreamEnding {
        match self {
            Self::Watch(observer) => observer.ending(mode),
            Self::Translate(translator) => translator.ending(),
        }
    }
}
