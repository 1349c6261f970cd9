//! `trackway doctor --deep`: a look at everything in a store. Where no server uses the data folder it is
//! opened here, as a server would; else the server is asked. It changes nothing that is stored.

use std::fmt::Write as _;

use crate::api::{model, view};
use crate::{Code, Error, host};

use super::exit::{Done, Exit};
use super::output::{Paint, clean};
use super::server::keys_of_server;
use super::{Context, args, doctor};

pub async fn doctor(args: args::Doctor, context: &Context) -> Done {
    let output = &context.output;
    let Some(data) = doctor::data_folder(&context.config, args.data.clone()) else {
        return Err(Error::new(Code::BadConfig, "no data folder is named and HOME is not set").into());
    };
    let keys = keys_of_server(args.secrets_key_file.as_deref())?;
    let report = match host::check_folder(&data, keys).await {
        Ok(report) => {
            output.say(&format!("looked at everything in {}", data.display()));
            view::store_report(report)
        }
        Err(error) if error.code == Code::DataInUse => {
            let client = context.client(args.connect)?;
            let server = &client.connection.server.value;
            output.say(&format!("a server uses {}; asking {server} to look at everything", data.display()));
            client.check_store().await?
        }
        // Nothing is here and a server is named: that one is meant.
        Err(error) if error.code == Code::File && args.data.is_none() => {
            let client = context.client(args.connect)?;
            let server = &client.connection.server.value;
            output.say(&format!("there is no store in {}; asking {server} to look at everything", data.display()));
            client.check_store().await?
        }
        Err(error) => return Err(error.into()),
    };
    let id = if report.flaws.is_empty() { "good" } else { "bad" };
    output.one(&report, id, || text(&report, output.paint))?;
    Ok(if report.flaws.is_empty() { Exit::Ok } else { Exit::Other })
}

fn text(report: &model::StoreReport, paint: Paint) -> String {
    let mut text = String::new();
    for flaw in &report.flaws {
        let run = flaw.run.map(|run| format!(" run {run}")).unwrap_or_default();
        let position = flaw.position.map(|position| format!(" at {position}")).unwrap_or_default();
        let _ = writeln!(text, "{}{run}{position} {}", paint.red("✗"), clean(&flaw.what));
        let _ = writeln!(text, "  {} {}", paint.cyan("next:"), clean(&flaw.advice));
    }
    if report.more > 0 {
        let _ = writeln!(text, "and {} more", report.more);
    }
    let model::StoreReport { runs, entries, payloads, components, .. } = report;
    let mark = if report.flaws.is_empty() { paint.green("✓") } else { paint.red("✗") };
    let flaws = report.flaws.len() as u64 + report.more;
    let _ = writeln!(
        text,
        "{mark} {runs} runs, {entries} entries, {payloads} values beside journals, {components} components: {flaws} flaws"
    );
    let _ = match (report.sealed, report.unsealed) {
        (0, _) => Ok(()),
        (tenants, 0) => writeln!(text, "  sealed: all that guests and callers of {tenants} tenants say"),
        (tenants, rest) => writeln!(
            text,
            "  sealed: {tenants} tenants, but for {rest} rows and files from before; a backup that is restored with \
             --seal has none"
        ),
    };
    text
}
