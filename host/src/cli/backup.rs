//! `trackway backup` and `trackway restore`: a file that stands under its name only when all of it was
//! written and checked, and a data folder made of one.

use futures_util::StreamExt as _;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use trackway_replay::RunId;

use crate::api::Time;
use crate::host::{self, Backup};
use crate::{Code, Error, Result};

use super::exit::{Done, Exit};
use super::output::{Output, clean};
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
    let contents = host::read_backup(half.path())?;
    half.persist(&file).map_err(|error| cannot(error.error))?;
    std::fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(cannot)?;
    tell(&context.output, Contents::of(file, None, contents), "backed up")
}

pub async fn restore(args: args::Restore, context: &Context) -> Done {
    let output = &context.output;
    let Some(data) = args.data else {
        let contents = host::read_backup(&args.file)?;
        return tell(output, Contents::of(args.file, None, contents), "whole, with");
    };
    let restored = host::restore(&args.file, &data).await?;
    let exit = tell(output, Contents::of(args.file, Some(data.clone()), restored), "restored")?;
    output.say(&format!("next: trackway server --data {}    # open runs go on", data.display()));
    Ok(exit)
}

/// Runs that are missing are never passed over in silence, nor by the exit code.
fn tell(output: &Output, contents: Contents, done: &str) -> Result<Exit, super::exit::Stop> {
    for (run, why) in &contents.unreadable {
        output.say(&format!("NOT COPIED: run {run} cannot be read: {}", clean(why)));
    }
    let id = contents.file.display().to_string();
    output.one(&contents, &id, || {
        let Contents { runs, open, entries, components, deployments, entities, .. } = &contents;
        let entities = if *entities == 0 { String::new() } else { format!(", {entities} entities") };
        format!(
            "{done} {runs} runs ({open} open, {entries} entries), {components} components, \
             {deployments} deployments{entities}\n"
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
            unreadable: backup.unreadable,
        }
    }
}
