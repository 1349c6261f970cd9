//! Limits, races, scopes and shields, seen by workflows on the test host.

use std::cell::RefCell;

use crate::prelude::*;
use crate::testing::Host;

#[function]
async fn wait_and_give(ctx: FnCtx, number: u64) -> Result<u64, Failure> {
    ctx.sleep(Duration::from_millis(number)).await?;
    Ok(number)
}

#[test]
fn no_more_are_in_flight_than_the_limit_says_and_the_order_is_kept() {
    #[workflow]
    async fn limited(ctx: Ctx, limit: usize) -> Result<Vec<u64>, Failure> {
        let steps = [30, 10, 20, 40].map(|number| ctx.step(wait_and_give, number));
        join_all_limit(limit, steps).await.into_iter().collect()
    }
    for (limit, took_ms) in [(0, 100), (1, 100), (2, 70), (4, 40), (9, 40)] {
        let host = Host::new();
        assert_eq!(host.run::<limited>(limit).expect("it succeeds"), [30, 10, 20, 40]);
        assert_eq!(host.elapsed(), Duration::from_millis(took_ms), "{limit} at once");
    }
}

#[test]
fn the_first_failure_starts_no_more() {
    #[function]
    fn fail_at(number: u64) -> Result<u64, Failure> {
        if number == 2 { Err(Failure::permanent("TWO", "no")) } else { Ok(number) }
    }
    #[workflow]
    async fn limited(ctx: Ctx) -> Result<Vec<u64>, Failure> {
        try_join_all_limit(1, (0..100).map(|number| ctx.step(fail_at, number))).await
    }
    let host = Host::new();
    assert_eq!(host.run::<limited>(()).expect_err("it fails").code, "TWO");
    assert_eq!(host.calls().len(), 3);
}

#[test]
fn a_race_is_won_by_the_first_and_the_others_are_stopped() {
    #[workflow]
    async fn raced(ctx: Ctx) -> Result<u64, Failure> {
        race([300, 100, 200].map(|number| ctx.step(wait_and_give, number))).await
    }
    let host = Host::new();
    assert_eq!(host.run::<raced>(()).expect("it succeeds"), 100);
    assert_eq!(host.elapsed(), Duration::from_millis(100));
}

#[test]
fn what_takes_too_long_fails_as_timeout_with_its_place_and_what_does_not_gives_its_answer() {
    #[workflow]
    async fn hurried(ctx: Ctx, limit_ms: u64) -> Result<u64, Failure> {
        timeout(Duration::from_millis(limit_ms), ctx.step(wait_and_give, 100)).await
    }
    assert_eq!(Host::new().run::<hurried>(101).expect("it succeeds"), 100);
    let host = Host::new();
    let failure = host.run::<hurried>(99).expect_err("it fails");
    assert_eq!((failure.code.as_str(), host.elapsed()), ("TIMEOUT", Duration::from_millis(99)));
    assert!(failure.at.is_some_and(|at| at.contains("scope/tests.rs:")));
}

#[test]
fn a_loser_that_is_lent_can_be_cancelled_and_says_how_it_ended() {
    #[workflow]
    async fn lent(ctx: Ctx) -> Result<(String, bool), Failure> {
        let mut slow = ctx.sleep(Duration::from_secs(60));
        let late = timeout(Duration::from_secs(1), &mut slow).await.expect_err("it fails");
        slow.cancel();
        Ok((late.code, slow.await.expect_err("it fails").is_cancelled()))
    }
    assert_eq!(Host::new().run::<lent>(()).expect("it succeeds"), ("TIMEOUT".to_owned(), true));
}

#[test]
fn tasks_of_a_scope_run_beside_its_body_and_each_other() {
    #[workflow]
    async fn scoped(ctx: Ctx) -> Result<u64, Failure> {
        ctx.scope(Leftover::Forget, async |scope| {
            let one = scope.spawn(ctx.step(wait_and_give, 100));
            let other = scope.spawn(async {
                let first = ctx.step(wait_and_give, 50).await?;
                Ok::<_, Failure>(first + ctx.step(wait_and_give, 50).await?)
            });
            ctx.sleep(Duration::from_millis(100)).await?;
            Ok(one.await? + other.await?)
        })
        .await
    }
    let host = Host::new();
    assert_eq!(host.run::<scoped>(()).expect("it succeeds"), 200);
    assert_eq!(host.elapsed(), Duration::from_millis(100));
}

