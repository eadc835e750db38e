//! Writes to the API server.

use std::sync::Arc;

use ::kube::{
    Api, Client, Error,
    api::{ApiResource, DynamicObject, PostParams},
};
use http::{Method, Request, header::CONTENT_TYPE};
use k8s_openapi::{
    api::{core::v1::ObjectReference, events::v1::Event},
    jiff::Timestamp,
};
use serde_json::{Value, json};

use super::{
    Replica,
    events::{self, Repeat, Transition},
    queue::{JobOutcome, Target, Write, WriteJob},
    status::{self, Patch, Update},
};
use crate::{
    api::{Kind, ObjectKey},
    source::{kube::error_summary, resources},
    telemetry::{Metrics, operator::WriteOutcome},
};

/// The result of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum WriteResult {
    /// The write is done. `event_error` is the reason why an Event about it could not be written.
    Written { event_error: Option<String> },
    /// The object has changed. The watch brings the new version.
    Conflict,
    /// The object does not exist any more, or its namespace is being deleted.
    Gone,
    /// RBAC forbids the write.
    Forbidden(String),
    /// The API server can't be reached or does not answer.
    Unreachable(String),
    /// The API server refused the write.
    Refused(String),
}

impl WriteResult {
    pub(super) const fn job_outcome(&self) -> JobOutcome {
        match self {
            Self::Written { .. } | Self::Conflict | Self::Gone => JobOutcome::Settled,
            Self::Forbidden(_) | Self::Unreachable(_) | Self::Refused(_) => JobOutcome::Failed,
        }
    }

    const fn write_outcome(&self) -> WriteOutcome {
        match self {
            Self::Written { .. } => WriteOutcome::Written,
            Self::Conflict | Self::Gone => WriteOutcome::Conflict,
            Self::Forbidden(_) | Self::Unreachable(_) | Self::Refused(_) => WriteOutcome::Failed,
        }
    }

    fn from_error(error: &Error) -> Self {
        let Error::Api(status) = error else { return Self::Unreachable(error_summary(error)) };
        match status.code {
            404 => Self::Gone,
            409 => Self::Conflict,
            // The API server answers 403 for a namespace that is being deleted.
            403 if status.message.contains("being terminated") => Self::Gone,
            403 => Self::Forbidden(status.message.clone()),
            _ => Self::Refused(status.message.clone()),
        }
    }
}

/// Writes to the API server, and counts the writes.
pub(super) struct Writer {
    client: Client,
    replica: Replica,
    /// The controller's name, escaped for a query.
    field_manager: String,
    metrics: Arc<Metrics>,
}

impl Writer {
    pub(super) fn new(client: Client, replica: Replica, metrics: Arc<Metrics>) -> Self {
        // No other character of such a name has a meaning there.
        let field_manager = replica.controller.name().replace('/', "%2F");
        Self { client, replica, field_manager, metrics }
    }

