//! Keys in the one tree: a byte for the kind of row, the tenant, and what names the row, all big
//! endian, so that rows stand in the order in which they are read.

use std::sync::Arc;
use trackway_replay::{Digest, EffectId, MessageId, Position, QuestionId, RunId, StepId, TenantId, Timestamp};

use crate::{Landmark, LogKey, RunKey, Shelf};

/// Kinds of rows. On disk: a letter keeps its meaning for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// Of the store: no tenant.
    Meta = b'A',
    /// Under which key the run was started.
    StartedBy = b'B',
    Component = b'C',
    Deployment = b'D',
    /// One version of a deployment.
    Version = b'E',
    Frame = b'F',
    /// A run that was removed, but perhaps not its files.
    Gone = b'G',
    Head = b'H',
    /// An unread item, by its order of arrival.
    Inbox = b'I',
    /// A payload that is kept as pieces: the digests of them, in order.
    Pieces = b'J',
    StartKey = b'K',
    Log = b'L',
    /// A message that was sent to an open run, read or not.
    Message = b'M',
    /// A record of the operator.
    Record = b'O',
    /// The place of an entry, by its name.
    Landmark = b'S',
    /// An open run that nobody owns and that has nothing to do yet.
    Parked = b'P',
    /// An open question: by its step, or by its step, effect and attempt.
    Question = b'Q',
    /// What a tenant has of entities.
    EntityTally = b'N',
    /// Any other open run.
    Ready = b'R',
    Timer = b'T',
    Entity = b'V',
    /// What became of a write whose answer no journal holds yet, by its step.
    Receipt = b'W',
    Payload = b'Y',
    /// A piece of a payload, by its own digest.
    Piece = b'Z',
}

pub(super) const META_COMMIT: [u8; 2] = [Kind::Meta as u8, b'c'];
pub(super) const META_EPOCH: [u8; 2] = [Kind::Meta as u8, b'e'];

pub(super) const TENANT_BYTES: usize = 1 + 4;
pub(super) const RUN_BYTES: usize = TENANT_BYTES + 16;

pub(super) type TenantPrefix = [u8; TENANT_BYTES];
pub(super) type RunPrefix = [u8; RUN_BYTES];

pub(super) fn of_tenant(kind: Kind, tenant: TenantId) -> TenantPrefix {
    let mut key = [0; TENANT_BYTES];
    key[0] = kind as u8;
    key[1..].copy_from_slice(&tenant.0.to_be_bytes());
    key
}

/// The key of a row of which a run has one, and the prefix of those of which it has many.
pub(super) fn of_run(kind: Kind, run: RunKey) -> RunPrefix {
    let mut key = [0; RUN_BYTES];
    key[..TENANT_BYTES].copy_from_slice(&of_tenant(kind, run.tenant));
    key[TENANT_BYTES..].copy_from_slice(&run.run.0.to_be_bytes());
    key
}

fn under_run<const BYTES: usize, const REST: usize>(kind: Kind, run: RunKey, rest: [u8; REST]) -> [u8; BYTES] {
    const { assert!(BYTES == RUN_BYTES + REST) };
    let mut key = [0; BYTES];
    key[..RUN_BYTES].copy_from_slice(&of_run(kind, run));
    key[RUN_BYTES..].copy_from_slice(&rest);
    key
}

pub(super) fn frame(run: RunKey, position: Position) -> [u8; RUN_BYTES + 8] {
    under_run(Kind::Frame, run, position.0.to_be_bytes())
}

pub(super) fn inbox(run: RunKey, order: u64) -> [u8; RUN_BYTES + 8] {
    under_run(Kind::Inbox, run, order.to_be_bytes())
}

pub(super) fn message(run: RunKey, message: MessageId) -> [u8; RUN_BYTES + 16] {
    under_run(Kind::Message, run, message.0.to_be_bytes())
}

