use super::*;

const ONE: TenantId = TenantId::DEFAULT;
const OTHER: TenantId = TenantId(2);

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(1_000_000 + seconds * 1_000)
}

#[tokio::test]
async fn a_tenant_that_floods_the_compiler_is_told_when_to_come_again_and_others_are_not() {
    let shares = CompileShares::default();
    for _ in 0..COMPILES_MAX.in_a_row {
        drop(shares.take(ONE, at(0)).await.expect("within the quota"));
    }
    let error = shares.take(ONE, at(1)).await.expect_err("the quota is used up");
    assert_eq!(error.code, Code::Overloaded);
    assert!(error.message.contains("quota `compiles`"), "{error}");
    assert_eq!(error.retry_after, Some(COMPILES_MAX.every - Duration::from_secs(1)));
    drop(shares.take(OTHER, at(1)).await.expect("it has a quota of its own"));
    drop(shares.take(ONE, at(COMPILES_MAX.every.as_secs())).await.expect("one more by now"));
    shares.take(ONE, at(COMPILES_MAX.every.as_secs())).await.expect_err("and no second one");
}

#[tokio::test]
async fn a_tenant_compiles_one_at_a_time_and_few_wait() {
    let shares = Arc::new(CompileShares::default());
    let held = shares.take(ONE, at(0)).await.expect("the first");
    let waiting: Vec<_> = (0..COMPILES_WAITING_MAX)
        .map(|_| {
            let shares = Arc::clone(&shares);
            tokio::spawn(async move { shares.take(ONE, at(0)).await.map(drop) })
        })
        .collect();
    while Arc::strong_count(&shares.lock()[&ONE].waiting) <= COMPILES_WAITING_MAX {
        tokio::task::yield_now().await;
    }
    let error = shares.take(ONE, at(0)).await.map(drop);
    let other = shares.take(OTHER, at(0)).await;
    other.expect("another tenant waits for nobody");
    drop(held);
    for waiting in waiting {
        waiting.await.expect("no panic").expect("its turn came");
    }
    let error = error.expect_err("too many wait");
    assert!(error.message.contains("quota `compiles-waiting`"), "{error}");
}

#[tokio::test]
async fn tenants_that_are_long_gone_are_forgotten() {
    let shares = CompileShares::default();
    for tenant in 1..100 {
        drop(shares.take(TenantId(tenant), at(0)).await.expect("within the quota"));
    }
    drop(shares.take(ONE, at(10_000)).await.expect("within the quota"));
    assert_eq!(shares.lock().len(), 1);
}
