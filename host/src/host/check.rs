//! Looks at all that a store holds: whether every frame can be read, every journal makes sense, every
//! value and component is there and is what its name says, and heads and timers are what the journals
//! make of them. It changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;
use trackway_replay::{Digest, Entry, Frame, FrameId, Head, Position, RunId, RunState, Status, TenantId, Value, code};
use trackway_storage::{
    Landmark, Mark, RunKey, RunQuery, Sealing, SledOptions, SledStorage, Storage, StorageError, StorageErrorKind,
};

use super::directory::Directory;
use super::{Host, KeySource, ServerKeys, folder};
use crate::worker::landmarks_in;
use crate::{Code, Error, Result};

/// Listed of a store at once.
const RUNS: usize = 1_000;
/// Frames read at once.
const READ_BYTES: usize = 1 << 20;
/// More say nothing that the first did not; the rest is counted.
const FLAWS_MAX: usize = 1_000;
/// While a host works, rows that belong together are not read at one moment: what is found wrong so
/// often in a row is.
const LOOKS: usize = 5;
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flaw {
    pub run: Option<RunId>,
    /// In its journal.
    pub position: Option<Position>,
    pub what: String,
    /// What to do about it.
    pub advice: &'static str,
}

/// What a look at a whole store came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoreReport {
    pub runs: u64,
    pub entries: u64,
    pub payloads: u64,
    pub components: u64,
    /// Tenants that are sealed, and what of them is not: rows and files of before.
    pub sealed: u64,
    pub unsealed: u64,
    pub flaws: Vec<Flaw>,
    /// Flaws that are not listed any more.
    pub more: u64,
}

/// Whether others write while one looks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Others {
    None,
    Write,
}

const ADVICE_JOURNAL: &str =
    "the run cannot go on from here: look at the disk, and restore a backup into an empty folder";
const ADVICE_PAYLOAD: &str = "the run cannot go on past the entry that names it: restore a backup into an empty folder";
const ADVICE_ROWS: &str = "look at the disk (`dmesg`), and restore a backup into an empty folder";
const ADVICE_COMPONENT: &str = "deploy the same component again: its runs go on when it is there";
const ADVICE_TENANT: &str = "restore a backup into an empty folder; what is stored of nobody is seen by nobody";
const ADVICE_BUG: &str = "the journal is whole, what was made of it is not: please report it with this line";

impl Host {
    /// Looks at everything while the host goes on.
    pub async fn check_store(&self) -> Result<StoreReport> {
        check(&*self.storage, Others::Write).await
    }
}

/// The same for a data folder that no host uses: it is opened as a host would open it.
///
/// # Errors
/// [`Code::File`] where there is no store; those of opening one.
pub async fn check_folder(data: &Path, keys: KeySource) -> Result<StoreReport> {
    let store = data.join(folder::STORE);
    if !store.join("format").is_file() {
        let error = Error::new(Code::File, format!("there is no store in {}", data.display()));
        return Err(error.hint("--data DIR names the data folder of a server"));
    }
    let sealing = Sealing { wrap: Some(ServerKeys::read(keys)?), every_tenant: false };
    let options = SledOptions { sealing, ..SledOptions::default() };
    let opening = tokio::task::spawn_blocking(move || SledStorage::open(&store, options)).await;
    let storage = opening.map_err(|error| Error::new(Code::Internal, format!("opening the store: {error}")))??;
    let report = check(&storage, Others::None).await;
    storage.close().await?;
    report
}

pub(super) async fn check(storage: &dyn Storage, others: Others) -> Result<StoreReport> {
    let mut report = StoreReport::default();
    // The first one also where nothing of it is stored: with it goes what belongs to no tenant.
    let mut tenants = BTreeSet::from([TenantId::DEFAULT]);
    match storage.tenants().await {
        Ok(others) => tenants.extend(others),
        Err(error) => {
            damage(error, |what| report.add(Flaw { run: None, position: None, what, advice: ADVICE_ROWS }))?;
        }
    }
    for what in nobodys(storage, &tenants).await? {
        report.add(Flaw { run: None, position: None, what, advice: ADVICE_TENANT });
    }
    for tenant in tenants {
        check_tenant(storage, tenant, others, &mut report).await?;
    }
    Ok(report)
}

