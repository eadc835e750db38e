//! The requests of each source to its endpoint, and the credentials in the replies.

use std::{fs, path::PathBuf, sync::LazyLock, time::SystemTime};

use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;

/// The key of a service account and its public half, both in PEM.
static RSA: LazyLock<(String, String)> = LazyLock::new(|| {
    let pair = rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
    (pair.serialize_pem(), pair.public_key_pem())
});

const TOKEN: &str = r#"{"access_token":"fetched","expires_in":3599,"token_type":"Bearer"}"#;

/// The result of a fetch, with its life in seconds: `TOKEN for 3599`.
async fn fetch(source: &Source) -> Result<String, String> {
    let fetched = source.fetch(&http()).await.map_err(|e| format!("{} | {}", e.message, e.detail))?;
    let life = fetched.life.map_or("ever".to_owned(), |life| life.as_secs().to_string());
    Ok(format!("{} for {life}", describe(&fetched.token)))
}

fn file(dir: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = dir.path().join(name);
    fs::write(&path, text).unwrap();
    path
}

/// A time an hour from now, as the services of AWS write it.
fn in_an_hour() -> String {
    let at = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(3600);
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn keys_json() -> String {
    let keys = json!({"Code": "Success", "AccessKeyId": "AKID", "SecretAccessKey": "secret", "Token": "session",
        "Expiration": in_an_hour(), "New": {"unknown": 1}});
    keys.to_string()
}

#[track_caller]
fn assert_keys(fetched: &Result<String, String>) {
    let good = ["aws AKID secret session for 3599", "aws AKID secret session for 3598"];
    assert!(fetched.as_ref().is_ok_and(|text| good.contains(&text.as_str())), "{fetched:?}");
}

fn web_identity(standin: &StandIn, token: &str) -> Source {
    let url = standin.url();
    let variables = [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", token),
        ("AWS_ROLE_ARN", "arn:aws:iam::1:role/r"),
        ("AWS_ENDPOINT_URL_STS", &url),
    ];
    let Ok(aws::Found::Fetched(source)) = aws::chain(&environment(&variables), "eu-west-1") else {
        panic!("no source")
    };
    source
}

#[tokio::test]
async fn aws_web_identity_sends_the_files_current_token() {
    let standin = StandIn::new(|seen| {
        let result = format!(
            "<AccessKeyId>AKID</AccessKeyId><SecretAccessKey>secret</SecretAccessKey>\
             <SessionToken>session</SessionToken><Expiration>{}</Expiration>",
            in_an_hour()
        );
        if seen.form("WebIdentityToken").as_deref() == Some("bad") {
            let error = "<ErrorResponse><Error><Type>Sender</Type><Code>InvalidIdentityToken</Code>\
                         <Message>not &quot;valid&quot;</Message></Error></ErrorResponse>";
            return (400, error.to_owned());
        }
        let credentials = format!("<Result><Credentials>{result}</Credentials></Result>");
        (200, format!("<AssumeRoleWithWebIdentityResponse>{credentials}</AssumeRoleWithWebIdentityResponse>"))
    })
    .await;
    let dir = TempDir::new().unwrap();
    let path = file(&dir, "token", "first+/=\n");
    let source = web_identity(&standin, path.to_str().unwrap());
    assert_keys(&fetch(&source).await);
    file(&dir, "token", "second");
    assert_keys(&fetch(&source).await);
    file(&dir, "token", "bad");
    let error = fetch(&source).await.unwrap_err();
    assert_eq!(error, "127.0.0.1 answered 400: InvalidIdentityToken | not \"valid\"");
    fs::remove_file(&path).unwrap();
    assert!(fetch(&source).await.unwrap_err().contains("can't read"));

    let seen = standin.seen();
    assert_eq!(seen.len(), 3, "without a token no request is sent");
    assert_eq!(seen[0].line(), "POST /");
    assert_eq!(seen[0].headers["content-type"], "application/x-www-form-urlencoded");
    for (name, value) in [
        ("Action", "AssumeRoleWithWebIdentity"),
        ("Version", "2011-06-15"),
        ("RoleArn", "arn:aws:iam::1:role/r"),
        ("RoleSessionName", "tollgate"),
        ("WebIdentityToken", "first+/="),
    ] {
        assert_eq!(seen[0].form(name).as_deref(), Some(value));
    }
    assert_eq!(seen[1].form("WebIdentityToken").as_deref(), Some("second"), "the file is read anew");
}

#[tokio::test]
async fn aws_web_identity_understands_json_too() {
    let standin = StandIn::new(|_| {
        let at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() + 3600;
        let keys =
            json!({"AccessKeyId": "AKID", "SecretAccessKey": "secret", "SessionToken": "session", "Expiration": at});
        (
            200,
            json!({"AssumeRoleWithWebIdentityResponse": {"AssumeRoleWithWebIdentityResult": {"Credentials": keys}}})
                .to_string(),
        )
    })
    .await;
    let dir = TempDir::new().unwrap();
    let path = file(&dir, "token", "t");
    assert_keys(&fetch(&web_identity(&standin, path.to_str().unwrap())).await);
}

#[tokio::test]
async fn aws_containers_show_their_token() {
    let standin = StandIn::new(|seen| match seen.headers.get("authorization") {
        Some(shown) if shown == "pod-token" => (200, keys_json()),
        _ => (401, json!({"code": "Unauthenticated", "message": "no"}).to_string()),
    })
    .await;
    let dir = TempDir::new().unwrap();
    let path = file(&dir, "token", "pod-token\n");
    let url = format!("{}/v1/credentials", standin.url());
    let from = |variables: &[(&str, &str)]| match aws::chain(&environment(variables), "r") {
        Ok(aws::Found::Fetched(source)) => source,
        _ => panic!("no source"),
    };
    let uri = ("AWS_CONTAINER_CREDENTIALS_FULL_URI", url.as_str());
    let text = ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "other");
    let in_file = ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", path.to_str().unwrap());
    assert_keys(&fetch(&from(&[uri, text, in_file])).await);
    assert_eq!(fetch(&from(&[uri, text])).await.unwrap_err(), "127.0.0.1 answered 401: Unauthenticated | no");
    assert!(fetch(&from(&[uri])).await.is_err());
    assert_eq!(standin.seen()[0].line(), "GET /v1/credentials");
    fs::write(&path, "a\nb").unwrap();
    assert!(fetch(&from(&[uri, in_file])).await.unwrap_err().contains("can't be sent"));
}

