//! The words and flags of `trackway questions`. Declares them and what their help says; does nothing.

use clap::{Args, Subcommand};
use trackway_replay::QuestionName;

use super::Connect;

#[derive(Debug, Subcommand)]
pub enum Questions {
    /// List what runs wait for a person to answer
    #[command(after_help = "Examples:\n  trackway questions ls\n  trackway questions ls --limit 500 -o json")]
    Ls(QuestionsLs),
    /// Show one question with its form
    #[command(after_help = "Examples:\n  trackway questions show @last 3")]
    Show(OneQuestion),
    /// Answer a question, once
    #[command(after_help = "Examples:\n  trackway questions answer 01k9 3 -i '{\"approve\": true}' --by ann")]
    Answer(QuestionsAnswer),
}

#[derive(Debug, Args)]
pub struct QuestionsLs {
    /// How many at most, of the newest runs
    #[arg(long, short = 'n', default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,
    #[command(flatten)]
    pub connect: Connect,
}

#[derive(Debug, Args)]
pub struct OneQuestion {
    /// Id of the run that asks, a prefix of it that fits no other, or @last
    #[arg(value_name = "RUN")]
    pub run: String,
    /// Number of the step; STEP.EFFECT where the step's function asks
    pub question: QuestionName,
    #[command(flatten)]
    pub connect: Connect,
}

#[derive(Debug, Args)]
pub struct QuestionsAnswer {
    #[command(flatten)]
    pub which: OneQuestion,
    /// A value for each field of the form: JSON, @FILE, or - for standard input
    #[arg(short, long, value_name = "JSON|@FILE|-")]
    pub input: String,
    /// Who answers; shown in the trace
    #[arg(long)]
    pub by: Option<String>,
    /// Answering twice under one key answers once; a fresh key if left out
    #[arg(long, value_name = "KEY")]
    pub idempotency_key: Option<String>,
}
