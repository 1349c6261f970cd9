//! The words and flags of `trackway runs`. Declares them and what their help says; does nothing.

use clap::{Args, Subcommand, ValueEnum};
use std::time::Duration;

use super::Connect;
use super::control::{Filter, RunsCancel, RunsMove, RunsPause, RunsRestart, RunsTerminate, Which};
use crate::api::model;
use crate::cli::duration::parse_duration;

#[derive(Debug, Subcommand)]
pub enum Runs {
    /// List runs, the newest first
    #[command(
        after_help = "Examples:\n  trackway runs ls\n  trackway runs ls --status failed --workflow headlines\n  \
         trackway runs ls --code TIMEOUT --since 2h\n  \
         trackway runs ls --min-cost 0.05\n  \
                            trackway runs ls -o id | head -1"
    )]
    Ls(RunsLs),
    /// Show what is known of a run
    #[command(after_help = "Examples:\n  trackway runs describe @last\n  trackway runs describe 01k9 -o json")]
    Describe(OneRun),
    /// Ask a run to stop: its workflow is told once and may clean up, for 30 s unless told otherwise
    #[command(
        after_help = "Examples:\n  trackway runs cancel @last\n  trackway runs cancel 01k9 --reason 'wrong input' --grace 5m\n  \
                            trackway runs cancel --all --workflow headlines --dry-run"
    )]
    Cancel(RunsCancel),
    /// End a run at once: its workflow is not asked. Also where it computes for ever or is stuck
    #[command(after_help = "Examples:\n  trackway runs terminate @last\n  \
                            trackway runs terminate 01k9 --reason 'it loops'\n  \
                            trackway runs terminate --all --status stuck --dry-run")]
    Terminate(RunsTerminate),
    /// Hold a run: it begins nothing more and gets nothing until it is resumed or cancelled
    #[command(after_help = "Examples:\n  trackway runs pause @last\n  trackway runs pause --all --deployment news\n\n\
                            What is under way comes to its end and is kept. A held run survives restarts as it is.")]
    Pause(RunsPause),
    /// Let a held run go on where it was
    #[command(after_help = "Examples:\n  trackway runs resume @last\n  trackway runs resume --all --deployment news")]
    Resume(Which),
    /// Remove a run that has ended, for good: its journal, its values, its log lines, its idempotency key
    #[command(after_help = "Examples:\n  trackway runs rm @last\n  \
                            trackway runs rm --all --workflow headlines --status succeeded --dry-run\n\n\
                            `trackway server --keep-finished 30d` does it by itself. A run that has not ended is refused.")]
    Rm(Which),
    /// Start a run anew, or from one of its steps; the run itself stays as it is
    #[command(after_help = "Examples:\n  trackway runs restart @last\n  trackway runs restart 01k9 --from-step 3\n  \
                            trackway runs restart --all --status failed --workflow headlines --dry-run\n\n\
                            Without --from-step it gets the same input on what the deployment points to now. With it, the new \
                            run has the same code and keeps every answer that was there before that step was asked for.")]
    Restart(RunsRestart),
    /// Let a run go on with other code, if that does all that is on record: also one that is stuck
    #[command(after_help = "Examples:\n  trackway runs move @last --to news\n  \
                            trackway runs move --all --workflow headlines --to news --dry-run\n\n\
                            The code of the deployment is first held against the whole journal, with nothing leaving the \
                            host. Where it does something else the run stays as it is, and you are told where.")]
    Move(RunsMove),
    /// Ask for the next attempt of a step that waits for a person, or for its retry
    #[command(after_help = "Examples:\n  trackway runs retry @last\n  \
                            trackway runs retry 01k9 --step 3 --with news-fixed\n  \
                            trackway runs retry 01k9 --step 3 --effect fail")]
    Retry(RunsRetry),
    /// Send a signal to a run; it stays until the run takes it
    #[command(after_help = "Examples:\n  trackway runs signal @last approved -i '{\"by\": \"Ann\"}'\n  \
                            trackway runs signal 01k9 paid -i @payment.json --id payment-77")]
    Signal(RunsSignal),
    /// Ask a run for something and wait for its answer
    #[command(after_help = "Examples:\n  trackway runs update @last add -i 3\n  \
                            trackway runs update 01k9 move -i '{\"to\": \"attic\"}' --id move-7 --timeout 10s\n\n\
                            The answer is printed; exit code 3 says that the workflow refuses. Whoever gave up waiting or \
                            was cut off asks again under the same --id: it is done once.")]
    Update(RunsUpdate),
    /// Show what a run publishes of itself, at any time: also while it sleeps, and after its end
    #[command(after_help = "Examples:\n  trackway runs state @last\n  trackway runs state 01k9 progress\n\n\
                            With a key its value alone is printed. Only what is durable is shown.")]
    State(RunsState),
    /// Show what a run tells, as it comes, to its end
    #[command(after_help = "Examples:\n  trackway runs stream @last\n  trackway runs stream 01k9 --kept -o jsonl\n  \
                            trackway runs stream 01k9 --after 41")]
    Stream(RunsStream),
}

