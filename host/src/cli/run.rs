//! `trackway run`: starts a run, and waits for its end if that is wanted. The run belongs to the
//! server: whatever happens here, it goes on.

use serde_json::value::RawValue;
use std::cell::Cell;
use std::io::Read as _;
use std::path::Path;
use std::time::Duration;
use trackway_replay::Status;

use crate::api::model;
use crate::{Code, Error, Result};

use super::client::Client;
use super::config::{Build, Source, read_dev_file};
use super::exit::{Done, Exit, Stop};
use super::follow::{Follower, stuck, until_interrupted};
use super::output::{Format, Output, clean};
use super::render::{self, trace::Look};
use super::{Context, args, json};

/// While `trackway dev` builds.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// As the host takes it. Reading on would only delay the refusal.
const INPUT_MAX_BYTES: u64 = 16 << 20;

pub async fn run(args: args::Run, context: &Context) -> Done {
    let input = args.input.as_deref().map(|input| read_input(input, &context.output)).transpose()?;
    let client = context.client(args.connect)?;
    let key = match args.idempotency_key {
        Some(key) => key,
        None => fresh_key()?,
    };
    let output = &context.output;
    let deadline = args.timeout.map(|timeout| tokio::time::Instant::now() + timeout);
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let (run_timeout_ms, cancel_grace_ms) = (args.run_timeout.map(millis), args.cancel_grace.map(millis));
    let start = model::Start { workflow: args.workflow, input, run_timeout_ms, cancel_grace_ms };
    let starting = self::start(&client, &start, &key, output);
    let started = match deadline {
        None => starting.await?,
        Some(deadline) => tokio::time::timeout_at(deadline, starting).await.map_err(|_| no_answer(&start, &key))??,
    };
    let run = started.run;
    if started.existing {
        output.say(&format!("run {} was started before under this key", run.id));
    }
    if args.detach {
        output.one(&run, &run.id.to_string(), || format!("{}\n", run.id))?;
        return Ok(Exit::Ok);
    }
    output.say(&output.talk_paint.dim(&format!("run {} of {}/{}", run.id, run.deployment, clean(&run.workflow))));
    let waiting = wait(&client, &run, args.follow, output);
    let id = run.id.to_string();
    let ended = until_interrupted(&id, output, async {
        match deadline {
            None => waiting.await,
            Some(deadline) => tokio::time::timeout_at(deadline, waiting).await.unwrap_or_else(|_| Err(gave_up(&run))),
        }
    });
    print_end(&ended.await?, output)
}

/// Starts the run. A workflow that is not there yet may be what `trackway dev` builds just now: that
/// is waited for.
async fn start(client: &Client, start: &model::Start, key: &str, output: &Output) -> Result<model::Started> {
    let has_waited = Cell::new(false);
    let waits = |why: &Error| {
        if !has_waited.replace(true) {
            output.say(&output.talk_paint.dim(&format!("the server is busy, trying again: {}", why.message)));
        }
    };
    let error = match client.start(start, key, waits).await {
        Err(error) if matches!(error.code, Code::NoSuchWorkflow | Code::NoSuchDeployment) => error,
        answer => return answer,
    };
    let Source::Dev(dev_file) = &client.connection.server.source else { return Err(error) };
    let build = || read_dev_file(dev_file).map(|(_, dev)| dev.build);
    let mut has_waited = false;
    while build() == Some(Build::Running) {
        if !std::mem::replace(&mut has_waited, true) {
            output.say(&output.talk_paint.dim("trackway dev is building this project; waiting for it"));
        }
        tokio::time::sleep(LOOK_EVERY).await;
        // A `dev` that was killed leaves its file as it was.
        client.health().await?;
    }
    match build() {
        Some(Build::Failed) => Err(error.hint("the last build failed: `trackway dev` says why in its terminal")),
        // Also where nothing was waited for: it may have been deployed between the question and the look.
        Some(Build::Running | Build::Deployed) | None => client.start(start, key, waits).await,
    }
}

