//! Backups, as they come from anywhere: the reader, the check of all that they hold, and what is made
//! of those that pass it.

use bytes::Bytes;
use std::fs;
use tokio::runtime::Runtime;
use trackway::host::{DataKeys, KeySource, check_folder, read_backup, restore};
use trackway_replay::{Digest, Entry, Frame, FrameId, MessageId, RunState, TenantId, Timestamp};
use trackway_storage::dump::{self, Reader, Record};
use trackway_storage::{
    Append, Appended, ComponentRecord, Deployment, InboxBody, InboxItem, LogKey, LogLine, MemoryStorage, Owner, Rows,
    RunKey, StartKey, Storage as _, Version,
};

use super::target::{Target, gist};
use super::{journal, mutate};
use crate::simulate::dice::Dice;

/// In front of the first record.
const HEAD_BYTES: usize = 16 + 4;
const WORDS: [&str; 3] = ["TRACKWAY BACKUP\n", "Cancel", "{}"];
/// No honest backup this small takes nearly as long.
const RUNS: u64 = 3;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// A store with a bit of everything, dumped.
fn seeds(runtime: &Runtime) -> Vec<Vec<u8>> {
    (0..4).map(|seed| runtime.block_on(dumped(&mut Dice::of(seed, "backup")))).collect()
}

async fn dumped(dice: &mut Dice) -> Vec<u8> {
    let storage = MemoryStorage::new();
    let tenant = TenantId::DEFAULT;
    let component = Bytes::from_static(b"component");
    let digest = Digest::of(&component);
    let record = ComponentRecord {
        digest,
        size_bytes: component.len() as u64,
        uploaded: Timestamp(1),
        manifest: r#"{"contract":"0.1"}"#.into(),
        pure: true,
    };
    storage.put_component(tenant, record, component).await.expect("stored");
    let version = Version {
        version: 1,
        component: digest,
        deployed: Timestamp(2),
        allow: vec!["a.example".into(), "model:openai/*".into()],
    };
    let deployment = Deployment { name: "d".into(), revision: 1, current: 1, versions: vec![version] };
    assert!(storage.put_deployment(tenant, deployment).await.expect("stored"));
    for number in 1..=RUNS {
        run(dice, &storage, digest, number).await;
    }
    let (sink, mut pieces) = tokio::sync::mpsc::channel::<Bytes>(1);
    let collect = async {
        let mut bytes = Vec::new();
        while let Some(piece) = pieces.recv().await {
            bytes.extend_from_slice(&piece);
        }
        bytes
    };
    let (written, bytes) = tokio::join!(dump::write(&storage, Timestamp(9), "test", sink), collect);
    written.expect("a sound store");
    // The entries were drawn with epochs of their own.
    let mut all = records(&bytes);
    if let Some((Record::Begin { epoch, .. }, _)) = all.first_mut() {
        *epoch = journal::EPOCH_MAX;
    }
    sealed(&bytes[..HEAD_BYTES], &all)
}

async fn run(dice: &mut Dice, storage: &MemoryStorage, component: Digest, number: u64) {
    let entries = journal::entries_of(dice, trackway_replay::RunId(number.into()), component);
    let run = RunKey { tenant: TenantId::DEFAULT, run: trackway_replay::RunId(number.into()) };
    let mut previous = None;
    for (place, entry) in entries.iter().enumerate() {
        let state = RunState::of(&entries[..=place]).expect("it was drawn so");
        let is_first = place == 0;
        let key = StartKey { key: format!("key-{number}").into(), run: run.run, request: component };
        let rows = Rows {
            head: Some(state.head()),
            owner: if state.end().is_some() { Owner::End } else { Owner::Keep },
            logs: vec![line(place as u32)],
            start_key: is_first.then_some(key),
            ..Rows::default()
        };
        let id = FrameId(place as u128 + 1);
        let frame = Frame::encode(std::slice::from_ref(entry)).into();
        let append =
            Append { run, position: entry.position, entries: 1, previous: previous.replace(id), id, frame, rows };
        assert!(matches!(storage.append(append).await, Appended::Durable));
        if state.end().is_some() {
            return;
        }
    }
    let body = InboxBody::Cancel { reason: "enough".into() };
    let item = InboxItem { message: MessageId(number.into()), arrived: Timestamp(3), body };
    storage.send(run, item).await.expect("sent");
}

fn line(place: u32) -> LogLine {
    let key = LogKey { step: place, attempt: 0, effect: 0, line: 0 };
    LogLine { key, time: Timestamp(1), level: "info".into(), message: "m".into(), fields: "".into() }
}

/// Records as far as they can be read.
fn records(input: &[u8]) -> Vec<(Record, Bytes)> {
    let Ok(mut reader) = Reader::new(input) else { return Vec::new() };
    let mut records = Vec::new();
    while let Ok(Some(record)) = reader.read() {
        records.push(record);
    }
    records
}

