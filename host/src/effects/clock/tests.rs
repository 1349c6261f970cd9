use super::*;

#[tokio::test]
async fn the_clock_tells_the_time_of_the_system() {
    let clock = SystemClock::new();
    let (before, now, after) = (wall(), clock.now(), wall());
    assert!(before.since(now) < DRIFT_MIN && now.since(after) < DRIFT_MIN, "{before:?} {now:?} {after:?}");
}

#[tokio::test]
async fn a_sleep_ends_at_or_after_its_time() {
    let clock = SystemClock::new();
    let until = clock.now() + Duration::from_millis(5);
    clock.sleep_until(until).await;
    assert!(clock.now() >= until);
    clock.sleep_until(Timestamp(0)).await;
}

#[tokio::test]
async fn a_wait_takes_as_long_as_it_says() {
    let clock = SystemClock::new();
    let (before, time) = (clock.elapsed(), Duration::from_millis(5));
    clock.wait(time).await;
    assert!(clock.elapsed() - before >= time);
}
