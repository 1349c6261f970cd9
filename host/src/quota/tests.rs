use super::*;
use trackway_replay::{TenantId, Timestamp};

#[test]
fn every_default_is_a_limit_that_can_be_said() {
    for quota in Quota::ALL {
        quota.check(quota.default_limit()).expect("the default is within its own bounds");
        assert_eq!(Quota::named(quota.name()).expect("it has that name"), *quota);
    }
    assert_eq!(Book::default().of(TenantId::DEFAULT).of_run(), Limits::default());
}

#[test]
fn numbers_are_read_as_people_write_them_and_shown_so_that_they_are_read_again() {
    let read = |unit, text: &str| number(unit, text).ok();
    assert_eq!(read(Unit::Count, "10k"), Some(10_000));
    assert_eq!(read(Unit::Count, "1_000_000"), Some(1_000_000));
    assert_eq!(read(Unit::Bytes, "4GiB"), Some(4 << 30));
    assert_eq!(read(Unit::NanoUsd, "2.50usd"), Some(2_500_000_000));
    assert_eq!(read(Unit::NanoUsd, "0.000000001usd"), Some(1));
    assert_eq!(read(Unit::Fuel, "unlimited"), Some(UNLIMITED));
    for bad in ["", "-1", "+1", "ten", "1.5", "1usd", "k", "99999999999999999999", "20000000000G", "1 k"] {
        assert_eq!(read(Unit::Count, bad), None, "{bad}");
    }
    assert_eq!(read(Unit::NanoUsd, "1.0000000001usd"), None);
    for (unit, many) in [(Unit::Bytes, 3 << 20), (Unit::Count, 1_500), (Unit::NanoUsd, 1_050_000_000), (Unit::Fuel, 7)]
    {
        let written = shown(unit, many);
        assert_eq!(read(unit, &written), Some(many), "{written}");
    }
}

#[test]
fn what_is_said_of_a_tenant_counts_over_the_defaults_and_shows_at_once() {
    let mut defaults = Quotas::default();
    defaults.set_text("runs", "10").expect("a limit");
    defaults.set_text("weight", "50").expect("a limit");
    let book = Book::new(defaults);
    let held = book.of(TenantId(7));
    assert_eq!((held.get(Quota::Runs), held.weight()), (10, 50));
    let mut over = Quotas::default();
    over.set_text("runs", "3").expect("a limit");
    book.set(TenantId(7), &over);
    assert_eq!((held.get(Quota::Runs), held.weight()), (3, 50));
    assert_eq!(book.of(TenantId(8)).get(Quota::Runs), 10);
    book.set(TenantId(7), &Quotas::default());
    assert_eq!(held.get(Quota::Runs), 10);
}

#[test]
fn memory_in_sum_bounds_what_lives_at_once_and_leaves_one_of_each() {
    let book = Book::default();
    let limits = book.of(TenantId(7));
    let say = |name: &str, limit: &str| {
        let mut over = Quotas::default();
        over.set_text("memory", "1GiB").expect("a limit");
        over.set_text(name, limit).expect("a limit");
        book.set(TenantId(7), &over);
        (limits.instances(), limits.attempts())
    };
    assert_eq!(say("weight", "100"), (2, 2), "256 MiB each");
    assert_eq!(say("memory_per_instance", "64MiB"), (8, 8));
    assert_eq!(say("attempts", "1"), (2, 1), "whatever is less");
    assert_eq!(say("memory", "1MiB"), (1, 1));
    assert_eq!(say("memory", "unlimited"), (UNLIMITED, UNLIMITED));
}

#[test]
fn a_limit_out_of_bounds_is_refused_with_the_bounds() {
    let mut quotas = Quotas::default();
    let refused = |error: Error| (error.code, error.message);
    let (code, message) = refused(quotas.set_text("weight", "0").expect_err("no share at all"));
    assert_eq!((code, message.as_str()), (Code::BadRequest, "quota `weight` is 1 to 10k"));
    quotas.set_text("memory_per_instance", "1TiB").expect_err("more than the host gives");
    quotas.set_text("memory_per_instance", "unlimited").expect_err("the host has a bound");
    quotas.set_text("nonsense", "1").expect_err("no such quota");
    assert!(quotas.is_empty());
}

#[test]
fn what_is_said_of_a_weight_is_what_the_queues_are_told_from_then_on() {
    let mut defaults = Quotas::default();
    defaults.set_text("weight", "50").expect("a limit");
    let weights = trackway_fair::Weights::default();
    let book = Book::new(defaults).weighing(weights.clone());
    let of = |tenant: u32| weights.of(TenantId(tenant)).get();
    assert_eq!(of(7), 50);
    let mut said = Quotas::default();
    said.set_text("weight", "700").expect("a limit");
    book.set(TenantId(7), &said);
    assert_eq!((of(7), of(8)), (700, 50));
    book.set(TenantId(7), &Quotas::default());
    assert_eq!(of(7), 50);
    book.set(TenantId(7), &said);
    book.forget(TenantId(7));
    assert_eq!(of(7), 50);
}

#[test]
fn what_is_in_no_sum_yet_counts_and_so_does_what_is_to_come() {
    let mut said = Quotas::default();
    said.set_text("payload_bytes", "100").expect("a limit");
    let book = Book::default();
    book.set(TenantId(7), &said);
    let limits = book.of(TenantId(7));
    let crossed = |uncounted, more| {
        let crossing = limits.crossed_by(Quota::PayloadBytes, uncounted, more, Timestamp(0));
        crossing.map(|crossing| (crossing.used, crossing.limit))
    };
    assert_eq!((crossed(0, 100), crossed(40, 60)), (None, None));
    assert_eq!(crossed(0, 101), Some((0, 100)));
    assert_eq!(crossed(40, 61), Some((40, 100)));
    assert_eq!(crossed(100, 0), Some((100, 100)));
    assert_eq!(crossed(u64::MAX, 1), Some((u64::MAX, 100)));
    assert!(limits.crossed_by(Quota::JournalBytes, u64::MAX - 1, 0, Timestamp(0)).is_none(), "without a limit");
}

#[test]
fn as_many_starts_in_a_second_as_can_be_said_are_taken_and_counted() {
    let (_, most) = Quota::StartsPerSecond.range();
    for limit in [1, 1_000, 1_001, 2_000, most] {
        let mut said = Quotas::default();
        said.set(Quota::StartsPerSecond, limit).expect("a limit");
        let book = Book::default();
        book.set(TenantId(7), &said);
        let limits = book.of(TenantId(7));
        let (begun, later) = (Timestamp(1 << 40), Timestamp((1 << 40) + 1_000_000));
        let in_a_row = (0..5_000).take_while(|_| limits.admit_start(begun).is_ok()).count() as u64;
        assert_eq!(in_a_row, (2 * limit).min(5_000));
        limits.admit_start(later).expect("a second later there is one more");
    }
}
