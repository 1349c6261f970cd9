//! Moving deployments forth and back.

use serde_json::Value;

use super::{Server, run};
use crate::rig::guests;

#[test]
fn deployments_are_promoted_and_rolled_back() {
    let server = Server::with_guest("hello", "--name news-test");
    let typed = |words: &str| run(&mut server.trackway(words));
    run(server.trackway("deploy --name news --allow-host example.com").arg(guests().join("sleeper.wasm"))).expect(0);
    let greeting = "\"Hello, world!\"\n";
    typed("run news/sleeps -i 1").expect(0);
    typed("run news/hello").refused(4, "TW0302");

    let promoted = typed("deployments promote news --from news-test -o text").expect(0);
    assert!(promoted.stdout.starts_with("news is at version 2"), "{}", promoted.stdout);
    assert_eq!(typed("run news/hello").expect(0).stdout, greeting);
    typed("run news/sleeps -i 1").refused(4, "TW0302");

    assert_eq!(typed("deployments rollback news -o id").expect(0).stdout, "news\n");
    typed("run news/sleeps -i 1").expect(0);
    typed("deployments rollback news").refused(4, "TW0301");
    typed("deployments rollback news --to 2").expect(0);
    assert_eq!(typed("run news/hello").expect(0).stdout, greeting);

    // By digest, and the numbers of versions are never used again for something else.
    let listed: Value = serde_json::from_str(&typed("deployments ls -o json").expect(0).stdout).expect("JSON");
    let listed = listed.as_array().expect("a list");
    let news = listed.iter().find(|deployment| deployment["name"] == "news").expect("it is listed");
    let sleeper = news["versions"].as_array().expect("a list").iter().find(|version| version["version"] == 1);
    let digest = sleeper.and_then(|version| version["component"].as_str()).expect("version 1 is kept");
    typed(&format!("deployments promote news-test --component {digest} --allow-host example.org")).expect(0);
    typed("run news-test/sleeps -i 1").expect(0);

    typed("deployments promote news --from nobody").refused(4, "TW0301");
    typed("deployments rollback nobody").refused(4, "TW0301");
    typed("deployments rollback news --to 77").refused(4, "TW0301");
    typed(&format!("deployments promote news --component {}", "0".repeat(64))).refused(4, "TW0209");
    typed("deployments promote news").expect(2);
    assert_eq!(typed("run news/hello").expect(0).stdout, greeting, "what was refused changed nothing");
}