/// Who there is, and what is stored of somebody who is not there.
async fn nobodys(storage: &dyn Storage, tenants: &BTreeSet<TenantId>) -> Result<Vec<String>> {
    let directory = match Directory::load(storage).await {
        Ok(directory) => directory,
        Err(error) if error.code == Code::DataDamaged => return Ok(vec![error.message]),
        Err(error) => return Err(error),
    };
    let nobodys = tenants.iter().filter(|tenant| directory.tenant_of(**tenant).is_none());
    Ok(nobodys
        .map(|tenant| format!("something is stored of tenant number {tenant}, and there is no such tenant"))
        .collect())
}

async fn check_tenant(storage: &dyn Storage, tenant: TenantId, others: Others, report: &mut StoreReport) -> Result<()> {
    let components: BTreeSet<Digest> = match storage.components(tenant).await {
        Ok(records) => records.iter().map(|record| record.digest).collect(),
        Err(error) => {
            damage(error, |what| report.add(Flaw { run: None, position: None, what, advice: ADVICE_COMPONENT }))?;
            BTreeSet::new()
        }
    };
    report.components += components.len() as u64;
    if let Some(unsealed) = storage.unsealed(tenant).await? {
        report.sealed += 1;
        report.unsealed += unsealed;
    }
    let whole = Whole { storage, tenant, components };
    whole.settled(None, others).await?.flaws.into_iter().for_each(|flaw| report.add(flaw));
    let newest = newest(storage, tenant, others).await;
    let mut after = None;
    loop {
        let runs = storage.runs(tenant, after, RUNS).await?;
        let Some(last) = runs.last() else { return Ok(()) };
        after = Some(*last);
        for run in runs {
            if run > newest {
                return Ok(());
            }
            let seen = whole.settled(Some(run), others).await?;
            report.runs += 1;
            report.entries += seen.entries;
            report.payloads += seen.payloads;
            seen.flaws.into_iter().for_each(|flaw| report.add(flaw));
        }
    }
}

/// Where the look ends. On a host that goes on, runs may begin faster than they are looked at.
async fn newest(storage: &dyn Storage, tenant: TenantId, others: Others) -> RunId {
    let all = RunId(u128::MAX);
    if others == Others::None {
        return all;
    }
    let heads = storage.heads(tenant, RunQuery { limit: 1, ..RunQuery::default() }).await;
    heads.ok().and_then(|heads| heads.first().map(|head| head.run)).unwrap_or(all)
}

struct Whole<'a> {
    storage: &'a dyn Storage,
    tenant: TenantId,
    components: BTreeSet<Digest>,
}

struct Seen {
    flaws: BTreeSet<Flaw>,
    entries: u64,
    payloads: u64,
}

impl Whole<'_> {
    /// Looks again while something seems wrong, and keeps what was wrong every time.
    async fn settled(&self, run: Option<RunId>, others: Others) -> Result<Seen> {
        let mut seen = self.look(run).await?;
        for _ in 1..LOOKS {
            if seen.flaws.is_empty() || others == Others::None {
                break;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
            let mut again = self.look(run).await?;
            again.flaws.retain(|flaw| seen.flaws.contains(flaw));
            seen = again;
        }
        Ok(seen)
    }

    /// At one run, or at what belongs to none.
    async fn look(&self, run: Option<RunId>) -> Result<Seen> {
        let Some(run) = run else {
            let flaws = rest(self.storage, self.tenant, &self.components).await?;
            return Ok(Seen { flaws, entries: 0, payloads: 0 });
        };
        let run = RunKey { tenant: self.tenant, run };
        let look = Look::at(self.storage, run, &self.components).await?;
        Ok(Seen { flaws: look.flaws, entries: look.entries, payloads: look.payloads.len() as u64 })
    }
}

/// Damage is a finding; any other error of the store ends the look.
fn damage(error: StorageError, found: impl FnOnce(String)) -> Result<()> {
    if error.kind != StorageErrorKind::Damaged {
        return Err(error.into());
    }
    found(error.message);
    Ok(())
}

