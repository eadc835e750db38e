//! Keys of AWS: from the environment, and from the three services that issue temporary ones.

#![expect(clippy::disallowed_methods, reason = "lives of keys are given as times of day")]

use std::{
    net::IpAddr,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use http::{StatusCode, Uri};
use secrecy::SecretString;
use serde::Deserialize;

use super::{
    FetchError, Fetched, Hidden, Source, Token,
    http::{Answer, Http, escape, is_safe, read},
    variable,
};
use crate::upstream::AwsKeys;

/// The address of the ECS agent.
const ECS_AGENT: &str = "http://169.254.170.2";
/// Addresses that may be used without TLS: the agents of ECS and of EKS pod identity, which never leave the node.
const AGENTS: [&str; 3] = ["169.254.170.2", "169.254.170.23", "fd00:ec2::23"];
/// The address of the metadata service of instances.
const INSTANCE: &str = "http://169.254.169.254";
/// The same address with IPv6.
const INSTANCE_V6: &str = "http://[fd00:ec2::254]";
/// Life of a session with the metadata service, in seconds: the maximum.
const SESSION_SECONDS: &str = "21600";

/// The pod's identity in AWS, as the environment configures it.
pub enum Found {
    /// An API key of Bedrock, which is a bearer token.
    Bearer(SecretString),
    /// Keys.
    Keys(AwsKeys),
    /// A service that issues keys.
    Fetched(Source),
}

/// The pod's identity in AWS, in the order of the SDKs: an API key of Bedrock, keys in the environment, web identity,
/// the agent of a container, the instance. `region` is for the token service if the environment names none.
///
/// # Errors
/// When the environment is incomplete, or no source is left. The text holds no value.
pub fn chain(environment: &dyn Fn(&str) -> Option<String>, region: &str) -> Result<Found, String> {
    let get = |name: &str| variable(environment, name);
    if let Some(token) = get("AWS_BEARER_TOKEN_BEDROCK") {
        return Ok(Found::Bearer(token.into()));
    }
    match (get("AWS_ACCESS_KEY_ID"), get("AWS_SECRET_ACCESS_KEY")) {
        (Some(id), Some(secret)) => return Ok(Found::Keys(AwsKeys::new(id, secret, get("AWS_SESSION_TOKEN")))),
        (Some(_), None) => return Err("AWS_ACCESS_KEY_ID is set and AWS_SECRET_ACCESS_KEY is not".into()),
        (None, _) => {}
    }
    match (get("AWS_WEB_IDENTITY_TOKEN_FILE"), get("AWS_ROLE_ARN")) {
        (Some(file), Some(role)) => return web_identity(&get, file.into(), role, region).map(Found::Fetched),
        (Some(_), None) => return Err("AWS_WEB_IDENTITY_TOKEN_FILE is set and AWS_ROLE_ARN is not".into()),
        (None, _) => {}
    }
    if let Some(container) = container(&get)? {
        return Ok(Found::Fetched(Source::AwsContainer(container)));
    }
    if get("AWS_EC2_METADATA_DISABLED").is_some_and(|v| v.eq_ignore_ascii_case("true")) {
        return Err("the environment has no AWS credentials, and AWS_EC2_METADATA_DISABLED is true".into());
    }
    let v6 = get("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE").is_some_and(|v| v.eq_ignore_ascii_case("ipv6"));
    let endpoint = get("AWS_EC2_METADATA_SERVICE_ENDPOINT")
        .unwrap_or_else(|| if v6 { INSTANCE_V6.to_owned() } else { INSTANCE.to_owned() });
    Ok(Found::Fetched(Source::AwsInstance { endpoint: endpoint.trim_end_matches('/').to_owned() }))
}

/// A role, and the token that proves the right to assume it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct WebIdentity {
    token_file: PathBuf,
    role: String,
    session: String,
    endpoint: String,
}

