//! Credentials that are fetched or that sign: which source a Backend and its Secret select, and how mistakes are
//! reported.

use super::*;
use crate::{
    compile::credential::aws,
    snapshot::{Credential, SigningKeys},
    upstream::Token,
};

const VERTEX: &str = "model: m, apiVersion: v1, projectId: p, location: us-central1";
const AZURE: &str = "endpoint: e.openai.azure.com, deploymentName: d, apiVersion: v";
const WORKLOAD: &str = "authToken: {kind: Workload}";
const SECRET: &str = "authToken: {kind: SecretRef, secretRef: {name: s}}";
/// The environment of a pod with Azure's workload identity.
const AZURE_POD: &[(&str, &str)] =
    &[("AZURE_TENANT_ID", "t"), ("AZURE_CLIENT_ID", "c"), ("AZURE_FEDERATED_TOKEN_FILE", "/t")];

/// How the credential is sent, in one line.
fn describe(credential: &Credential) -> String {
    match credential {
        Credential::Fixed(header, value) => format!("{header}: {}", value.to_str().unwrap()),
        Credential::Passthrough { header, .. } => format!("{header} of the client"),
        Credential::Fetched { handle, header, prefix } => format!("{header}: {prefix}<{}>", handle.label()),
        Credential::Aws { keys: SigningKeys::Fixed(token), region } => match &**token {
            Token::Aws(keys) => format!("signed in {region} by {}", keys.id()),
            Token::Bearer(_) => "a bearer token that signs".into(),
        },
        Credential::Aws { keys: SigningKeys::Fetched(handle), region } => {
            format!("signed in {region} by <{}>", handle.label())
        }
    }
}

/// The credential of the only target at `/x`, or the message of its Backend's condition.
fn made(llm: &str, secrets: &[String], variables: &'static [(&'static str, &'static str)]) -> String {
    let mut documents = vec![
        open_gateway("gw"),
        simple_route("x", "/x", &to("x")),
        backend("x", &format!("type: AI, ai: {{llm: {{{llm}}}}}")),
    ];
    documents.extend_from_slice(secrets);
    let world = World::of(World::new(&documents).objects, &env(variables));
    let rule = world.rule_at("http://h/x");
    let Action::Forward(split) = &rule.action else { panic!("no forwarding") };
    match &split.backends()[0].backend {
        Backend::Ai(ai) => describe(&ai.backend.groups[0][0].credential),
        _ => world.conditions(Kind::Backend, "default/x"),
    }
}

#[test]
fn each_source_of_a_token() {
    let application = secret("s", "tenantId: t, clientId: c, clientSecret: x");
    let user = r#"'{"type":"authorized_user","client_id":"c","client_secret":"s","refresh_token":"r"}'"#;
    for (llm, secrets, variables, expected) in [
        (format!("vertexai: {{{VERTEX}, {WORKLOAD}}}"), vec![], &[][..], "authorization: Bearer <google_metadata>"),
        (
            format!("vertexai: {{{VERTEX}, {WORKLOAD}}}"),
            vec![],
            &[("GOOGLE_APPLICATION_CREDENTIALS", "/k")],
            "authorization: Bearer <google_file>",
        ),
        (
            format!("vertexai: {{{VERTEX}, {SECRET}}}"),
            vec![secret("s", &format!("Authorization: {user}"))],
            &[],
            "authorization: Bearer <google_key>",
        ),
        (
            format!("vertexai: {{{VERTEX}, {SECRET}}}"),
            vec![secret("s", &format!("credentials.json: {user}"))],
            &[],
            "authorization: Bearer <google_key>",
        ),
        (
            format!("vertexai: {{{VERTEX}, {SECRET}}}"),
            vec![secret("s", "Authorization: ya29")],
            &[],
            "authorization: Bearer ya29",
        ),
        (format!("azureopenai: {{{AZURE}, {SECRET}}}"), vec![secret("s", "Authorization: k")], &[], "api-key: k"),
        (
            format!("azureopenai: {{{AZURE}, {SECRET}}}"),
            vec![application.clone()],
            &[],
            "authorization: Bearer <azure_client_secret>",
        ),
        (
            format!("azureopenai: {{{AZURE}, {WORKLOAD}}}"),
            vec![],
            AZURE_POD,
            "authorization: Bearer <azure_workload_identity>",
        ),
        (
            format!("azureopenai: {{{AZURE}, {WORKLOAD}}}, authHeader: {{headerName: x-token, prefix: 'T '}}"),
            vec![],
            AZURE_POD,
            "x-token: T <azure_workload_identity>",
        ),
    ] {
        assert_eq!(made(&llm, &secrets, variables), expected, "{llm}");
    }
}