#[test]
fn what_a_scope_forgets_is_stopped_and_what_it_cancels_may_clean_up() {
    #[workflow]
    async fn leaves(ctx: Ctx, cancel: bool) -> Result<Vec<String>, Failure> {
        let told = RefCell::new(Vec::new());
        let leftover = if cancel { Leftover::Cancel } else { Leftover::Forget };
        let body = ctx
            .scope(leftover, async |scope| {
                drop(scope.spawn(async {
                    let inner = ctx.sleep(Duration::from_secs(60)).await;
                    told.borrow_mut().push(format!("cancelled {}", inner.is_err_and(|failure| failure.is_cancelled())));
                    let cleaned = ctx.sleep(Duration::from_secs(2)).await;
                    told.borrow_mut().push(format!("cleaned {}", cleaned.is_ok()));
                }));
                ctx.sleep(Duration::from_secs(1)).await?;
                Ok::<_, Failure>(7)
            })
            .await?;
        told.borrow_mut().push(format!("body {body}"));
        Ok(told.into_inner())
    }
    let host = Host::new();
    assert_eq!(host.run::<leaves>(false).expect("it succeeds"), ["body 7"]);
    assert_eq!(host.elapsed(), Duration::from_secs(1));
    let host = Host::new();
    assert_eq!(host.run::<leaves>(true).expect("it succeeds"), ["cancelled true", "cleaned true", "body 7"]);
    assert_eq!(host.elapsed(), Duration::from_secs(3));
}

#[test]
fn a_scope_cancels_what_is_in_the_scopes_inside_it_and_nothing_outside() {
    #[workflow]
    async fn nested(ctx: Ctx) -> Result<(bool, bool), Failure> {
        let outside = ctx.sleep(Duration::from_secs(5)).start();
        let inside = RefCell::new(false);
        ctx.scope(Leftover::Cancel, async |scope| {
            drop(scope.spawn(ctx.scope(Leftover::Forget, async |inner| {
                let task = inner.spawn(ctx.sleep(Duration::from_secs(60)));
                inside.replace(task.await.is_err_and(|failure| failure.is_cancelled()));
            })));
            ctx.sleep(Duration::from_secs(1)).await
        })
        .await?;
        Ok((inside.into_inner(), outside.await.is_ok()))
    }
    let host = Host::new();
    assert_eq!(host.run::<nested>(()).expect("it succeeds"), (true, true));
    assert_eq!(host.elapsed(), Duration::from_secs(5));
}

#[test]
fn a_cancel_passes_a_shield_by_and_fails_the_first_await_after_it() {
    #[workflow]
    async fn shielded(ctx: Ctx) -> Result<Vec<String>, Failure> {
        let mut told = Vec::new();
        let both = shield(async {
            ctx.step(wait_and_give, 1_000).await?;
            ctx.step(wait_and_give, 2_000).await
        });
        told.push(format!("shielded {}", both.await?));
        told.push(format!("cancelled {:?}", ctx.cancelled()));
        let after = ctx.sleep(Duration::from_secs(60)).await;
        told.push(format!("after {}", after.expect_err("it fails").code));
        told.push(format!("clean-up {}", ctx.step(wait_and_give, 5).await?));
        Ok(told)
    }
    let host = Host::new().cancel_after(0);
    let told = host.run::<shielded>(()).expect("it succeeds");
    assert_eq!(told, ["shielded 2000", "cancelled Some(\"by the test\")", "after CANCELLED", "clean-up 5"]);
}

#[test]
fn a_cancel_that_somebody_got_is_not_given_again_after_a_shield() {
    #[workflow]
    async fn both(ctx: Ctx) -> Result<(bool, u64, bool), Failure> {
        let (open, shielded) = join!(ctx.sleep(Duration::from_secs(60)), shield(ctx.step(wait_and_give, 1_000)));
        Ok((open.is_err(), shielded?, ctx.sleep(Duration::from_secs(1)).await.is_ok()))
    }
    assert_eq!(Host::new().cancel_after(0).run::<both>(()).expect("it succeeds"), (true, 1_000, true));
}

#[test]
fn a_limit_around_a_shield_does_not_break_it_when_the_run_is_cancelled() {
    #[workflow]
    async fn limited(ctx: Ctx) -> Result<u64, Failure> {
        timeout(Duration::from_secs(9), shield(ctx.step(wait_and_give, 1_000))).await
    }
    assert_eq!(Host::new().cancel_after(0).run::<limited>(()).expect("it succeeds"), 1_000);
}