async fn rest(storage: &dyn Storage, tenant: TenantId, components: &BTreeSet<Digest>) -> Result<BTreeSet<Flaw>> {
    let of_store = |what| Flaw { run: None, position: None, what, advice: ADVICE_ROWS };
    let mut flaws: BTreeSet<Flaw> = storage.check_rest(tenant).await?.into_iter().map(of_store).collect();
    // Where they cannot be read it was said just above.
    for deployment in storage.deployments(tenant).await.unwrap_or_default() {
        for version in deployment.versions.iter().filter(|version| !components.contains(&version.component)) {
            let what = format!(
                "version {} of deployment `{}` names component {}, which is not there",
                version.version, deployment.name, version.component
            );
            flaws.insert(Flaw { run: None, position: None, what, advice: ADVICE_COMPONENT });
        }
    }
    Ok(flaws)
}

impl StoreReport {
    pub fn is_good(&self) -> bool {
        self.flaws.is_empty()
    }

    fn add(&mut self, flaw: Flaw) {
        if self.flaws.len() < FLAWS_MAX {
            self.flaws.push(flaw);
        } else {
            self.more += 1;
        }
    }
}

/// One look at one run.
struct Look<'a> {
    storage: &'a dyn Storage,
    run: RunKey,
    components: &'a BTreeSet<Digest>,
    entries: u64,
    /// That were found.
    payloads: BTreeSet<Digest>,
    landmarks: BTreeMap<Landmark, Position>,
    flaws: BTreeSet<Flaw>,
}

