use super::*;

#[test]
fn grants_of_secrets_print_as_people_write_them_and_read_back() {
    for (given, printed, written) in [
        ("KEY=example.com", "KEY=example.com", "KEY@example.com"),
        (" KEY=https://EXAMPLE.com/ ", "KEY=example.com", "KEY@example.com"),
        ("KEY:header=*.example.com", "KEY=*.example.com", "KEY@*.example.com"),
        ("a-b_9:body,query=http://127.1:80", "a-b_9:query,body=http://127.0.0.1", "a-b_9:query,body@http://127.0.0.1"),
        ("KEY:query=[2606:4700::0:1]:444", "KEY:query=[2606:4700::1]:444", "KEY:query@[2606:4700::1]:444"),
    ] {
        let grant: SecretGrant = given.parse().expect(given);
        assert_eq!((grant.to_string(), grant.written()), (printed.to_owned(), written.to_owned()));
        assert_eq!(SecretGrant::read_written(written).expect(written), grant);
    }
}

#[test]
fn a_grant_of_a_secret_that_cannot_be_read_is_named_with_an_example() {
    for (pattern, why) in [
        ("KEY", "between"),
        ("KEY@example.com", "between"),
        ("=example.com", "a name is"),
        ("a b=example.com", "a name is"),
        ("KEY:=example.com", "no place"),
        ("KEY:cookie=example.com", "no place"),
        ("KEY=*", "whole labels"),
        ("KEY=0.0.0.0", "unspecified"),
        ("KEY=example.com?in=query", "cannot be in it"),
    ] {
        let error = pattern.parse::<SecretGrant>().expect_err(pattern);
        assert_eq!(error.code, Code::BadGrant);
        assert!(error.message.contains(why) && error.message.contains(pattern), "{error}");
        assert!(error.hint.as_ref().is_some_and(|hint| hint.contains("STRIPE_KEY=api.stripe.com")));
    }
}

#[test]
fn a_grant_covers_what_opens_no_more() {
    let covers = |one: &str, other: &str| {
        let [one, other] = [one, other].map(|pattern| pattern.parse::<SecretGrant>().expect(pattern));
        one.covers(&other)
    };
    for (one, other) in
        [("A=a.test", "A=a.test"), ("A=*.a.test", "A=b.a.test"), ("A:header,body=a.test", "A:body=a.test")]
    {
        assert!(covers(one, other), "{one} {other}");
    }
    for (one, other) in [("A=a.test", "B=a.test"), ("A=a.test", "A=b.test"), ("A=a.test", "A:body=a.test")] {
        assert!(!covers(one, other), "{one} {other}");
    }
}

#[test]
fn names_of_what_a_function_wants_are_read_as_far_as_they_can_be() {
    let names = wanted_names(&["A=example.com", "B:query=x", "C", "", "no name=x"]);
    let names: Vec<_> = names.iter().map(SecretName::as_str).collect();
    assert_eq!(names, ["A", "B", "C"]);
}
