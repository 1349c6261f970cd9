use super::*;

fn grants(patterns: &[&str]) -> Grants {
    Grants::parse(patterns).expect("patterns of the table")
}

fn url(text: &str) -> Url {
    text.parse().expect("a URL of the table")
}

#[track_caller]
fn check(pattern: &str, allowed: &[&str], refused: &[&str]) {
    let grants = grants(&[pattern]);
    for text in allowed {
        assert!(grants.allows(&url(text)), "{pattern} must allow {text}");
    }
    for text in refused {
        assert!(!grants.allows(&url(text)), "{pattern} must refuse {text}");
    }
}

#[test]
fn a_bare_host_means_https_on_443() {
    check(
        "example.com",
        &["https://example.com/", "https://example.com:443/a?b", "https://EXAMPLE.com./", "https://example.com."],
        &[
            "http://example.com/",
            "http://example.com:443/",
            "https://example.com:8443/",
            "https://www.example.com/",
            "https://example.com.evil.test/",
            "https://notexample.com/",
            "https://com/",
        ],
    );
}

#[test]
fn a_port_opens_that_port_only() {
    check("example.com:8443", &["https://example.com:8443/"], &["https://example.com/", "http://example.com:8443/"]);
}

#[test]
fn http_is_opened_only_by_name() {
    check("http://example.com", &["http://example.com/"], &["https://example.com/", "http://example.com:8080/"]);
    check("http://localhost:8080", &["http://localhost:8080/"], &["http://127.0.0.1:8080/", "http://localhost/"]);
}

#[test]
fn a_wildcard_opens_everything_below_and_not_the_name_itself() {
    check(
        "*.example.com",
        &["https://a.example.com/", "https://a.b.example.com/"],
        &["https://example.com/", "https://.example.com/", "https://aexample.com/", "http://a.example.com/"],
    );
    check("http://*.example.com:8080", &["http://a.example.com:8080"], &["https://a.example.com:8080"]);
}

#[test]
fn an_address_is_granted_as_such_in_any_spelling_of_it() {
    check(
        "http://127.0.0.1:8080",
        &["http://127.0.0.1:8080/", "http://0x7f000001:8080/", "http://2130706433:8080/", "http://0177.1:8080/"],
        &["http://127.0.0.2:8080/", "http://localhost:8080/", "http://[::1]:8080/", "http://[::ffff:127.0.0.1]:8080/"],
    );
    check("http://[::1]:8080", &["http://[::1]:8080/", "http://[0:0::1]:8080"], &["http://127.0.0.1:8080/"]);
    check("169.254.169.254", &["https://169.254.169.254/"], &["http://169.254.169.254/"]);
}

#[test]
fn names_are_compared_as_browsers_do() {
    check("Bücher.Example.", &["https://xn--bcher-kva.example/", "https://BÜCHER.example"], &[]);
    check("xn--bcher-kva.example", &["https://bücher.example/"], &[]);
}

#[test]
fn nothing_granted_allows_nothing() {
    assert!(!Grants::default().allows(&url("https://example.com/")));
}

#[test]
fn patterns_print_in_their_shortest_form_and_read_back() {
    let table = [
        ("example.com", "example.com"),
        ("  EXAMPLE.com. ", "example.com"),
        ("https://example.com/", "example.com"),
        ("HTTPS://example.com:443", "example.com"),
        ("example.com:8443", "example.com:8443"),
        ("http://example.com:80", "http://example.com"),
        ("http://example.com:443", "http://example.com:443"),
        ("*.Example.com", "*.example.com"),
        ("http://127.1:8080", "http://127.0.0.1:8080"),
        ("http://0x7f000001:8080", "http://127.0.0.1:8080"),
        ("2852039166", "169.254.169.254"),
        ("[2606:4700::0:1]:444", "[2606:4700::1]:444"),
        ("http://localhost:8080", "http://localhost:8080"),
        ("bücher.example", "xn--bcher-kva.example"),
    ];
    for (given, printed) in table {
        let read = grants(&[given]);
        let patterns: Vec<_> = read.patterns().collect();
        assert_eq!(patterns, [printed], "{given}");
        assert_eq!(Grants::parse(&patterns).expect("what was printed"), read);
    }
}

