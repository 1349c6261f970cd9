//! What the executor, operations and attributes promise, seen by workflows on the test host.

use crate::prelude::*;
use crate::testing::{Host, HttpResponse};

#[function]
fn double(number: u64) -> u64 {
    number * 2
}

#[function]
async fn wait_and_give(ctx: FnCtx, number: u64) -> Result<u64, Failure> {
    ctx.sleep(Duration::from_millis(number)).await?;
    Ok(number)
}

/// Fails twice, then gives the number of the attempt.
#[function(retries = 2, backoff = "1s")]
fn third_time(ctx: FnCtx) -> Result<u32, Failure> {
    match ctx.attempt() {
        attempt @ 1..=2 => Err(Failure::new("NOT_YET", attempt)),
        attempt => Ok(attempt),
    }
}

#[function]
fn hopeless() -> Result<(), Failure> {
    Err(Failure::permanent("no way", "it cannot work"))
}

#[workflow]
async fn ordered(ctx: Ctx) -> Result<Vec<u64>, Failure> {
    let mut steps = Steps::new();
    for number in [30, 10, 20] {
        steps.push(ctx.step(wait_and_give, number));
    }
    let mut order = Vec::new();
    while let Some(number) = steps.next().await {
        order.push(number?);
    }
    Ok(order)
}

#[test]
fn answers_come_in_their_own_order_and_join_all_keeps_that_of_the_asking() {
    #[workflow]
    async fn joined(ctx: Ctx) -> Result<Vec<u64>, Failure> {
        join_all([30, 10, 20].map(|number| ctx.step(wait_and_give, number))).await.into_iter().collect()
    }
    assert_eq!(Host::new().run::<ordered>(()).expect("it succeeds"), [10, 20, 30]);
    assert_eq!(Host::new().run::<joined>(()).expect("it succeeds"), [30, 10, 20]);
}

#[test]
fn ten_thousand_steps_at_once_are_no_matter() {
    #[workflow]
    async fn many(ctx: Ctx, n: u64) -> Result<u64, Failure> {
        Ok(try_join_all((0..n).map(|number| ctx.step(double, number))).await?.into_iter().sum())
    }
    assert_eq!(Host::new().run::<many>(10_000).expect("it succeeds"), 99_990_000);
}

#[test]
fn a_failed_function_is_tried_again_after_its_backoff() {
    #[workflow]
    async fn stubborn(ctx: Ctx) -> Result<u32, Failure> {
        ctx.step(third_time, ()).await
    }
    let host = Host::new();
    assert_eq!(host.run::<stubborn>(()).expect("it succeeds"), 3);
    assert_eq!((host.calls().len(), host.elapsed()), (3, Duration::from_secs(3)));
}

#[test]
fn a_call_may_say_otherwise_than_its_function_how_it_is_tried_again() {
    #[workflow]
    async fn picky(ctx: Ctx, retry: String) -> Result<u32, Failure> {
        let retry = match retry.as_str() {
            "none" => Retry::none(),
            "fixed" => Retry::new().fixed(Duration::from_secs(5)),
            "except" => Retry::new().except(["NOT_YET"]),
            "deadline" => Retry::new().deadline(Duration::from_secs(2)),
            _ => Retry::new().linear(Duration::from_secs(3)).at_most(Duration::from_secs(4)).park(),
        };
        ctx.step(third_time, ()).retry(retry).await
    }
    let told = |retry: &str| {
        let host = Host::new();
        let outcome = host.run::<picky>(retry.to_owned());
        (outcome.is_ok(), host.calls().len(), host.elapsed().as_secs())
    };
    assert_eq!(told("none"), (false, 1, 0));
    assert_eq!(told("fixed"), (true, 3, 10));
    assert_eq!(told("except"), (false, 1, 0));
    assert_eq!(told("deadline"), (false, 2, 1));
    assert_eq!(told("linear"), (true, 3, 7));
}

