//! Converse's names of formats of media and of stop reasons.

use std::borrow::Cow;

use crate::conversation::{Finish, MediaKind, is_text};

/// Formats with their media types; the first of several is the one that is written.
const IMAGES: &[(&str, &str)] = &[
    ("png", "image/png"),
    ("jpeg", "image/jpeg"),
    ("jpeg", "image/jpg"),
    ("gif", "image/gif"),
    ("webp", "image/webp"),
];
const DOCUMENTS: &[(&str, &str)] = &[
    ("pdf", "application/pdf"),
    ("csv", "text/csv"),
    ("doc", "application/msword"),
    ("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    ("xls", "application/vnd.ms-excel"),
    ("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    ("html", "text/html"),
    ("txt", "text/plain"),
    ("md", "text/markdown"),
];
const AUDIO: &[(&str, &str)] = &[
    ("mp3", "audio/mpeg"),
    ("mp3", "audio/mp3"),
    ("wav", "audio/wav"),
    ("wav", "audio/x-wav"),
    ("wav", "audio/wave"),
    ("aac", "audio/aac"),
    ("x-aac", "audio/x-aac"),
    ("flac", "audio/flac"),
    ("ogg", "audio/ogg"),
    ("opus", "audio/opus"),
    ("mp4", "audio/mp4"),
    ("m4a", "audio/m4a"),
    ("m4a", "audio/x-m4a"),
    ("webm", "audio/webm"),
    ("pcm", "audio/pcm"),
    ("mkv", "audio/x-matroska"),
];
const VIDEO: &[(&str, &str)] = &[
    ("mp4", "video/mp4"),
    ("mov", "video/quicktime"),
    ("mov", "video/mov"),
    ("mkv", "video/x-matroska"),
    ("webm", "video/webm"),
    ("flv", "video/x-flv"),
    ("mpeg", "video/mpeg"),
    ("mpg", "video/mpg"),
    ("wmv", "video/x-ms-wmv"),
    ("wmv", "video/wmv"),
    ("three_gp", "video/3gpp"),
];

const fn table(kind: MediaKind) -> &'static [(&'static str, &'static str)] {
    match kind {
        MediaKind::Image => IMAGES,
        MediaKind::Document => DOCUMENTS,
        MediaKind::Audio => AUDIO,
        MediaKind::Video => VIDEO,
    }
}

/// The media type of a format. The name of an unknown format is used as it is.
pub(super) fn mime(kind: MediaKind, format: &str) -> Cow<'static, str> {
    match table(kind).iter().find(|(known, _)| *known == format) {
        Some((_, mime)) => Cow::Borrowed(mime),
        None if kind == MediaKind::Document => Cow::Borrowed("application/octet-stream"),
        None => Cow::Owned(format!("{}/{format}", kind.as_str())),
    }
}

/// The format of a media type. Parameters and case are ignored.
pub(super) fn format(kind: MediaKind, mime: &str) -> Option<&'static str> {
    let mime = mime.split(';').next().unwrap_or_default().trim();
    let known = table(kind).iter().find(|(_, known)| known.eq_ignore_ascii_case(mime)).map(|(format, _)| *format);
    known.or((kind == MediaKind::Document && is_text(mime)).then_some("txt"))
}

/// The format, from the end of a URL's path.
pub(super) fn format_of_url(kind: MediaKind, url: &str) -> Option<&'static str> {
    let ending = url.rsplit_once('.')?.1.to_ascii_lowercase();
    let ending = match ending.as_str() {
        "jpg" => "jpeg",
        "3gp" => "three_gp",
        "htm" => "html",
        other => other,
    };
    table(kind).iter().find(|(known, _)| *known == ending).map(|(known, _)| *known)
}

/// Why an answer ended. Unknown reasons are not treated as failures.
pub(super) fn finish(reason: &str) -> Finish {
    match reason {
        "tool_use" => Finish::ToolCalls,
        "max_tokens" | "model_context_window_exceeded" => Finish::Length,
        "guardrail_intervened" | "content_filtered" => Finish::Filtered,
        "malformed_model_output" | "malformed_tool_use" => Finish::Failed,
        _ => Finish::Stop,
    }
}

/// The `stopReason` for `finish`.
pub(super) const fn stop_reason(finish: Finish, by_stop_text: bool) -> &'static str {
    match finish {
        Finish::Stop if by_stop_text => "stop_sequence",
        Finish::Stop => "end_turn",
        Finish::Length => "max_tokens",
        Finish::ToolCalls => "tool_use",
        Finish::Filtered => "content_filtered",
        Finish::Failed => "malformed_model_output",
    }
}
