//! `trackway backup` and `trackway restore`: a file that stands under its name only when all of it was
//! written and checked, and a data folder made of one.

use futures_util::StreamExt as _;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use trackway_replay::RunId;

use crate::api::Time;
use crate::host::{self, Backup, DataKeys, KeySource};
use crate::{Code, Error, Result};

use super::exit::{Done, Exit};
use super::output::{Output, clean};
use super::server::{keys_of_server, write_private};
use super::{Context, args};

/// What a backup holds, for scripts.
#[derive(Serialize)]
struct Contents {
    file: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<PathBuf>,
    taken_at: Time,
    program: String,
    runs: u64,
    /// Of the runs, those that have not ended.
    open: u64,
    entries: u64,
    components: u64,
    deployments: u64,
    entities: u64,
    /// Records that were not opened, since the data key of their tenant is not there. Their runs are not counted above.
    sealed: u64,
    /// Runs that could not be read, and why: they are in no copy.
    unreadable: BTreeMap<RunId, String>,
}

pub async fn backup(args: args::Backup, context: &Context) -> Done {
    let client = context.client(args.connect)?;
    let file = args.file;
    let cannot = |error: std::io::Error| Error::new(Code::File, format!("cannot write {}: {error}", file.display()));
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Removed again unless it is whole in the end; readable by its owner only, as it holds all inputs.
    let mut half = tempfile::Builder::new().prefix(".trackway-backup").tempfile_in(folder).map_err(cannot)?;
    let mut pieces = std::pin::pin!(client.backup().await?);
    while let Some(piece) = pieces.next().await {
        half.write_all(&piece?).map_err(cannot)?;
    }
    half.as_file().sync_all().map_err(cannot)?;
    let contents = host::read_backup(half.path(), &DataKeys::default())?;
    // After all that they open: a tenant that came meanwhile is among them.
    let data_keys = client.data_keys().await?.data_keys;
    if let Some(keys) = keep_data_keys(&file, args.data_keys, &data_keys)? {
        context.output.say(&format!("data keys of {} sealed tenants: {}", data_keys.len(), keys.display()));
    }
    half.persist(&file).map_err(|error| cannot(error.error))?;
    std::fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(cannot)?;
    tell(&context.output, Contents::of(file, None, contents), "backed up")
}

pub async fn restore(args: args::Restore, context: &Context) -> Done {
    let output = &context.output;
    let server = keys_of_server(args.secrets_key_file.as_deref())?;
    let beside = Some(data_keys_beside(&args.file)).filter(|file| file.is_file());
    let Some(data) = args.data else {
        // Who has no key looks at it from outside.
        let beside = beside.filter(|_| !matches!(server, KeySource::Absent));
        let keys = DataKeys::read(args.data_keys.or(beside).as_deref(), server, false)?;
        let contents = host::read_backup(&args.file, &keys)?;
        return tell(output, Contents::of(args.file, None, contents), "whole, with");
    };
    let keys = DataKeys::read(args.data_keys.or(beside).as_deref(), server, args.seal)?;
    let restored = host::restore(&args.file, &data, &keys).await?;
    let sealed = restored.sealed;
    let mut exit = tell(output, Contents::of(args.file, Some(data.clone()), restored), "restored")?;
    if sealed > 0 {
        output.say(&format!(
            "NOT RESTORED: {sealed} records are sealed under data keys that are not there: of tenants that were deleted \
             since, or --data-keys names another file"
        ));
        exit = Exit::Other;
    }
    output.say(&format!("next: trackway server --data {}    # open runs go on", data.display()));
    Ok(exit)
}

/// Puts the data keys in the place of those that stood there, also where none is left: older ones would go on opening what
/// backups hold of tenants that were deleted. Answers where they are; `None`: there are none, and were none.
fn keep_data_keys(file: &Path, named: Option<PathBuf>, data_keys: &[String]) -> Result<Option<PathBuf>> {
    let is_named = named.is_some();
    let keys = named.unwrap_or_else(|| data_keys_beside(file));
    if data_keys.is_empty() && !is_named && !keys.exists() {
        return Ok(None);
    }
    let text: String = data_keys.iter().map(|line| format!("{line}\n")).collect();
    write_private(&keys, &text)?;
    let folder = keys.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let synced = std::fs::File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|error| Error::new(Code::File, format!("cannot write {}: {error}", keys.display())))?;
    Ok(Some(keys))
}

/// Where they are if nobody says.
fn data_keys_beside(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".keys");
    PathBuf::from(name)
}

/// Runs that are missing are never passed over in silence, nor by the exit code.
fn tell(output: &Output, contents: Contents, done: &str) -> Result<Exit, super::exit::Stop> {
    for (run, why) in &contents.unreadable {
        output.say(&format!("NOT COPIED: run {run} cannot be read: {}", clean(why)));
    }
    let id = contents.file.display().to_string();
    output.one(&contents, &id, || {
        let Contents { runs, open, entries, components, deployments, entities, sealed, .. } = &contents;
        let sealed =
            if *sealed == 0 { String::new() } else { format!(", {sealed} sealed records that were not opened") };
        let entities = if *entities == 0 { String::new() } else { format!(", {entities} entities") };
        format!(
            "{done} {runs} runs ({open} open, {entries} entries), {components} components, \
             {deployments} deployments{entities}{sealed}\n"
        )
    })?;
    Ok(if contents.unreadable.is_empty() { Exit::Ok } else { Exit::Other })
}

impl Contents {
    fn of(file: PathBuf, data: Option<PathBuf>, backup: Backup) -> Contents {
        Contents {
            file,
            data,
            taken_at: Time(backup.taken),
            program: backup.program,
            runs: backup.runs,
            open: backup.open,
            entries: backup.entries,
            components: backup.components,
            deployments: backup.deployments,
            entities: backup.entities,
            sealed: backup.sealed,
            unreadable: backup.unreadable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_keys_take_the_place_of_older_ones_also_where_none_is_left() {
        let folder = tempfile::tempdir().expect("writable");
        let (file, named) = (folder.path().join("all.trackway"), folder.path().join("elsewhere/data-keys"));
        let beside = data_keys_beside(&file);
        let lines = ["1 whole a".to_owned(), "2 whole b".to_owned()];
        assert_eq!(keep_data_keys(&file, None, &[]).expect("nothing to write"), None);
        assert!(!beside.exists());
        for (name, keys) in [(None, beside), (Some(named.clone()), named)] {
            assert_eq!(keep_data_keys(&file, name.clone(), &lines).expect("written"), Some(keys.clone()));
            assert_eq!(std::fs::read_to_string(&keys).expect("there"), "1 whole a\n2 whole b\n");
            assert_eq!(keep_data_keys(&file, name, &[]).expect("written"), Some(keys.clone()));
            assert_eq!(std::fs::read_to_string(&keys).expect("there"), "");
            assert!(DataKeys::read(Some(&keys), KeySource::Absent, false).is_ok(), "an empty file is no damaged one");
        }
    }
}
