//! `trackway secrets`: values that functions send to others and never see. It reads a value from a pipe or a file, never
//! from an argument, and prints none.

use std::collections::BTreeSet;
use std::io::{IsTerminal as _, Read as _};
use std::path::Path;
use zeroize::Zeroizing;

use crate::api::model;
use crate::effects::SECRET_MAX_BYTES;
use crate::sandbox::Manifest;
use crate::{Code, Error, Result};

use super::exit::{Done, Exit};
use super::output::{Output, clean};
use super::{Context, args, render};

pub async fn secrets(command: args::Secrets, context: &Context) -> Done {
    let output = &context.output;
    match command {
        args::Secrets::Ls { connect } => {
            let secrets = context.client(connect)?.secrets().await?;
            output.many(&secrets, |secret| secret.name.clone(), || secrets.iter().map(line).collect())?;
        }
        args::Secrets::Set { name, file, connect } => {
            let value = read(file.as_deref(), output)?;
            let secret = context.client(connect)?.set_secret(&name, &value).await?;
            output.one(&secret, &secret.name, || line(&secret))?;
        }
        args::Secrets::Rm { name, connect } => {
            context.client(connect)?.remove_secret(&name).await?;
            output.say(&format!("removed: {}", clean(&name)));
        }
        args::Secrets::Rotate { connect } => {
            let rotated = context.client(connect)?.rotate_secrets().await?;
            output.one(&rotated, rotated.key.as_deref().unwrap_or_default(), || {
                let key = rotated.key.as_deref().unwrap_or("none");
                let (moved, kept, unreadable) = (rotated.rotated, rotated.kept, rotated.unreadable);
                let data_keys = match rotated.data_keys {
                    0 => String::new(),
                    count => format!("; {count} data keys wrapped under it"),
                };
                let secrets = format!("{moved} moved to it, {kept} were under it, {unreadable} cannot be read");
                clean(&format!("key {key}: {secrets}{data_keys}")) + "\n"
            })?;
            if rotated.unreadable > 0 {
                let text = "some secrets are kept under a key that the server has not: add that key, or set them anew";
                output.say(&output.talk_paint.yellow(text));
            }
        }
    }
    Ok(Exit::Ok)
}

fn line(secret: &model::Secret) -> String {
    let changed = render::lists::moment(secret.changed_at);
    let unreadable = if secret.readable { "" } else { "  cannot be read: the server has not its key" };
    let (name, key) = (clean(&secret.name), clean(&secret.key));
    format!("{name}  revision {}  {changed}  key {key}{unreadable}\n", secret.revision)
}

fn read(file: Option<&Path>, output: &Output) -> Result<Zeroizing<String>> {
    let bytes = match file {
        Some(file) => std::fs::read(file)
            .map_err(|error| Error::new(Code::File, format!("cannot read {}: {error}", file.display())))?,
        None => {
            let input = std::io::stdin();
            if input.is_terminal() {
                output.say(
                    "type or paste the value, then Enter and Ctrl-D (it is shown; a pipe or --file shows nothing)",
                );
            }
            // One more than fits, so that too much is seen.
            let (mut bytes, limit) = (Vec::new(), SECRET_MAX_BYTES + 3);
            let read = input.lock().take(limit as u64).read_to_end(&mut bytes);
            read.map_err(|error| Error::new(Code::File, format!("cannot read standard input: {error}")))?;
            bytes
        }
    };
    let mut text = String::from_utf8(bytes).map(Zeroizing::new).map_err(|_| {
        Error::new(Code::BadSecret, "the value of a secret is text in UTF-8").hint("encode it in base64")
    })?;
    // What `echo` and editors put behind it.
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}

/// The names of the secrets that functions want, and that are not set.
pub fn unset(manifest: &Manifest, secrets: &[model::Secret]) -> BTreeSet<String> {
    let wanted = manifest.functions.iter().flat_map(|function| crate::effects::wanted_names(&function.secrets));
    let is_unset = |name: &String| !secrets.iter().any(|secret| secret.name == *name);
    wanted.map(|name| name.to_string()).filter(is_unset).collect()
}