#[test]
fn a_pattern_that_cannot_be_read_is_named_with_an_example() {
    let table = [
        ("", "cannot be read"),
        ("*", "whole labels"),
        ("*.com", "too wide"),
        ("*.localhost", "too wide"),
        ("*.*.example.com", "whole labels"),
        ("api.*.example.com", "whole labels"),
        ("*example.com", "whole labels"),
        ("*.127.0.0.1", "nothing below"),
        ("*.0x7f.1", "nothing below"),
        ("*.1", "nothing below"),
        ("ftp://example.com", "neither `https` nor `http`"),
        ("example.com/path", "cannot be in it"),
        ("https://user@example.com", "cannot be in it"),
        ("example.com?x", "cannot be in it"),
        ("exa mple.com", "cannot be in it"),
        ("example.com:0", "not a port"),
        ("example.com:65536", "not a port"),
        ("example.com:+80", "not a port"),
        ("example.com:", "not a port"),
        ("::1", "in brackets"),
        ("[::1", "in brackets"),
        ("[::1]8080", "not a port"),
        ("a..example.com", "DNS"),
        ("0.0.0.0", "unspecified"),
        ("224.0.0.1", "multicast"),
        ("255.255.255.255", "broadcast"),
        ("0", "unspecified"),
        ("0xe0000001", "multicast"),
        ("4294967295", "broadcast"),
        ("[::ffff:127.0.0.1]", "translated"),
    ];
    for (pattern, why) in table {
        let error = Grants::parse(&["example.com", pattern]).expect_err(pattern);
        assert_eq!(error.code, Code::BadGrant);
        assert!(error.message.contains(&format!("`{pattern}`")), "{error}");
        assert!(error.message.contains(why), "{error}");
        assert!(error.hint.as_ref().is_some_and(|hint| hint.contains("example.com:8443")));
    }
}

#[test]
fn too_many_patterns_are_refused() {
    let patterns: Vec<_> = (0..=GRANTS_MAX).map(|n| format!("h{n}.example.com")).collect();
    assert_eq!(Grants::parse(&patterns).expect_err("one too many").code, Code::BadGrant);
}

#[test]
fn the_narrowest_grant_of_a_url_allows_it() {
    for text in ["https://example.com/a", "http://127.0.0.1:8080/", "http://[::1]/", "https://example.com:1/"] {
        let grant = Grant::of_url(&url(text)).expect("a grant");
        assert!(grant.allows(&url(text)), "{grant}");
    }
    assert_eq!(Grant::of_url(&url("http://0.0.0.0/")), None);
    assert_eq!(Grant::of_url(&url("ftp://example.com/")), None);
}

#[test]
fn what_opens_more_is_told_and_what_opens_no_more_is_not() {
    let beyond = |before: &[&str], after: &[&str]| grants(before).lacks_of(&grants(after));
    let nothing: [&str; 0] = [];
    assert_eq!(beyond(&["*.example.com"], &["a.example.com", "*.b.example.com", "*.example.com"]), nothing);
    assert_eq!(beyond(&["a.example.com"], &["*.example.com"]), ["*.example.com"]);
    assert_eq!(beyond(&["*.example.com"], &["example.com", "http://a.example.com", "a.example.com:8443"]).len(), 3);
    assert_eq!(beyond(&["*.example.com"], &["aexample.com"]), ["aexample.com"]);
    assert_eq!(beyond(&["127.0.0.1"], &["127.0.0.1", "127.0.0.2"]), ["127.0.0.2"]);
    assert_eq!(beyond(&["model:openai/*"], &["model:openai/gpt-4o", "model:anthropic/*"]), ["model:anthropic/*"]);
    assert_eq!(beyond(&[], &["example.com", "model:openai/gpt-4o"]), ["example.com", "model:openai/gpt-4o"]);
    assert_eq!(beyond(&["example.com"], &[]), nothing);
    let (here, there) = ("mcp:lib=https://mcp.example.com/mcp", "mcp:lib=https://other.example.org/mcp");
    assert_eq!(beyond(&[here], &[here]), nothing);
    assert_eq!(beyond(&["*.example.com"], &[here]), nothing, "it is where a host is granted anyway");
    assert_eq!(beyond(&["*.example.com"], &[there]), [there]);
    assert_eq!(beyond(&[here], &[there, "mcp.example.com"]).len(), 2, "a name opens its address only");
}
