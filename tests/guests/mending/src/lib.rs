//! Functions that fail, and what becomes of their steps: policies of every kind, attempts that go on
//! after a failed one, steps that wait for a person.

use trackway_sdk::prelude::*;

/// What to do, where.
#[value]
#[derive(Clone)]
pub struct Job {
    /// A base URL.
    pub url: String,
    /// Fail in attempts before this one.
    #[serde(default)]
    pub until: u32,
    /// The code of those failures.
    #[serde(default = "not_yet")]
    pub code: String,
    /// Ask for this much patience.
    #[serde(default)]
    pub retry_after_ms: Option<u64>,
    /// How the step is tried again: the function's own way where empty.
    #[serde(default)]
    pub how: String,
}

fn not_yet() -> String {
    "NOT_YET".to_owned()
}

/// One step that is tried again in the way the job says; the number of the attempt that succeeded.
#[workflow]
pub async fn tries(ctx: Ctx, job: Job) -> Result<u32, Failure> {
    let second = Duration::from_secs(1);
    let retry = match job.how.as_str() {
        "fixed" => Retry::new().attempts(20).fixed(second).jitter(0.0),
        "linear" => Retry::new().attempts(20).linear(second).jitter(0.0),
        "exponential" => Retry::new().attempts(20).exponential(second).at_most(8 * second).jitter(0.0),
        "except" => Retry::new().except(["NOT_YET"]),
        "deadline" => Retry::new().attempts(20).fixed(second).jitter(0.0).deadline(5 * second),
        "park" => Retry::new().attempts(2).fixed(second).jitter(0.0).park(),
        "bad" => Retry::new().attempts(21),
        _ => Retry::new(),
    };
    ctx.step(fail_until, job).retry(retry).await
}

/// Three requests in a row; a bad status of one of them fails the attempt, and the next one goes on there.
#[workflow]
pub async fn resumes(ctx: Ctx, job: Job) -> Result<u64, Failure> {
    ctx.step(three_requests, job).await
}

/// The same, parked when one attempt is used up.
#[workflow]
pub async fn resumes_parked(ctx: Ctx, job: Job) -> Result<u64, Failure> {
    ctx.step(three_requests, job).retry(Retry::none().park()).await
}

/// The same request twice in each attempt, with other patience in each, until an attempt that the job says.
#[workflow]
pub async fn begins_anew(ctx: Ctx, job: Job) -> Result<u64, Failure> {
    ctx.step(two_requests, job).await
}

/// Two steps beside each other, of which one is parked.
#[workflow]
pub async fn parks_one(ctx: Ctx, job: Job) -> Result<(u32, u64), Failure> {
    let other = ctx.step(three_requests, Job { until: 0, ..job.clone() });
    try_join!(ctx.step(fail_until, job).retry(Retry::none().park()), other)
}

/// A payment whose request may be cut off, under the policy that the job names; how it ended.
#[workflow]
pub async fn pays(ctx: Ctx, job: Job) -> Result<String, Failure> {
    let policy = match job.how.as_str() {
        "fail" => Ambiguous::Fail,
        "compensate" => Ambiguous::Compensate,
        "ask" => Ambiguous::Ask,
        _ => Ambiguous::Repeat,
    };
    let url = job.url.clone();
    let paid = ctx.saga(async |saga| saga.step(pay, job).ambiguous(policy).undo_with(take_back, url).await).await;
    Ok(paid.map_or_else(|failure| failure.code, |number| number.to_string()))
}

#[function(retries = 4, backoff = "10ms", hosts = ["http://127.0.0.1"])]
async fn pay(job: Job) -> Result<u64, Failure> {
    http::post(format!("{}/pay", job.url)).json(&1).send().await?.error_for_status()?.json()
}

#[function(hosts = ["http://127.0.0.1"])]
async fn take_back(url: String) -> Result<(), Failure> {
    http::post(format!("{url}/take-back")).json(&1).send().await?;
    Ok(())
}

#[function(retries = 4, backoff = "10ms", hosts = ["http://127.0.0.1"])]
async fn fail_until(ctx: FnCtx, job: Job) -> Result<u32, Failure> {
    if ctx.attempt() < job.until {
        let failure = Failure::new(&job.code, format!("attempt {}", ctx.attempt()));
        return Err(match job.retry_after_ms {
            Some(wait_ms) => failure.retry_after(Duration::from_millis(wait_ms)),
            None => failure,
        });
    }
    Ok(ctx.attempt())
}

#[function(retries = 4, backoff = "10ms", resume = true, hosts = ["http://127.0.0.1"])]
async fn three_requests(ctx: FnCtx, job: Job) -> Result<u64, Failure> {
    let salt = ctx.random_range(0..1_000);
    let mut sum = 0;
    for number in 0..3 {
        let request = http::post(format!("{}/request/{number}", job.url)).json(&(number, salt));
        sum += request.send().await?.error_for_status()?.json::<u64>()?;
    }
    if ctx.attempt() < job.until {
        return Err(Failure::new(&job.code, format!("attempt {}", ctx.attempt())));
    }
    Ok(sum)
}

#[function(retries = 4, backoff = "10ms", hosts = ["http://127.0.0.1"])]
async fn two_requests(ctx: FnCtx, job: Job) -> Result<u64, Failure> {
    let mut sum = 0;
    for _ in 0..2 {
        let patience = Duration::from_secs(ctx.attempt().into());
        let request = http::post(format!("{}/same", job.url)).timeout(patience);
        sum += request.send().await?.error_for_status()?.json::<u64>()?;
    }
    if ctx.attempt() < job.until {
        return Err(Failure::new(&job.code, format!("attempt {}", ctx.attempt())));
    }
    Ok(sum)
}

export!(
    tries,
    resumes,
    resumes_parked,
    begins_anew,
    parks_one,
    pays,
    fail_until,
    three_requests,
    two_requests,
    pay,
    take_back
);
