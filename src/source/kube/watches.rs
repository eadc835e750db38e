//! The watches, one task per kind, and `get`s of Secrets and ConfigMaps.

use std::{fmt::Debug, pin::pin, sync::Arc, time::Duration};

use ::kube::{
    Api, Client, Resource,
    api::{DynamicObject, ObjectMeta, PartialObjectMeta},
};
use futures_util::StreamExt;
use k8s_openapi::{
    NamespaceResourceScope,
    api::core::v1::{ConfigMap, Secret},
};
use kube_runtime::watcher::{self, DefaultBackoff, Event};
use serde::de::DeserializeOwned;
use tokio::{
    sync::{Semaphore, mpsc},
    time::{sleep, timeout},
};

use super::{
    health::Trouble,
    values::{Fetch, Fetched},
};
use crate::{
    api::{Kind, SecretData},
    source::kinds::{KindRow, resource},
};

/// Seconds after which a watch is started again. An API server that vanished silently (a lost node, a load balancer
/// that dropped the connection) is noticed within this time. A watch that continues at its last version costs almost
/// nothing.
const WATCH_SECONDS: u32 = 60;

/// Longest pause before a request is repeated when the API server can't be reached, lacks the kind or forbids it. These
/// requests cost the server almost nothing, and a user may be waiting.
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// Pause before a kind that is not served is looked for again. Most clusters never have some of them.
const UNSERVED_PAUSE: Duration = Duration::from_secs(10);

/// How long a `get` may take.
const GET_TIMEOUT: Duration = Duration::from_secs(10);

