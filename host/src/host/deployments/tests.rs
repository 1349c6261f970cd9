use super::*;
use trackway_replay::Timestamp;

fn versions(count: u32, hosts: usize, host_bytes: usize) -> Vec<Version> {
    let allow = vec![Arc::from("h".repeat(host_bytes)); hosts];
    let version =
        |version| Version { version, component: Digest([0; 32]), deployed: Timestamp(0), allow: allow.clone() };
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
    for good in ["a", ".a", "A-b_c.9", &"n".repeat(128)] {
        check_name(good).expect(good);
    }
    for bad in ["", ".", "..", "a b", "a/b", "ä", "@last", &"n".repeat(129)] {
        assert_eq!(check_name(bad).expect_err(bad).code, Code::BadRequest, "{bad}");
    }
}

#[test]
fn a_long_list_of_hosts_is_refused() {
    let hosts = vec!["example.com".to_owned(); HOSTS_MAX];
    check_lists(&hosts, &[]).expect("it is as long as it may be");
    let error = check_lists(&hosts, &["openai/*".to_owned()]).expect_err("one more is too many");
    assert_eq!(error.code, Code::BadGrant);
}

#[test]
fn hosts_and_models_come_out_of_one_list_as_they_went_in() {
    let (hosts, models) = (vec!["a.example".to_owned()], vec!["openai/*".to_owned(), "ollama/m:7b".to_owned()]);
    check_lists(&hosts, &models).expect("both are patterns");
    let patterns = written(&hosts, &models);
    Grants::parse(&patterns).expect("they can be read");
    assert_eq!(Allowed::of(&patterns), Allowed { hosts, models });
    check_lists(&["model:openai/*".to_owned()], &[]).expect_err("no model comes in as a host");
}
