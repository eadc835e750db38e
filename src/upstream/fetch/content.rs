//! What kind of file was fetched.

/// The media type of a file with the server's media type `declared`.
pub(super) fn media_type(bytes: &[u8], declared: Option<String>) -> Result<String, String> {
    if bytes.is_empty() {
        return Err("it is empty".into());
    }
    if let Some(mime) = sniff(bytes) {
        return Ok(mime.to_owned());
    }
    let declared = declared
        .filter(|declared| is_media(declared))
        .ok_or("it is neither an image nor a document nor an audio file")?;
    // Images of these types begin as `sniff` expects; error pages may have any type.
    let page = !declared.starts_with("text/") && bytes.trim_ascii_start().starts_with(b"<");
    if page || ["image/png", "image/jpeg", "image/jpg", "image/gif", "image/webp"].contains(&&*declared) {
        return Err(format!("its content is not {declared}"));
    }
    Ok(declared)
}

/// The media type that the first bytes indicate. Servers often send images as `application/octet-stream`.
fn sniff(bytes: &[u8]) -> Option<&'static str> {
    const KNOWN: [(usize, &[u8], &str); 7] = [
        (0, b"\x89PNG\r\n\x1a\n", "image/png"),
        (0, b"\xff\xd8\xff", "image/jpeg"),
        (0, b"GIF8", "image/gif"),
        (8, b"WEBP", "image/webp"),
        (0, b"%PDF-", "application/pdf"),
        (8, b"WAVE", "audio/wav"),
        (0, b"ID3", "audio/mp3"),
    ];
    KNOWN.iter().find(|(at, magic, _)| bytes.get(*at..).is_some_and(|b| b.starts_with(magic))).map(|(_, _, mime)| *mime)
}

fn is_media(mime: &str) -> bool {
    ["image/", "audio/", "video/", "text/plain", "text/markdown", "text/csv"].iter().any(|p| mime.starts_with(p))
        || mime == "application/pdf"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_must_match_the_servers_media_type() {
        for (bytes, declared, expected) in [
            (&b"\x89PNG\r\n\x1a\n...."[..], Some("application/octet-stream"), Some("image/png")),
            (b"....ftypheic", Some("image/heic"), Some("image/heic")),
            (b"<p>text</p>", Some("text/plain"), Some("text/plain")),
            (b"", Some("image/png"), None),
            (b"<html>", Some("image/png"), None),
            (b"<html>", Some("image/heic"), None),
            (b"no picture", Some("image/jpeg"), None),
            (b"no picture", None, None),
        ] {
            let found = media_type(bytes, declared.map(str::to_owned));
            assert_eq!(found.as_deref().ok(), expected, "{declared:?} {bytes:?}");
        }
    }

    #[test]
    fn media_types_are_detected_from_first_bytes() {
        assert_eq!(sniff(b"\x89PNG\r\n\x1a\n...."), Some("image/png"));
        assert_eq!(sniff(b"RIFF....WEBPVP8 "), Some("image/webp"));
        assert_eq!(sniff(b"<html>"), None);
    }
}
