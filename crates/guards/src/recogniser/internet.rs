//! E-mail and IP addresses.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::Candidate;

/// Local part, domain, and a last label of letters (or one in Punycode). The lengths are those of RFC 5321, section
/// 4.5.3.1, so that a long word is not held for longer.
pub const EMAIL: &str = concat!(
    r"\b{start-half}[A-Za-z0-9_][A-Za-z0-9._%+'-]{0,63}@(?:[A-Za-z0-9-]{1,63}\.){1,8}",
    r"(?:[A-Za-z]{2,24}|[Xx][Nn]--[A-Za-z0-9-]{1,59})\b{end-half}"
);

/// Dots and dashes are inside, and it is no path of a git server (`git@github.com:owner/repository`).
pub fn is_email(candidate: &Candidate<'_>) -> bool {
    let Some((local, domain)) = candidate.text.split_once('@') else { return false };
    let well_formed = !local.ends_with('.') && !local.contains("..");
    let labels = domain.split('.').all(|label| !label.starts_with('-') && !label.ends_with('-'));
    well_formed && labels && !(local == "git" && candidate.next == Some(b':'))
}

/// Four numbers, or what has the letters of IPv6.
pub const IP: &str = concat!(
    r"\b{start-half}(?:\d{1,3}(?:\.\d{1,3}){3}\b{end-half}",
    r"|[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?:\.\d{1,3}){0,3})"
);

/// It can be parsed, and neither a version nor a path of a programming language goes on with it.
pub fn is_ip(candidate: &Candidate<'_>) -> bool {
    let before = candidate.before.chars().next_back();
    if before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | ':' | '.' | '-')) {
        return false;
    }
    // `a::b` is a path in many languages.
    let goes_on = candidate.next.is_some_and(|next| next.is_ascii_alphanumeric() || matches!(next, b'_' | b':'));
    let is_v6 = |text: &str| text.bytes().any(|byte| byte.is_ascii_digit()) && text.parse::<Ipv6Addr>().is_ok();
    candidate.text.parse::<Ipv4Addr>().is_ok() || (!goes_on && is_v6(candidate.text))
}