impl<'a> Look<'a> {
    async fn at(storage: &'a dyn Storage, run: RunKey, components: &'a BTreeSet<Digest>) -> Result<Look<'a>> {
        let (payloads, landmarks, flaws) = (BTreeSet::new(), BTreeMap::new(), BTreeSet::new());
        let mut look = Look { storage, run, components, entries: 0, payloads, landmarks, flaws };
        let rows = storage.check_run(run).await?;
        for what in rows.flaws {
            look.flaw(None, what, ADVICE_ROWS);
        }
        let state = look.journal().await?;
        let head = match storage.head(run).await {
            Ok(head) => head,
            // Said above already.
            Err(error) => return damage(error, drop).map(|()| look),
        };
        if let Some(state) = state {
            look.marks(&state, head.as_ref(), rows.mark);
            // How far it is counted stands in no journal.
            let named = rows.landmarks.into_iter().filter(|(landmark, _)| *landmark != Landmark::Metered);
            if !look.landmarks.iter().map(|(landmark, place)| (landmark.clone(), *place)).eq(named) {
                look.flaw(None, "what it published or answered is not found by its name", ADVICE_BUG);
            }
            if !state.questions().eq(rows.questions) {
                look.flaw(None, "the list of open questions does not show what it asks", ADVICE_BUG);
            }
        }
        Ok(look)
    }

    fn flaw(&mut self, position: Option<Position>, what: impl Into<String>, advice: &'static str) {
        self.flaws.insert(Flaw { run: Some(self.run.run), position, what: what.into(), advice });
    }

    /// Reads all frames. The state at the end, if there is one that can be reached.
    async fn journal(&mut self) -> Result<Option<RunState>> {
        let mut state: Option<RunState> = None;
        let mut previous: Option<FrameId> = None;
        loop {
            let from = Position(self.entries);
            let frames = match self.storage.frames(self.run, from, READ_BYTES).await {
                Ok(frames) => frames,
                Err(error) => {
                    damage(error, |what| self.flaw(Some(from), what, ADVICE_JOURNAL))?;
                    return Ok(None);
                }
            };
            if frames.is_empty() {
                return Ok(state);
            }
            for stored in frames {
                let place = stored.position;
                if place != Position(self.entries) || stored.previous != previous {
                    self.flaw(Some(place), "the frame does not follow the one before it", ADVICE_JOURNAL);
                    return Ok(None);
                }
                previous = Some(stored.id);
                let entries = match Frame::decode(&stored.frame) {
                    Ok(frame) => frame.entries,
                    Err(error) => {
                        self.flaw(Some(place), error.to_string(), ADVICE_JOURNAL);
                        return Ok(None);
                    }
                };
                let agrees = entries[0].position == place && entries.len() as u64 == u64::from(stored.entries);
                if !agrees {
                    self.flaw(Some(place), "the frame's key and its content do not agree", ADVICE_JOURNAL);
                    return Ok(None);
                }
                self.entries += entries.len() as u64;
                self.landmarks.extend(landmarks_in(&entries));
                for entry in &entries {
                    if let Err(why) = apply(&mut state, entry) {
                        self.flaw(Some(entry.position), why, ADVICE_JOURNAL);
                        return Ok(None);
                    }
                    self.value(entry).await?;
                }
            }
        }
    }

    /// Whether the value beside the journal is there, if the entry names one.
    async fn value(&mut self, entry: &Entry) -> Result<()> {
        let Some(Value::Stored { digest, size_bytes }) = entry.kind.value() else { return Ok(()) };
        if self.payloads.contains(digest) {
            return Ok(());
        }
        let found = match self.storage.payload(self.run, *digest).await {
            Ok(Some(bytes)) if bytes.len() as u64 == *size_bytes && Digest::of(&bytes) == *digest => {
                self.payloads.insert(*digest);
                return Ok(());
            }
            Ok(Some(_)) => format!("value {digest} is not what the entry says"),
            Ok(None) => format!("value {digest} of {size_bytes} bytes is missing"),
            Err(error) if error.kind == StorageErrorKind::Damaged => error.message,
            Err(error) => return Err(error.into()),
        };
        self.flaw(Some(entry.position), found, ADVICE_PAYLOAD);
        Ok(())
    }

    fn marks(&mut self, state: &RunState, head: Option<&Head>, mark: Option<Mark>) {
        let component = state.component();
        // One that has ended does not hold it: it may have been removed.
        if state.end().is_none() && !self.components.contains(&component) {
            self.flaw(None, format!("its component {component} is not there"), ADVICE_COMPONENT);
        }
        if state.started().run != self.run.run {
            self.flaw(Some(Position::FIRST), format!("it is of run {}", state.started().run), ADVICE_JOURNAL);
        }
        let has_ended = state.end().is_some();
        if has_ended != mark.is_none() {
            let marked = if mark.is_some() { "open" } else { "ended" };
            self.flaw(None, format!("it is {} and marked as {marked}", state.status().name()), ADVICE_BUG);
        }
        let Some(head) = head else {
            return self.flaw(None, "it has no head: no list shows it", ADVICE_BUG);
        };
        // Frames change the status; a head is written with the last of several, and says of a run that it is stuck, or
        // held by a quota, what its journal knows nothing of.
        let is_held =
            head.status == Status::Paused && head.code.as_deref() == Some(code::QUOTA_EXCEEDED) && !state.is_paused();
        let is_laid = head.status == Status::Stuck || is_held;
        let is_settled = has_ended || matches!(mark, Some(Mark::Parked { .. })) && !is_laid;
        let folded = state.head();
        let agrees = if is_settled {
            *head == folded
        } else {
            !head.status.has_ended()
                && (head.run, &head.workflow, &head.deployment, head.component, head.started)
                    == (folded.run, &folded.workflow, &folded.deployment, folded.component, folded.started)
        };
        if !agrees {
            let what = format!("its head says {}, its journal {}", head.status.name(), folded.status.name());
            self.flaw(None, what, ADVICE_BUG);
        }
        if let Some(Mark::Parked { due }) = mark
            && !is_laid
            && due != folded.due
        {
            self.flaw(None, format!("its timer is due at {due:?}, its journal says {:?}", folded.due), ADVICE_BUG);
        }
    }
}

pub(super) fn apply(state: &mut Option<RunState>, entry: &Entry) -> Result<(), String> {
    match state {
        Some(state) => state.apply(entry).map_err(|error| error.to_string()),
        None => RunState::new(entry).map(|first| *state = Some(first)).map_err(|error| error.to_string()),
    }
}

#[cfg(test)]
mod tests;