fn web_identity(
    get: &dyn Fn(&str) -> Option<String>,
    token_file: PathBuf,
    role: String,
    region: &str,
) -> Result<Source, String> {
    let region = get("AWS_REGION").or_else(|| get("AWS_DEFAULT_REGION")).unwrap_or_else(|| region.to_owned());
    let suffix = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    let endpoint = get("AWS_ENDPOINT_URL_STS").unwrap_or_else(|| format!("https://sts.{region}.{suffix}"));
    // The token is as valuable as a key.
    if !is_safe(&endpoint) {
        return Err("AWS_ENDPOINT_URL_STS (or AWS_REGION) leads to no URL with https".into());
    }
    let session = get("AWS_ROLE_SESSION_NAME").unwrap_or_else(|| "tollgate".to_owned());
    Ok(Source::AwsWebIdentity(WebIdentity { token_file, role, session, endpoint }))
}

impl WebIdentity {
    pub(super) async fn fetch(&self, http: &Http) -> Result<Fetched, FetchError> {
        let token = read(&self.token_file).await?;
        let form = [
            ("Action", "AssumeRoleWithWebIdentity"),
            ("Version", "2011-06-15"),
            ("RoleArn", self.role.as_str()),
            ("RoleSessionName", self.session.as_str()),
            ("WebIdentityToken", token.trim()),
        ];
        let answer = http.post(&self.endpoint, &form).await?;
        let text = String::from_utf8_lossy(&answer.body);
        // The service supports JSON too, but only XML is documented. Both have the same names.
        let get = |name: &str| element(&text, name).or_else(|| field(&answer, name));
        if answer.status != StatusCode::OK {
            return Err(answer.refused(get("Code").as_deref(), get("Message").as_deref()));
        }
        let keys = AnswerKeys {
            access_key_id: get("AccessKeyId"),
            secret_access_key: get("SecretAccessKey"),
            token: get("SessionToken"),
            // Seconds since 1970 in JSON.
            expiration: get("Expiration"),
            code: None,
        };
        keys.fetched(&answer, SystemTime::now())
    }
}

/// The text of the first element `name`.
fn element(xml: &str, name: &str) -> Option<String> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    let plain = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&amp;", "&")];
    Some(plain.iter().fold(text.trim().to_owned(), |text, (escaped, raw)| text.replace(escaped, raw)))
}