/// The run as it ended, with its output or failure.
async fn wait(client: &Client, run: &model::Run, follow: bool, output: &Output) -> Result<model::Run, Stop> {
    if follow {
        let look = Look { paint: output.talk_paint, width: output.width };
        let mut follower = Follower::new(client, run.id);
        while let Some(event) = follower.next(output).await? {
            for row in follower.news(&event.rows) {
                output.say_raw(&render::trace::change(row, run.started_at.0, look));
            }
        }
    }
    let run = client.wait(run.id).await?;
    if run.status == Status::Stuck { Err(stuck(&run).into()) } else { Ok(run) }
}

fn print_end(run: &model::Run, output: &Output) -> Done {
    match (run.status, &run.output) {
        (Status::Succeeded, Some(value)) => {
            match output.format {
                Format::Text => output.line(&render::json(value, render::VALUE_WIDTH))?,
                Format::Json => output.line(value.get())?,
                Format::Jsonl => output.line(&json::compact(value.get()))?,
                Format::Id => output.line(&run.id.to_string())?,
            }
            Ok(Exit::Ok)
        }
        (Status::Succeeded, None) => Ok(Exit::Ok),
        _ => {
            output.say_raw(&render::lists::ended_badly(run, output.talk_paint));
            if output.format == Format::Id {
                output.line(&run.id.to_string())?;
            }
            Ok(Exit::RunFailed)
        }
    }
}

fn no_answer(start: &model::Start, key: &str) -> Error {
    let message = "the server did not say in time that the run has started; it may start yet";
    let again = format!("the same run is asked for by: trackway run {} --idempotency-key {key}", start.workflow);
    Error::new(Code::GaveUpWaiting, message).hint(again)
}

fn gave_up(run: &model::Run) -> Stop {
    let message = format!("run {} has not ended; it goes on", run.id);
    Error::new(Code::GaveUpWaiting, message).hint(format!("trackway trace {} --follow", run.id)).into()
}

/// The JSON that was typed, that stands in `@FILE`, or that comes through standard input for `-`.
pub(super) fn read_input(input: &str, output: &Output) -> Result<Box<RawValue>> {
    let (text, place) = match input.strip_prefix('@') {
        _ if input == "-" => {
            if std::io::IsTerminal::is_terminal(&std::io::stdin()) {
                output.say("reading the input from the terminal; Ctrl-D ends it");
            }
            (limited(std::io::stdin().lock(), "standard input")?, "standard input".to_owned())
        }
        Some(path) => {
            let file = std::fs::File::open(path)
                .map_err(|error| Error::new(Code::File, format!("cannot read {path}: {error}")))?;
            (limited(file, path)?, path.to_owned())
        }
        None => (input.to_owned(), "the argument".to_owned()),
    };
    let value = serde_json::from_str::<&RawValue>(text.trim_ascii());
    value.map(ToOwned::to_owned).map_err(|error| {
        let error = Error::new(Code::InputNotJson, format!("in {place}: {error}"));
        let plain_word = !input.starts_with(['{', '[', '"', '@']) && input != "-";
        match plain_word {
            true if Path::new(input).is_file() => error.hint(format!("to read the file, write -i @{input}")),
            true => error.hint(format!("text needs quotes in JSON: -i '{}'", serde_json::Value::from(input))),
            false => error,
        }
    })
}

fn limited(reader: impl std::io::Read, place: &str) -> Result<String> {
    let mut bytes = Vec::new();
    reader
        .take(INPUT_MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Error::new(Code::File, format!("cannot read {place}: {error}")))?;
    if bytes.len() as u64 > INPUT_MAX_BYTES {
        return Err(Error::new(Code::InputTooLarge, format!("{place} holds more than {INPUT_MAX_BYTES} bytes")));
    }
    String::from_utf8(bytes).map_err(|_| Error::new(Code::InputNotJson, format!("{place} is not UTF-8 text")))
}

pub(super) fn fresh_key() -> Result<String> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| Error::new(Code::Internal, format!("the system gives no random bytes: {error}")))?;
    Ok(format!("cli-{:032x}", u128::from_be_bytes(bytes)))
}

#[cfg(test)]
mod tests;
