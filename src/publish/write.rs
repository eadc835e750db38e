//! The requests that write.

use std::sync::Arc;

use ::kube::{Api, Client, Error, Resource, api::DynamicObject, api::PostParams, core::ApiResource};
use gateway_api::{gatewayclasses::GatewayClass, gateways::Gateway, httproutes::HttpRoute};
use http::{Method, Request, header::CONTENT_TYPE};
use k8s_openapi::{
    api::{
        core::v1::{ObjectReference, Service},
        discovery::v1::EndpointSlice,
        events::v1::Event,
    },
    jiff::Timestamp,
};
use serde_json::{Value, json};

use super::{
    events::{self, Transition},
    queue::{Job, Target, Went, Write},
    status::{self, Patch, Update},
};
use crate::{
    api::{Kind, ObjectKey, backend::Backend, gateway_parameters::GatewayParameters, traffic_policy::TrafficPolicy},
    source::kube::words,
    telemetry::{Metrics, operator::WriteOutcome},
};

/// `tollgate.dev/gateway`, as a query has it: the name under which the API server keeps which fields are ours.
const FIELD_MANAGER: &str = "tollgate.dev%2Fgateway";

/// How a write went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Done {
    /// It is done. What could not be told of it in an Event is beside it.
    Written { untold: Option<String> },
    /// The object has changed; the watch brings it.
    Conflict,
    /// The object is gone, or its namespace is about to be.
    Gone,
    /// We may not.
    Forbidden(String),
    /// The API server can't be reached or does not answer.
    Unreachable(String),
    /// It was refused.
    Refused(String),
}

impl Done {
    pub(super) const fn went(&self) -> Went {
        match self {
            Self::Written { .. } | Self::Conflict | Self::Gone => Went::Settled,
            Self::Forbidden(_) | Self::Unreachable(_) | Self::Refused(_) => Went::Failed,
        }
    }

    const fn outcome(&self) -> WriteOutcome {
        match self {
            Self::Written { .. } => WriteOutcome::Written,
            Self::Conflict | Self::Gone => WriteOutcome::Conflict,
            Self::Forbidden(_) | Self::Unreachable(_) | Self::Refused(_) => WriteOutcome::Failed,
        }
    }

    fn of(error: &Error) -> Self {
        let Error::Api(status) = error else { return Self::Unreachable(words(error)) };
        match status.code {
            404 => Self::Gone,
            409 => Self::Conflict,
            // The API server says so with the code of what is not allowed.
            403 if status.message.contains("being terminated") => Self::Gone,
            403 => Self::Forbidden(status.message.clone()),
            _ => Self::Refused(status.message.clone()),
        }
    }
}

/// What writes.
pub(super) struct Pen {
    client: Client,
    replica: String,
    metrics: Arc<Metrics>,
}

impl Pen {
    pub(super) const fn new(client: Client, replica: String, metrics: Arc<Metrics>) -> Self {
        Self { client, replica, metrics }
    }

    /// Does one write and counts it.
    pub(super) async fn write(&self, job: &Job) -> Done {
        let Target { kind, key } = &job.target;
        let done = match &*job.write {
            Write::Status { update, regarding } => self.status(*kind, key, update, regarding).await,
            Write::Undecodable { error } => self.undecodable(*kind, key, error).await,
            Write::Apply(body) => {
                let path = format!("{}?fieldManager={FIELD_MANAGER}&force=true", path(*kind, key));
                self.send(Method::PATCH, path, "application/apply-patch+yaml", body).await
            }
            Write::Delete { uid } => {
                // Not an object of the same name that someone has made meanwhile.
                let body = json!({"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid}});
                self.send(Method::DELETE, path(*kind, key), "application/json", &body).await
            }
        };
        let done = done.unwrap_or_else(|error| Done::of(&error));
        self.metrics.operator.wrote(kind.as_str(), done.outcome());
        done
    }

    /// Counts a write that was not answered.
    pub(super) fn gave_up(&self, job: &Job) -> Done {
        self.metrics.operator.wrote(job.target.kind.as_str(), WriteOutcome::Failed);
        Done::Unreachable("the API server does not answer".to_owned())
    }

    async fn status(
        &self,
        kind: Kind,
        key: &ObjectKey,
        update: &Update,
        regarding: &ObjectReference,
    ) -> Result<Done, Error> {
        let (content, body) = match &update.patch {
            Patch::Merge(body) => ("application/merge-patch+json", body),
            Patch::Operations(body) => ("application/json-patch+json", body),
        };
        let path = format!("{}/status?fieldManager={FIELD_MANAGER}", path(kind, key));
        self.send(Method::PATCH, path, content, body).await?;
        Ok(Done::Written { untold: self.tell(&update.transitions, regarding).await })
    }

    async fn undecodable(&self, kind: Kind, key: &ObjectKey, error: &str) -> Result<Done, Error> {
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &key.namespace, &resource(kind));
        let object = api.get(&key.name).await?;
        let Some(update) = status::undecodable(&object, error, Timestamp::now()) else {
            return Ok(Done::Written { untold: None });
        };
        let resource = resource(kind);
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

    /// Writes Events. They are worth one try: the status has the same words. Returns why the last one could not be written.
    async fn tell(&self, transitions: &[Transition], regarding: &ObjectReference) -> Option<String> {
        let namespace = regarding.namespace.as_deref().unwrap_or("default");
        let api: Api<Event> = Api::namespaced(self.client.clone(), namespace);
        let mut untold = None;
        for transition in transitions {
            let event = events::event(transition, regarding, &self.replica, Timestamp::now());
            let outcome = match api.create(&PostParams::default(), &event).await {
                Ok(_) => WriteOutcome::Written,
                Err(error) => {
                    // With its namespace an object loses its readers too.
                    untold = Some(words(&error)).filter(|why| !why.contains("being terminated"));
                    WriteOutcome::Failed
                }
            };
            self.metrics.operator.wrote("Event", outcome);
        }
        untold
    }

    async fn send(&self, method: Method, path: String, content: &str, body: &Value) -> Result<Done, Error> {
        let body = serde_json::to_vec(body).map_err(Error::SerdeError)?;
        let request = Request::builder().method(method).uri(path).header(CONTENT_TYPE, content).body(body);
        self.client.request_text(request.map_err(Error::HttpError)?).await?;
        Ok(Done::Written { untold: None })
    }
}

/// Where the API server has an object.
fn path(kind: Kind, key: &ObjectKey) -> String {
    let resource = resource(kind);
    let root = if resource.group.is_empty() { "api" } else { "apis" };
    let ObjectKey { namespace, name } = key;
    let namespace = if namespace.is_empty() { String::new() } else { format!("/namespaces/{namespace}") };
    format!("/{root}/{}{namespace}/{}/{name}", resource.api_version, resource.plural)
}

fn resource(kind: Kind) -> ApiResource {
    fn of<K: Resource<DynamicType = ()>>() -> ApiResource {
        ApiResource::erase::<K>(&())
    }
    match kind {
        Kind::GatewayClass => of::<GatewayClass>(),
        Kind::Gateway => of::<Gateway>(),
        Kind::HttpRoute => of::<HttpRoute>(),
        Kind::GatewayParameters => of::<GatewayParameters>(),
        Kind::Backend => of::<Backend>(),
        Kind::TrafficPolicy => of::<TrafficPolicy>(),
        Kind::EndpointSlice => of::<EndpointSlice>(),
        // The others are never written.
        _ => of::<Service>(),
    }
}
