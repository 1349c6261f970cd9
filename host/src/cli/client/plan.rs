//! What a client asks before and after a deploy: plans, approvals, policies, redaction, removals. It decides nothing.

use reqwest::Method;
use trackway_replay::Digest;

use super::{Client, json};
use crate::Result;
use crate::api::model;

impl Client {
    pub async fn deployment(&self, name: &str) -> Result<model::Deployment> {
        self.get(&["deployments", name]).await
    }

    pub async fn component(&self, digest: Digest) -> Result<model::Component> {
        self.get(&["components", &digest.to_string()]).await
    }

    pub async fn components(&self) -> Result<Vec<model::ListedComponent>> {
        let list: model::ComponentList = self.get(&["components"]).await?;
        Ok(list.components)
    }

    pub async fn remove_component(&self, digest: Digest) -> Result<()> {
        self.send(self.request(Method::DELETE, &["components", &digest.to_string()])?).await.map(drop)
    }

    /// All of it, or one version.
    pub async fn remove_deployment(&self, name: &str, version: Option<u32>) -> Result<()> {
        let query: Vec<_> = version.map(|version| ("version", version.to_string())).into_iter().collect();
        let request = self.request_with(Method::DELETE, &["deployments", name], &query)?;
        self.send(request).await.map(drop)
    }

    pub async fn plan(&self, name: &str, deploy: &model::Deploy) -> Result<model::Plan> {
        self.post(&["deployments", name, "plan"], deploy).await
    }

    pub async fn approve(&self, name: &str, version: u32) -> Result<model::Deployment> {
        self.post(&["deployments", name, "approve"], &model::Judge { version }).await
    }

    pub async fn reject(&self, name: &str, version: u32) -> Result<()> {
        let request = self.request(Method::POST, &["deployments", name, "reject"])?;
        self.send(json(request, &model::Judge { version })?).await.map(drop)
    }

    pub async fn policy(&self) -> Result<model::Policy> {
        self.get(&["policy"]).await
    }

    pub async fn set_policy(&self, policy: &model::Policy) -> Result<model::Policy> {
        self.read(json(self.request(Method::PUT, &["policy"])?, policy)?).await
    }

    pub async fn redaction(&self) -> Result<model::Redaction> {
        self.get(&["redaction"]).await
    }

    pub async fn set_redaction(&self, fields: &model::RedactedFields) -> Result<model::Redaction> {
        self.read(json(self.request(Method::PUT, &["redaction"])?, fields)?).await
    }

    /// `change`: `add` or `remove`.
    pub async fn change_redaction(&self, change: &str, fields: &model::RedactedFields) -> Result<model::Redaction> {
        self.post(&["redaction", change], fields).await
    }
}