/// Behind the run: a byte for what it is, then its name.
const STATE: u8 = b's';
const REPLY: u8 = b'r';
const METERED: u8 = b'm';

pub(super) fn landmark(run: RunKey, landmark: &Landmark) -> Vec<u8> {
    let mut key = of_run(Kind::Landmark, run).to_vec();
    match landmark {
        Landmark::State(name) => {
            key.push(STATE);
            key.extend_from_slice(name.as_bytes());
        }
        Landmark::Reply(message) => {
            key.push(REPLY);
            key.extend_from_slice(&message.0.to_be_bytes());
        }
        Landmark::Metered => key.push(METERED),
    }
    key
}

/// The prefix of all that a run has published.
pub(super) fn states(run: RunKey) -> Vec<u8> {
    landmark(run, &Landmark::State("".into()))
}

/// `None`: no such key.
pub(super) fn landmark_of(key: &[u8]) -> Option<Landmark> {
    let (kind, name) = key.get(RUN_BYTES..)?.split_first()?;
    match *kind {
        STATE => Some(Landmark::State(std::str::from_utf8(name).ok()?.into())),
        METERED if name.is_empty() => Some(Landmark::Metered),
        REPLY => Some(Landmark::Reply(MessageId(u128::from_be_bytes(name.try_into().ok()?)))),
        _ => None,
    }
}

/// The workflow's own stands under the step alone, those of attempts behind it.
pub(super) fn question(run: RunKey, question: QuestionId) -> Vec<u8> {
    let QuestionId { name, attempt } = question;
    let mut key = of_run(Kind::Question, run).to_vec();
    key.extend_from_slice(&name.step.0.to_be_bytes());
    if let Some(effect) = name.effect {
        key.extend_from_slice(&effect.0.to_be_bytes());
        key.extend_from_slice(&attempt.to_be_bytes());
    }
    key
}

/// `None`: no such key.
pub(super) fn question_of(key: &[u8]) -> Option<QuestionId> {
    let step = step_of(key)?;
    match key.get(RUN_BYTES + 4..)? {
        [] => Some(QuestionId::of_step(step)),
        rest => {
            let (effect, attempt) = rest.split_at_checked(4)?;
            let (effect, attempt) = (effect.try_into().ok()?, attempt.try_into().ok()?);
            Some(QuestionId::of_effect(step, u32::from_be_bytes(attempt), EffectId(u32::from_be_bytes(effect))))
        }
    }
}

pub(super) fn payload(run: RunKey, digest: Digest) -> [u8; RUN_BYTES + 32] {
    under_run(Kind::Payload, run, digest.0)
}

pub(super) fn pieces(run: RunKey, payload: Digest) -> [u8; RUN_BYTES + 32] {
    under_run(Kind::Pieces, run, payload.0)
}

pub(super) fn piece(run: RunKey, digest: Digest) -> [u8; RUN_BYTES + 32] {
    under_run(Kind::Piece, run, digest.0)
}

pub(super) fn log(run: RunKey, key: LogKey) -> [u8; RUN_BYTES + 16] {
    let mut rest = [0; 16];
    for (place, number) in [key.step, key.attempt, key.effect, key.line].into_iter().enumerate() {
        rest[4 * place..4 * place + 4].copy_from_slice(&number.to_be_bytes());
    }
    under_run(Kind::Log, run, rest)
}

pub(super) fn timer(due: Timestamp, run: RunKey) -> [u8; 9 + 20] {
    let mut key = [0; 29];
    key[0] = Kind::Timer as u8;
    key[1..9].copy_from_slice(&due.0.to_be_bytes());
    key[9..].copy_from_slice(&of_run(Kind::Timer, run)[1..]);
    key
}

pub(super) fn component(tenant: TenantId, digest: Digest) -> [u8; TENANT_BYTES + 32] {
    let mut key = [0; TENANT_BYTES + 32];
    key[..TENANT_BYTES].copy_from_slice(&of_tenant(Kind::Component, tenant));
    key[TENANT_BYTES..].copy_from_slice(&digest.0);
    key
}