#[test]
fn mistakes_are_reported_without_the_secret() {
    let google = |json: &str| vec![secret("s", &format!("Authorization: '{json}'"))];
    for (llm, secrets, reason, expected) in [
        (format!("openai: {{{WORKLOAD}}}"), vec![], "Invalid", "kind Workload is of azureopenai and vertexai alone"),
        (
            format!("vertexai: {{{VERTEX}, {SECRET}}}"),
            google(r#"{"type":"external_account","s3cret":1}"#),
            "SecretInvalid",
            "Secret default/s: key \"Authorization\" is a Google credential whose type is neither",
        ),
        (
            format!("vertexai: {{{VERTEX}, {SECRET}}}"),
            google(r#"{"type":"service_account","client_email":"e","private_key":"s3cret"}"#),
            "SecretInvalid",
            "no RSA key in PEM",
        ),
        (
            format!("azureopenai: {{{AZURE}, {SECRET}}}"),
            vec![secret("s", "tenantId: t, clientSecret: s3cret")],
            "SecretInvalid",
            "has no key \"clientId\"; it has clientSecret, tenantId",
        ),
        (
            format!("azureopenai: {{{AZURE}, {WORKLOAD}}}"),
            vec![],
            "CredentialsUnavailable",
            "AZURE_TENANT_ID is not set",
        ),
    ] {
        let report = made(&llm, &secrets, &[]);
        assert!(report.contains(&format!("Accepted=False/{reason}")) && report.contains(expected), "{llm}: {report}");
        assert!(!report.contains("s3cret"), "{report}");
    }
}

#[test]
fn bedrock_signs_with_a_secret_or_as_the_pod() {
    let check = |secrets: &[String], variables: &'static [(&'static str, &'static str)], expected: &str| {
        let objects = World::new(secrets).objects;
        let name = (!secrets.is_empty()).then_some("s");
        let made = aws(name, "eu-west-1", "default", &objects, &env(variables));
        let made = made.map_or_else(|p| format!("{}: {}", p.reason, p.message), |credential| describe(&credential));
        assert!(made.starts_with(expected) && !made.contains("s3cret"), "{made}");
    };
    let signed = "signed in eu-west-1 by";
    check(&[secret("s", "accessKey: AKID, secretKey: s3cret, sessionToken: t")], &[], &format!("{signed} AKID"));
    check(
        &[secret("s", "accessKey: AKID")],
        &[],
        "SecretInvalid: Secret default/s: has no key \"secretKey\"; it has accessKey",
    );
    check(
        &[secret("s", "accessKey: '', secretKey: s3cret")],
        &[],
        "SecretInvalid: Secret default/s: key \"accessKey\" is empty",
    );
    check(&[secret("s", "Authorization: bedrock-api-key")], &[], "authorization: Bearer bedrock-api-key");
    check(&[secret("other", "accessKey: AKID")], &[], "SecretNotFound: Secret default/s does not exist");
    check(&[], &[("AWS_ACCESS_KEY_ID", "AKID"), ("AWS_SECRET_ACCESS_KEY", "s3cret")], &format!("{signed} AKID"));
    check(&[], &[("AWS_BEARER_TOKEN_BEDROCK", "b")], "authorization: Bearer b");
    check(&[], &[], &format!("{signed} <aws_instance>"));
    check(
        &[],
        &[("AWS_EC2_METADATA_DISABLED", "true")],
        "CredentialsUnavailable: the environment has no AWS credentials",
    );
}
