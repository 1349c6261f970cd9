//! `trackway tenants`, `keys` and `audit`: who may use a server, and what was done by whom.

use crate::api::{Time, model};
use crate::{Code, Error};

use super::exit::{Done, Exit};
use super::output::clean;
use super::{Context, args, render};

/// Of the audit log, asked for at once.
const AUDIT_PAGE: usize = 1_000;

pub async fn tenants(command: args::Tenants, context: &Context) -> Done {
    let output = &context.output;
    let id = |tenant: &model::Tenant| tenant.name.clone();
    let one = |tenant: &model::Tenant| output.one(tenant, &id(tenant), || tenant_line(tenant));
    match command {
        args::Tenants::Ls { connect } => {
            let tenants = context.client(connect)?.tenants().await?;
            output.many(&tenants, id, || tenants.iter().map(tenant_line).collect())?;
        }
        args::Tenants::Create(wanted) => {
            one(&context.client(wanted.connect)?.create_tenant(&model::NewTenant { name: wanted.name }).await?)?;
        }
        args::Tenants::Disable(tenant) => {
            one(&context.client(tenant.connect)?.switch_tenant(&tenant.name, "disable").await?)?;
        }
        args::Tenants::Enable(tenant) => {
            one(&context.client(tenant.connect)?.switch_tenant(&tenant.name, "enable").await?)?;
        }
        args::Tenants::Quota(quota) => return super::quotas::quota(quota, context).await,
        args::Tenants::Rm { one, yes: false } => {
            let why = format!("everything that tenant `{}` has would be deleted, for ever", one.name);
            return Err(Error::new(Code::Usage, why).hint(format!("trackway tenants rm {} --yes", one.name)).into());
        }
        args::Tenants::Rm { one, yes: true } => {
            context.client(one.connect)?.delete_tenant(&one.name).await?;
            output.say(&format!("deleted: {}", clean(&one.name)));
        }
    }
    Ok(Exit::Ok)
}

pub async fn keys(command: args::Keys, context: &Context) -> Done {
    let output = &context.output;
    match command {
        args::Keys::Ls { connect } => {
            let keys = context.client(connect)?.keys().await?;
            output.many(&keys, |key| key.id.clone(), || keys.iter().map(key_line).collect())?;
        }
        args::Keys::Create { purpose, scopes, expires, connect } => {
            let scopes = scopes.iter().map(|scope| scope.name().to_owned()).collect();
            let wanted = model::NewKey { name: purpose, scopes, expires_in_s: expires.map(|time| time.as_secs()) };
            made(&context.client(connect)?.create_key(&wanted).await?, context)?;
        }
        args::Keys::Rotate { one, overlap } => {
            let wanted = model::RotateKey { overlap_s: overlap.map(|time| time.as_secs()) };
            made(&context.client(one.connect)?.rotate_key(&one.id, &wanted).await?, context)?;
        }
        args::Keys::Rm(one) => {
            context.client(one.connect)?.remove_key(&one.id).await?;
            output.say(&format!("removed: {}", clean(&one.id)));
        }
    }
    Ok(Exit::Ok)
}

/// The text is what scripts want: it stands alone where only an id is asked for.
fn made(made: &model::MadeKey, context: &Context) -> Result<(), super::exit::Stop> {
    let output = &context.output;
    output.one(made, &made.bearer, || format!("{}\n", clean(&made.bearer)))?;
    output.say(&format!("key {} for `{}`; it is not shown again", clean(&made.key.id), clean(&made.key.name)));
    Ok(())
}

pub async fn audit(args: args::Audit, context: &Context) -> Done {
    let output = &context.output;
    let client = context.client(args.connect)?;
    let since = args.since.map(|since| since.time(super::runs::now()).to_string());
    let mut lines = Vec::new();
    let mut cursor = None;
    loop {
        let page = client.audit(since.as_deref(), cursor.as_deref(), AUDIT_PAGE).await?;
        lines.extend(page.lines);
        match page.cursor {
            Some(next) => cursor = Some(next),
            None => break,
        }
    }
    output.many(&lines, |line| line.time.to_string(), || lines.iter().map(audit_line).collect())?;
    Ok(Exit::Ok)
}

fn tenant_line(tenant: &model::Tenant) -> String {
    let created = tenant.created_at.map(render::lists::moment).unwrap_or_default();
    format!("{}  {}  {created}\n", clean(&tenant.name), clean(&tenant.state))
}

fn key_line(key: &model::Key) -> String {
    let until = |time: Option<Time>, none: &str| time.map_or_else(|| none.to_owned(), render::lists::moment);
    let (expires, used) = (until(key.expires_at, "never"), until(key.last_used_at, "never"));
    let (id, name, scopes) = (clean(&key.id), clean(&key.name), clean(&key.scopes.join(",")));
    format!("{id}  {name}  {scopes}  expires {expires}  used {used}\n")
}

fn audit_line(line: &model::AuditLine) -> String {
    let who = match &line.name {
        Some(name) => format!("{} ({})", clean(&line.who), clean(name)),
        None => clean(&line.who),
    };
    let from = line.from.as_deref().map(clean).unwrap_or_default();
    let code = line.code.as_deref().map(|code| format!(" {}", clean(code))).unwrap_or_default();
    format!("{}  {who}  {from}  {}  {}{code}\n", line.time, clean(&line.what), line.status)
}