/// A row of the tenant under a name that people gave it.
pub(super) fn named(kind: Kind, tenant: TenantId, name: &str) -> Vec<u8> {
    let mut key = of_tenant(kind, tenant).to_vec();
    key.extend_from_slice(name.as_bytes());
    key
}

/// Versions stand behind the length of the name, lest one name be the beginning of another's key.
pub(super) fn version(tenant: TenantId, name: &str, place: u32) -> Vec<u8> {
    let mut key = of_tenant(Kind::Version, tenant).to_vec();
    key.extend_from_slice(&(name.len() as u32).to_be_bytes());
    key.extend_from_slice(name.as_bytes());
    key.extend_from_slice(&place.to_be_bytes());
    key
}

/// Behind the length of the name, as versions.
pub(super) fn entities_of(tenant: TenantId, name: &str) -> Vec<u8> {
    let mut key = of_tenant(Kind::Entity, tenant).to_vec();
    key.extend_from_slice(&(name.len() as u32).to_be_bytes());
    key.extend_from_slice(name.as_bytes());
    key
}

pub(super) fn entity(tenant: TenantId, name: &str, entity_key: &str) -> Vec<u8> {
    let mut key = entities_of(tenant, name);
    key.extend_from_slice(entity_key.as_bytes());
    key
}

/// In the key of an entity, all before what it is kept under, its kind and tenant too. `None`: the key of no entity.
pub(super) fn entity_name_in(key: &[u8]) -> Option<&[u8]> {
    if key.first() != Some(&(Kind::Entity as u8)) {
        return None;
    }
    let length = u32::from_be_bytes(*key.get(TENANT_BYTES..)?.first_chunk()?);
    key.get(..TENANT_BYTES + 4 + length as usize)
}

pub(super) fn receipt(run: RunKey, step: StepId) -> [u8; RUN_BYTES + 4] {
    under_run(Kind::Receipt, run, step.0.to_be_bytes())
}

pub(super) fn record(tenant: TenantId, shelf: Shelf, name: &str) -> Vec<u8> {
    let mut key = of_tenant(Kind::Record, tenant).to_vec();
    key.push(shelf.number());
    key.extend_from_slice(name.as_bytes());
    key
}

/// `None`: no such key.
pub(super) fn record_of(key: &[u8]) -> Option<(Shelf, Arc<str>)> {
    let (shelf, name) = key.get(TENANT_BYTES..)?.split_first()?;
    Some((Shelf::of_number(*shelf)?, std::str::from_utf8(name).ok()?.into()))
}

/// In a key that has one behind its letter.
pub(super) fn tenant_of(key: &[u8]) -> Option<TenantId> {
    Some(TenantId(u32::from_be_bytes(*key.get(1..)?.first_chunk()?)))
}

/// The step after the run, in the key of a question or a receipt.
pub(super) fn step_of(key: &[u8]) -> Option<StepId> {
    Some(StepId(u32::from_be_bytes(*key.get(RUN_BYTES..)?.first_chunk()?)))
}

/// The run in the key of a row that stands under a run. `None`: too short, so not such a key.
pub(super) fn run_of(key: &[u8]) -> Option<RunKey> {
    let tenant = u32::from_be_bytes(*key.get(1..)?.first_chunk()?);
    let run = u128::from_be_bytes(*key.get(TENANT_BYTES..)?.first_chunk()?);
    Some(RunKey { tenant: TenantId(tenant), run: RunId(run) })
}

/// The number after the run: a position, or the order of an inbox item.
pub(super) fn number_of(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(*key.get(RUN_BYTES..)?.first_chunk()?))
}

pub(super) fn timer_of(key: &[u8]) -> Option<(Timestamp, RunKey)> {
    let due = u64::from_be_bytes(*key.get(1..)?.first_chunk()?);
    Some((Timestamp(due), run_of(key.get(8..)?)?))
}