#[derive(Debug, Args)]
pub struct RunsStream {
    /// Id of a run, a prefix of it that fits no other, or @last
    #[arg(value_name = "RUN")]
    pub run: String,
    /// Only what stays: not what functions tell right now
    #[arg(long)]
    pub kept: bool,
    /// Go on after the event of this id
    #[arg(long, value_name = "ID")]
    pub after: Option<String>,
    #[command(flatten)]
    pub connect: Connect,
}

#[derive(Debug, Args)]
pub struct RunsLs {
    #[command(flatten)]
    pub filter: Filter,
    /// How many at most
    #[arg(long, short = 'n', default_value_t = 20)]
    pub limit: usize,
    #[command(flatten)]
    pub connect: Connect,
}

#[derive(Debug, Args)]
pub struct OneRun {
    /// Id of a run, a prefix of it that fits no other, or @last
    #[arg(value_name = "RUN")]
    pub run: String,
    #[command(flatten)]
    pub connect: Connect,
}

#[derive(Debug, Args)]
pub struct RunsRetry {
    /// Id of a run, a prefix of it that fits no other, or @last
    #[arg(value_name = "RUN")]
    pub run: String,
    /// Number of the step; every step that waits for a person if left out
    #[arg(long, value_name = "N")]
    pub step: Option<u32>,
    /// Make the attempts from here on with the current code of this deployment
    #[arg(long, value_name = "DEPLOYMENT")]
    pub with: Option<String>,
    /// What to do about effects of which nobody knows whether they were carried out; repeat if left out
    #[arg(long, value_enum, value_name = "WORD")]
    pub effect: Option<EffectWord>,
    /// The effect's answer, with --effect answer: for HTTP {"status": .., "headers": [], "body": ".."}
    #[arg(long, value_name = "JSON", required_if_eq("effect", "answer"))]
    pub answer: Option<String>,
    #[command(flatten)]
    pub connect: Connect,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum EffectWord {
    /// Ask again, under the same idempotency key
    Repeat,
    /// Give the function a failure with code AMBIGUOUS
    Fail,
    /// Give the function --answer
    Answer,
}

impl From<EffectWord> for model::EffectWord {
    fn from(word: EffectWord) -> model::EffectWord {
        match word {
            EffectWord::Repeat => model::EffectWord::Repeat,
            EffectWord::Fail => model::EffectWord::Fail,
            EffectWord::Answer => model::EffectWord::Answer,
        }
    }
}

#[derive(Debug, Args)]
pub struct RunsSignal {
    /// Id of a run, a prefix of it that fits no other, or @last
    #[arg(value_name = "RUN")]
    pub run: String,
    /// Name of the signal
    pub name: String,
    /// What it brings: JSON, @FILE, or - for standard input; `null` if left out
    #[arg(short, long, value_name = "JSON|@FILE|-", allow_hyphen_values = true)]
    pub input: Option<String>,
    /// Sending twice under one id sends once; a fresh one if left out
    #[arg(long, value_name = "KEY")]
    pub id: Option<String>,
    #[command(flatten)]
    pub connect: Connect,
}

#[derive(Debug, Args)]
pub struct RunsState {
    /// Id of a run, a prefix of it that fits no other, or @last
    #[arg(value_name = "RUN")]
    pub run: String,
    /// Only the value under this key
    #[arg(id = "state", value_name = "KEY")]
    pub key: Option<String>,
    #[command(flatten)]
    pub connect: Connect,
}

#[derive(Debug, Args)]
pub struct RunsUpdate {
    /// Id of a run, a prefix of it that fits no other, or @last
    #[arg(value_name = "RUN")]
    pub run: String,
    /// Name of the update
    pub name: String,
    /// What is asked: JSON, @FILE, or - for standard input; `null` if left out
    #[arg(short, long, value_name = "JSON|@FILE|-", allow_hyphen_values = true)]
    pub input: Option<String>,
    /// Asking twice under one id asks once and gets the same answer; a fresh one if left out
    #[arg(long, value_name = "KEY")]
    pub id: Option<String>,
    /// Refuse it as EXPIRED where the workflow has not taken it after this; one that it took is answered all the same
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub expires_in: Option<Duration>,
    /// Wait for the answer no longer than this; it is done all the same
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub timeout: Option<Duration>,
    #[command(flatten)]
    pub connect: Connect,
}
