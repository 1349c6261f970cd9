//! Somebody has to agree. Each person is asked in turn, the next one when the time of the one before is
//! over; if nobody says anything, the request says what counts.

use trackway_sdk::prelude::*;
use trackway_sdk::serde_json::json;

/// What is to be agreed to, and by whom.
#[value]
#[derive(Clone)]
pub struct Request {
    /// In one line, as `Pay 300 EUR to Lantern Ltd`.
    pub what: String,
    /// In this order. Give those who are asked later less time.
    pub ask: Vec<Reviewer>,
    /// What counts if nobody answers.
    pub otherwise: Verdict,
    /// Where people are told that they are asked, as `https://chat.example.com/hooks/1`; nowhere if left out.
    pub hook: Option<String>,
}

/// Whom to ask, and for how long.
#[value]
#[derive(Clone)]
pub struct Reviewer {
    pub who: String,
    pub within_seconds: u64,
}

#[value]
#[derive(Debug, Clone, Copy, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Approved,
    Refused,
}

/// How it came out.
#[value]
#[derive(Debug)]
pub struct Decision {
    pub verdict: Verdict,
    /// Who was asked when it was decided; nobody where no answer came in time.
    pub by: Option<String>,
    pub why: Option<String>,
}

/// What a person fills in.
#[value]
pub struct Answer {
    pub approve: bool,
    pub why: Option<String>,
}

/// What the function that tells people is given.
#[value]
pub struct Note {
    pub hook: String,
    pub text: String,
}

/// Asks one after the other, each until their time is over, and decides.
#[workflow]
pub async fn approval(ctx: Ctx, request: Request) -> Result<Decision, Failure> {
    for Reviewer { who, within_seconds } in &request.ask {
        let form = Form::new(&request.what)
            .assignee(who)
            .approval("approve")
            .text("why")
            .optional()
            .timeout(Duration::from_secs(*within_seconds));
        // Asked first, so that it can be answered while the note is on its way.
        let answer = ctx.ask::<Answer>(form).label(format!("ask {who}")).start();
        if let Some(hook) = &request.hook {
            let text = format!("{who}, please decide within {within_seconds} s: {}", request.what);
            // Whoever looks at `trackway questions ls` finds it also where no note came.
            if let Err(failure) = ctx.step(tell, Note { hook: hook.clone(), text }).await {
                ctx.log().field("code", failure.code).warn("nobody could be told");
            }
        }
        match answer.await {
            Ok(Answer { approve, why }) => {
                let verdict = if approve { Verdict::Approved } else { Verdict::Refused };
                return Ok(Decision { verdict, by: Some(who.clone()), why });
            }
            Err(failure) if failure.code == "EXPIRED" => ctx.log().field("who", who).info("no answer in time"),
            Err(failure) => return Err(failure),
        }
    }
    Ok(Decision { verdict: request.otherwise, by: None, why: None })
}

/// Posts a note to a chat room, or wherever people look.
#[function(retries = 2, backoff = "1s", timeout = "30s", hosts = ["chat.example.com"])]
pub async fn tell(note: Note) -> Result<(), Failure> {
    http::post(note.hook).json(&json!({ "text": note.text })).send().await?.error_for_status()?;
    Ok(())
}

export!(approval, tell);

#[cfg(test)]
mod tests;
