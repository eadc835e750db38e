//! The watches, one task a kind, and `get`s of Secrets.

use std::{fmt::Debug, pin::pin, sync::Arc, time::Duration};

use ::kube::{
    Api, Client, Resource,
    api::{ApiResource, DynamicObject, PartialObjectMeta},
    runtime::watcher::{self, DefaultBackoff, Event},
};
use futures_util::StreamExt;
use k8s_openapi::api::core::v1::Secret;
use serde::de::DeserializeOwned;
use tokio::{
    sync::{Semaphore, mpsc},
    time::{sleep, timeout},
};

use super::{
    health::Trouble,
    secrets::{Fetch, Fetched},
};
use crate::{
    api::{ObjectKey, SecretData},
    source::kinds::{KindRow, join_version},
};

/// Seconds after which a watch is asked for anew. An API server that vanished without a word (a node lost, a load
/// balancer that forgot the connection) is noticed within this time; watches that go on from where they were cost next
/// to nothing.
const WATCH_SECONDS: u32 = 60;

/// Longest pause before the API server is tried again when it can't be reached, has no such kind or forbids it: all
/// cost it next to nothing, and someone may be waiting.
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// How long a `get` may take.
const GET_TIMEOUT: Duration = Duration::from_secs(10);

/// What a watch tells.
pub(super) enum Message {
    /// Of every kind but Secrets.
    Event(&'static KindRow, Event<DynamicObject>),
    /// Of Secrets.
    Secret(&'static KindRow, Event<PartialObjectMeta<Secret>>),
    /// The watch failed and will be tried again. The error in words.
    Failed(&'static KindRow, Trouble, String),
}

/// Watches a kind until nobody listens.
pub(super) async fn watch_kind(client: Client, row: &'static KindRow, out: mpsc::Sender<Message>) {
    if row.decode.is_none() {
        // Metadata alone: the values of Secrets that nobody refers to never come here.
        let api = |_: &str| Api::<PartialObjectMeta<Secret>>::all(client.clone());
        follow(row, api, |event| Message::Secret(row, event), &out).await;
    } else {
        let api = |version: &str| Api::<DynamicObject>::all_with(client.clone(), &resource(row, version));
        follow(row, api, |event| Message::Event(row, event), &out).await;
    }
}

fn resource(row: &KindRow, version: &str) -> ApiResource {
    ApiResource {
        group: row.group.to_owned(),
        version: version.to_owned(),
        api_version: join_version(row.group, version),
        kind: row.kind.as_str().to_owned(),
        plural: row.plural.to_owned(),
    }
}

/// Lists and watches, again after each failure. Each time from a list: only a complete list tells for sure that the API
/// server is back, and objects whose version is known are not decoded again.
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
        if out.send(Message::Failed(row, trouble, why(&error))).await.is_err() {
            return;
        }
        let pause = backoff.next().unwrap_or(MAX_PAUSE);
        sleep(match trouble {
            Trouble::Missing | Trouble::Unreachable | Trouble::Forbidden(_) => pause.min(MAX_PAUSE),
            Trouble::Lost | Trouble::Refused => pause,
        })
        .await;
    }
}

/// One list and the watches after it, until something fails. `None` when nobody listens any more.
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

/// Why a watch failed. What was tried is known from the trouble; the API server's own words, or the causes down to the
/// socket, are what helps.
fn why(error: &watcher::Error) -> String {
    match error {
        watcher::Error::InitialListFailed(cause)
        | watcher::Error::WatchStartFailed(cause)
        | watcher::Error::WatchFailed(cause) => error_summary(cause),
        watcher::Error::WatchError(status) => status.message.clone(),
        watcher::Error::NoResourceVersion => error.to_string(),
    }
}

/// What went wrong, in the API server's own words or with the causes down to the socket.
pub(crate) fn error_summary(error: &::kube::Error) -> String {
    if let ::kube::Error::Api(status) = error {
        return status.message.clone();
    }
    // The outer one alone often says only that something failed.
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

/// Gets one Secret, with as many others at a time as `gate` lets through.
pub(super) async fn fetch(client: Client, fetch: Fetch, gate: Arc<Semaphore>) -> (ObjectKey, u64, Fetched) {
    sleep(fetch.delay).await;
    let Fetch { key, ticket, .. } = fetch;
    // Never closed.
    let _permit = gate.acquire().await;
    let api = Api::<Secret>::namespaced(client, &key.namespace);
    let fetched = match timeout(GET_TIMEOUT, api.get_opt(&key.name)).await {
        Ok(Ok(Some(secret))) => {
            let version = secret.metadata.resource_version.unwrap_or_default();
            let mut data = SecretData::default();
            for (name, value) in secret.data.unwrap_or_default() {
                data.insert(name, value.0);
            }
            Fetched::Found(version, data)
        }
        Ok(Ok(None)) => Fetched::Absent,
        Ok(Err(::kube::Error::Api(status))) if status.code == 403 => Fetched::Refused(status.message),
        Ok(Err(error)) => Fetched::Failed(error_summary(&error)),
        Err(_) => Fetched::Failed(format!("the API server did not answer within {} s", GET_TIMEOUT.as_secs())),
    };
    (key, ticket, fetched)
}
