use super::*;
use trackway_replay::Timestamp;

fn versions(count: u32, hosts: usize, host_bytes: usize) -> Vec<Version> {
    let allow_hosts = vec![Arc::from("h".repeat(host_bytes)); hosts];
    let version = |version| Version {
        version,
        component: Digest([0; 32]),
        deployed: Timestamp(0),
        allow_hosts: allow_hosts.clone(),
    };
    (1..=count).map(version).collect()
}

#[test]
fn the_oldest_versions_make_room_and_the_newest_stays() {
    assert_eq!(versions_over_limit(&versions(100, 0, 0)), 0);
    assert_eq!(versions_over_limit(&versions(101, 0, 0)), 1);
    assert_eq!(versions_over_limit(&versions(100, HOSTS_MAX, HOSTS_MAX_BYTES / HOSTS_MAX)), 96);
    assert_eq!(versions_over_limit(&versions(1, HOSTS_MAX, 10_000)), 0);
}

#[test]
fn names_are_those_of_the_contract() {
    for good in ["a", "A-b_c.9", &"n".repeat(128)] {
        check_name(good).expect(good);
    }
    for bad in ["", "a b", "a/b", "ä", "@last", &"n".repeat(129)] {
        assert_eq!(check_name(bad).expect_err(bad).code, Code::BadRequest, "{bad}");
    }
}

#[test]
fn a_long_list_of_hosts_is_refused() {
    check_hosts(&vec!["example.com".to_owned(); HOSTS_MAX]).expect("it is as long as it may be");
    let error = check_hosts(&vec!["example.com".to_owned(); HOSTS_MAX + 1]).expect_err("one more is too many");
    assert_eq!(error.code, Code::BadGrant);
}