    /// Does one write and counts it.
    pub(super) async fn write(&self, job: &WriteJob) -> WriteResult {
        let Target { kind, key, .. } = &job.target;
        let result = match &*job.write {
            Write::Events { transitions, regarding } => {
                let event_error = self.write_events(transitions, Repeat::Once, regarding).await;
                return WriteResult::Written { event_error };
            }
            Write::Status { update, regarding } => self.status(*kind, key, update, regarding).await,
            Write::Undecodable { error } => self.undecodable(*kind, key, error).await,
            Write::Apply(body) => {
                let query = format!("?fieldManager={}&force=true", self.field_manager);
                self.send(Method::PATCH, *kind, key, &query, "application/apply-patch+yaml", body).await
            }
            Write::Delete { uid } => {
                // The uid protects an object of the same name that was created meanwhile.
                let body = json!({"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid}});
                self.send(Method::DELETE, *kind, key, "", "application/json", &body).await
            }
        };
        let result = result.unwrap_or_else(|error| WriteResult::from_error(&error));
        self.metrics.operator.record_write(kind.as_str(), result.write_outcome());
        result
    }

    /// Counts a write that was not answered in time.
    pub(super) fn record_timeout(&self, job: &WriteJob) -> WriteResult {
        self.metrics.operator.record_write(job.target.kind.as_str(), WriteOutcome::Failed);
        WriteResult::Unreachable("the API server does not answer".to_owned())
    }

    async fn status(
        &self,
        kind: Kind,
        key: &ObjectKey,
        update: &Update,
        regarding: &ObjectReference,
    ) -> Result<WriteResult, Error> {
        let (content, body) = match &update.patch {
            Patch::Merge(body) => ("application/merge-patch+json", body),
            Patch::Operations(body) => ("application/json-patch+json", body),
        };
        let suffix = format!("/status?fieldManager={}", self.field_manager);
        self.send(Method::PATCH, kind, key, &suffix, content, body).await?;
        Ok(WriteResult::Written {
            event_error: self.write_events(&update.transitions, Repeat::Always, regarding).await,
        })
    }

    async fn undecodable(&self, kind: Kind, key: &ObjectKey, error: &str) -> Result<WriteResult, Error> {
        let Some(resource) = resources(kind).next() else { return Ok(WriteResult::Gone) };
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &key.namespace, &resource);
        let object = api.get(&key.name).await?;
        let Some(update) = status::undecodable(&object, error, Timestamp::now()) else {
            return Ok(WriteResult::Written { event_error: None });
        };
        let regarding = ObjectReference {
            api_version: Some(resource.api_version),
            kind: Some(resource.kind),
            uid: object.metadata.uid,
            namespace: object.metadata.namespace,
            name: object.metadata.name,
            ..ObjectReference::default()
        };
        self.status(kind, key, &update, &regarding).await
    }

    /// Writes Events and returns why the last one that failed could not be written. Each is tried once, because the
    /// status has the same message.
    async fn write_events(
        &self,
        transitions: &[Transition],
        repeat: Repeat,
        regarding: &ObjectReference,
    ) -> Option<String> {
        let namespace = regarding.namespace.as_deref().unwrap_or("default");
        let api: Api<Event> = Api::namespaced(self.client.clone(), namespace);
        let mut event_error = None;
        for transition in transitions {
            let event = events::event(transition, repeat, regarding, &self.replica, Timestamp::now());
            let outcome = match api.create(&PostParams::default(), &event).await {
                Ok(_) => WriteOutcome::Written,
                // It is there.
                Err(Error::Api(status)) if status.code == 409 && repeat == Repeat::Once => continue,
                // Events about objects in a namespace that is being deleted are not missed.
                Err(error) if matches!(WriteResult::from_error(&error), WriteResult::Gone) => WriteOutcome::Conflict,
                Err(error) => {
                    event_error = Some(error_summary(&error));
                    WriteOutcome::Failed
                }
            };
            self.metrics.operator.record_write("Event", outcome);
        }
        event_error
    }

    /// Sends a request about an object. Of a kind with several versions, an older cluster may have only an older one.
    async fn send(
        &self,
        method: Method,
        kind: Kind,
        key: &ObjectKey,
        suffix: &str,
        content: &str,
        body: &Value,
    ) -> Result<WriteResult, Error> {
        let body = serde_json::to_vec(body).map_err(Error::SerdeError)?;
        let mut missing = None;
        for resource in resources(kind) {
            let path = format!("{}{suffix}", path(&resource, key));
            let request = Request::builder().method(&method).uri(path).header(CONTENT_TYPE, content);
            let request = request.body(body.clone()).map_err(Error::HttpError)?;
            match self.client.request_text(request).await {
                Err(Error::Api(status)) if status.code == 404 => missing = Some(Error::Api(status)),
                done => return done.map(|_| WriteResult::Written { event_error: None }),
            }
        }
        missing.map_or(Ok(WriteResult::Gone), Err)
    }
}

/// The path of an object at the API server.
fn path(resource: &ApiResource, key: &ObjectKey) -> String {
    let root = if resource.group.is_empty() { "api" } else { "apis" };
    let ObjectKey { namespace, name } = key;
    let namespace = if namespace.is_empty() { String::new() } else { format!("/namespaces/{namespace}") };
    format!("/{root}/{}{namespace}/{}/{name}", resource.api_version, resource.plural)
}