/// Writes records as a backup that says of itself that it is whole.
fn sealed(head: &[u8], records: &[(Record, Bytes)]) -> Vec<u8> {
    let mut bytes = head.to_vec();
    for (place, (record, data)) in records.iter().enumerate() {
        let record = match record {
            Record::End { runs, unreadable, .. } => {
                let sha256 = Digest::of(&bytes);
                Record::End { runs: *runs, unreadable: *unreadable, records: place as u64, sha256 }
            }
            other => other.clone(),
        };
        bytes.extend(dump::encode(&record, data).expect("records are data"));
    }
    bytes
}

fn change(dice: &mut Dice, input: &mut Vec<u8>, other: &[u8]) {
    if dice.chance(25) || input.len() < HEAD_BYTES {
        return mutate::bytes(dice, input, other, &WORDS);
    }
    let mut all = records(input);
    let others = records(other);
    for _ in 0..dice.within(1..=3) {
        change_records(dice, &mut all, &others);
    }
    *input = sealed(&input[..HEAD_BYTES], &all);
}

fn change_records(dice: &mut Dice, all: &mut Vec<(Record, Bytes)>, others: &[(Record, Bytes)]) {
    let place = dice.next() as usize % all.len().max(1);
    let Some((record, data)) = all.get(place).cloned() else { return };
    match dice.within(0..=9) {
        0 => drop(all.remove(place)),
        1 => all.insert(place, (record, data)),
        2 => {
            let to = dice.next() as usize % all.len();
            all.swap(place, to);
        }
        3 if !others.is_empty() => all.insert(place, dice.one_of(others).clone()),
        4 => {
            let mut changed = data.to_vec();
            mutate::bytes(dice, &mut changed, &[], &[]);
            all[place].1 = changed.into();
        }
        5 => {
            let entries = Frame::decode(&data).map(|frame| frame.entries);
            if let Ok(mut entries) = entries {
                let others: Vec<Entry> = Vec::new();
                journal::change(dice, &mut entries, &others);
                if !entries.is_empty() {
                    all[place].1 = Frame::encode(&entries).into();
                }
            }
        }
        _ => {
            let mut json = serde_json::to_value(&record).expect("records are data");
            mutate::json_value(dice, &mut json, &WORDS);
            journal::numbers(dice, &mut json);
            if let Ok(record) = serde_json::from_value(json) {
                all[place].0 = record;
            }
        }
    }
}

/// Reads backups, and makes nothing of them.
pub struct Backups {
    runtime: Runtime,
    folder: tempfile::TempDir,
}

impl Backups {
    pub fn new() -> Backups {
        Backups { runtime: runtime(), folder: folder() }
    }
}

fn folder() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("trackway-fuzz-").tempdir().expect("a temporary folder")
}

impl Target for Backups {
    fn seeds(&mut self) -> Vec<Vec<u8>> {
        seeds(&self.runtime)
    }

    fn mutate(&mut self, dice: &mut Dice, input: &mut Vec<u8>, other: &[u8]) {
        change(dice, input, other);
    }

    fn feed(&mut self, input: &[u8]) -> String {
        let kinds = records(input).len().min(20);
        let file = self.folder.path().join("backup");
        fs::write(&file, input).expect("a writable folder");
        let read = read_backup(&file, &DataKeys::default());
        // Files that are written over are synced by some file systems.
        fs::remove_file(&file).expect("it was written");
        match read {
            Ok(backup) => {
                let why = backup.unreadable.values().next().map(|why| gist(why)).unwrap_or_default();
                assert!(backup.open <= backup.runs, "{backup:?}");
                format!("taken {} {} {why}", backup.runs, backup.open)
            }
            Err(error) => {
                let text = error.to_string();
                let what = text.rsplit_once("backup: ").map_or(text.as_str(), |(_, what)| what);
                format!("{kinds} {}", gist(what))
            }
        }
    }

    fn rare(&self) -> &'static str {
        "missing"
    }
}

/// Makes stores of backups.
pub struct Restores {
    runtime: Runtime,
    folder: tempfile::TempDir,
}

impl Restores {
    pub fn new() -> Restores {
        Restores { runtime: runtime(), folder: folder() }
    }
}

impl Target for Restores {
    fn seeds(&mut self) -> Vec<Vec<u8>> {
        seeds(&self.runtime)
    }

    fn mutate(&mut self, dice: &mut Dice, input: &mut Vec<u8>, other: &[u8]) {
        change(dice, input, other);
    }

    fn feed(&mut self, input: &[u8]) -> String {
        let (file, data) = (self.folder.path().join("backup"), self.folder.path().join("data"));
        fs::write(&file, input).expect("a writable folder");
        let restored = self.runtime.block_on(restore(&file, &data, &DataKeys::default()));
        fs::remove_file(&file).expect("it was written");
        let answer = match restored {
            Ok(backup) => {
                let report = self
                    .runtime
                    .block_on(check_folder(&data, KeySource::Absent))
                    .expect("what was restored can be opened");
                assert!(report.is_good(), "what was restored is not sound: {report:?}");
                format!("restored {} {}", backup.runs, backup.unreadable.len())
            }
            Err(error) => gist(error.to_string().rsplit(": ").next().unwrap_or_default()),
        };
        // Where nothing was restored there may be nothing.
        let _ = fs::remove_dir_all(&data);
        answer
    }

    fn rare(&self) -> &'static str {
        "restored 2"
    }
}
