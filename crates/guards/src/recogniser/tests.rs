//! What each recogniser finds, and what it leaves alone.

use std::sync::Arc;

use super::*;
use crate::{Action, GuardSet, Guarded, Rule};

fn mask(builtins: &[Builtin], text: &str) -> String {
    let rules: Vec<Rule> = builtins.iter().copied().map(Rule::Builtin).collect();
    let mut guarded = Guarded::new(Arc::new(GuardSet::compile(&rules, Action::Mask).unwrap()));
    let mut out = String::new();
    guarded.push(text, &mut out).unwrap();
    guarded.finish(&mut out).unwrap();
    out
}

/// Checks that in each of `lines` what is between `[` and `]` is masked, and nothing else.
fn check(builtin: Builtin, lines: &[&str]) {
    for line in lines {
        let text = line.replace(['⟦', '⟧'], "");
        let mut expected = String::new();
        for part in line.split_inclusive('⟧') {
            match part.split_once('⟦') {
                Some((before, _)) => expected.extend([before, "<", builtin.mask_name(), ">"]),
                None => expected.push_str(part),
            }
        }
        assert_eq!(mask(&[builtin], &text), expected, "{text}");
    }
}

#[test]
fn every_shape_compiles_to_a_small_automaton() {
    for builtin in Builtin::ALL {
        let automaton = of(builtin).automaton().unwrap_or_else(|| panic!("{builtin:?}"));
        assert!(automaton.size() < 512 * 1024, "{builtin:?}: {} bytes", automaton.size());
    }
}

#[test]
fn social_security_numbers() {
    check(
        Builtin::Ssn,
        &[
            "⟦078-05-1121⟧",
            "it is ⟦123 45 6789⟧.",
            "⟦123-45-6789⟧, ⟦078.05.1121⟧",
            "My SSN is ⟦078051121⟧",
            "Social Security number: ⟦078051121⟧",
            "000-12-3456 666-12-3456 900-12-3456 123-00-4567 123-45-0000",
            "078-05.1121 078 05-1121",
            "1-078-05-1121",
            "x078-05-1121 078-05-1121x 078-05-11211",
            "order 078051121",
            "lessn 078051121",
            "ssn, and thirty-two characters or more later 078051121",
            "111-11-1111",
            "ZIP 12345-6789",
        ],
    );
}

#[test]
fn payment_cards() {
    check(
        Builtin::CreditCard,
        &[
            "⟦4111111111111111⟧",
            "⟦4111 1111 1111 1111⟧",
            "⟦3782-822463-10005⟧",
            "⟦2223003122003222⟧",
            "⟦30569309025904⟧",
            "⟦4222222222222⟧",
            "⟦4917610000000000003⟧",
            "⟦6011111111111117⟧ ⟦3530111333300000⟧ ⟦5555555555554444⟧",
            "pay with ⟦4111-1111-1111-1111⟧.",
            "4111111111111112",
            "1748503543012",
            "490154203237518",
            "x4111111111111111",
            "4111.1111",
            "0.4111111111111111",
            "4111111111111111x 4111111111111111_",
            "é4111111111111111",
            "5 10 15 20 25 30 35 40 45 50",
        ],
    );
}

#[test]
fn telephone_numbers() {
    check(
        Builtin::PhoneNumber,
        &[
            "call ⟦+1 (415) 555-2671⟧.",
            "⟦+14155552671⟧",
            "⟦(415) 555-2671⟧",
            "⟦415-555-2671⟧ or ⟦415.555.2671⟧ or ⟦415 555 2671⟧",
            "⟦1-415-555-2671⟧",
            "⟦+44 20 7946 0958⟧ in London",
            "⟦+49 30 1234567⟧ in Berlin",
            "⟦+33 1 42 68 53 00⟧ 2024",
            "⟦01 42 68 53 00⟧, ⟦020 7946 0958⟧, ⟦030/1234567⟧, ⟦(030) 1234567⟧",
            "4155552671",
            "115-555-2671 415-155-2671 415-911-2671",
            "2026-11-28 10:15",
            "01-02-2026 10:15",
            "192.168.100.1",
            "ISBN 978-3-16-148410-0",
            "$ 1,234,567.89",
            "+12345678 and 1+1234567890",
            "+999 123 456 789",
            "order 123-456-7890",
        ],
    );
}

#[test]
fn email_addresses() {
    check(
        Builtin::Email,
        &[
            "mail ⟦a.b+c@x.co.uk⟧.",
            "⟦bob@example.com⟧, <⟦BOB_1@mail.example.org⟧>",
            "⟦o'brien@example.ie⟧",
            "⟦bob@xn--bcher-kva.xn--p1ai⟧",
            "pkg@1.2.3 @scope/pkg user@host",
            "git@github.com:o/r",
            "a.@example.com",
            "bob@-x.com",
            "@decorator.method",
        ],
    );
}

