//! Looking before a deploy, policies, approvals and signatures, as they are typed.

use serde_json::{Value, json};

use super::{Place, Server, run};
use crate::rig::guests;

#[test]
fn what_reaches_more_is_shown_beforehand_and_waits_for_whoever_may_approve() {
    let server = Server::start(Place::new(), "");
    let (hello, effects) = (guests().join("hello.wasm"), guests().join("effects.wasm"));
    let typed = |words: &str| run(&mut server.trackway(words));
    let deploy = |file: &std::path::Path, words: &str| run(server.trackway(&format!("deploy {words}")).arg(file));

    let plan = deploy(&hello, "--name app --plan -o json").expect(0).json();
    assert_eq!((&plan["verdict"], &plan["replaces"]), (&json!("deploys"), &Value::Null), "{plan}");
    typed("deployments ls -o id").expect(0);
    deploy(&hello, "--name app").expect(0);

    let policy = server.place.path().join("policy.json");
    std::fs::write(&policy, r#"{"hosts": ["*.example.com"], "widening": "needs-approval"}"#).expect("writable");
    typed("policy set policy.json").expect(0);
    assert_eq!(typed("policy show -o json").expect(0).json()["widening"], "needs-approval");

    deploy(&effects, "--name app --allow-host evil.test").refused(5, "TW0319");
    let refused = deploy(&effects, "--name app --allow-host evil.test --plan -o json").expect(5).json();
    assert_eq!(refused["verdict"], "refused");
    let shown = deploy(&effects, "--name app --allow-host a.example.com --plan -o text").expect(0).stdout;
    for told in ["would wait for an approval", "+ may reach host a.example.com", "- workflow hello", "+ function fetch"]
    {
        assert!(shown.contains(told), "{told}: {shown}");
    }
    let proposed = deploy(&effects, "--name app --allow-host a.example.com").expect(0);
    assert!(proposed.stderr.contains("trackway deployments approve app 2"), "{}", proposed.stderr);
    typed("run hello").expect(0);
    assert!(typed("deployments ls -o text").expect(0).stdout.contains("1 (proposed: 2)"));

    let check = run(server.trackway("check --against app -o json").arg(&effects)).expect(0).json();
    let changes = check["changes"].as_array().expect("it was compared");
    assert!(changes.contains(&json!({ "what": "workflow", "name": "hello", "change": "removed" })), "{changes:?}");

    let key = |scope: &str| {
        let made = typed(&format!("keys create --scope {scope} {scope} -o id")).expect(0);
        made.stdout.trim().to_owned()
    };
    let (deployer, admin) = (key("deploy"), key("admin"));
    let with = |key: &str, words: &str| run(server.trackway(words).env("TRACKWAY_KEY", key));
    with(&deployer, "deployments approve app 2").refused(5, "TW0701");
    with(&deployer, "policy set policy.json").refused(5, "TW0701");
    with(&admin, "policy set policy.json").refused(5, "TW0701");
    with(&admin, "deployments approve app 2").expect(0);
    assert_eq!(typed("deployments ls -o json").expect(0).json()[0]["current"], 2);
    typed("deployments reject app 2").refused(4, "TW0301");

    // Back to what was let through while nobody had to approve: that waits, too. What somebody approved of does not.
    std::fs::write(server.place.path().join("free.json"), "{}").expect("writable");
    typed("policy set free.json").expect(0);
    deploy(&effects, "--name app --allow-host b.example.com").expect(0);
    deploy(&effects, "--name app").expect(0);
    typed("policy set policy.json").expect(0);
    let waits = with(&deployer, "deployments rollback app --to 3 -o text").expect(0);
    assert!(waits.stderr.contains("trackway deployments approve app 5"), "{}", waits.stderr);
    assert!(waits.stdout.starts_with("app is at version 4"), "{}", waits.stdout);
    let back = with(&deployer, "deployments rollback app --to 2 -o text").expect(0);
    assert!(back.stdout.starts_with("app is at version 2") && !back.stderr.contains("approve"), "{}", back.stderr);
}

#[test]
fn a_component_is_signed_by_hand_and_deployed_where_that_key_is_trusted() {
    let server = Server::start(Place::new(), "");
    let (hello, effects) = (guests().join("hello.wasm"), guests().join("effects.wasm"));
    let typed = |words: &str| run(&mut server.trackway(words));
    let public = typed("sign --new-key release.pem -o id").expect(0).stdout.trim().to_owned();
    typed("sign --new-key release.pem").refused(1, "TW0106");
    let policy = json!({ "trusted_keys": [{ "name": "release", "key": public }] });
    std::fs::write(server.place.path().join("policy.json"), policy.to_string()).expect("writable");
    typed("policy set policy.json").expect(0);

    run(server.trackway("deploy").arg(&hello)).refused(5, "TW0210");
    let signed = run(server.trackway("sign --key release.pem -o id").arg(&hello)).expect(0).stdout;
    std::fs::write(server.place.path().join("hello.sig"), signed).expect("writable");
    run(server.trackway("deploy --signature hello.sig").arg(&effects)).refused(5, "TW0210");
    run(server.trackway("deploy --signature hello.sig").arg(&hello)).expect(0);
    typed("run hello").expect(0);
}
