//! `trackway deploy` and `trackway deployments`: which code a name points to, and what it may reach.

use bytes::Bytes;
use trackway_replay::Timestamp;

use crate::api::model;
use crate::host::Allow;
use crate::sandbox::Manifest;
use crate::{Code, Error, Result};

use super::check::{wanted_hosts, wanted_mcp, wanted_models, wanted_secrets};
use super::client::Client;
use super::exit::{Done, Exit};
use super::output::{Output, clean};
use super::{Context, args, package, plan, render};

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
    let (hosts, models, secrets) = (args.allow_host, args.allow_model, args.allow_secret);
    let mut allow = Allow { hosts, models, secrets, mcp: args.mcp };
    if let Some(project) = project.filter(|_| args.file.is_none()) {
        allow.hosts.extend(project.file.allow_hosts.iter().cloned());
        allow.models.extend(project.file.allow_models.iter().cloned());
        allow.secrets.extend(project.file.allow_secrets.iter().cloned());
        let servers = project.mcp(&allow.mcp);
        allow.mcp.extend(servers);
    }
    for list in [&mut allow.hosts, &mut allow.models, &mut allow.secrets, &mut allow.mcp] {
        list.sort();
        list.dedup();
    }
    let client = context.client(args.connect)?;
    let signature = args.look.signature.as_deref().map(plan::read_text).transpose()?;
    let (deploy, manifest) = upload(&client, bytes, allow, signature).await?;
    if args.look.plan {
        let found = client.plan(&name, &deploy).await?;
        output.one(&found, found.verdict.name(), || plan::plan(&found, output.paint))?;
        return Ok(if found.verdict == model::PlanVerdict::Refused { Exit::NotAllowed } else { Exit::Ok });
    }
    let deployment = client.deploy(&name, &deploy).await?;
    if deployment.waits.is_some() {
        say_that_it_waits(&deployment, output);
    } else {
        say_what_is_missing(&manifest, &deployment, output);
    }
    output.one(&deployment, &deployment.name, || deployed(&deployment))?;
    Ok(Exit::Ok)
}

/// Where nothing runs yet what was asked for, and somebody else has to do something.
fn say_that_it_waits(deployment: &model::Deployment, output: &Output) {
    let is_asked_for = |proposed: &&model::Proposed| deployment.waits == Some(proposed.version);
    let Some(proposed) = deployment.proposed.iter().find(is_asked_for) else { return };
    let (name, number) = (clean(&deployment.name), proposed.version);
    let text = format!(
        "version {number} waits for an approval: it reaches what the version before does not: {}\n\
         with a key of scope admin: trackway deployments approve {name} {number}",
        clean(&proposed.widens.join(", "))
    );
    output.say(&output.talk_paint.yellow(&text));
}

/// Uploads a component, and says what is to be deployed.
async fn upload(
    client: &Client,
    bytes: Bytes,
    allow: Allow<Vec<String>>,
    signature: Option<String>,
) -> Result<(model::Deploy, Manifest)> {
    let component = client.upload(bytes).await?;
    let manifest = Manifest::read(component.manifest.get())?;
    let Allow { hosts: allow_hosts, models: allow_models, secrets: allow_secrets, mcp: allow_mcp } = allow;
    let component = component.digest;
    let if_revision = None;
    let deploy =
        model::Deploy { component, allow_hosts, allow_models, allow_secrets, allow_mcp, if_revision, signature };
    Ok((deploy, manifest))
}

/// Wanting a host or a model is not having it: who deploys decides, and should know.
fn say_what_is_missing(manifest: &Manifest, deployment: &model::Deployment, output: &Output) {
    let Some(version) = current(deployment) else { return };
    let lists = [
        ("--allow-host", wanted_hosts(manifest), &version.allow_hosts),
        ("--allow-model", wanted_models(manifest), &version.allow_models),
        ("--allow-secret", wanted_secrets(manifest), &version.allow_secrets),
    ];
    let missing = lists.into_iter().flat_map(|(flag, wanted, allowed)| {
        let missing = wanted.into_iter().filter(|wanted| !allowed.contains(wanted));
        missing.map(|wanted| format!("{flag} '{}'", clean(&wanted))).collect::<Vec<_>>()
    });
    let named =
        |name: &String| version.allow_mcp.iter().any(|pair| pair.split_once('=').is_some_and(|(is, _)| is == name));
    let unnamed = wanted_mcp(manifest).into_iter().filter(|name| !named(name));
    let flags: Vec<String> = missing.chain(unnamed.map(|name| format!("--mcp '{}=URL'", clean(&name)))).collect();
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
        args::Deployments::Approve(args) => context.client(args.connect)?.approve(&args.name, args.version).await?,
        args::Deployments::Reject(args) => {
            context.client(args.connect)?.reject(&args.name, args.version).await?;
            output.say(&format!("version {} of {} will not be deployed", args.version, clean(&args.name)));
            return Ok(Exit::Ok);
        }
        args::Deployments::Rm(args) => {
            context.client(args.connect)?.remove_deployment(&args.name, args.version).await?;
            let name = clean(&args.name);
            output.say(&match args.version {
                Some(version) => format!("removed: version {version} of {name}"),
                None => format!("removed: {name}"),
            });
            return Ok(Exit::Ok);
        }
        args::Deployments::Promote(args) => {
            let allow_hosts = (!args.allow_host.is_empty()).then_some(args.allow_host);
            let allow_models = (!args.allow_model.is_empty()).then_some(args.allow_model);
            let allow_secrets = (!args.allow_secret.is_empty()).then_some(args.allow_secret);
            let allow_mcp = (!args.mcp.is_empty()).then_some(args.mcp);
            let (component, from) = (args.component, args.from);
            let promote = model::Promote { component, from, allow_hosts, allow_models, allow_secrets, allow_mcp };
            context.client(args.connect)?.promote(&args.name, &promote).await?
        }
        args::Deployments::Rollback { name, to, connect } => {
            context.client(connect)?.rollback(&name, &model::Rollback { version: to }).await?
        }
    };
    say_that_it_waits(&changed, output);
    output.one(&changed, &changed.name, || deployed(&changed))?;
    Ok(Exit::Ok)
}

fn now() -> Timestamp {
    use crate::effects::Clock as _;
    crate::effects::SystemClock::new().now()
}