#[test]
fn a_step_ends_when_its_time_is_over() {
    #[function(retries = 9, backoff = "3s", growth = "fixed", schedule_to_close = "10s")]
    async fn slow(ctx: FnCtx, seconds: u64) -> Result<u32, Failure> {
        ctx.sleep(Duration::from_secs(seconds)).await?;
        Err(Failure::new("NOT_YET", ""))
    }
    #[workflow]
    async fn waits(ctx: Ctx, seconds: u64) -> Result<u32, Failure> {
        let step = ctx.step(slow, seconds).schedule_to_start(Duration::from_secs(1));
        if seconds > 60 { step.schedule_to_close(Duration::from_secs(seconds)).await } else { step.await }
    }
    let told = |seconds| {
        let host = Host::new();
        let failure = host.run::<waits>(seconds).expect_err("it never ends well");
        (failure.code, host.calls().len(), host.elapsed().as_secs())
    };
    assert_eq!(told(1), ("NOT_YET".to_owned(), 3, 9));
    assert_eq!(told(4), ("CLOSE_TIMEOUT".to_owned(), 2, 10), "the second attempt takes too long");
    assert_eq!(told(30), ("CLOSE_TIMEOUT".to_owned(), 1, 10));
    assert_eq!(told(61), ("CLOSE_TIMEOUT".to_owned(), 1, 61), "as the call says");
}

#[test]
fn the_next_attempt_is_told_how_far_the_last_one_was() {
    #[function(retries = 3, heartbeat_timeout = "1m")]
    fn import(ctx: FnCtx, pages: u32) -> Result<Vec<u32>, Failure> {
        let first: u32 = ctx.last_progress().unwrap_or(0);
        for page in first..pages {
            ctx.progress(&(page + 1));
            if page + 1 < pages && ctx.attempt() == page + 1 {
                return Err(Failure::new("BROKEN", "half way"));
            }
        }
        Ok(vec![ctx.attempt(), first])
    }
    #[workflow]
    async fn importing(ctx: Ctx) -> Result<Vec<u32>, Failure> {
        ctx.step(import, 3).heartbeat_timeout(Duration::from_secs(5)).await
    }
    assert_eq!(Host::new().run::<importing>(()).expect("it succeeds"), [3, 2]);
}

#[test]
fn a_busy_server_says_how_long_to_wait() {
    #[function(retries = 1, backoff = "1s")]
    async fn fetch() -> Result<String, Failure> {
        http::get("https://example.com").send().await?.error_for_status()?.text()
    }
    #[workflow]
    async fn fetching(ctx: Ctx) -> Result<String, Failure> {
        ctx.step(fetch, ()).await
    }
    let host = Host::new().on_http(|request| match request.number {
        1 => HttpResponse::new(503, "busy").header("Retry-After", "90"),
        _ => HttpResponse::new(200, "here"),
    });
    assert_eq!(host.run::<fetching>(()).expect("it succeeds"), "here");
    assert_eq!(host.elapsed(), Duration::from_secs(90));
}

#[test]
fn a_permanent_failure_is_not_tried_again_and_reaches_the_workflow_with_code_and_place() {
    #[workflow]
    async fn sad(ctx: Ctx) -> Result<(), Failure> {
        ctx.step(hopeless, ()).await
    }
    let host = Host::new();
    let failure = host.run::<sad>(()).expect_err("it fails");
    assert_eq!((failure.code.as_str(), failure.message.as_str()), ("NO_WAY", "it cannot work"));
    assert!(failure.at.is_some_and(|at| at.contains("tests.rs:")));
    assert_eq!(host.calls(), ["hopeless"]);
}

#[test]
fn select_takes_the_first_and_stops_the_loser() {
    #[workflow]
    async fn impatient(ctx: Ctx, patience_ms: u64) -> Result<Option<u64>, Failure> {
        select! {
            number = ctx.step(wait_and_give, 1_000) => number.map(Some),
            _ = ctx.sleep(Duration::from_millis(patience_ms)) => Ok(None),
        }
    }
    let host = Host::new();
    assert_eq!(host.run::<impatient>(10).expect("it succeeds"), None);
    assert_eq!(host.elapsed(), Duration::from_millis(10));
    assert_eq!(Host::new().run::<impatient>(5_000).expect("it succeeds"), Some(1_000));
}

#[test]
fn a_loser_that_was_lent_goes_on() {
    #[workflow]
    async fn lent(ctx: Ctx) -> Result<(bool, u64), Failure> {
        let mut slow = ctx.step(wait_and_give, 1_000);
        let in_time = select! {
            _ = &mut slow => true,
            _ = ctx.sleep(Duration::from_millis(1)) => false,
        };
        Ok((in_time, slow.await?))
    }
    let host = Host::new();
    assert_eq!(host.run::<lent>(()).expect("it succeeds"), (false, 1_000));
    assert_eq!(host.calls().len(), 1);
}

