//! Signatures of reasoning, which the simulator verifies when clients send them back.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::received::fnv;

/// The vendor that signed reasoning. Others do not accept its signature.
#[derive(Clone, Copy)]
pub(super) enum SignatureOrigin {
    Claude,
    Gemini,
    OpenAi,
}

/// Bytes of a signature are a multiple of three: its base64 is the same with and without padding, in both alphabets.
const ENGINE: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

impl SignatureOrigin {
    fn name(self) -> &'static str {
        match self {
            Self::Claude => "claude",
            Self::Gemini => "gemini",
            Self::OpenAi => "openai",
        }
    }
}

/// The signature of a reasoning text, in base64.
pub(super) fn signature(origin: SignatureOrigin, reasoning: &str) -> String {
    ENGINE.encode(format!("simulator/{}/{:016x}", origin.name(), fnv(reasoning.bytes())))
}

/// Whether this is a signature of that vendor, for any text.
pub(super) fn is_signature(origin: SignatureOrigin, signature: &str) -> bool {
    let head = format!("simulator/{}/", origin.name());
    ENGINE.decode(signature).is_ok_and(|bytes| bytes.starts_with(head.as_bytes()))
}

/// Whether this is the signature of this text. An empty text, which was omitted, fits every signature of the vendor.
pub(super) fn signs(origin: SignatureOrigin, reasoning: &str, given: &str) -> bool {
    if reasoning.is_empty() { is_signature(origin, given) } else { given == signature(origin, reasoning) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_holds_for_its_origin_and_its_text_only() {
        let own = signature(SignatureOrigin::Claude, "a thought");
        assert!(own.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{own}");
        assert!(signs(SignatureOrigin::Claude, "a thought", &own));
        assert!(signs(SignatureOrigin::Claude, "", &own));
        assert!(!signs(SignatureOrigin::Claude, "another", &own));
        assert!(!signs(SignatureOrigin::Gemini, "", &own));
        assert!(!is_signature(SignatureOrigin::Claude, "c2ln"));
    }
}
