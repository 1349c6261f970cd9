use super::*;
use trackway_replay::TenantId;

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