#[test]
fn join_gives_all_and_try_join_the_first_failure() {
    #[workflow]
    async fn both(ctx: Ctx) -> Result<(u64, String), Failure> {
        let (number, nothing) = join!(ctx.step(double, 4), ctx.step(hopeless, ()));
        Ok((number?, nothing.expect_err("it fails").code))
    }
    #[workflow]
    async fn neither(ctx: Ctx) -> Result<u64, Failure> {
        let (number, ()) = try_join!(ctx.step(wait_and_give, 9_000), ctx.step(hopeless, ()))?;
        Ok(number)
    }
    assert_eq!(Host::new().run::<both>(()).expect("it succeeds"), (8, "NO_WAY".to_owned()));
    let host = Host::new();
    assert_eq!(host.run::<neither>(()).expect_err("it fails").code, "NO_WAY");
    assert_eq!(host.elapsed(), Duration::ZERO);
}

#[test]
fn a_started_operation_runs_while_the_workflow_does_something_else() {
    #[workflow]
    async fn overlapping(ctx: Ctx) -> Result<u64, Failure> {
        let early = ctx.step(wait_and_give, 100).label("early").start();
        let late = ctx.step(wait_and_give, 100).await?;
        Ok(early.await? + late)
    }
    let host = Host::new();
    assert_eq!(host.run::<overlapping>(()).expect("it succeeds"), 200);
    assert_eq!(host.elapsed(), Duration::from_millis(100));
}

#[test]
fn a_cancelled_operation_ends_as_cancelled() {
    #[workflow]
    async fn fickle(ctx: Ctx) -> Result<(bool, bool), Failure> {
        let mut started = ctx.sleep(Duration::from_secs(60)).start();
        started.cancel();
        let mut unasked = ctx.sleep(Duration::from_secs(60));
        unasked.cancel();
        Ok((started.await.expect_err("it fails").is_cancelled(), unasked.await.expect_err("it fails").is_cancelled()))
    }
    let host = Host::new();
    assert_eq!(host.run::<fickle>(()).expect("it succeeds"), (true, true));
    assert_eq!(host.elapsed(), Duration::ZERO);
}

#[test]
fn the_cancel_of_the_run_fails_every_open_await_once_and_clean_up_may_step() {
    #[workflow]
    async fn tidy(ctx: Ctx) -> Result<Vec<String>, Failure> {
        let (first, second) = join!(ctx.sleep(Duration::from_secs(60)), ctx.step(wait_and_give, 60_000));
        let codes = vec![first.expect_err("it fails").message, second.expect_err("it fails").code];
        assert_eq!(ctx.step(double, 1).await?, 2);
        ctx.sleep(Duration::from_secs(1)).await?;
        Ok(codes)
    }
    let host = Host::new().cancel_after(0);
    assert_eq!(host.run::<tidy>(()).expect("it succeeds"), ["by the test", "CANCELLED"]);
    assert_eq!(host.elapsed(), Duration::from_secs(1));
}

#[test]
fn awaiting_what_never_comes_is_a_failure_and_not_a_hang() {
    #[workflow]
    async fn stuck(_ctx: Ctx) -> Result<(), Failure> {
        std::future::pending::<()>().await;
        Ok(())
    }
    let failure = Host::new().run::<stuck>(()).expect_err("it fails");
    assert_eq!((failure.code.as_str(), failure.retryable), ("NOTHING_OPEN", false));
}

#[test]
fn what_cannot_be_written_as_json_is_a_failure_by_name() {
    /// JSON has no keys that are lists.
    type Odd = std::collections::BTreeMap<Vec<u8>, u8>;

    #[function]
    fn odd_output() -> Odd {
        Odd::from([(vec![1], 1)])
    }
    #[function]
    fn odd_input(odd: Odd) -> usize {
        odd.len()
    }
    #[workflow]
    async fn odd(ctx: Ctx) -> Result<(String, String), Failure> {
        let output = ctx.step(odd_output, ()).await.expect_err("it fails").code;
        let input = ctx.step(odd_input, Odd::from([(vec![1], 1)])).await.expect_err("it fails").code;
        Ok((output, input))
    }
    assert_eq!(Host::new().run::<odd>(()).expect("it succeeds"), ("BAD_OUTPUT".to_owned(), "BAD_INPUT".to_owned()));
}