#[test]
fn social_insurance_numbers() {
    check(
        Builtin::CaSin,
        &[
            "⟦130 692 544⟧ ⟦130-692-544⟧",
            "my SIN: ⟦130692544⟧",
            "social insurance number ⟦130692544⟧",
            "NAS ⟦130692544⟧",
            "046 454 286",
            "130692544",
            "since 130692544",
            "130 692 545",
            "130 692-544",
        ],
    );
}

#[test]
fn bank_accounts() {
    check(
        Builtin::Iban,
        &[
            "⟦DE89 3704 0044 0532 0130 00⟧ TODAY",
            "⟦GB82WEST12345698765432⟧",
            "⟦NO93 8601 1117 947⟧",
            "⟦MT84 MALT 0110 0001 2345 MTLC AST0 01S⟧",
            "DE89370400440532013001",
            "DE8937040044053201300",
            "XX89370400440532013000",
        ],
    );
}

#[test]
fn ip_addresses() {
    check(
        Builtin::IpAddress,
        &[
            "⟦10.0.0.1⟧ and ⟦192.168.1.254⟧:8080",
            "⟦2001:db8::1⟧, ⟦fe80::1ff:fe23:4567:890a⟧",
            "v10.0.0.1",
            "256.1.1.1 1.2.3",
            "std::fs a::b self::super",
            "10:15:30",
        ],
    );
}

#[test]
fn keys_tokens_and_private_keys() {
    let key = "AbCdEfGhIjKlMnOpQrStUvWxYz0123456789_-AbCdEfGh";
    check(
        Builtin::ApiKey,
        &[
            &format!("⟦sk-ant-api03-{key}⟧ x"),
            &format!("key=⟦sk-proj-{key}⟧"),
            "⟦AKIAIOSFODNN7EXAMPLE⟧",
            "⟦ghp_AbCdEfGhIjKlMnOpQrStUvWxYz0123456789⟧",
            "⟦AIzaSyA1234567890abcdefghijklmnopqrstuv⟧",
            "sk-... sk-proj-xxxxxxxxxxxxxxxxxxxxxxxx",
            "da39a3ee5e6b4b0d3255bfef95601890afd80709",
            "task-proj-abcdefghijklmnopqrstuvwxyz",
        ],
    );
    check(
        Builtin::Jwt,
        &[
            "Bearer ⟦eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl⟧ x",
            "eyJzdWIiOiIxIn0.eyJzdWIiOiIxIn0.c2ln",
            "eyJhbGciOiJIUzI1NiJ9",
        ],
    );
    check(
        Builtin::PrivateKey,
        &[
            "⟦-----BEGIN RSA PRIVATE KEY-----\nMIIE\nAbC=\n-----END RSA PRIVATE KEY-----⟧\nx",
            "a ⟦-----BEGIN PRIVATE KEY-----\nMIIE, and no end⟧",
            "-----BEGIN CERTIFICATE-----\nMIIE\n-----END CERTIFICATE-----",
        ],
    );
}

/// Text in which nothing is personal. It is what models and programs write all day.
const HARMLESS: &[&str] = &[
    "2026-11-30T10:15:30.123Z",
    "1748503543012",
    "1764497730",
    "Mon, 30 Nov 2026 10:15:30 GMT",
    "10:15-11:45",
    "550e8400-e29b-41d4-a716-446655440000",
    "da39a3ee5e6b4b0d3255bfef95601890afd80709",
    "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "v1.2.3-rc.4",
    "tokio 1.54.1",
    "ZIP 94103-1234",
    "order #1029384756",
    "invoice 2026-0001234",
    "RFC 9110, section 7.4",
    "3.14159265358979",
    "1,234,567.89",
    "for i in 0..100 { x += i * 3 - 1; }",
    "let a = b[1] + c(2, 3) / 4;",
    "std::fs::read(path)?",
    "@media (max-width: 600px)",
    "npm i pkg@1.2.3 @scope/pkg",
    "git@github.com:owner/repo.git",
    "user@localhost",
    "https://example.com/a/b?c=1&d=2#e",
    "0x7fff5fbff8a0",
    "1 2 3 4 5 6 7 8 9 10 11 12",
    "2019 2020 2021 2022 2023",
    "ISBN 978-3-16-148410-0",
    "IMEI 490154203237518",
    "1e-10",
    "-1.5",
    "50%",
    "$19.99",
    "16:9",
    "4K",
    "C4 S3 EKS",
    "chapter 12, page 345",
    "port 8080",
    "+1",
    "+5 points",
    "0.000001",
    "(555)",
    "[1, 2, 3]",
    "a-b-c",
    "x = y = z",
];

#[test]
fn harmless_text_is_left_alone() {
    let default = [Builtin::Ssn, Builtin::CreditCard, Builtin::PhoneNumber, Builtin::Email, Builtin::CaSin];
    for text in HARMLESS {
        assert_eq!(mask(&default, text), *text);
    }
    let together = HARMLESS.join("\n");
    assert_eq!(mask(&default, &together), together);
    let sentences = HARMLESS.join(". It was so, ");
    assert_eq!(mask(&default, &sentences), sentences);
}
