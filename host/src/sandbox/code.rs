//! One loaded component, and how its exports are called. Each call gets an instance of its own that
//! dies with the call.

use super::guest::{self, Guest, GuestPurpose};
use super::imports;
use super::lane::{SlowLane, Traveller};
use super::manifest::Manifest;
use super::slots::{Slot, Slots};
use super::tick::{TICKS_PER_TURN, Ticker};
use super::trap;
use super::{End, Ended, GuestCall, GuestHost, Role};
use crate::{Error, Result};
use futures_util::FutureExt;
use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};
use trackway_replay::{Digest, Failure, Limits, TenantId, code};
use wasmtime::component::{Component, ComponentExportIndex, InstancePre, Linker};
use wasmtime::{Engine, Store, UpdateDeadline};

/// One crossing of text may carry this many times the limit of one value, so that a value over the
/// limit reaches the worker, which refuses it by a journaled failure; what is larger traps.
const CROSSING_VALUES_MAX: usize = 4;
/// A guest that computes without a call is seen to have used so much more: what it has used lies in a register until then.
const FUEL_SEEN_EVERY: u64 = 20_000_000;

/// `describe` computes for a moment and needs little; more is a mistake.
const DESCRIBE_FUEL: u64 = 2_000_000_000;
const DESCRIBE_MEMORY_BYTES: u64 = 128 << 20;

/// What all components share: engine, ticks, slots and imports.
pub struct Runtime {
    pub engine: Engine,
    pub ticker: Ticker,
    pub lane: SlowLane,
    pub slots: Slots,
    pub linkers: Linkers,
}

pub struct Linkers {
    workflow: Linker<Guest>,
    function: Linker<Guest>,
    bare: Linker<Guest>,
}

impl Linkers {
    pub fn new(engine: &Engine) -> wasmtime::Result<Linkers> {
        Ok(Linkers {
            workflow: imports::linker(engine, Some(Role::Workflow))?,
            function: imports::linker(engine, Some(Role::Function))?,
            bare: imports::linker(engine, None)?,
        })
    }
}

/// A component that is ready to run.
pub struct Code {
    digest: Digest,
    runtime: Arc<Runtime>,
    component: Component,
    /// Slots that one instance takes.
    cost: u32,
    manifest: Manifest,
    workflow: OnceLock<Entrance>,
    function: OnceLock<Entrance>,
}

/// All that can be prepared before a call.
struct Entrance {
    instance: InstancePre<Guest>,
    export: ComponentExportIndex,
}

impl std::fmt::Debug for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Code").field("digest", &self.digest).finish_non_exhaustive()
    }
}

impl Code {
    /// Runs `describe` in a bare instance, on the account of whoever wants it first.
    pub(super) async fn new(
        runtime: Arc<Runtime>,
        tenant: TenantId,
        digest: Digest,
        component: Component,
    ) -> Result<Code> {
        let cost = runtime.slots.cost(&component).ok_or_else(|| {
            Error::new(crate::Code::TooComplex, "one instance needs more memories or tables than the host gives to one")
        })?;
        let traveller = Traveller::of(tenant);
        let describing = describe(Arc::clone(&runtime), component.clone(), cost, traveller.clone());
        let described = runtime.lane.drive(&traveller, Box::pin(describing)).await?;
        let manifest = Manifest::read(&described)?;
        let code =
            Code { digest, runtime, component, cost, manifest, workflow: OnceLock::new(), function: OnceLock::new() };
        code.check_entrances()?;
        Ok(code)
    }

    pub fn digest(&self) -> Digest {
        self.digest
    }

    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Makes one call in a fresh instance. Dropping the future ends the instance: at once where it
    /// waits, at the next tick where it computes. Waits for a free slot if there is none.
    pub async fn call(self: Arc<Self>, call: GuestCall, host: Box<dyn GuestHost>) -> End {
        let runtime = Arc::clone(&self.runtime);
        let slot = runtime.slots.take(call.tenant, call.role, self.cost).await;
        let traveller = Traveller::of(call.tenant);
        let computing = self.compute(call, host, slot, traveller.clone());
        // A bug in an import unwinds through the guest; it costs this call, and nothing that others use is left half
        // done: the instance is gone, and what the host shares is locked no longer than for one step.
        let computing = AssertUnwindSafe(computing).catch_unwind();
        let computing = computing.map(|ended| ended.unwrap_or_else(|panic| End::of_host(broken(&*panic))));
        runtime.lane.drive(&traveller, Box::pin(computing)).await
    }

    /// `_slot` is declared before the store, so freed after it.
    async fn compute(
        self: Arc<Self>,
        call: GuestCall,
        host: Box<dyn GuestHost>,
        _slot: Slot,
        traveller: Traveller,
    ) -> End {
        let entrance = match self.entrance(call.role) {
            Ok(entrance) => entrance,
            Err(error) => return End::of_host(error),
        };
        let purpose = GuestPurpose::Call { role: call.role, name: Arc::clone(&call.name) };
        let store = match store(&self.runtime, purpose, Some(host), &call.limits, call.fuel, traveller) {
            Ok(store) => store,
            Err(error) => return End::of_host(internal(&error)),
        };
        self.runtime.ticker.during(entrance.run(store, &call)).await
    }

    fn entrance(&self, role: Role) -> Result<&Entrance> {
        let (cell, linker, export) = match role {
            Role::Workflow => (&self.workflow, &self.runtime.linkers.workflow, "run"),
            Role::Function => (&self.function, &self.runtime.linkers.function, "call"),
        };
        if let Some(entrance) = cell.get() {
            return Ok(entrance);
        }
        let export = self
            .component
            .get_export_index(None, export)
            .ok_or_else(|| Error::new(crate::Code::WrongWorld, format!("the component does not export `{export}`")))?;
        let instance = linker.instantiate_pre(&self.component).map_err(|error| mislinked(&error))?;
        Ok(cell.get_or_init(|| Entrance { instance, export }))
    }

