//! What becomes of a write.

use super::*;

fn write(value: Option<&str>, if_version: Option<u64>) -> EntityWrite {
    EntityWrite { name: "n".into(), key: "k".into(), if_version, value: value.map(Into::into), at: Timestamp(5) }
}

fn mark(version: u64) -> Option<EntityMark> {
    Some(EntityMark { version, size_bytes: 3 })
}

fn judged(write: &EntityWrite, stored: Option<EntityMark>) -> (EntityWritten, u64, u64) {
    let mut tally = EntityTally { count: u64::from(stored.is_some()), size_bytes: 3, version: 9 };
    let (written, change) = write.judge(&mut tally, stored);
    assert_eq!(matches!(written, EntityWritten::Done { version: 1.. }), change != EntityChange::None, "{write:?}");
    (written, tally.count, tally.version)
}

#[test]
fn a_write_without_a_condition_is_done_under_the_next_version_of_the_tenant() {
    assert_eq!(judged(&write(Some("1"), None), None), (EntityWritten::Done { version: 10 }, 1, 10));
    assert_eq!(judged(&write(Some("1"), None), mark(4)), (EntityWritten::Done { version: 10 }, 1, 10));
    assert_eq!(judged(&write(None, None), mark(4)), (EntityWritten::Done { version: 10 }, 0, 10));
    assert_eq!(judged(&write(None, None), None), (EntityWritten::Done { version: 0 }, 0, 9));
}

#[test]
fn a_write_with_a_condition_is_done_only_at_that_version() {
    assert_eq!(judged(&write(Some("1"), Some(4)), mark(4)), (EntityWritten::Done { version: 10 }, 1, 10));
    assert_eq!(judged(&write(Some("1"), Some(3)), mark(4)), (EntityWritten::Conflict { version: 4 }, 1, 9));
    assert_eq!(judged(&write(Some("1"), Some(0)), mark(4)), (EntityWritten::Conflict { version: 4 }, 1, 9));
    assert_eq!(judged(&write(Some("1"), Some(0)), None), (EntityWritten::Done { version: 10 }, 1, 10));
    assert_eq!(judged(&write(None, Some(4)), None), (EntityWritten::Conflict { version: 0 }, 0, 9));
}

#[test]
fn a_tenant_that_has_all_it_may_have_can_still_shrink_and_change() {
    let full = EntityTally { count: ENTITIES_MAX, size_bytes: ENTITIES_MAX_BYTES, version: 9 };
    let becomes = |value, stored| write(value, None).judge(&mut full.clone(), stored).0;
    assert_eq!(becomes(Some("1"), None), EntityWritten::Full);
    assert_eq!(becomes(Some("12"), mark(4)), EntityWritten::Full);
    assert_eq!(becomes(Some("1"), mark(4)), EntityWritten::Done { version: 10 });
    assert_eq!(becomes(None, mark(4)), EntityWritten::Done { version: 10 });
}

#[test]
fn what_comes_from_a_backup_gives_way_to_a_later_version() {
    let entity =
        |version| Entity { name: "n".into(), key: "k".into(), version, changed: Timestamp(1), value: "1".into() };
    let mut tally = EntityTally::default();
    assert!(tally.restore(&entity(7), None));
    assert!(!tally.restore(&entity(6), Some(entity(7).mark())));
    assert!(tally.restore(&entity(8), Some(entity(7).mark())));
    assert_eq!(tally, EntityTally { count: 1, size_bytes: 3, version: 8 });
}
