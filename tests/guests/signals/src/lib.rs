//! Workflows that wait for what others send.

use trackway_sdk::prelude::*;

/// What somebody pays.
#[value]
pub struct Payment {
    pub amount: u32,
}

/// The first `n` numbers that are sent as `number`, in the order in which they came.
#[workflow]
pub async fn collects(ctx: Ctx, n: u32) -> Result<Vec<u32>, Failure> {
    let mut numbers = Vec::new();
    for _ in 0..n {
        numbers.push(ctx.signal("number").await?);
    }
    Ok(numbers)
}

/// Waits for `go` only after a step and a sleep.
#[workflow]
pub async fn is_late(ctx: Ctx) -> Result<String, Failure> {
    ctx.step(double, 2).await?;
    ctx.sleep(Duration::from_secs(5)).await?;
    ctx.signal("go").label("at last").await
}

/// Waits with three ids for one name, gives up two of them in two ways, and tells what it got.
#[workflow]
pub async fn gives_up(ctx: Ctx) -> Result<Vec<u32>, Failure> {
    let mut cancelled = ctx.signal::<u32>("number").start();
    let dropped = ctx.signal::<u32>("number").start();
    let kept = ctx.signal::<u32>("number").start();
    ctx.sleep(Duration::from_secs(60)).await?;
    cancelled.cancel();
    drop(dropped);
    let told = match cancelled.await {
        Err(failure) if failure.is_cancelled() => 0,
        Err(failure) => return Err(failure),
        Ok(number) => number + 1_000,
    };
    Ok(vec![told, kept.await?, ctx.signal("number").await?])
}

/// Until the price is paid; a reminder each minute in between.
#[workflow(signals(paid: Payment, "called-off": ()))]
pub async fn order(ctx: Ctx, price: u32) -> Result<String, Failure> {
    let (mut missing, mut reminders) = (price, 0);
    while missing > 0 {
        select! {
            paid = ctx.signal::<Payment>("paid") => {
                let amount = ctx.step(double, u64::from(paid?.amount)).await? / 2;
                missing = missing.saturating_sub(amount as u32);
            }
            called_off = ctx.signal::<()>("called-off") => {
                called_off?;
                return Ok(format!("called off with {missing} missing"));
            }
            minute = ctx.sleep(Duration::from_secs(60)) => {
                minute?;
                reminders += 1;
            }
        }
    }
    Ok(format!("paid after {reminders} reminders"))
}

/// Ends after a while, whatever was sent.
#[workflow]
pub async fn ends(ctx: Ctx, after_ms: u64) -> Result<(), Failure> {
    ctx.sleep(Duration::from_millis(after_ms)).await
}

/// How many bytes the signal `text` brought.
#[workflow]
pub async fn measures(ctx: Ctx) -> Result<usize, Failure> {
    Ok(ctx.signal::<String>("text").await?.len())
}

/// What somebody decided.
#[value]
pub struct Decision {
    pub approve: bool,
    pub why: Option<String>,
}

/// Asks one person, then another if the first one does not answer within a minute.
#[workflow]
pub async fn asks(ctx: Ctx, what: String) -> Result<String, Failure> {
    for who in ["ann", "bob"] {
        let form = Form::new(format!("{what}?")).approval("approve").text("why").optional();
        match ctx.ask::<Decision>(form.assignee(who).timeout(Duration::from_secs(60))).await {
            Ok(decision) => {
                ctx.step(double, 1).await?;
                return Ok(format!("{who}: {}", decision.approve));
            }
            Err(failure) if failure.code == "EXPIRED" => {}
            Err(failure) => return Err(failure),
        }
    }
    Ok("nobody".to_owned())
}

/// Asks with a form that is none, and gives one up that nobody answers.
#[workflow]
pub async fn asks_badly(ctx: Ctx) -> Result<String, Failure> {
    let refused = ctx.ask::<Decision>(Form::new("")).await.err().map(|failure| failure.code);
    let mut open = ctx.ask::<Decision>(Form::new("never")).start();
    open.cancel();
    let cancelled = open.await.err().map(|failure| failure.code);
    Ok(format!("{} {}", refused.unwrap_or_default(), cancelled.unwrap_or_default()))
}

/// Asks two people while a function is under way; what both said.
#[workflow]
pub async fn asks_beside(ctx: Ctx) -> Result<Vec<bool>, Failure> {
    let form = |who: &str| Form::new(format!("And {who}?")).approval("approve").text("why").optional().assignee(who);
    let (ann, bob) = (ctx.ask::<Decision>(form("ann")).start(), ctx.ask::<Decision>(form("bob")).start());
    let _busy = ctx.step(wait, 80_000).start();
    let (ann, bob) = try_join!(ann, bob)?;
    Ok(vec![ann.approve, bob.approve])
}

/// Takes so many seconds.
#[function(timeout = "24h")]
async fn wait(ctx: FnCtx, seconds: u64) -> Result<(), Failure> {
    ctx.sleep(Duration::from_secs(seconds)).await
}

#[function]
fn double(number: u64) -> u64 {
    number * 2
}

export!(asks, asks_badly, asks_beside, collects, is_late, gives_up, order, ends, measures, double, wait);
