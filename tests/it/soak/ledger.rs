//! What a tenant asked for and was answered, beside what its audit log tells: of each request that changes something, with
//! method, path and what came of it. It asks for nothing but that log, and judges nothing but that.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::tenant::Tenant;

/// What is asked for before anything else, so that it stands first as long as nothing was removed.
pub const FIRST: &str = "POST /v1/keys";
/// The oldest records of a log make room where it has more of them, and each has a line or more.
const RECORDS_MAX: u64 = 100_000;

/// A request and what came of it, as the log has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Line {
    /// Method and path.
    pub what: String,
    pub status: u16,
    /// Of an error.
    pub code: Option<String>,
}

/// How often each thing was asked for, and answered.
#[derive(Debug, Clone, Default)]
pub struct Noted {
    asked: BTreeMap<String, u64>,
    answered: BTreeMap<Line, u64>,
}

/// The log of a tenant.
#[derive(Debug, Default)]
struct Log {
    first: Option<String>,
    count: u64,
    lines: BTreeMap<Line, u64>,
}

#[derive(Default)]
pub struct Ledger(Mutex<Noted>);

impl Ledger {
    fn lock(&self) -> MutexGuard<'_, Noted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Before it is sent: whether it is answered is not known.
    pub fn asked(&self, what: &str) {
        *self.lock().asked.entry(what.to_owned()).or_default() += 1;
    }

    pub fn answered(&self, what: String, status: u16, answer: &Value) {
        let code = answer["code"].as_str().filter(|_| status >= 400).map(str::to_owned);
        *self.lock().answered.entry(Line { what, status, code }).or_default() += 1;
    }
}

/// How many lines the log of a tenant has, and how it differs from what the tenant was answered.
pub async fn audited(tenant: &Tenant) -> (u64, Vec<String>) {
    // What it was answered is in the log by now, and whoever reads it gets all of it.
    let noted = tenant.ledger.lock().clone();
    let (count, differences) = match Log::read(tenant).await {
        Ok(log) => (log.count, differences(&noted, &log)),
        Err(why) => (0, vec![format!("the audit log: {why}")]),
    };
    (count, differences.into_iter().map(|why| format!("{}: {why}", tenant.name)).collect())
}

impl Log {
    async fn read(tenant: &Tenant) -> Result<Log, String> {
        let mut log = Log::default();
        let mut cursor = String::new();
        loop {
            let page = tenant.get(&format!("audit?limit=1000{cursor}")).await?;
            for line in page["lines"].as_array().into_iter().flatten() {
                log.add(line)?;
            }
            match page["cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return Ok(log),
            }
        }
    }

    fn add(&mut self, line: &Value) -> Result<(), String> {
        let status = line["status"].as_u64().and_then(|status| u16::try_from(status).ok());
        let (Some(what), Some(status)) = (line["what"].as_str(), status) else {
            return Err(format!("a line of it says {line}"));
        };
        let (what, code) = (what.to_owned(), line["code"].as_str().map(str::to_owned));
        if self.first.is_none() {
            self.first = Some(what.clone());
        }
        self.count += 1;
        *self.lines.entry(Line { what, status, code }).or_default() += 1;
        Ok(())
    }

    /// Whether its oldest lines are gone, as they may be.
    fn is_cut(&self) -> bool {
        self.first.as_deref() != Some(FIRST) && self.count >= RECORDS_MAX
    }
}

/// What was answered stands there as often, and nothing else does but what was asked for without an answer.
fn differences(noted: &Noted, log: &Log) -> Vec<String> {
    let mut found = Vec::new();
    for (line, count) in &noted.answered {
        let written = log.lines.get(line).copied().unwrap_or(0);
        if written < *count && !log.is_cut() {
            found.push(format!("{line:?} was answered {count} times, and the audit log tells of {written}"));
        }
    }
    for (line, written) in &log.lines {
        let asked = noted.asked.get(&line.what).copied().unwrap_or(0);
        let answers = noted.answered.iter().filter(|(other, _)| other.what == line.what).map(|(_, count)| count);
        let lost = asked.saturating_sub(answers.sum());
        let answered = noted.answered.get(line).copied().unwrap_or(0);
        if *written > answered + lost {
            found.push(format!("{line:?} was answered {answered} times, and the audit log tells of {written}"));
        }
    }
    found
}

fn noted(asked: u64, answers: &[(u16, Value)]) -> Noted {
    let ledger = Ledger::default();
    (0..asked).for_each(|_| ledger.asked(FIRST));
    answers.iter().for_each(|(status, answer)| ledger.answered(FIRST.to_owned(), *status, answer));
    ledger.lock().clone()
}

fn log(lines: &[Value]) -> Log {
    let mut log = Log::default();
    lines.iter().for_each(|line| log.add(line).expect("it is a line"));
    log
}

#[test]
fn a_log_that_lacks_a_line_or_has_one_too_many_or_another_outcome_differs() {
    let answers = [(201, json!({})), (404, json!({ "code": "TW0501" }))];
    let made = json!({ "what": FIRST, "status": 201 });
    let refused = json!({ "what": FIRST, "status": 404, "code": "TW0501" });
    let gone = json!({ "what": FIRST, "status": 499 });
    let all = noted(2, &answers);
    assert_eq!(differences(&all, &log(&[made.clone(), refused.clone()])), Vec::<String>::new());
    assert_eq!(differences(&all, &log(std::slice::from_ref(&made))).len(), 1);
    assert_eq!(differences(&all, &log(&[made.clone(), made.clone(), refused.clone()])).len(), 1);
    let other = json!({ "what": FIRST, "status": 404, "code": "TW0502" });
    assert_eq!(differences(&all, &log(&[made.clone(), other])).len(), 2);
    // One answer was lost: it may stand there, once, whatever came of it.
    let lost = noted(3, &answers);
    assert_eq!(differences(&lost, &log(&[made.clone(), refused.clone()])), Vec::<String>::new());
    assert_eq!(differences(&lost, &log(&[made.clone(), refused.clone(), gone.clone()])), Vec::<String>::new());
    assert_eq!(differences(&lost, &log(&[made, refused, gone.clone(), gone])).len(), 1);
}

#[test]
fn only_a_log_that_is_full_may_lack_what_is_oldest() {
    let other = json!({ "what": "POST /v1/runs", "status": 201 });
    assert!(!log(std::slice::from_ref(&other)).is_cut());
    let mut full = log(&[other]);
    full.count = RECORDS_MAX;
    assert!(full.is_cut());
    full.first = Some(FIRST.to_owned());
    assert!(!full.is_cut());
}