#[test]
fn functions_reach_http_without_a_context() {
    #[function(retries = 1)]
    async fn fetch(url: String) -> Result<(u16, String), Failure> {
        let answer = http::post(url).json(&vec![1, 2]).header("x-one", 1).send().await?.error_for_status()?;
        let status = answer.status();
        Ok((status, answer.header("X-Two").unwrap_or_default().to_owned() + &answer.text()?))
    }
    #[workflow]
    async fn fetching(ctx: Ctx) -> Result<(u16, String), Failure> {
        ctx.step(fetch, "https://example.com".to_owned()).await
    }
    let host = Host::new().on_http(|request| {
        assert_eq!((request.method.as_str(), request.body.as_deref()), ("POST", Some("[1,2]")));
        assert_eq!(request.headers[1], ("x-one".to_owned(), "1".to_owned()));
        match request.number {
            1 => HttpResponse::broken("HTTP_CONNECT", "refused"),
            _ => HttpResponse::new(201, " made").header("X-Two", "two"),
        }
    });
    assert_eq!(host.run::<fetching>(()).expect("it succeeds"), (201, "two made".to_owned()));
}

#[test]
fn a_status_of_400_or_more_is_a_failure_that_says_whether_to_try_again() {
    #[function]
    async fn fetch() -> Result<String, Failure> {
        http::get("https://example.com").send().await?.error_for_status()?.text()
    }
    for (status, retryable) in [(404, false), (429, true), (500, true)] {
        let host = Host::new().on_http(move |_| HttpResponse::new(status, "sorry"));
        let failure = host.call(fetch(())).expect_err("it fails");
        assert_eq!((failure.code.as_str(), failure.retryable), ("HTTP_STATUS", retryable), "{status}");
        assert!(failure.message.ends_with(": sorry"), "{failure}");
    }
}

