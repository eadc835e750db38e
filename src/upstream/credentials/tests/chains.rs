//! Which source the environment selects.

use super::*;

/// The source that the chain of AWS finds, with its own fields where they matter.
fn found(variables: &[(&str, &str)]) -> String {
    match aws::chain(&environment(variables), "eu-west-1") {
        Ok(aws::Found::Bearer(token)) => describe(&Token::Bearer(token)),
        Ok(aws::Found::Keys(keys)) => describe(&Token::Aws(keys)),
        Ok(aws::Found::Fetched(Source::AwsInstance { endpoint })) => format!("aws_instance {endpoint}"),
        Ok(aws::Found::Fetched(source)) => source.label().to_owned(),
        Err(why) => why,
    }
}

#[test]
fn aws_sources_have_the_order_of_the_sdks() {
    // Each line takes precedence over those below it.
    let lines: [(&[(&str, &str)], &str); 6] = [
        (&[("AWS_BEARER_TOKEN_BEDROCK", "b")], "bearer b"),
        (&[("AWS_ACCESS_KEY_ID", "i"), ("AWS_SECRET_ACCESS_KEY", "s"), ("AWS_SESSION_TOKEN", "t")], "aws i s t"),
        (&[("AWS_WEB_IDENTITY_TOKEN_FILE", "/t"), ("AWS_ROLE_ARN", "r")], "aws_web_identity"),
        (&[("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/x")], "aws_container"),
        (&[("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://169.254.170.23/v1/credentials")], "aws_container"),
        (&[], "aws_instance http://169.254.169.254"),
    ];
    for (number, (_, expected)) in lines.iter().enumerate() {
        let all: Vec<_> = lines[number..].iter().flat_map(|(variables, _)| *variables).copied().collect();
        assert_eq!(found(&all), *expected, "{all:?}");
    }
}

#[test]
fn incomplete_or_unsafe_settings_are_refused() {
    let role = ("AWS_ROLE_ARN", "r");
    let file = ("AWS_WEB_IDENTITY_TOKEN_FILE", "/t");
    let uri = |url| [("AWS_CONTAINER_CREDENTIALS_FULL_URI", url)];
    for (variables, expected) in [
        (&[("AWS_ACCESS_KEY_ID", "i")][..], "AWS_SECRET_ACCESS_KEY is not"),
        (&[("AWS_ACCESS_KEY_ID", " "), ("AWS_SECRET_ACCESS_KEY", "")], "aws_instance"),
        (&[file], "AWS_ROLE_ARN is not"),
        (&[role], "aws_instance"),
        (&[file, role, ("AWS_ENDPOINT_URL_STS", "http://sts.example.com")], "no URL with https"),
        (&[file, role, ("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:1")], "aws_web_identity"),
        (&uri("http://169.254.170.2/x"), "aws_container"),
        (&uri("http://[fd00:ec2::23]/x"), "aws_container"),
        (&uri("http://localhost:9/x"), "aws_container"),
        (&uri("https://keys.example.com/x"), "aws_container"),
        (&uri("http://keys.example.com/x"), "must have https"),
        (&uri("http://169.254.169.254/x"), "must have https"),
        (&[("AWS_EC2_METADATA_DISABLED", "TRUE")], "AWS_EC2_METADATA_DISABLED is true"),
        (&[("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "IPv6")], "aws_instance http://[fd00:ec2::254]"),
        (&[("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:1/")], "aws_instance http://127.0.0.1:1"),
    ] {
        let found = found(variables);
        assert!(found.contains(expected), "{variables:?}: {found}");
    }
}

#[test]
fn google_and_azure_are_found() {
    for (variables, expected) in [
        (&[("GOOGLE_APPLICATION_CREDENTIALS", "/key.json"), ("GCE_METADATA_HOST", "h")][..], "/key.json"),
        (&[("GCE_METADATA_HOST", "h:1"), ("HOME", "/u")], "h:1 /u/.config/gcloud/application_default_credentials.json"),
        (&[("CLOUDSDK_CONFIG", "/c"), ("HOME", "/u")], "169.254.169.254 /c/application_default_credentials.json"),
        (&[], "169.254.169.254 -"),
    ] {
        let found = match google::chain(&environment(variables)) {
            Source::GoogleFile(path) => path.display().to_string(),
            Source::GoogleMetadata { host, user_file } => {
                format!("{host} {}", user_file.map_or_else(|| "-".to_owned(), |path| path.display().to_string()))
            }
            other => other.label().to_owned(),
        };
        assert_eq!(found, expected, "{variables:?}");
    }
    let (tenant, client, file) =
        (("AZURE_TENANT_ID", "t-1"), ("AZURE_CLIENT_ID", "c"), ("AZURE_FEDERATED_TOKEN_FILE", "/t"));
    for (variables, expected) in [
        (&[tenant, client, file][..], "azure_workload_identity"),
        (&[tenant, client], "AZURE_FEDERATED_TOKEN_FILE is not set"),
        (&[client, file], "AZURE_TENANT_ID is not set"),
        (&[("AZURE_TENANT_ID", "a/../b"), client, file], "neither an id nor a domain"),
        (&[tenant, client, file, ("AZURE_AUTHORITY_HOST", "http://login.example.com")], "no URL with https"),
    ] {
        let found = azure::workload(&environment(variables)).map(|source| source.label().to_owned());
        let found = found.unwrap_or_else(|why| why);
        assert!(found.contains(expected), "{variables:?}: {found}");
    }
}

#[test]
fn equal_sources_share_a_credential() {
    let credentials = credentials();
    let instance = |endpoint: &str| Source::AwsInstance { endpoint: endpoint.to_owned() };
    let first = credentials.get(&instance("a"));
    assert!(Arc::ptr_eq(&first, &credentials.get(&instance("a"))));
    assert!(!Arc::ptr_eq(&first, &credentials.get(&instance("b"))));
    let with = |secret| azure::with_secret(&|_| None, "t", "c", secret).unwrap();
    let one = credentials.get(&with("one"));
    assert!(!Arc::ptr_eq(&one, &credentials.get(&with("two"))), "a rotated secret is another source");
}
