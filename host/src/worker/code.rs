//! The code of runs: from the sandbox where it is loaded, else from the store.

use std::sync::Arc;
use trackway_replay::{Digest, TenantId};

use super::Core;
use crate::sandbox::Code;
use crate::{Code as ErrorCode, Error, Result};

pub(super) async fn code_of(core: &Core, tenant: TenantId, component: Digest) -> Result<Arc<Code>> {
    if let Some(code) = core.sandbox.cached(tenant, component).await? {
        return Ok(code);
    }
    let bytes = core.storage.component_bytes(tenant, component).await?.ok_or_else(|| missing(component))?;
    let bytes: Arc<[u8]> = bytes.as_ref().into();
    if Digest::of(&bytes) != component {
        let message = format!("component {component:.12} does not have the bytes of its digest");
        return Err(Error::new(ErrorCode::DataDamaged, message));
    }
    core.sandbox.load(tenant, component, &bytes).await
}

pub(super) fn missing(component: Digest) -> Error {
    Error::new(ErrorCode::CodeMissing, format!("component {component:.12} is not in the store"))
}
