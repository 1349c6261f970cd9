//! What the host keeps beside one live instance. It lives in the engine's store and dies with it.

use super::lane::Traveller;
use super::limits::{FuelMeter, Limiter};
use super::tick::TICKS_PER_TURN;
use super::{Command, Delivery, GuestHost, Reply, Role, Stop};
use std::sync::Arc;
use std::task::{Context, Poll};
use trackway_replay::Limits;
use wasmtime::{AsContext, AsContextMut, StoreContext, StoreContextMut};

/// Longer panic messages are cut, as those of failures are.
const PANIC_MESSAGE_BYTES_MAX: usize = 8 << 10;
const AT_BYTES_MAX: usize = 512;

pub struct Guest {
    /// Away while one of its methods runs, and for good if that panicked.
    host: Option<Box<dyn GuestHost>>,
    pub purpose: GuestPurpose,
    pub limiter: Limiter,
    pub meter: FuelMeter,
    pub traveller: Traveller,
    pub panicked: Option<Panicked>,
}

/// Whom the instance serves; named in advice.
#[derive(Debug, Clone)]
pub enum GuestPurpose {
    Describe,
    Call { role: Role, name: Arc<str> },
}

/// What the guest said just before it trapped.
#[derive(Debug, Clone)]
pub struct Panicked {
    pub message: String,
    pub at: Option<String>,
}

/// An import ended the call because the worker asked for it.
#[derive(Debug, thiserror::Error)]
#[error("the worker stopped the instance")]
pub struct Stopped;

/// A method of the host panicked earlier in this instance.
#[derive(Debug, thiserror::Error)]
#[error("the other side of the imports is gone")]
pub struct HostLost;

impl From<Stop> for wasmtime::Error {
    fn from(Stop: Stop) -> wasmtime::Error {
        Stopped.into()
    }
}

impl Guest {
    pub fn new(
        purpose: GuestPurpose,
        host: Option<Box<dyn GuestHost>>,
        limits: &Limits,
        fuel: u64,
        traveller: Traveller,
    ) -> Guest {
        let (limiter, meter) = (Limiter::new(limits), FuelMeter::new(fuel));
        Guest { host, purpose, limiter, meter, traveller, panicked: None }
    }

    fn host(&mut self) -> wasmtime::Result<&mut Box<dyn GuestHost>> {
        self.host.as_mut().ok_or_else(|| HostLost.into())
    }
}

/// Lets `ask` put a question to the host with text that still lies in the guest's memory.
pub fn with_host<R>(
    cx: &mut StoreContextMut<'_, Guest>,
    ask: impl FnOnce(&mut dyn GuestHost, StoreContext<'_, Guest>, u64) -> wasmtime::Result<R>,
) -> wasmtime::Result<R> {
    let used = cx.data().meter.used(cx.get_fuel()?);
    let mut host = cx.data_mut().host.take().ok_or(HostLost)?;
    let answer = ask(host.as_mut(), cx.as_context(), used);
    cx.data_mut().host = Some(host);
    answer
}

/// Hands a command to the host and sets the guest's fuel as the reply says.
pub fn command<'a>(
    cx: &'a mut StoreContextMut<'_, Guest>,
    read: impl for<'s> FnOnce(StoreContext<'s, Guest>, &mut dyn FnMut(Command<'_>)) -> wasmtime::Result<()>,
) -> wasmtime::Result<u32> {
    let reply = with_host(cx, |host, store, used| {
        let mut reply = None;
        read(store, &mut |command| reply = Some(host.command(command, used)))?;
        let reply: Reply = reply.ok_or(HostLost)??;
        Ok(reply)
    })?;
    if let Some(fuel) = reply.fuel {
        allow(cx, fuel)?;
    }
    Ok(reply.id)
}

/// Tells the host how far the guest is, which goes on to compute.
pub fn computes(cx: &mut StoreContextMut<'_, Guest>) -> wasmtime::Result<()> {
    let left = cx.get_fuel()?;
    let guest = cx.data_mut();
    let used = guest.meter.used(left);
    if let Some(host) = &mut guest.host {
        host.computes(used);
    }
    Ok(())
}

/// Waits until the host has room for what the guest did.
pub async fn room(cx: &mut StoreContextMut<'_, Guest>) -> wasmtime::Result<()> {
    waiting(cx, |guest, cx| Ok(guest.host()?.poll_room(cx))).await?;
    Ok(())
}

/// Waits for the next delivery.
pub async fn next(cx: &mut StoreContextMut<'_, Guest>) -> wasmtime::Result<Delivery> {
    let left = cx.get_fuel()?;
    let delivery = waiting(cx, |guest, cx| {
        let used = guest.meter.used(left);
        Ok(guest.host()?.poll_next(cx, used))
    })
    .await?;
    if delivery.refuel {
        cx.data_mut().meter.restart(left);
    }
    if let Some(fuel) = delivery.fuel {
        allow(cx, fuel)?;
    }
    Ok(delivery)
}

fn allow(cx: &mut StoreContextMut<'_, Guest>, fuel: u64) -> wasmtime::Result<()> {
    let left = cx.get_fuel()?;
    cx.data_mut().meter.allow(left, fuel);
    cx.set_fuel(fuel)
}

/// Polls the host until it is ready. An instance that had to wait begins a turn of its own after
/// that; one that was answered at once goes on with the turn that it has.
async fn waiting<R>(
    cx: &mut StoreContextMut<'_, Guest>,
    mut poll: impl FnMut(&mut Guest, &mut Context<'_>) -> wasmtime::Result<Poll<Result<R, Stop>>>,
) -> wasmtime::Result<R> {
    let mut waited = false;
    let answer = std::future::poll_fn(|task| match poll(cx.data_mut(), task) {
        Ok(Poll::Ready(answer)) => Poll::Ready(Ok(answer)),
        Err(error) => Poll::Ready(Err(error)),
        Ok(Poll::Pending) => {
            if !waited {
                cx.data().traveller.leave();
                waited = true;
            }
            Poll::Pending
        }
    })
    .await?;
    if waited {
        cx.as_context_mut().set_epoch_deadline(TICKS_PER_TURN);
    }
    Ok(answer?)
}

impl Panicked {
    pub fn new(message: &str, at: Option<&str>) -> Panicked {
        let cut = |text: &str, max: usize| text[..text.floor_char_boundary(max)].to_owned();
        Panicked { message: cut(message, PANIC_MESSAGE_BYTES_MAX), at: at.map(|at| cut(at, AT_BYTES_MAX)) }
    }
}
