//! `trackway runs stream`: what the guests of a run tell, as it comes, across lost connections. It never stops
//! the run.

use serde::Serialize;
use serde::de::DeserializeOwned;
use trackway_replay::Status;

use crate::Error;
use crate::api::model;

use super::client::{Fed, Feed};
use super::exit::{Done, Exit, Stop};
use super::follow::{stuck, until_interrupted};
use super::output::{Format, Output, clean};
use super::{Context, args};

/// One line of JSON: what an event says, with what it is and where to go on after it.
#[derive(Serialize)]
struct Line<'a, T> {
    #[serde(rename = "type")]
    what: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(flatten)]
    told: T,
}

pub async fn stream(args: args::RunsStream, context: &Context) -> Done {
    let client = context.client(args.connect)?;
    let run = client.run(&args.run).await?;
    let feed = client.stream(run.id, args.after);
    until_interrupted(&run.id.to_string(), &context.output, print(feed, args.kept, &context.output)).await?;
    Ok(Exit::Ok)
}

async fn print(mut feed: Feed<'_>, only_kept: bool, output: &Output) -> Result<(), Stop> {
    let mut was_lost = false;
    loop {
        let event = match feed.next().await? {
            Fed::Event(event) => event,
            Fed::Over => return Ok(()),
            Fed::Lost(error) => {
                if !std::mem::replace(&mut was_lost, true) {
                    let text = format!("connection lost ({}); trying again", clean(&error.message));
                    output.say(&output.talk_paint.yellow(&text));
                }
                continue;
            }
        };
        was_lost = false;
        let id = event.id.as_deref();
        match event.name.as_str() {
            "event" => {
                let told: model::StreamEvent = read(&feed, &event.data)?;
                let by = told.step.zip(told.attempt).map(|(step, attempt)| format!("  {step}.{attempt}"));
                let text = || {
                    let (name, data) = (output.paint.bold(&clean(&told.name)), clean(told.data.get()));
                    format!("{name}  {data}{}", output.paint.dim(&by.unwrap_or_default()))
                };
                show(output, "event", id, &told, text)?;
            }
            "delta" | "reset" if only_kept => {}
            "delta" => {
                let told: model::StreamDelta = read(&feed, &event.data)?;
                let text = || {
                    let place = format!("  {}.{} #{}", told.step, told.attempt, told.number);
                    format!("{}  {}{}", clean(&told.name), clean(told.data.get()), output.paint.dim(&place))
                };
                show(output, "delta", id, &told, text)?;
            }
            "reset" => {
                let told: model::StreamReset = read(&feed, &event.data)?;
                let text = || {
                    let text = format!("reset  {}.{} from #{} on", told.step, told.attempt, told.next);
                    output.paint.yellow(&text)
                };
                show(output, "reset", id, &told, text)?;
            }
            "end" => {
                let told: model::StreamEnd = read(&feed, &event.data)?;
                if told.run.status == Status::Stuck {
                    return Err(stuck(&told.run).into());
                }
                return show(output, "end", id, &told, || output.paint.dim(told.run.status.name()));
            }
            // Of a newer server.
            _ => {}
        }
    }
}

fn read<T: DeserializeOwned>(feed: &Feed<'_>, data: &str) -> Result<T, Error> {
    serde_json::from_str(data).map_err(|error| feed.foreign(&error))
}

fn show<T: Serialize>(
    output: &Output,
    what: &str,
    id: Option<&str>,
    told: &T,
    text: impl FnOnce() -> String,
) -> Result<(), Stop> {
    match output.format {
        Format::Text => output.line(&text()),
        Format::Json | Format::Jsonl => output.jsonl(&Line { what, id, told }),
        Format::Id => id.map_or(Ok(()), |id| output.line(&clean(id))),
    }
}
