use super::*;

fn list(patterns: &[&str]) -> Vec<Arc<str>> {
    patterns.iter().map(|pattern| Arc::from(*pattern)).collect()
}

fn of(manifest: &str, pure: bool, granted: &[&str]) -> Capabilities {
    Capabilities::of(&Manifest::read(manifest).expect("a manifest"), pure, &list(granted))
}

fn told(changes: &[Change]) -> Vec<String> {
    changes.iter().map(|change| format!("{:?} {:?} {}", change.how, change.what, change.name)).collect()
}

const OLD: &str = r#"{"contract":"0.1","workflows":[{"name":"w"}],
    "functions":[{"name":"fetch","hosts":["example.com"]}],"tools":[{"name":"clock"}]}"#;
const NEW: &str = r#"{"contract":"0.1","workflows":[{"name":"w"},{"name":"v"}],
    "functions":[{"name":"fetch","hosts":["example.com","b.test"],"models":["openai/*"]},{"name":"tell"}]}"#;

#[test]
fn a_version_tells_what_it_holds_wants_and_was_granted() {
    let found = of(NEW, false, &["example.com", "model:openai/gpt-4o", "secret:token@example.com"]);
    assert_eq!(found.workflows, ["v", "w"].map(str::to_owned).into());
    assert_eq!(found.functions[0].models, ["openai/*".to_owned()].into());
    assert_eq!(found.granted.secrets, ["token=example.com".to_owned()].into());
    assert_eq!(found.granted.models, ["openai/gpt-4o".to_owned()].into());
    assert_eq!(found.missing().hosts, ["b.test".to_owned()].into());
}

#[test]
fn the_difference_names_what_came_and_what_went() {
    let (old, new) =
        (of(OLD, true, &["example.com", "secret:a@b.test"]), of(NEW, false, &["b.test", "model:openai/*"]));
    assert_eq!(
        told(&new.changes_since(Some(&old))),
        [
            "Added Purity effect",
            "Added Workflow v",
            "Added Function tell",
            "Removed Tool clock",
            "Added HostWanted b.test",
            "Added ModelWanted openai/*",
            "Added HostGranted b.test",
            "Removed HostGranted example.com",
            "Added ModelGranted openai/*",
            "Removed SecretGranted a=b.test",
        ]
    );
    assert_eq!(new.changes_since(Some(&new)), []);
    assert!(new.changes_since(None).iter().all(|change| change.how == How::Added));
}

#[test]
fn only_what_opens_more_widens() {
    let nothing: [&str; 0] = [];
    assert_eq!(widens(&list(&["*.a.test"]), &list(&["x.a.test"])), nothing);
    assert_eq!(widens(&list(&["x.a.test"]), &list(&["*.a.test"])), ["*.a.test"]);
    assert_eq!(
        widens(&list(&["secret:s@a.test"]), &list(&["secret:s@a.test", "secret:s@b.test"])),
        ["secret:s@b.test"]
    );
    // Whatever is wrong with the version before: nothing slips through.
    assert_eq!(widens(&list(&["??"]), &list(&["a.test"])), ["a.test"]);
}