#[tokio::test]
async fn aws_instances_give_their_roles_keys_within_a_session() {
    let standin = StandIn::new(|seen| match (seen.method.as_str(), seen.path.as_str()) {
        ("PUT", "/latest/api/token") => (200, "session-of-imds".into()),
        ("GET", _) if seen.headers.get("x-aws-ec2-metadata-token").is_none_or(|t| t != "session-of-imds") => {
            (401, String::new())
        }
        ("GET", "/latest/meta-data/iam/security-credentials/") => (200, "my-role\n".into()),
        ("GET", "/latest/meta-data/iam/security-credentials/my-role") => (200, keys_json()),
        _ => (404, String::new()),
    })
    .await;
    assert_keys(&fetch(&Source::AwsInstance { endpoint: standin.url() }).await);
    let lines: Vec<_> = standin.seen().iter().map(Seen::line).collect();
    let role = "GET /latest/meta-data/iam/security-credentials/";
    assert_eq!(lines, ["PUT /latest/api/token", role, &format!("{role}my-role")]);
    assert_eq!(standin.seen()[0].headers["x-aws-ec2-metadata-token-ttl-seconds"], "21600");

    let without =
        StandIn::new(|seen| if seen.method == "PUT" { (200, "s".into()) } else { (404, String::new()) }).await;
    let error = fetch(&Source::AwsInstance { endpoint: without.url() }).await.unwrap_err();
    assert!(error.starts_with("127.0.0.1 answered 404: the instance has no role"), "{error}");
}

fn service_account(token_uri: &str) -> String {
    let key = json!({"type": "service_account", "client_email": "me@p.iam.gserviceaccount.com", "private_key_id": "k1",
        "private_key": RSA.0, "token_uri": token_uri, "project_id": "p", "universe_domain": "googleapis.com"});
    key.to_string()
}

