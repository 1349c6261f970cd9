//! Tables and descriptions of runs and deployments.

use comfy_table::{ContentArrangement, Table, presets};
use std::fmt::Write as _;
use trackway_replay::{Failure, Status, Timestamp};

use super::{VALUE_WIDTH, indented, json, money, status};
use crate::api::Time;
use crate::api::model::{Child, Deployment, LogLine, ReplayReport, Run, Version};
use crate::cli::duration::{show_ago, show_us};
use crate::cli::json::compact;
use crate::cli::output::{Paint, clean, cut};

const MESSAGE_SHOWN_CHARS: usize = 48;
/// Of a digest: what people compare.
const DIGEST_SHOWN_CHARS: usize = 12;

pub fn runs(runs: &[Run], now: Timestamp, width: Option<usize>) -> String {
    if runs.is_empty() {
        return "no runs\n".to_owned();
    }
    let header = ["RUN", "WORKFLOW", "STATUS", "STARTED", "TOOK", "STEPS", "WHY"];
    let rows = runs.iter().map(|run| {
        vec![
            run.id.to_string(),
            format!("{}/{}", run.deployment, run.workflow),
            status_words(run),
            show_ago(now.millis(), run.started_at.0.millis()),
            run.finished_at.map(|end| took(run, end)).unwrap_or_default(),
            run.steps.to_string(),
            why(run),
        ]
    });
    table(&header, rows, width)
}

pub fn deployments(deployments: &[Deployment], now: Timestamp, width: Option<usize>) -> String {
    if deployments.is_empty() {
        return "no deployments\n".to_owned();
    }
    let header = ["DEPLOYMENT", "VERSION", "COMPONENT", "DEPLOYED", "WORKFLOWS", "MAY REACH"];
    let rows = deployments.iter().map(|deployment| {
        let current = deployment.versions.iter().find(|version| version.version == deployment.current);
        vec![
            deployment.name.clone(),
            version_of(deployment),
            current.map(|version| format!("{:.*}", DIGEST_SHOWN_CHARS, version.component)).unwrap_or_default(),
            current.map(|version| show_ago(now.millis(), version.deployed_at.0.millis())).unwrap_or_default(),
            current.map(|version| version.workflows.join(", ")).unwrap_or_default(),
            current.map(reach).unwrap_or_default(),
        ]
    });
    table(&header, rows, width)
}

/// The current one, and those that wait for an approval.
fn version_of(deployment: &Deployment) -> String {
    let current = if deployment.current == 0 { "none".to_owned() } else { deployment.current.to_string() };
    let proposed: Vec<String> = deployment.proposed.iter().map(|proposed| proposed.version.to_string()).collect();
    if proposed.is_empty() { current } else { format!("{current} (proposed: {})", proposed.join(", ")) }
}

/// `children`: what its steps started.
pub fn describe(run: &Run, children: &[Child], paint: Paint) -> String {
    let mut text = format!("{} {}\n", paint.bold("run"), run.id);
    let mut row = |name: &str, value: &str| {
        let _ = writeln!(text, "  {} {value}", paint.dim(&format!("{name:<10}")));
    };
    row("workflow", &clean(&format!("{}/{}", run.deployment, run.workflow)));
    row("component", &run.component.to_string());
    let waiting = status_words(run).replacen(run.status.name(), "", 1);
    row("status", &format!("{}{waiting}", status(run.status, paint)));
    row("started", &moment(run.started_at));
    if let Some(finished) = run.finished_at {
        row("finished", &format!("{} (took {})", moment(finished), took(run, finished)));
    }
    if let Some(due) = run.due_at {
        row("goes on", &moment(due));
    }
    row("steps", &run.steps.to_string());
    if let Some(spent) = run.spending.and_then(|spending| money::spending(&spending.into())) {
        row("models", &spent);
    }
    if let Some(parent) = &run.parent {
        row("started by", &format!("step {} of run {}", parent.step, parent.run));
    }
    for child in children {
        let workflow = child.workflow.as_deref().map(|workflow| format!("/{workflow}")).unwrap_or_default();
        let what = clean(&format!("{}{workflow}", child.deployment));
        let is = child.status.map_or("removed", Status::name);
        row("child", &format!("{} (step {}, {what}, {is})", child.id, child.step));
    }
    if run.code.is_some() || run.message.is_some() {
        row("because", &why_in_full(run));
    }
    for way in &run.next {
        row("next", &clean(way));
    }
    if let Some(reason) = &run.reason {
        row("reason", &clean(reason));
    }
    for (name, value) in [("input", &run.input), ("output", &run.output), ("failure", &run.failure)] {
        if let Some(value) = value {
            let shown = json(value, VALUE_WIDTH);
            let shown = if shown.contains('\n') { format!("\n{}", indented(&shown, "    ")) } else { shown };
            row(name, shown.trim_end());
        }
    }
    text
}

