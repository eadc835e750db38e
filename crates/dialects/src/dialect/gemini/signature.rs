//! Signatures in `thoughtSignature`, a field of bytes: SDKs decode it and encode it again, in either alphabet of
//! base64.
//!
//! A signature of another vendor is therefore tagged and then wrapped in base64 as a whole: so its own spelling, which
//! need not be base64, comes back unchanged.

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose::STANDARD},
};
use memchr::memchr3;

use crate::{
    conversation::{Signature, SignatureOrigin, Text},
    dialect::foreign_turns::WRAPPED,
};

/// Prefix of reasoning that only its model can read. It has only letters, and begins like the tags of origins.
const REDACTED: &str = "TGrd";

/// Base64 as clients write it: with or without padding.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The signature in a `thoughtSignature`, and whether it is that of redacted reasoning.
pub(super) fn read(text: Text<'_>) -> (Signature<'_>, bool) {
    let unwrapped = {
        let written = text.decode();
        if written.starts_with(WRAPPED) { unwrap(&written) } else { None }
    };
    let Some(tagged) = unwrapped else { return (Signature::untagged(text, SignatureOrigin::Google), false) };
    match tagged.strip_prefix(REDACTED) {
        Some(rest) => (Signature::untagged(Text::from(rest.to_owned()), SignatureOrigin::Google), true),
        None => (Signature::untagged(tagged.into(), SignatureOrigin::Google), false),
    }
}

/// The content of a wrapped signature; `None` for one of Google's that happens to begin in the same way.
fn unwrap(written: &str) -> Option<String> {
    let standard = written.replace('-', "+").replace('_', "/");
    let tagged = String::from_utf8(LENIENT.decode(standard).ok()?).ok()?;
    let foreign =
        Signature::untagged(Text::from(tagged.as_str()), SignatureOrigin::Google).maker != SignatureOrigin::Google;
    (foreign || tagged.starts_with(REDACTED)).then_some(tagged)
}

/// The `thoughtSignature` that a client gets.
pub(super) fn write<'s>(signature: &'s Signature<'_>, redacted: bool) -> Text<'s> {
    if signature.maker == SignatureOrigin::Google && !redacted {
        return signature.value.reborrow();
    }
    let mark = if redacted { REDACTED } else { "" };
    Text::from(STANDARD.encode(format!("{mark}{}", signature.tagged(SignatureOrigin::Google).decode())))
}

/// Bytes of a media part in the standard alphabet with padding; a copy only if they are written otherwise.
pub(super) fn standard_base64(data: Text<'_>) -> Text<'_> {
    let as_it_is = match &data {
        Text::Json(raw) => raw.get().as_bytes(),
        Text::Plain(text) => text.as_bytes(),
    };
    let quotes = if matches!(data, Text::Json(_)) { 2 } else { 0 };
    if memchr3(b'-', b'_', b'\\', as_it_is).is_none() && as_it_is.len().saturating_sub(quotes).is_multiple_of(4) {
        return data;
    }
    let mut standard: String = data
        .decode()
        .chars()
        .filter(|c| !c.is_ascii_whitespace() && *c != '=')
        .map(|c| match c {
            '-' => '+',
            '_' => '/',
            other => other,
        })
        .collect();
    while !standard.len().is_multiple_of(4) {
        standard.push('=');
    }
    Text::from(standard)
}
