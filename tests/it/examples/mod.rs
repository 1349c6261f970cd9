//! The examples run as their READMEs say, and each guest imports what its code uses and no more.

use serde_json::Value as Json;
use trackway_replay::Status;

use crate::rig::{Rig, guests, in_virtual_time, sandbox};

#[test]
fn hello_greets_whoever_it_is_given() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("hello").await;
        for (input, greeting) in [("null", "Hello, world!"), ("\"Ada\"", "Hello, Ada!")] {
            let run = rig.start("hello", "hello", input).await;
            assert_eq!(rig.output(run).await, format!("\"{greeting}\""));
            rig.replays(run).await;
        }
    });
}

#[test]
fn headlines_reads_what_it_can_and_reports_the_rest() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("headlines").await;
        rig.world.script("/gone", &[404]);
        rig.world.script("/busy", &[500, 500]);
        let input = r#"{"urls": ["http://world.test/a", "http://world.test/gone", "http://world.test/busy"]}"#;
        let run = rig.start("headlines", "headlines", input).await;
        let report: Json = serde_json::from_str(&rig.output(run).await).expect("a report is JSON");
        assert_eq!((&report["pages"], report["unread"].as_array().map(Vec::len)), (&Json::from(2), Some(1)));
        assert_eq!(report["unread"][0]["url"], "http://world.test/gone");
        let asked = |path: &str| rig.world.asked().iter().filter(|contact| contact.url.ends_with(path)).count();
        assert_eq!((asked("/a"), asked("/gone"), asked("/busy")), (1, 1, 3));
        rig.replays(run).await;
    });
}

#[test]
fn checkout_undoes_what_it_had_done_when_the_parcel_cannot_be_shipped() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("checkout").await;
        let input = r#"{"shop": "http://world.test", "id": "7", "item": "lantern", "cents": 4200}"#;
        let run = rig.start("checkout", "checkout", input).await;
        let receipt: Json = serde_json::from_str(&rig.output(run).await).expect("a receipt is JSON");
        assert_eq!(receipt["order"], "7");
        rig.world.forget();
        rig.world.script("/shipments", &[400]);
        let run = rig.start("checkout", "checkout", input).await;
        assert_eq!(rig.failure(run).await.code, "HTTP_STATUS");
        let methods: Vec<_> = rig.world.asked().into_iter().map(|contact| contact.method).collect();
        assert_eq!(methods, ["POST", "POST", "POST", "DELETE", "DELETE"]);
        let trace = trackway_replay::trace::trace(&rig.entries(run).await);
        let labels: Vec<_> = trace.rows.iter().filter_map(|row| row.label.as_deref()).collect();
        assert_eq!(labels, ["undo refund", "undo release"]);
        rig.replays(run).await;
    });
}

#[test]
fn research_reads_a_page_that_its_agent_wants_and_says_what_it_took() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("research").await;
        let input = r#"{"url": "http://world.test/tides", "question": "Why twice a day?"}"#;
        let run = rig.start("research", "research", input).await;
        let report: Json = serde_json::from_str(&rig.output(run).await).expect("a report is JSON");
        assert_eq!(report["calls"], 2);
        assert!(report["summary"]["answer"].is_string(), "{report}");
        let asked: Vec<_> = rig.world.asked().into_iter().map(|contact| contact.url).collect();
        assert_eq!([&asked[0], &asked[2]], ["http://world.test/tides", "http://world.test/moon"]);
        rig.replays(run).await;
    });
}

#[test]
fn agent_pays_back_what_a_person_has_approved_and_remembers_what_was_said() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("agent").await;
        let desk = async |message: &str| {
            let input = format!(r#"{{"shop": "http://world.test", "customer": "Ada", "message": "{message}"}}"#);
            let run = rig.start("agent", "desk", &input).await;
            assert_eq!(rig.ended_with_help(run).await.status, Status::Succeeded);
            rig.replays(run).await;
            serde_json::from_str::<Json>(&rig.output(run).await).expect("a reply is JSON")
        };
        let reply = desk("My lantern broke: 4711").await;
        assert_eq!(reply["agent"], "refunds");
        let shop = || rig.world.asked().into_iter().filter(|contact| contact.method != "MODEL");
        let asked: Vec<_> = shop().map(|contact| format!("{} {}", contact.method, contact.url)).collect();
        assert_eq!(asked, ["GET http://world.test/orders/4711", "POST http://world.test/orders/4711/refunds"]);
        // All that was said before is told to the model again: it has nothing to look up.
        assert_eq!(desk("And now?").await["agent"], "desk");
        assert_eq!(shop().count(), 2);
    });
}

#[test]
fn a_component_without_functions_is_seen_to_be_pure() {
    in_virtual_time(async {
        for (name, pure) in [("crossings", true), ("hello", false)] {
            let bytes = std::fs::read(guests().join(format!("{name}.wasm"))).expect("the guests are built");
            let admitted = sandbox().admit(bytes.into()).await.expect("the guest is admitted");
            assert_eq!(admitted.pure, pure, "{name}");
        }
    });
}
