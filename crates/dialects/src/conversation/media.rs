//! Images, documents, audio and video.

use std::{borrow::Cow, fmt};

use super::{Signature, Text};

/// An image, a document, audio or video.
#[derive(Clone, PartialEq)]
pub struct Media<'a> {
    /// What it is.
    pub kind: MediaKind,
    /// Where it is.
    pub source: Source<'a>,
    /// Its name, for documents.
    pub name: Option<Text<'a>>,
    /// The resolution at which the model looks at it: `low`, `high`, `auto`.
    pub detail: Option<Text<'a>>,
    /// The model's signature, of media that it has made (Gemini).
    pub signature: Option<Signature<'a>>,
}

impl<'a> Media<'a> {
    /// Media without a name.
    pub const fn new(kind: MediaKind, source: Source<'a>) -> Self {
        Self { kind, source, name: None, detail: None, signature: None }
    }

    /// Media type and base64 of a picture that is at hand.
    pub fn image_data(&self) -> Option<(&str, &Text<'a>)> {
        match &self.source {
            Source::Data { mime, data } if self.kind == MediaKind::Image => Some((mime, data)),
            _ => None,
        }
    }

    /// Approximate bytes that it takes.
    pub fn size(&self) -> usize {
        let source = match &self.source {
            Source::Data { data: text, .. }
            | Source::Url { url: text, .. }
            | Source::File(text)
            | Source::Text(text) => text,
        };
        source.size() + self.signature.as_ref().map_or(0, |signature| signature.value.size())
    }

    /// An owned copy, which borrows nothing.
    pub fn into_owned(self) -> Media<'static> {
        Media {
            kind: self.kind,
            source: self.source.into_owned(),
            name: self.name.map(Text::into_owned),
            detail: self.detail.map(Text::into_owned),
            signature: self.signature.map(Signature::into_owned),
        }
    }
}

impl fmt::Debug for Media<'_> {
    /// Few media have a signature.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, source, name, detail, signature } = self;
        let mut shown = f.debug_struct("Media");
        shown.field("kind", kind).field("source", source).field("name", name).field("detail", detail);
        if signature.is_some() {
            shown.field("signature", signature);
        }
        shown.finish()
    }
}

/// Kinds of media.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaKind {
    /// A picture.
    Image,
    /// A PDF or a text.
    Document,
    /// Audio.
    Audio,
    /// Video.
    Video,
}

impl MediaKind {
    /// The kind's name in reports of unsupported fields; also Converse's field for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Document => "document",
            Self::Audio => "audio",
            Self::Video => "video",
        }
    }
}

/// Where the data of media are.
#[derive(Clone, Debug, PartialEq)]
pub enum Source<'a> {
    /// In the request, as base64.
    Data {
        /// The media type, such as `image/png`.
        mime: Cow<'a, str>,
        /// Base64, standard alphabet, padded.
        data: Text<'a>,
    },
    /// At a URL (`https:`, `gs:`, `s3:`).
    Url {
        /// The URL.
        url: Text<'a>,
        /// The media type, if the client states it.
        mime: Option<Cow<'a, str>>,
    },
    /// Uploaded to the provider before; this is its id.
    File(Text<'a>),
    /// A document that is text, in the request.
    Text(Text<'a>),
}

impl<'a> Source<'a> {
    /// The media in a data URL.
    ///
    /// # Errors
    /// The URL itself, if it is no data URL in base64.
    pub fn of_data_url(url: Text<'a>) -> Result<Self, Cow<'a, str>> {
        /// The media type, and where the data begin.
        fn split(url: &str) -> Option<(String, usize)> {
            let (head, _) = url.strip_prefix("data:")?.split_once(',')?;
            let mime = head.strip_suffix(";base64")?.split(';').next().unwrap_or_default();
            let mime = if mime.is_empty() { "text/plain" } else { mime };
            Some((mime.to_owned(), "data:".len() + head.len() + 1))
        }
        let url = url.into_decoded();
        let Some((mime, at)) = split(&url) else { return Err(url) };
        let data = match url {
            Cow::Borrowed(url) => Text::from(url.get(at..).unwrap_or_default()),
            Cow::Owned(mut url) => {
                url.drain(..at);
                Text::from(url)
            }
        };
        Ok(Self::Data { mime: Cow::Owned(mime), data })
    }

    /// An owned copy, which borrows nothing.
    pub fn into_owned(self) -> Source<'static> {
        let owned = |mime: Cow<'a, str>| Cow::Owned(mime.into_owned());
        match self {
            Self::Data { mime, data } => Source::Data { mime: owned(mime), data: data.into_owned() },
            Self::Url { url, mime } => Source::Url { url: url.into_owned(), mime: mime.map(owned) },
            Self::File(id) => Source::File(id.into_owned()),
            Self::Text(text) => Source::Text(text.into_owned()),
        }
    }

    /// The kind of a file, by its media type.
    pub fn kind(&self) -> MediaKind {
        let Self::Data { mime, .. } = self else { return MediaKind::Document };
        match mime.split('/').next() {
            Some("image") => MediaKind::Image,
            Some("audio") => MediaKind::Audio,
            Some("video") => MediaKind::Video,
            _ => MediaKind::Document,
        }
    }
}