#[tokio::test]
async fn google_service_accounts_sign_an_assertion() {
    let standin = StandIn::new(|_| (200, TOKEN.into())).await;
    let uri = format!("{}/token", standin.url());
    let source = Source::GoogleKey(google::Key::parse(&service_account(&uri)).unwrap());
    assert_eq!(fetch(&source).await.unwrap(), "bearer fetched for 3599");

    let seen = &standin.seen()[0];
    assert_eq!(seen.line(), "POST /token");
    assert_eq!(seen.form("grant_type").as_deref(), Some("urn:ietf:params:oauth:grant-type:jwt-bearer"));
    let assertion = seen.form("assertion").unwrap();
    assert_eq!(jsonwebtoken::decode_header(&assertion).unwrap().kid.as_deref(), Some("k1"));
    let mut validation = Validation::new(Algorithm::RS256);
    validation.set_audience(&[&uri]);
    let public = DecodingKey::from_rsa_pem(RSA.1.as_bytes()).unwrap();
    let claims = jsonwebtoken::decode::<Value>(&assertion, &public, &validation).unwrap().claims;
    assert_eq!(claims["iss"], "me@p.iam.gserviceaccount.com");
    assert_eq!(claims["scope"], "https://www.googleapis.com/auth/cloud-platform");
    assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 3600);
}

#[tokio::test]
async fn google_files_and_users_and_the_metadata_server() {
    let standin = StandIn::new(|seen| match seen.headers.get("metadata-flavor") {
        Some(flavor) if flavor == "Google" => (200, TOKEN.replace("fetched", "of-metadata")),
        None if seen.form("refresh_token").is_some() => (200, TOKEN.replace("fetched", "of-user")),
        None => (200, TOKEN.into()),
        Some(_) => (403, String::new()),
    })
    .await;
    let dir = TempDir::new().unwrap();
    let uri = format!("{}/token", standin.url());
    let path = file(&dir, "key.json", &service_account(&uri));
    assert_eq!(fetch(&Source::GoogleFile(path.clone())).await.unwrap(), "bearer fetched for 3599");
    let user = json!({
        "type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r", "token_uri": uri,
    });
    fs::write(&path, user.to_string()).unwrap();
    assert_eq!(fetch(&Source::GoogleFile(path.clone())).await.unwrap(), "bearer of-user for 3599");
    let body = standin.seen()[1].body.clone();
    assert_eq!(body, "grant_type=refresh_token&client_id=c&client_secret=s&refresh_token=r");

    let host = standin.address.to_string();
    let metadata = |user_file| Source::GoogleMetadata { host: host.clone(), user_file };
    assert_eq!(fetch(&metadata(Some(dir.path().join("none")))).await.unwrap(), "bearer of-metadata for 3599");
    let line = standin.seen()[2].line();
    assert_eq!(line, "GET /computeMetadata/v1/instance/service-accounts/default/token");
    assert_eq!(fetch(&metadata(Some(path))).await.unwrap(), "bearer of-user for 3599");
}

