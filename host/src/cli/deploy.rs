//! `trackway deploy` and `trackway deployments`: which code a name points to, and what it may reach.

use bytes::Bytes;
use trackway_replay::Timestamp;

use crate::api::model;
use crate::host::Allow;
use crate::sandbox::Manifest;
use crate::{Code, Error, Result};

use super::check::{wanted_hosts, wanted_models};
use super::client::Client;
use super::exit::{Done, Exit};
use super::output::{Output, clean};
use super::{Context, args, package, render};

pub async fn deploy(args: args::Deploy, context: &Context) -> Done {
    let output = &context.output;
    let project = context.config.project.as_ref();
    let (bytes, name) = match &args.file {
        Some(file) => {
            let stem = file.file_stem().map(|stem| stem.to_string_lossy().into_owned());
            (package::read_component(file)?, args.name.or(stem))
        }
        None => {
            let built = package::build(context.config.project()?, output)?;
            (package::read_component(&built.file)?, Some(args.name.unwrap_or(built.name)))
        }
    };
    let name = name.ok_or_else(|| Error::new(Code::Usage, "the deployment needs a name").hint("--name NAME"))?;
    let (mut allow_hosts, mut allow_models) = (args.allow_host, args.allow_model);
    if args.file.is_none() {
        allow_hosts.extend(project.iter().flat_map(|project| project.file.allow_hosts.clone()));
        allow_models.extend(project.iter().flat_map(|project| project.file.allow_models.clone()));
    }
    for list in [&mut allow_hosts, &mut allow_models] {
        list.sort();
        list.dedup();
    }
    let client = context.client(args.connect)?;
    let (deployment, manifest) =
        upload(&client, &name, bytes, Allow { hosts: allow_hosts, models: allow_models }).await?;
    say_what_is_missing(&manifest, &deployment, output);
    output.one(&deployment, &deployment.name, || deployed(&deployment))?;
    Ok(Exit::Ok)
}

/// Uploads a component and points `name` to it.
async fn upload(
    client: &Client,
    name: &str,
    bytes: Bytes,
    allow: Allow<Vec<String>>,
) -> Result<(model::Deployment, Manifest)> {
    let component = client.upload(bytes).await?;
    let manifest = Manifest::read(component.manifest.get())?;
    let Allow { hosts: allow_hosts, models: allow_models } = allow;
    let deploy = model::Deploy { component: component.digest, allow_hosts, allow_models, if_revision: None };
    Ok((client.deploy(name, &deploy).await?, manifest))
}

/// Wanting a host or a model is not having it: who deploys decides, and should know.
fn say_what_is_missing(manifest: &Manifest, deployment: &model::Deployment, output: &Output) {
    let Some(version) = current(deployment) else { return };
    let lists = [
        ("--allow-host", wanted_hosts(manifest), &version.allow_hosts),
        ("--allow-model", wanted_models(manifest), &version.allow_models),
    ];
    let missing = lists.into_iter().flat_map(|(flag, wanted, allowed)| {
        let missing = wanted.into_iter().filter(|wanted| !allowed.contains(wanted));
        missing.map(|wanted| format!("{flag} '{}'", clean(&wanted))).collect::<Vec<_>>()
    });
    let flags: Vec<String> = missing.collect();
    if !flags.is_empty() {
        let text = format!("its functions also want what was not granted; to grant it: {}", flags.join(" "));
        output.say(&output.talk_paint.yellow(&text));
    }
}

fn deployed(deployment: &model::Deployment) -> String {
    let Some(version) = current(deployment) else { return format!("{}\n", clean(&deployment.name)) };
    let reach = render::lists::reach(version);
    clean(&format!(
        "{} is at version {} ({:.12}); workflows: {}; may reach: {reach}",
        deployment.name,
        version.version,
        version.component,
        version.workflows.join(", ")
    )) + "\n"
}

fn current(deployment: &model::Deployment) -> Option<&model::Version> {
    deployment.versions.iter().find(|version| version.version == deployment.current)
}

pub async fn deployments(command: args::Deployments, context: &Context) -> Done {
    let output = &context.output;
    let changed = match command {
        args::Deployments::Ls { connect } => {
            let list = context.client(connect)?.deployments().await?;
            let text = || render::lists::deployments(&list, now(), output.width);
            output.many(&list, |deployment| deployment.name.clone(), text)?;
            return Ok(Exit::Ok);
        }
        args::Deployments::Promote(args) => {
            let allow_hosts = (!args.allow_host.is_empty()).then_some(args.allow_host);
            let allow_models = (!args.allow_model.is_empty()).then_some(args.allow_model);
            let promote = model::Promote { component: args.component, from: args.from, allow_hosts, allow_models };
            context.client(args.connect)?.promote(&args.name, &promote).await?
        }
        args::Deployments::Rollback { name, to, connect } => {
            context.client(connect)?.rollback(&name, &model::Rollback { version: to }).await?
        }
    };
    output.one(&changed, &changed.name, || deployed(&changed))?;
    Ok(Exit::Ok)
}

fn now() -> Timestamp {
    use crate::effects::Clock as _;
    crate::effects::SystemClock::new().now()
}
