//! What a component can reach, in words; approvals, signatures and policies. It decides nothing: what is shown comes from
//! the server, or from the component itself.

use serde::Serialize;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use trackway_replay::Digest;

use crate::api::model::{self, Capabilities, Change, ChangeKind, ChangeOf, Plan, PlanVerdict, Reach};
use crate::host::SigningKey;
use crate::sandbox;
use crate::{Code, Error, Result};

use super::exit::{Done, Exit};
use super::output::{Paint, clean};
use super::server::write_private;
use super::{Context, args, package};

/// A policy of many patterns.
const POLICY_FILE_MAX_BYTES: u64 = 64 << 10;

pub fn plan(plan: &Plan, paint: Paint) -> String {
    let verdict = match plan.verdict {
        PlanVerdict::Unchanged => paint.green("nothing would change"),
        PlanVerdict::Deploys => paint.green("would be deployed"),
        PlanVerdict::Proposes => paint.yellow("would wait for an approval: it reaches more than the version before"),
        PlanVerdict::Refused => paint.red("would be refused"),
    };
    let mut text = format!("{} {:.12}: {verdict}\n", clean(&plan.deployment), plan.component);
    if let Some(why) = &plan.why {
        let _ = writeln!(text, "  {}", clean(why));
    }
    text.push_str(&capabilities(&plan.capabilities, paint));
    let since = match plan.replaces {
        Some(version) => format!("changes since version {version}"),
        None => "changes: it would be the first version".to_owned(),
    };
    let _ = writeln!(text, "{}", paint.bold(&since));
    text.push_str(&changes(&plan.changes, paint));
    text
}

/// A line for each kind of thing that there is any of.
pub fn capabilities(found: &Capabilities, paint: Paint) -> String {
    let mut text = String::new();
    let mut row = |name: &str, value: &str| {
        let _ = writeln!(text, "  {} {value}", paint.dim(&format!("{name:<10}")));
    };
    let pure = "imports nothing but `step`: it cannot reach anything";
    row("pure", if found.pure { pure } else { "no: its functions reach what they are granted" });
    for (name, list) in [("workflows", &found.workflows), ("tools", &found.tools)] {
        if !list.is_empty() {
            row(name, &clean(&list.join(", ")));
        }
    }
    for function in &found.functions {
        let wants: Vec<&str> =
            function.hosts.iter().chain(&function.models).chain(&function.secrets).map(String::as_str).collect();
        let wants = if wants.is_empty() { "wants nothing".to_owned() } else { format!("wants {}", wants.join(", ")) };
        row("function", &format!("{}  {}", clean(&function.name), paint.dim(&clean(&wants))));
    }
    for (name, reach) in [("hosts", &found.hosts), ("models", &found.models), ("secrets", &found.secrets)] {
        if let Some(told) = told(reach, paint) {
            row(name, &told);
        }
    }
    text
}

fn told(reach: &Reach, paint: Paint) -> Option<String> {
    let missing: Vec<&str> =
        reach.wanted.iter().filter(|wanted| !reach.granted.contains(wanted)).map(String::as_str).collect();
    let granted = (!reach.granted.is_empty()).then(|| format!("granted {}", clean(&reach.granted.join(", "))));
    let missing =
        (!missing.is_empty()).then(|| paint.yellow(&format!("wanted and not granted {}", clean(&missing.join(", ")))));
    let parts: Vec<String> = granted.into_iter().chain(missing).collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

pub fn changes(changes: &[Change], paint: Paint) -> String {
    if changes.is_empty() {
        return "  none\n".to_owned();
    }
    let line = |change: &Change| {
        let what = match change.what {
            ChangeOf::Import => "import",
            ChangeOf::Workflow => "workflow",
            ChangeOf::Function => "function",
            ChangeOf::Tool => "tool",
            ChangeOf::HostWanted => "wants host",
            ChangeOf::ModelWanted => "wants model",
            ChangeOf::SecretWanted => "wants secret",
            ChangeOf::Host => "may reach host",
            ChangeOf::Model => "may ask model",
            ChangeOf::Secret => "may send secret",
        };
        let text = format!("{what} {}", clean(&change.name));
        match change.change {
            ChangeKind::Added => format!("  {}\n", paint.green(&format!("+ {text}"))),
            ChangeKind::Removed => format!("  {}\n", paint.red(&format!("- {text}"))),
        }
    };
    changes.iter().map(line).collect()
}

#[derive(Serialize)]
struct Signed {
    component: Digest,
    signature: String,
    /// Of the key, for a policy.
    public_key: String,
}

#[derive(Serialize)]
struct Made {
    file: String,
    public_key: String,
}

/// Signs a component as it will be known on a server, or makes a key.
pub fn sign(args: args::Sign, context: &Context) -> Done {
    let output = &context.output;
    if let Some(file) = &args.new_key {
        if file.exists() {
            return Err(Error::new(Code::File, format!("{} is there already", file.display())).into());
        }
        let text = SigningKey::generate()?;
        let public_key = SigningKey::read(&text)?.public();
        write_private(file, &text)?;
        let made = Made { file: file.display().to_string(), public_key: public_key.clone() };
        let told = || format!("{} holds the private key; the public one, for a policy:\n{public_key}\n", made.file);
        output.one(&made, &public_key, told)?;
        return Ok(Exit::Ok);
    }
    let Some(key) = &args.key else { return Err(Error::new(Code::Usage, "--key FILE is missing").into()) };
    let key = SigningKey::read(&read_text(key)?)?;
    let file = match args.file {
        Some(file) => file,
        None => package::build(context.config.project()?, output)?.file,
    };
    let component = sandbox::digest_of(&Arc::from(&*package::read_component(&file)?))?;
    let signature = key.sign(component).to_string();
    let signed = Signed { component, signature: signature.clone(), public_key: key.public() };
    output.one(&signed, &signature, || format!("{signature}\n"))?;
    Ok(Exit::Ok)
}

pub async fn policy(command: args::Policy, context: &Context) -> Done {
    let policy = match command {
        args::Policy::Show { connect } => context.client(connect)?.policy().await?,
        args::Policy::Set { file, connect } => {
            let policy: model::Policy = serde_json::from_str(&read_text(&file)?)
                .map_err(|error| Error::new(Code::BadConfig, format!("{}: {error}", file.display())))?;
            context.client(connect)?.set_policy(&policy).await?
        }
    };
    let text = serde_json::to_string_pretty(&policy).map_err(|error| Error::new(Code::Internal, error.to_string()))?;
    context.output.one(&policy, "policy", || format!("{text}\n"))?;
    Ok(Exit::Ok)
}

pub fn read_text(file: &Path) -> Result<String> {
    use std::io::Read as _;
    let cannot = |error: std::io::Error| Error::new(Code::File, format!("cannot read {}: {error}", file.display()));
    let mut text = String::new();
    let opened = std::fs::File::open(file).map_err(cannot)?;
    opened.take(POLICY_FILE_MAX_BYTES).read_to_string(&mut text).map_err(cannot)?;
    Ok(text)
}
