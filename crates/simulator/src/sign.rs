//! Signatures of thoughts, which the simulator knows again when they are sent back.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::received::fnv;

/// Whose thoughts they are: a signature of one is worth nothing to another.
#[derive(Clone, Copy)]
pub(super) enum Owner {
    Claude,
    Gemini,
    OpenAi,
}

/// Bytes of a signature are a multiple of three: its base64 is the same with and without padding, in both alphabets.
const ENGINE: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

impl Owner {
    fn name(self) -> &'static str {
        match self {
            Self::Claude => "claude",
            Self::Gemini => "gemini",
            Self::OpenAi => "openai",
        }
    }
}

/// The signature of a thought, base64.
pub(super) fn signature(owner: Owner, thought: &str) -> String {
    ENGINE.encode(format!("simulator/{}/{:016x}", owner.name(), fnv(thought.bytes())))
}

/// Whether this is a signature of that owner, whatever it signs.
pub(super) fn is_signature(owner: Owner, signature: &str) -> bool {
    let head = format!("simulator/{}/", owner.name());
    ENGINE.decode(signature).is_ok_and(|bytes| bytes.starts_with(head.as_bytes()))
}

/// Whether this is the signature of this thought. A thought that was left out (its text is empty) has any signature.
pub(super) fn signs(owner: Owner, thought: &str, given: &str) -> bool {
    if thought.is_empty() { is_signature(owner, given) } else { given == signature(owner, thought) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_good_for_its_owner_and_its_thought_only() {
        let own = signature(Owner::Claude, "a thought");
        assert!(own.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{own}");
        assert!(signs(Owner::Claude, "a thought", &own));
        assert!(signs(Owner::Claude, "", &own));
        assert!(!signs(Owner::Claude, "another", &own));
        assert!(!signs(Owner::Gemini, "", &own));
        assert!(!is_signature(Owner::Claude, "c2ln"));
    }
}