/// A message of a watch.
pub(super) enum Message {
    /// An event of any kind but Secrets and ConfigMaps.
    Event(&'static KindRow, Event<DynamicObject>),
    /// An event of Secrets or ConfigMaps.
    Metadata(&'static KindRow, Event<ObjectMeta>),
    /// The watch failed and will be tried again; with a summary of the error.
    Failed(&'static KindRow, Trouble, String),
}

/// Watches a kind until the receiver of `out` is dropped.
pub(super) async fn watch_kind(client: Client, row: &'static KindRow, out: mpsc::Sender<Message>) {
    match row.kind {
        Kind::Secret => watch_metadata::<Secret>(client, row, &out).await,
        Kind::ConfigMap => watch_metadata::<ConfigMap>(client, row, &out).await,
        _ => {
            let api = |version: &str| Api::<DynamicObject>::all_with(client.clone(), &resource(row, version));
            follow(row, api, |event| Message::Event(row, event), &out).await;
        }
    }
}

/// Watches only the metadata of a kind, so that values without a reference are never sent here.
async fn watch_metadata<K>(client: Client, row: &'static KindRow, out: &mpsc::Sender<Message>)
where
    K: Resource<DynamicType = ()> + Clone + Debug + Send + 'static,
{
    let api = |_: &str| Api::<PartialObjectMeta<K>>::all(client.clone());
    let message = |event| {
        let event = match event {
            Event::Init => Event::Init,
            Event::InitApply(PartialObjectMeta { metadata, .. }) => Event::InitApply(metadata),
            Event::InitDone => Event::InitDone,
            Event::Apply(PartialObjectMeta { metadata, .. }) => Event::Apply(metadata),
            Event::Delete(PartialObjectMeta { metadata, .. }) => Event::Delete(metadata),
        };
        Message::Metadata(row, event)
    };
    follow(row, api, message, out).await;
}

/// Lists and watches, again after each failure. Each time begins with a list, because only a complete list proves that
/// the API server works again. Objects whose version is known are not decoded again.
async fn follow<K>(
    row: &'static KindRow,
    api: impl Fn(&str) -> Api<K>,
    message: impl Fn(Event<K>) -> Message,
    out: &mpsc::Sender<Message>,
) where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let mut backoff = DefaultBackoff::default();
    loop {
        let mut failure = None;
        for version in row.versions {
            let Some(error) = stream(api(version), &message, out).await else { return };
            let trouble = Trouble::of(&error);
            failure = Some((trouble, error));
            // Older installations have only an older version of a kind.
            if trouble != Trouble::Missing {
                break;
            }
        }
        let Some((trouble, error)) = failure else { return };
        tracing::debug!(kind = row.kind.as_str(), %error, "watch failed");
        if out.send(Message::Failed(row, trouble, watch_error_summary(&error))).await.is_err() {
            return;
        }
        let pause = backoff.next().unwrap_or(MAX_PAUSE);
        sleep(match trouble {
            Trouble::Missing | Trouble::Forbidden(_) if row.kind.is_unserved() => UNSERVED_PAUSE,
            Trouble::Missing | Trouble::Unreachable | Trouble::Forbidden(_) => pause.min(MAX_PAUSE),
            Trouble::Lost | Trouble::Refused => pause,
        })
        .await;
    }
}

/// Runs one list and the watches after it until one fails; `None` when the receiver is dropped.
async fn stream<K>(
    api: Api<K>,
    message: impl Fn(Event<K>) -> Message,
    out: &mpsc::Sender<Message>,
) -> Option<watcher::Error>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let config = watcher::Config::default().timeout(WATCH_SECONDS);
    let mut events = pin!(watcher::watcher(api, config));
    loop {
        match events.next().await? {
            Ok(event) => out.send(message(event)).await.ok()?,
            Err(error) => return Some(error),
        }
    }
}

/// A summary of a watch's error. The trouble has the failed step, so the summary is the API server's message or the
/// causes down to the socket.
fn watch_error_summary(error: &watcher::Error) -> String {
    match error {
        watcher::Error::InitialListFailed(cause)
        | watcher::Error::WatchStartFailed(cause)
        | watcher::Error::WatchFailed(cause) => error_summary(cause),
        watcher::Error::WatchError(status) => status.message.clone(),
        watcher::Error::NoResourceVersion => error.to_string(),
    }
}

/// A summary of an error: the API server's message, or the error with its causes down to the socket.
pub(crate) fn error_summary(error: &::kube::Error) -> String {
    if let ::kube::Error::Api(status) = error {
        return status.message.clone();
    }
    // The outer error alone often has no cause.
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let inner = error.to_string();
        if !text.contains(&inner) {
            text.push_str(": ");
            text.push_str(&inner);
        }
        cause = error.source();
    }
    text
}

/// Gets one Secret or ConfigMap. `gate` bounds the number of concurrent requests.
pub(super) async fn fetch(client: Client, fetch: Fetch, gate: Arc<Semaphore>) -> (Fetch, Fetched) {
    sleep(fetch.delay).await;
    // The semaphore is never closed.
    let _permit = gate.acquire().await;
    let fetched = match fetch.kind {
        Kind::ConfigMap => get(client, &fetch, of_config_map).await,
        _ => get(client, &fetch, of_secret).await,
    };
    (fetch, fetched)
}

fn of_secret(found: Secret) -> SecretData {
    values(found.data.into_iter().flatten().map(|(name, value)| (name, value.0)))
}

fn of_config_map(found: ConfigMap) -> SecretData {
    let text = found.data.into_iter().flatten().map(|(name, text)| (name, text.into_bytes()));
    let binary = found.binary_data.into_iter().flatten().map(|(name, value)| (name, value.0));
    values(text.chain(binary))
}

fn values(all: impl Iterator<Item = (String, Vec<u8>)>) -> SecretData {
    let mut data = SecretData::default();
    all.for_each(|(name, value)| data.insert(name, value));
    data
}

async fn get<K>(client: Client, fetch: &Fetch, values: impl FnOnce(K) -> SecretData) -> Fetched
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
{
    let api = Api::<K>::namespaced(client, &fetch.key.namespace);
    match timeout(GET_TIMEOUT, api.get_opt(&fetch.key.name)).await {
        Ok(Ok(Some(found))) => {
            let version = found.meta().resource_version.clone().unwrap_or_default();
            Fetched::Found(version, values(found))
        }
        Ok(Ok(None)) => Fetched::Absent,
        Ok(Err(::kube::Error::Api(status))) if status.code == 403 => Fetched::Refused(status.message),
        Ok(Err(error)) => Fetched::Failed(error_summary(&error)),
        Err(_) => Fetched::Failed(format!("the API server did not answer within {} s", GET_TIMEOUT.as_secs())),
    }
}
