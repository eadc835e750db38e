//! Secrets of programs: keys of APIs, JSON web tokens, private keys.
//!
//! Vendors have changed lengths over time, so a prefix or infix decides, and lengths are lower bounds.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::Candidate;

/// Prefixes of well-known vendors.
// In this order: Anthropic, OpenAI, AWS, Google, GitHub, GitLab, Slack, Stripe, DigitalOcean, Hugging Face.
pub const API_KEY: &str = concat!(
    r"\b{start-half}(?:sk-ant-[a-z]{2,8}\d{2}-[A-Za-z0-9_-]{20,}",
    r"|sk-(?:proj|svcacct|admin)-[A-Za-z0-9_-]{20,}|sk-[A-Za-z0-9]{20}T3BlbkFJ[A-Za-z0-9]{20}\b{end-half}",
    r"|(?:AKIA|ASIA|ABIA|ACCA|A3T[A-Z0-9])[A-Z2-7]{16}\b{end-half}",
    r"|AIza[A-Za-z0-9_-]{35}|gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{60,}|glpat-[A-Za-z0-9_-]{20,}",
    r"|xox[abprs]-[A-Za-z0-9-]{10,}|[sr]k_live_[A-Za-z0-9]{16,}|do[op]_v1_[a-f0-9]{64}|hf_[A-Za-z0-9]{34,})"
);

/// Least number of different letters and digits. Placeholders such as `sk-proj-xxxx...` have fewer.
const MIN_DISTINCT: u32 = 10;

/// It is no placeholder.
pub fn is_api_key(candidate: &Candidate<'_>) -> bool {
    let seen = candidate.text.bytes().fold(0_u128, |seen, byte| seen | 1 << (byte & 0x7f));
    seen.count_ones() >= MIN_DISTINCT
}

/// Two parts that are JSON objects in base64, and a signature, which may be empty.
pub const JWT: &str = r"\b{start-half}eyJ[A-Za-z0-9_-]+\.eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*";

/// The first part names an algorithm (RFC 7515, section 4.1.1).
pub fn is_jwt(candidate: &Candidate<'_>) -> bool {
    let head = candidate.text.split('.').next().unwrap_or_default();
    URL_SAFE_NO_PAD.decode(head).is_ok_and(|json| json.windows(5).any(|field| field == br#""alg""#))
}

/// From its first line to its last, or to the end of the text.
pub const PRIVATE_KEY: &str =
    r"-----BEGIN [A-Z ]{0,32}PRIVATE KEY-----(?su:.)*?(?:-----END [A-Z ]{0,32}PRIVATE KEY-----|\z)";
