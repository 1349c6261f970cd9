//! `trackway tenants quota`: what a tenant may use.

use crate::api::model::{self, NumberOrText, QuotaOf};
use crate::quota::{UNLIMITED, shown};

use super::exit::{Done, Exit};
use super::{Context, args, render};

pub async fn quota(args: args::TenantQuota, context: &Context) -> Done {
    let args::TenantQuota { one, set, unset } = args;
    let client = context.client(one.connect)?;
    let quotas = if set.is_empty() && unset.is_empty() {
        client.quotas(&one.name).await?
    } else {
        let set = set.into_iter().map(|args::QuotaIs { name, limit }| (name, NumberOrText::Text(limit))).collect();
        client.set_quotas(&one.name, &model::SetQuotas { set, unset }).await?
    };
    let table =
        || render::lists::table(&["QUOTA", "LIMIT", "DEFAULT", ""], quotas.iter().map(row), context.output.width);
    context.output.one(&quotas, &one.name, table)?;
    Ok(Exit::Ok)
}

fn row(quota: &QuotaOf) -> Vec<String> {
    let show = |limit: Option<u64>| shown(quota.unit.into(), limit.unwrap_or(UNLIMITED));
    let set = if quota.set { "set" } else { "" };
    vec![quota.name.clone(), show(quota.limit), show(quota.default), set.to_owned()]
}
