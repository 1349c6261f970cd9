//! Tenants, keys and the audit log, as the command line asks for them.

use reqwest::Method;

use super::{Client, json};
use crate::Result;
use crate::api::model;

impl Client {
    pub async fn tenants(&self) -> Result<Vec<model::Tenant>> {
        let list: model::TenantList = self.get(&["tenants"]).await?;
        Ok(list.tenants)
    }

    pub async fn create_tenant(&self, tenant: &model::NewTenant) -> Result<model::Tenant> {
        self.post(&["tenants"], tenant).await
    }

    /// `switch`: `disable` or `enable`.
    pub async fn switch_tenant(&self, name: &str, switch: &str) -> Result<model::Tenant> {
        self.read(self.request(Method::POST, &["tenants", name, switch])?).await
    }

    pub async fn delete_tenant(&self, name: &str) -> Result<()> {
        self.send(self.request(Method::DELETE, &["tenants", name])?).await.map(drop)
    }

    pub async fn quotas(&self, tenant: &str) -> Result<Vec<model::QuotaOf>> {
        let list: model::QuotaList = self.get(&["tenants", tenant, "quotas"]).await?;
        Ok(list.quotas)
    }

    pub async fn set_quotas(&self, tenant: &str, quotas: &model::SetQuotas) -> Result<Vec<model::QuotaOf>> {
        let request = json(self.request(Method::PATCH, &["tenants", tenant, "quotas"])?, quotas)?;
        Ok(self.read::<model::QuotaList>(request).await?.quotas)
    }

    pub async fn usage(&self, day: Option<&str>) -> Result<model::Usage> {
        let pairs: Vec<_> = day.map(|day| ("day", day.to_owned())).into_iter().collect();
        self.read(self.request_with(Method::GET, &["usage"], &pairs)?).await
    }

    pub async fn keys(&self) -> Result<Vec<model::Key>> {
        let list: model::KeyList = self.get(&["keys"]).await?;
        Ok(list.keys)
    }

    pub async fn create_key(&self, key: &model::NewKey) -> Result<model::MadeKey> {
        self.post(&["keys"], key).await
    }

    pub async fn rotate_key(&self, id: &str, rotate: &model::RotateKey) -> Result<model::MadeKey> {
        self.read(json(self.request(Method::POST, &["keys", id, "rotate"])?, rotate)?).await
    }

    pub async fn remove_key(&self, id: &str) -> Result<()> {
        self.send(self.request(Method::DELETE, &["keys", id])?).await.map(drop)
    }

    pub async fn audit(&self, since: Option<&str>, cursor: Option<&str>, limit: usize) -> Result<model::AuditPage> {
        let limit = limit.to_string();
        let pairs = [("since", since), ("cursor", cursor), ("limit", Some(limit.as_str()))];
        let pairs: Vec<_> = pairs.into_iter().filter_map(|(name, value)| Some((name, value?.to_owned()))).collect();
        self.read(self.request_with(Method::GET, &["audit"], &pairs)?).await
    }
}