pub fn replay(report: &ReplayReport, paint: Paint) -> String {
    let verdict = if report.identical { paint.green("identical") } else { paint.red("not identical") };
    let mut text = format!("{} {}: {verdict}\n", paint.bold("replay"), report.run);
    let counts = [
        (report.commands_with_fuel, "commands compared by digest and fuel"),
        (report.commands_without_fuel, "commands compared by digest only (another engine or component)"),
        (report.deliveries, "deliveries compared in order"),
    ];
    for (count, what) in counts {
        let _ = writeln!(text, "  {count:>8}  {what}");
    }
    let _ = writeln!(text, "  {:>8}  {}", "end", clean(&report.end));
    if let Some(divergence) = &report.divergence {
        let step = divergence.step.map(|step| format!(" at step {step}")).unwrap_or_default();
        let _ = writeln!(text, "\n{}{step}", paint.red("the code does something else than the journal says"));
        let sides = [
            ("recorded", &divergence.recorded, &divergence.recorded_at, divergence.recorded_digest),
            ("produced", &divergence.produced, &divergence.produced_at, divergence.produced_digest),
        ];
        for (name, what, at, digest) in sides {
            let at = at.as_ref().map(|at| format!("  at {}", clean(at))).unwrap_or_default();
            let digest = digest.map(|digest| format!("  ({digest:.*})", DIGEST_SHOWN_CHARS)).unwrap_or_default();
            let _ = writeln!(text, "  {name}  {}{at}{}", clean(what), paint.dim(&digest));
        }
    }
    text
}

/// What is said about a run that failed or was cancelled.
pub fn ended_badly(run: &Run, paint: Paint) -> String {
    let mut text = format!("{} run {} {}", paint.red("error:"), run.id, status(run.status, paint));
    let failure = run.failure.as_ref().and_then(|failure| serde_json::from_str::<Failure>(failure.get()).ok());
    match (&failure, &run.reason) {
        (Some(failure), _) => {
            let _ = write!(text, "\n  {}", clean(&failure.to_string()));
            if let Some(at) = &failure.at {
                let _ = write!(text, "\n  at {}", clean(at));
            }
        }
        (None, Some(reason)) => {
            let _ = write!(text, "\n  {}", clean(reason));
        }
        (None, None) => {
            let _ = write!(text, "\n  {}", why_in_full(run));
        }
    }
    let _ = writeln!(text, "\n  {} trackway trace {}", paint.cyan("next:"), run.id);
    text
}

/// Log lines, each with when it was written after the start, and who wrote it.
pub fn logs(lines: &[LogLine], origin: Timestamp, paint: Paint) -> String {
    let mut text = String::new();
    for line in lines {
        let when = show_us(line.time.0.0.saturating_sub(origin.0));
        let level = match line.level.as_str() {
            "error" => paint.red("error"),
            "warn" => paint.yellow("warn "),
            "info" => paint.green("info "),
            other => paint.dim(&format!("{:<5}", clean(other))),
        };
        let who = match (line.step, line.attempt) {
            (Some(step), Some(attempt)) if attempt > 1 => format!("{step}.{attempt}"),
            (Some(step), _) => step.to_string(),
            (None, _) => "–".to_owned(),
        };
        let _ = write!(text, "{when:>7} {level} {} {}", paint.dim(&format!("{who:<5}")), clean(&line.message));
        if let Some(fields) = &line.fields {
            let _ = write!(text, " {}", paint.dim(&clean(&compact(fields.get()))));
        }
        text.push('\n');
    }
    text
}

pub fn table<const N: usize>(
    header: &[&str; N],
    rows: impl Iterator<Item = Vec<String>>,
    width: Option<usize>,
) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header.iter().copied());
    for row in rows {
        table.add_row(row.iter().map(|cell| clean(cell)));
    }
    if let Some(width) = width {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(u16::try_from(width).unwrap_or(u16::MAX));
    }
    let lines: Vec<String> =
        table.lines().map(|line| line.strip_prefix(' ').unwrap_or(&line).trim_end().to_owned()).collect();
    format!("{}\n", lines.join("\n"))
}

/// The status, and for what it waits.
fn status_words(run: &Run) -> String {
    match run.waiting {
        Some(waiting) => format!("{} for {}", run.status.name(), format!("{waiting:?}").to_lowercase()),
        None => run.status.name().to_owned(),
    }
}

fn why(run: &Run) -> String {
    cut(&why_in_full(run), MESSAGE_SHOWN_CHARS)
}

fn why_in_full(run: &Run) -> String {
    let parts = [run.code.as_deref(), run.message.as_deref()];
    clean(&parts.into_iter().flatten().collect::<Vec<_>>().join(": "))
}

fn took(run: &Run, end: Time) -> String {
    show_us(end.0.0.saturating_sub(run.started_at.0.0))
}

/// Hosts, then models, then secrets, then MCP servers.
pub fn reach(version: &Version) -> String {
    let patterns = version.allow_hosts.iter().chain(&version.allow_models).chain(&version.allow_secrets);
    let patterns = patterns.chain(&version.allow_mcp);
    let patterns: Vec<&str> = patterns.map(String::as_str).collect();
    if patterns.is_empty() { "nothing".to_owned() } else { patterns.join(", ") }
}

/// `2026-11-21 02:00:00 UTC`: fractions say nothing to people.
pub fn moment(time: Time) -> String {
    let text = time.to_string();
    let seconds = text.split('.').next().unwrap_or_default().replace('T', " ");
    format!("{seconds} UTC")
}