    /// What the manifest names can be called, and the imports of its role fit.
    fn check_entrances(&self) -> Result<()> {
        let named = [
            (Role::Workflow, "workflows", "run", self.manifest.workflows.is_empty()),
            (Role::Function, "functions", "call", self.manifest.functions.is_empty()),
        ];
        for (role, list, export, _) in named.into_iter().filter(|(.., empty)| !empty) {
            if self.component.get_export_index(None, export).is_none() {
                let message = format!("`{list}` has entries, but the component does not export `{export}`");
                return Err(Error::new(crate::Code::BadManifest, message));
            }
            self.entrance(role)?;
        }
        Ok(())
    }
}

impl Entrance {
    async fn run(&self, mut store: Store<Guest>, call: &GuestCall) -> End {
        let how = match self.enter(&mut store, call).await {
            Ok(output) => within(output, call.limits.value_bytes),
            Err(error) => trap::judge(&error, store.data()),
        };
        store.data().traveller.leave();
        let left = store.get_fuel().unwrap_or(0);
        End { how, fuel: store.data().meter.used(left) }
    }

    async fn enter(
        &self,
        store: &mut Store<Guest>,
        call: &GuestCall,
    ) -> wasmtime::Result<std::result::Result<String, String>> {
        let instance = self.instance.instantiate_async(&mut *store).await?;
        let export = instance
            .get_func(&mut *store, self.export)
            .ok_or_else(|| wasmtime::format_err!("the instance lacks its export"))?;
        let export = export.typed::<(&str, &str, &str), (std::result::Result<String, String>,)>(&*store)?;
        let (output,) = export.call_async(&mut *store, (&call.name, &call.input, &call.context)).await?;
        Ok(output)
    }
}

/// A value over its limit is as good as none, whichever side it comes from.
fn within(output: std::result::Result<String, String>, value_bytes_max: u32) -> Ended {
    let (Ok(text) | Err(text)) = &output;
    if text.len() > value_bytes_max as usize {
        let message = format!("the result has {} bytes; at most {value_bytes_max} are allowed", text.len());
        return Ended::Trapped(Failure::permanent(code::TOO_LARGE, message));
    }
    Ended::Returned(output)
}

async fn describe(runtime: Arc<Runtime>, component: Component, cost: u32, traveller: Traveller) -> Result<String> {
    let bad = |message: String| Error::new(crate::Code::BadManifest, message);
    let _slot = runtime.slots.take(traveller.tenant(), Role::Function, cost).await;
    let limits = Limits { memory_bytes: DESCRIBE_MEMORY_BYTES, ..Limits::default() };
    let store = store(&runtime, GuestPurpose::Describe, None, &limits, DESCRIBE_FUEL, traveller);
    let mut store = store.map_err(|error| internal(&error))?;
    let instance = runtime.linkers.bare.instantiate_pre(&component).map_err(|error| mislinked(&error))?;
    let described = async {
        let instance = instance.instantiate_async(&mut store).await?;
        let describe = instance.get_typed_func::<(), (String,)>(&mut store, "describe")?;
        describe.call_async(&mut store, ()).await
    };
    match runtime.ticker.during(described).await {
        Ok((text,)) => Ok(text),
        Err(error) => match trap::judge(&error, store.data()) {
            Ended::Trapped(failure) => Err(bad(format!("`describe` failed with {failure}"))),
            Ended::HostFailed(error) => Err(error),
            Ended::Returned(_) | Ended::Stopped => Err(bad("`describe` ended early".to_owned())),
        },
    }
}

fn store(
    runtime: &Runtime,
    purpose: GuestPurpose,
    host: Option<Box<dyn GuestHost>>,
    limits: &Limits,
    fuel: u64,
    traveller: Traveller,
) -> wasmtime::Result<Store<Guest>> {
    let guest = Guest::new(purpose, host, limits, fuel, traveller);
    let mut store = Store::try_new(&runtime.engine, guest)?;
    store.limiter(|guest| &mut guest.limiter);
    store.fuel_async_yield_interval(Some(FUEL_SEEN_EVERY))?;
    store.set_fuel(fuel)?;
    store.set_hostcall_fuel(CROSSING_VALUES_MAX.saturating_mul(limits.value_bytes as usize));
    store.set_epoch_deadline(TICKS_PER_TURN);
    store.epoch_deadline_callback(|mut cx| {
        guest::computes(&mut cx)?;
        let turn = cx.data().traveller.clone().turn();
        Ok(UpdateDeadline::YieldCustom(TICKS_PER_TURN, Box::pin(turn)))
    });
    Ok(store)
}

/// What a panic said, if it said anything.
fn broken(panic: &(dyn Any + Send)) -> Error {
    let said = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let why = format!("a bug in the host broke a call off: {}", said.unwrap_or("it said nothing"));
    Error::new(crate::Code::Internal, why)
}

fn internal(error: &wasmtime::Error) -> Error {
    Error::new(crate::Code::Internal, format!("an instance could not be made: {error:#}"))
}

fn mislinked(error: &wasmtime::Error) -> Error {
    Error::new(crate::Code::WrongWorld, format!("the component does not fit the contract: {error:#}"))
}

impl End {
    fn of_host(error: Error) -> End {
        End { how: Ended::HostFailed(error), fuel: 0 }
    }
}
