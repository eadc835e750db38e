//! Media that the model has made, for targets whose assistant's messages have none.

use std::{borrow::Cow, mem};

use super::{Content, MediaKind, Message, Part, Request, Role};

/// The text of an answer that was a picture alone, which is in the user's message after it.
const FOLLOWS: &str = "(the image is in the next message)";

/// The request with the pictures of the assistant in the user's messages after them, so that the model still sees them.
/// Results of tools stay before them.
pub fn show_images_to_user<'r, 'a>(request: Cow<'r, Request<'a>>) -> Cow<'r, Request<'a>> {
    let made = |message: &Message<'_>| message.role == Role::Assistant && message.parts.iter().any(is_image);
    if !request.messages.iter().any(made) {
        return request;
    }
    let mut request = request.into_owned();
    let mut messages: Vec<Message<'a>> = Vec::with_capacity(request.messages.len() + 1);
    let mut waiting: Vec<Part<'a>> = Vec::new();
    for mut message in mem::take(&mut request.messages) {
        match message.role {
            Role::Assistant => {
                let (images, mut rest): (Vec<_>, Vec<_>) = message.parts.into_iter().partition(is_image);
                if rest.is_empty() && !images.is_empty() {
                    rest.push(Content::text(FOLLOWS).into());
                }
                waiting.extend(images);
                message.parts = rest;
            }
            Role::User => {
                let results =
                    message.parts.iter().take_while(|part| matches!(part.content, Content::Result(_))).count();
                message.parts.splice(results..results, waiting.drain(..));
            }
            Role::System => {}
        }
        messages.push(message);
    }
    if !waiting.is_empty() {
        messages.push(Message { role: Role::User, parts: waiting });
    }
    request.messages = messages;
    Cow::Owned(request)
}

fn is_image(part: &Part<'_>) -> bool {
    matches!(&part.content, Content::Media(media) if media.kind == MediaKind::Image)
}
