//! What a saga does when it fails, seen on the test host.

use crate::prelude::*;
use crate::testing::Host;

#[function]
async fn book(ctx: FnCtx, what: String) -> Result<String, Failure> {
    ctx.sleep(Duration::from_secs(1)).await?;
    if what == "nothing" { Err(Failure::permanent("SOLD_OUT", "no seats")) } else { Ok(format!("{what}-1")) }
}

/// Fails once, then works; `fragile` never.
#[function(retries = 1, backoff = "1s")]
fn cancel_booking(ctx: FnCtx, booking: String) -> Result<(), Failure> {
    match (booking.as_str(), ctx.attempt()) {
        ("fragile-1", _) => Err(Failure::permanent("NOT_POSSIBLE", "it is gone")),
        (_, 1) => Err(Failure::new("BUSY", "later")),
        (_, _) => Ok(()),
    }
}

#[function]
fn tell(_text: String) {}

#[workflow]
async fn trip(ctx: Ctx, parts: Vec<String>) -> Result<Vec<String>, Failure> {
    ctx.saga(async |saga| {
        let mut bookings = Vec::new();
        for part in parts {
            bookings.push(saga.step(book, part).undo(cancel_booking, String::clone).await?);
        }
        Ok(bookings)
    })
    .await
}

fn of(parts: &[&str]) -> Vec<String> {
    parts.iter().map(|part| (*part).to_owned()).collect()
}

#[test]
fn what_goes_well_is_not_undone() {
    let host = Host::new();
    assert_eq!(host.run::<trip>(of(&["hotel", "flight"])).expect("it succeeds"), ["hotel-1", "flight-1"]);
    assert_eq!(host.calls(), ["book", "book"]);
}

#[test]
fn a_failure_undoes_the_last_first_each_with_retries_of_its_own() {
    let host = Host::new();
    let failure = host.run::<trip>(of(&["hotel", "flight", "nothing"])).expect_err("it fails");
    assert_eq!(failure.code, "SOLD_OUT");
    assert_eq!(
        host.calls(),
        ["book", "book", "book", "cancel_booking", "cancel_booking", "cancel_booking", "cancel_booking"]
    );
    assert_eq!(host.elapsed(), Duration::from_secs(3 + 2));
}

#[test]
fn what_cannot_be_undone_is_reported_and_the_rest_undone_all_the_same() {
    let host = Host::new();
    let failure = host.run::<trip>(of(&["hotel", "fragile", "nothing"])).expect_err("it fails");
    assert_eq!(failure.code, "UNDO_FAILED");
    let details = failure.details.expect("it tells");
    assert_eq!(
        (&details["cause"]["code"], &details["undo_failed"][0]["undo"]),
        (&"SOLD_OUT".into(), &"cancel_booking".into())
    );
    assert_eq!(details["undo_failed"].as_array().map(Vec::len), Some(1));
    assert_eq!(host.calls().iter().filter(|call| *call == "cancel_booking").count(), 3, "{:?}", host.calls());
}

#[test]
fn a_cancel_undoes_too_and_does_not_break_the_undoing() {
    for after in [1, 2, 3] {
        let host = Host::new().cancel_after(after);
        let failure = host.run::<trip>(of(&["hotel", "flight", "train", "bus"])).expect_err("it fails");
        assert!(failure.is_cancelled(), "{failure}");
        let undone = host.calls().iter().filter(|call| *call == "cancel_booking").count();
        assert_eq!(undone, 2 * after as usize, "{:?}", host.calls());
    }
}

#[test]
fn a_cancel_while_it_is_undone_lets_it_be_undone() {
    let host = Host::new().cancel_after(3);
    let failure = host.run::<trip>(of(&["hotel", "flight", "nothing"])).expect_err("it fails");
    assert_eq!(failure.code, "SOLD_OUT");
    assert_eq!(host.calls().iter().filter(|call| *call == "cancel_booking").count(), 4);
}

#[test]
fn an_undo_that_is_known_before_is_called_where_the_step_may_have_happened() {
    #[workflow]
    async fn careful(ctx: Ctx, code: String) -> Result<(), Failure> {
        #[function(retries = 0)]
        fn fail(code: String) -> Result<(), Failure> {
            let failure = Failure::permanent(code.trim_end_matches('!'), "no");
            Err(if code.ends_with('!') {
                failure.with_details(crate::serde_json::json!({"compensate": true}))
            } else {
                failure
            })
        }
        ctx.saga(async |saga| {
            saga.on_failure(tell, "told".to_owned());
            saga.step(fail, code).undo_with(tell, "undo".to_owned()).await
        })
        .await
    }
    for (code, tells) in [("NO", 1), ("AMBIGUOUS", 1), ("AMBIGUOUS!", 2)] {
        let host = Host::new();
        assert!(host.run::<careful>(code.to_owned()).is_err());
        assert_eq!(host.calls().iter().filter(|call| *call == "tell").count(), tells, "{code}");
    }
}
