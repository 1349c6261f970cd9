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
    let allow = Allow { hosts: hosts.as_slice(), ..Allow::default() };
    check_lists(allow).expect("it is as long as it may be");
    for more in [
        Allow { models: ["openai/*".to_owned()].as_slice(), ..allow },
        Allow { secrets: ["KEY=a.example".to_owned()].as_slice(), ..allow },
        Allow { mcp: ["library=https://mcp.example.com".to_owned()].as_slice(), ..allow },
    ] {
        assert_eq!(check_lists(more).expect_err("one more is too many").code, Code::BadGrant);
    }
}

#[test]
fn hosts_models_secrets_and_servers_come_out_of_one_list_as_they_went_in() {
    let (hosts, models) = (vec!["a.example".to_owned()], vec!["openai/*".to_owned(), "ollama/m:7b".to_owned()]);
    let secrets = vec!["KEY=a.example".to_owned(), "KEY:query,body=http://127.0.0.1:8080".to_owned()];
    let mcp = vec!["library=https://mcp.example.com/mcp".to_owned()];
    let allow = Allow { hosts: hosts.as_slice(), models: &models, secrets: &secrets, mcp: &mcp };
    check_lists(allow).expect("all can be read");
    let patterns = written(allow);
    assert_eq!(&*patterns[3], "secret:KEY@a.example");
    let grants = Grants::parse(&patterns).expect("they can be read");
    assert_eq!(grants.mcp_server("library").map(url::Url::as_str), Some("https://mcp.example.com/mcp"));
    assert_eq!(Allowed::of(&patterns), Allowed { hosts, models, secrets, mcp });
    for stranger in ["model:openai/*", "secret:KEY@a.example", "mcp:library=https://mcp.example.com/mcp"] {
        let hosts = [stranger.to_owned()];
        check_lists(Allow { hosts: hosts.as_slice(), ..Allow::default() }).expect_err("it does not come in as a host");
    }
    let mcp = ["a=https://one.example".to_owned(), "a=https://two.example".to_owned()];
    let error = check_lists(Allow { mcp: mcp.as_slice(), ..Allow::default() }).expect_err("which of them?");
    assert!(error.to_string().contains("two MCP servers are called `a`"), "{error}");
}