#[test]
fn clock_chance_and_log_are_those_of_the_host() {
    #[workflow]
    async fn curious(ctx: Ctx) -> Result<(u64, u64, bool), Failure> {
        let before = ctx.now();
        ctx.sleep(Duration::from_secs(5)).await?;
        let slept = ctx.now().duration_since(before)?.as_secs();
        ctx.log().field("slept", slept).field("run", ctx.run_id()).info("awake");
        let mut bytes = vec![0; 100_000];
        ctx.fill_random(&mut bytes);
        Ok((slept, ctx.random_range(7..8), bytes[70_000..].iter().any(|byte| *byte != 0)))
    }
    let host = Host::new();
    assert_eq!(host.run::<curious>(()).expect("it succeeds"), (5, 7, true));
    assert_eq!(host.log_lines(), [r#"info: awake {"run":"test","slept":5}"#]);
}

#[test]
fn an_error_becomes_a_failure_with_the_place_of_the_question_mark() {
    #[function]
    fn parse(text: String) -> Result<u32, Failure> {
        Ok(text.parse::<u32>()?)
    }
    let failure = parse("x".into()).run().expect_err("it fails");
    assert_eq!((failure.code.as_str(), failure.retryable), ("FAILED", true));
    assert_eq!(failure.message, "invalid digit found in string");
    assert!(failure.at.is_some_and(|at| at.contains("tests.rs:")));
}

#[test]
fn an_error_of_the_sandbox_says_what_to_do_instead() {
    #[function]
    fn read(_path: String) -> Result<String, Failure> {
        Err(std::io::Error::from(std::io::ErrorKind::Unsupported))?
    }
    let failure = read("a".into()).run().expect_err("it fails");
    assert!(!failure.retryable && failure.message.contains("through `http` in a function"), "{failure}");
}

#[workflow]
async fn doubled(ctx: Ctx, number: u64) -> Result<u64, Failure> {
    ctx.sleep(Duration::from_secs(number)).await?;
    ctx.step(double, number).await
}

#[workflow]
async fn two_children(ctx: Ctx) -> Result<u64, Failure> {
    let (one, two) = try_join!(ctx.child::<doubled>(1), ctx.child_of::<u64, u64>("anywhere/doubled", 2).label("b"))?;
    ctx.child::<doubled>(9).detach().await?;
    Ok(one + two)
}

#[workflow]
async fn unknown_child(ctx: Ctx) -> Result<(), Failure> {
    ctx.child_of("nothing", ()).await
}

#[test]
fn children_run_beside_each_other_and_a_detached_one_is_not_waited_for() {
    let host = Host::new().knows::<doubled>();
    assert_eq!(host.run::<two_children>(()).expect("both end"), 6);
    assert_eq!(host.elapsed(), Duration::from_secs(2));
    let failure = host.run::<unknown_child>(()).expect_err("nobody knows it");
    assert_eq!(failure.code, "UNKNOWN_WORKFLOW");
}

#[workflow(signals(paid: u32, "ship-it": ()))]
async fn order(ctx: Ctx, price: u32) -> Result<String, Failure> {
    let mut missing = price;
    while missing > 0 {
        select! {
            paid = ctx.signal::<u32>("paid") => missing = missing.saturating_sub(paid?),
            _ = ctx.sleep(Duration::from_secs(60)) => return Ok(format!("{missing} missing")),
        }
    }
    ctx.signal::<()>("ship-it").label("ready").await?;
    Ok("shipped".into())
}

#[test]
fn signals_come_when_the_test_says_so_and_wait_until_they_are_wanted() {
    let paid =
        || Host::new().signal("ship-it", &()).signal("paid", &3).signal_after(Duration::from_secs(10), "paid", &4);
    assert_eq!(paid().run::<order>(7).expect("it ends well"), "shipped");
    assert_eq!(paid().run::<order>(8).expect("it ends well"), "1 missing");
    let host = paid();
    host.run::<order>(7).expect("it ends well");
    assert_eq!(host.elapsed(), Duration::from_secs(10));
    let failure = Host::new().signal("paid", &"much").run::<order>(8).expect_err("it fails");
    assert_eq!(failure.code, "BAD_INPUT");
}

#[workflow]
async fn gives_up_a_signal(ctx: Ctx) -> Result<Vec<u32>, Failure> {
    let mut cancelled = ctx.signal::<u32>("a").start();
    let dropped = ctx.signal::<u32>("a").start();
    let kept = ctx.signal::<u32>("a").start();
    cancelled.cancel();
    drop(dropped);
    assert!(cancelled.await.expect_err("it fails").is_cancelled());
    Ok(vec![kept.await?, ctx.signal("a").await?])
}

#[test]
fn a_signal_that_is_given_up_is_not_lost() {
    assert_eq!(Host::new().signal("a", &1).signal("a", &2).run::<gives_up_a_signal>(()).expect("it ends well"), [1, 2]);
}

#[workflow]
async fn drops_what_it_has(ctx: Ctx) -> Result<Vec<u32>, Failure> {
    let (first, second) = (ctx.signal::<u32>("a").start(), ctx.signal::<u32>("a").start());
    let waiting = ctx.signal::<u32>("a").start();
    ctx.sleep(Duration::from_secs(1)).await?;
    drop((first, second));
    Ok(vec![waiting.await?, ctx.signal("a").await?, ctx.signal("a").await?])
}

#[test]
fn a_signal_that_came_to_what_is_dropped_goes_to_the_next() {
    let host = Host::new().signal("a", &1).signal("a", &2).signal_after(Duration::from_secs(5), "a", &3);
    assert_eq!(host.run::<drops_what_it_has>(()).expect("it ends well"), [1, 2, 3]);
}

#[workflow]
async fn drops_the_first(ctx: Ctx) -> Result<Vec<u32>, Failure> {
    let first = ctx.signal::<u32>("a").start();
    let others = [ctx.signal::<u32>("a").start(), ctx.signal::<u32>("a").start()];
    ctx.sleep(Duration::from_secs(1)).await?;
    drop(first);
    let mut numbers = try_join_all(others).await?;
    numbers.push(ctx.signal("a").await?);
    Ok(numbers)
}

#[test]
fn what_is_dropped_does_not_change_the_order_of_signals() {
    let host = Host::new().signal("a", &1).signal("a", &2).signal("a", &3);
    assert_eq!(host.run::<drops_the_first>(()).expect("it ends well"), [1, 2, 3]);
}