/// The value of the first field `name`, at any depth.
fn field(answer: &Answer, name: &str) -> Option<String> {
    fn find<'a>(value: &'a serde_json::Value, name: &str) -> Option<&'a serde_json::Value> {
        let object = value.as_object()?;
        object.get(name).or_else(|| object.values().find_map(|inner| find(inner, name)))
    }
    let value: serde_json::Value = serde_json::from_slice(&answer.body).ok()?;
    match find(&value, name)? {
        serde_json::Value::String(text) => Some(text.clone()),
        serde_json::Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The agent of a container, and the authorization that it requires.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Container {
    url: String,
    token: Option<BearerToken>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
enum BearerToken {
    Text(Hidden),
    File(PathBuf),
}

fn container(get: &dyn Fn(&str) -> Option<String>) -> Result<Option<Container>, String> {
    let url = match (get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"), get("AWS_CONTAINER_CREDENTIALS_FULL_URI")) {
        (Some(path), _) => format!("{ECS_AGENT}/{}", path.trim_start_matches('/')),
        (None, Some(url)) => url,
        (None, None) => return Ok(None),
    };
    let host = url.parse::<Uri>().ok().and_then(|url| url.host().map(str::to_owned)).unwrap_or_default();
    let host: Option<IpAddr> = host.trim_start_matches('[').trim_end_matches(']').parse().ok();
    let is_agent = host.is_some_and(|host| AGENTS.iter().any(|agent| agent.parse() == Ok(host)));
    let on_node = is_agent && url.starts_with("http://");
    if !on_node && !is_safe(&url) {
        return Err("AWS_CONTAINER_CREDENTIALS_FULL_URI must have https, or lead to an agent on this node".into());
    }
    let file = get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE").map(|path| BearerToken::File(path.into()));
    let token = file.or_else(|| get("AWS_CONTAINER_AUTHORIZATION_TOKEN").map(|t| BearerToken::Text(t.as_str().into())));
    Ok(Some(Container { url, token }))
}

impl Container {
    pub(super) async fn fetch(&self, http: &Http) -> Result<Fetched, FetchError> {
        let token = match &self.token {
            Some(BearerToken::File(path)) => Some(read(path).await?),
            Some(BearerToken::Text(text)) => Some(text.expose().to_owned()),
            None => None,
        };
        let token: Vec<_> = token.iter().map(|text| ("authorization", text.trim())).collect();
        let answer = http.get(&self.url, &token).await?;
        if answer.status != StatusCode::OK {
            let get = |lower, upper| field(&answer, lower).or_else(|| field(&answer, upper));
            return Err(answer.refused(get("code", "Code").as_deref(), get("message", "Message").as_deref()));
        }
        answer.json::<AnswerKeys>()?.fetched(&answer, SystemTime::now())
    }
}

/// Keys of the instance's role, by version 2 of its metadata service.
pub(super) async fn from_instance(endpoint: &str, http: &Http) -> Result<Fetched, FetchError> {
    let ttl = [("x-aws-ec2-metadata-token-ttl-seconds", SESSION_SECONDS)];
    let session = http.put(&format!("{endpoint}/latest/api/token"), &ttl).await?;
    let text = std::str::from_utf8(&session.body).unwrap_or_default().trim();
    if session.status != StatusCode::OK || text.is_empty() {
        return Err(session.refused(Some("no session with the metadata service"), None));
    }
    let shown = [("x-aws-ec2-metadata-token", text)];
    let url = format!("{endpoint}/latest/meta-data/iam/security-credentials/");
    let roles = http.get(&url, &shown).await?;
    let role = std::str::from_utf8(&roles.body).unwrap_or_default().lines().next().unwrap_or_default().trim();
    if roles.status != StatusCode::OK || role.is_empty() {
        return Err(roles.refused(Some("the instance has no role"), None));
    }
    let answer = http.get(&format!("{url}{}", escape(role)), &shown).await?;
    if answer.status != StatusCode::OK {
        return Err(answer.refused(Some("no keys for the instance's role"), None));
    }
    answer.json::<AnswerKeys>()?.fetched(&answer, SystemTime::now())
}

/// Keys as the agents write them.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AnswerKeys {
    code: Option<String>,
    access_key_id: Option<String>,
    secret_access_key: Option<String>,
    token: Option<String>,
    expiration: Option<String>,
}

impl AnswerKeys {
    fn fetched(self, answer: &Answer, now: SystemTime) -> Result<Fetched, FetchError> {
        // The metadata service reports with 200 that a role can't be used.
        if let Some(code) = self.code.as_deref().filter(|code| *code != "Success") {
            return Err(answer.refused(Some(code), None));
        }
        let full = |value: Option<String>| value.filter(|v| !v.is_empty());
        let (Some(id), Some(secret)) = (full(self.access_key_id), full(self.secret_access_key)) else {
            return Err(answer.refused(Some("the answer has no keys"), None));
        };
        let life = match full(self.expiration) {
            Some(at) => {
                let life = life(&at, now);
                Some(life.ok_or_else(|| answer.refused(Some("the expiry is no time"), None))?)
            }
            None => None,
        };
        Ok(Fetched { token: Token::Aws(AwsKeys::new(id, secret, full(self.token))), life })
    }
}

/// The time from `now` to `at`, which is in the form of RFC 3339 or in seconds since 1970; zero when it has passed.
fn life(at: &str, now: SystemTime) -> Option<Duration> {
    let at: SystemTime = match at.parse::<f64>() {
        Ok(seconds) => SystemTime::UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(seconds).ok()?)?,
        Err(_) => at.parse::<jiff::Timestamp>().ok()?.into(),
    };
    Some(at.duration_since(now).unwrap_or_default())
}
