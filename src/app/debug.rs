//! The debug views of the admin port.

use std::sync::{Arc, PoisonError};

use serde_json::{Value, json};
use tokio::{sync::watch, time::Instant};

use super::publisher::Latest;
use crate::{
    admin::DebugSource,
    proxy::BindStates,
    publish::{Published, Rival},
    snapshot::{self, Snapshots},
    upstream::balance::Balance,
};

/// The source of the debug views.
pub(super) struct Debug {
    pub snapshots: Arc<Snapshots>,
    pub latest: Latest,
    pub ports: BindStates,
    pub rival: watch::Receiver<Option<Rival>>,
    pub balance: Arc<Balance>,
}

impl DebugSource for Debug {
    fn snapshot_json(&self) -> Value {
        snapshot::to_json(&self.snapshots.load())
    }

    fn health_json(&self) -> Value {
        self.balance.to_json(Instant::now())
    }

    fn reports_json(&self) -> Value {
        let latest = self.latest.load();
        let of = |p: &Published| (json!(p.reports.objects), json!(p.objects.rejected), json!(p.reports.unattached));
        let (reports, rejected, unattached) = latest.as_deref().map(of).unwrap_or_default();
        let ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let rival = self.rival.borrow().clone();
        json!({
            "objects": reports,
            "rejected": rejected,
            "unattached": unattached,
            "unboundPorts": ports,
            "anotherInstallation": rival,
        })
    }
}