#[test]
fn google_keys_are_validated_before_use() {
    let broken = |field: &str, value: Value| {
        let mut key: Value = serde_json::from_str(&service_account("https://t.example.com")).unwrap();
        key[field] = value;
        key.to_string()
    };
    for (json, expected) in [
        ("{".to_owned(), "is no JSON of a Google key"),
        (r#"{"type":{"s3cret":1}}"#.to_owned(), "is no JSON of a Google key"),
        ("{}".to_owned(), "neither service_account nor authorized_user"),
        (broken("type", json!("external_account")), "neither service_account nor authorized_user"),
        (broken("private_key", json!("s3cret")), "no RSA key in PEM"),
        (broken("private_key", json!("")), "has no private_key"),
        (broken("client_email", Value::Null), "has no client_email"),
        (broken("token_uri", json!("http://t.example.com")), "no URL with https"),
    ] {
        let why = google::Key::parse(&json).err().unwrap();
        assert!(why.contains(expected) && !why.contains("s3cret"), "{why}");
    }
}

#[tokio::test]
async fn azure_applications_prove_themselves_by_secret_or_by_file() {
    let standin =
        StandIn::new(|_| (200, r#"{"access_token":"fetched","expires_in":"3599","ext_expires_in":3599}"#.into())).await;
    let dir = TempDir::new().unwrap();
    let path = file(&dir, "token", "federated\n");
    let url = format!("{}/", standin.url());
    let variables = [
        ("AZURE_AUTHORITY_HOST", url.as_str()),
        ("AZURE_TENANT_ID", "tenant"),
        ("AZURE_CLIENT_ID", "client"),
        ("AZURE_FEDERATED_TOKEN_FILE", path.to_str().unwrap()),
    ];
    let environment = environment(&variables);
    let secret = azure::with_secret(&environment, "tenant", "client", "a&b").unwrap();
    assert_eq!(fetch(&secret).await.unwrap(), "bearer fetched for 3599");
    assert_eq!(fetch(&azure::workload(&environment).unwrap()).await.unwrap(), "bearer fetched for 3599");

    let seen = standin.seen();
    for seen in &seen {
        assert_eq!(seen.line(), "POST /tenant/oauth2/v2.0/token");
        assert_eq!(seen.form("grant_type").as_deref(), Some("client_credentials"));
        assert_eq!(seen.form("client_id").as_deref(), Some("client"));
        assert_eq!(seen.form("scope").as_deref(), Some("https://cognitiveservices.azure.com/.default"));
    }
    assert_eq!(seen[0].form("client_secret").as_deref(), Some("a&b"));
    assert_eq!(seen[1].form("client_secret"), None);
    assert_eq!(seen[1].form("client_assertion").as_deref(), Some("federated"));
    let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
    assert_eq!(seen[1].form("client_assertion_type").as_deref(), Some(kind));
}

#[tokio::test]
async fn bad_answers_are_failures_that_repeat_no_secret() {
    let huge = format!(r#"{{"access_token":"{}"}}"#, "s3cret".repeat(20_000));
    for (status, body, expected) in [
        (200, "<html>s3cret</html>", "the answer is not what was expected"),
        (200, r#"{"access_token":["s3cret"],"expires_in":1}"#, "the answer is not what was expected"),
        (200, r#"["s3cret"]"#, "the answer is not what was expected"),
        (200, r#"{"access_token":"","expires_in":1}"#, "has no access_token"),
        (200, r#"{"access_token":"s3cret"}"#, "has no expires_in"),
        (200, r#"{"access_token":"s3cret","expires_in":-1}"#, "has no expires_in"),
        (200, &huge, "broke off or is over 64 KiB"),
        (
            400,
            r#"{"error":"invalid_grant","error_description":"Invalid JWT\nSignature."}"#,
            "answered 400: invalid_grant | Invalid JWTSignature.",
        ),
        (302, "", "answered 302"),
        (500, "<html>", "answered 500"),
    ] {
        let text = body.to_owned();
        let standin = StandIn::new(move |_| (status, text.clone())).await;
        let source = Source::GoogleMetadata { host: standin.address.to_string(), user_file: None };
        let error = fetch(&source).await.unwrap_err();
        assert!(error.contains(expected) && !error.contains("s3cret"), "{status} {body:.80}: {error}");
    }
    for (body, expected) in [
        (r#"{"Code":"AssumeRoleUnauthorizedAccess"}"#.to_owned(), "AssumeRoleUnauthorizedAccess"),
        (r#"{"AccessKeyId":"AKID"}"#.to_owned(), "the answer has no keys"),
        (keys_json().replace("20", "s3"), "the expiry is no time"),
        (r#"{"AccessKeyId":17,"SecretAccessKey":"s3cret"}"#.to_owned(), "not what was expected"),
    ] {
        let standin =
            StandIn::new(move |seen| if seen.path.ends_with("/r") { (200, body.clone()) } else { (200, "r".into()) })
                .await;
        let error = fetch(&Source::AwsInstance { endpoint: standin.url() }).await.unwrap_err();
        assert!(error.contains(expected) && !error.contains("s3cret"), "{error}");
    }
    let missing = Source::GoogleMetadata { host: "127.0.0.1:1".into(), user_file: None };
    assert!(fetch(&missing).await.unwrap_err().starts_with("127.0.0.1: can't connect | "));
}
