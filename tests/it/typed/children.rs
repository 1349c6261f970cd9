//! The runs that a run started, as people and programs see them.

use serde_json::{Value, json};

use super::removed::succeeded;
use super::wire::Wire;
use super::{Server, run};

#[test]
fn a_run_is_described_with_what_it_started() {
    let server = Server::with_guest("family", "");
    let typed = |words: &str| run(&mut server.trackway(words));
    let id = typed("run parent -i 1 --detach -o id").expect(0).line().to_owned();
    let mut wire = Wire::to(&server);
    wire.get(&format!("runs/{id}/wait"));
    let described = typed(&format!("runs describe {id}")).expect(0).json();
    assert_eq!(
        (&described["id"], &described["output"]),
        (&json!(id), &json!(6)),
        "all that is known of the run itself"
    );
    let children = described["children"].as_array().expect("a list").clone();
    let mut steps: Vec<u64> = children.iter().filter_map(|child| child["step"].as_u64()).collect();
    steps.sort_unstable();
    assert_eq!(steps, [1, 2, 3]);
    for child in &children {
        let (what, run) =
            ((&child["deployment"], &child["workflow"]), wire.get(&format!("runs/{}", text(&child["id"]))));
        assert_eq!(what, (&json!("family"), &json!("add")));
        assert_eq!((&child["status"], &run["parent"]["run"]), (&json!("succeeded"), &json!(id)));
    }
    let told = typed(&format!("runs describe {id} -o text")).expect(0).stdout;
    for child in &children {
        let line = format!("{} (step {}, family/add, succeeded)", text(&child["id"]), child["step"]);
        assert!(told.contains(&line), "{line} in:\n{told}");
    }

    let first = wire.get(&format!("runs/{id}/children?limit=2"));
    let rest = wire.get(&format!("runs/{id}/children?limit=2&cursor={}", text(&first["cursor"])));
    let both = [&first["children"], &rest["children"]].map(|page| page.as_array().expect("a list").clone()).concat();
    assert_eq!((both, &rest["cursor"]), (children, &Value::Null), "page by page the same");
    assert_eq!(wire.ask("GET", &format!("runs/{id}/children?cursor=x"), "", b"").0, 400);
    assert_eq!(wire.ask("GET", "runs/01zzz/children", "", b"").0, 404);
    let leaf = text(&first["children"][0]["id"]);
    assert_eq!(typed(&format!("runs describe {leaf}")).expect(0).json()["children"], json!([]));
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

#[test]
fn a_child_that_goes_on_alone_is_listed_and_so_is_one_that_was_removed() {
    let server = Server::with_guest("family", "");
    let typed = |words: &str| run(&mut server.trackway(words));
    let id = typed("run detaches_once -i 80000000 --detach -o id").expect(0).line().to_owned();
    succeeded(&server, &id);
    let children = || typed(&format!("runs describe {id}")).expect(0).json()["children"].clone();
    let child = children()[0].clone();
    assert_eq!((&child["workflow"], &child["status"]), (&json!("nap"), &json!("sleeping")));
    typed(&format!("runs terminate {}", text(&child["id"]))).expect(0);
    assert_eq!(children()[0]["status"], "cancelled");
    typed(&format!("runs rm {}", text(&child["id"]))).expect(0);
    assert_eq!(children(), json!([{ "id": child["id"], "step": 1, "deployment": "family" }]));
    let told = typed(&format!("runs describe {id} -o text")).expect(0).stdout;
    assert!(told.contains("(step 1, family, removed)"), "{told}");
}
