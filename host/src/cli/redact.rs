//! `trackway redact`: which fields nobody gets to see of a tenant. It masks nothing: that is the server's.

use crate::api::model::{RedactedFields, Redaction};

use super::exit::{Done, Exit, Stop};
use super::output::{Format, Output, clean};
use super::{Context, args};

pub async fn redact(command: args::Redact, context: &Context) -> Done {
    let redaction = match command {
        args::Redact::Show { connect } => context.client(connect)?.redaction().await?,
        args::Redact::Set { fields, none: _, connect } => {
            context.client(connect)?.set_redaction(&RedactedFields { fields }).await?
        }
        args::Redact::Add(args::SomeFields { fields, connect }) => {
            context.client(connect)?.change_redaction("add", &RedactedFields { fields }).await?
        }
        args::Redact::Rm(args::SomeFields { fields, connect }) => {
            context.client(connect)?.change_redaction("remove", &RedactedFields { fields }).await?
        }
    };
    show(&redaction, &context.output)?;
    Ok(Exit::Ok)
}

fn show(redaction: &Redaction, output: &Output) -> Result<(), Stop> {
    let lines = |fields: &[String], whose: &str| -> String {
        fields.iter().map(|field| format!("{}{whose}\n", clean(field))).collect()
    };
    // There may be none, which is no line.
    if output.format == Format::Id {
        return output.raw(&lines(&redaction.fields, ""));
    }
    let text = || lines(&redaction.fields, "") + &lines(&redaction.server_fields, "  (of the server)");
    output.one(redaction, "", text)
}
