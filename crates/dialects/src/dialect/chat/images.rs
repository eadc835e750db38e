//! Images that a model has made, in the form of `OpenRouter`: `images` of the assistant's message, or of a delta.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    content::media_at,
    wire::{self, PASSED},
    write_reply::write_call_signature,
};
use crate::{
    conversation::{Content, Invalid, Media, MediaKind, Part, Signature, SignatureOrigin, Unsupported},
    dialect::fields::parse_all,
    stream::json::{ArrayWriter, ObjectWriter},
};

#[derive(Deserialize)]
struct WireImage<'a> {
    #[serde(borrow)]
    image_url: Option<&'a RawValue>,
    #[serde(borrow)]
    extra_content: Option<&'a RawValue>,
}

/// Reads the images of a message at `field`.
///
/// # Errors
/// When one of them is no image.
pub(super) fn read<'a>(raw: &'a RawValue, field: &str, dropped: &mut Unsupported) -> Result<Vec<Part<'a>>, Invalid> {
    let images: Vec<WireImage<'a>> = parse_all(raw.get(), || field.to_owned(), PASSED, dropped)?;
    let read = |(at, image): (usize, WireImage<'a>)| {
        let at = format!("{field}[{at}].image_url");
        let url = image.image_url.ok_or_else(|| Invalid::new(at.clone(), "is missing"))?;
        let media = media_at(MediaKind::Image, url, || at.clone(), dropped)?;
        let signature = image.extra_content.and_then(wire::google_signature);
        let signature = signature.map(|text| Signature::untagged(text, SignatureOrigin::Google));
        Ok(Content::Media(Media { signature, ..media }).into())
    };
    images.into_iter().enumerate().map(read).collect()
}

/// Reads the images of a reply, those that can be read.
pub(super) fn read_reply<'a>(raw: Option<&'a RawValue>, lost: &mut Unsupported) -> Vec<Part<'a>> {
    let Some(raw) = raw else { return Vec::new() };
    read(raw, "images", &mut Unsupported::default()).unwrap_or_else(|_| {
        lost.add("image");
        Vec::new()
    })
}

/// Writes the images among `contents` into a message, if there are any.
pub(super) fn write_all<'c, 'a: 'c>(contents: impl Iterator<Item = &'c Content<'a>>, message: &mut ObjectWriter<'_>) {
    let images = contents.filter_map(|content| match content {
        Content::Media(media) if media.image_data().is_some() => Some(media),
        _ => None,
    });
    let mut images = (0..).zip(images).peekable();
    if images.peek().is_some() {
        let mut list = message.array("images");
        images.for_each(|(index, media)| write(index, media, &mut list));
    }
}

/// Writes an image, if it is at hand.
pub(super) fn write(index: u32, media: &Media<'_>, list: &mut ArrayWriter<'_>) {
    let Some((mime, data)) = media.image_data() else { return };
    let mut image = list.object().with("index", &index).with("type", "image_url");
    let url = format!("data:{mime};base64,{}", data.decode());
    image.object("image_url").with("url", &url).end();
    write_call_signature(media.signature.as_ref(), &mut image);
}
