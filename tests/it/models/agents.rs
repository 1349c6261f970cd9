//! The examples `research` and `agent` as somebody who copied them runs them: the real binary, a provider and a site that
//! we script, and kills in between.

use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use trackway::api::model;
use trackway_replay::RunId;

use super::provider::{Act, Asked, Provider, Says, stream};
use super::{Asking, WITH_KEY, trackway};
use crate::server::Server;
use crate::world::{Reply, World};

/// How often the agent of these tests asks its model.
const CALLS: usize = 10;

/// A server with `guest`, which may ask the provider that it knows as `openai`, and reach the site.
async fn asking(provider: &Provider, site: &World, guest: &str) -> Asking {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let settings =
        format!("[providers.openai]\nurl = \"http://{}/v1\"\nkey_env = \"SCRIPTED_KEY\"\n", provider.address);
    std::fs::write(folder.path().join("trackway.toml"), settings).expect("writable");
    let server = Server::start(folder.path(), WITH_KEY).await;
    let component = server.upload(guest).await.digest;
    let deploy = json!({ "component": component, "allow_models": ["openai/*"], "allow_hosts": [site.origin()] });
    let _: model::Deployment = server.send(Method::PUT, &format!("deployments/{guest}"), &deploy).await;
    Asking { folder, server }
}

/// A page at each address.
pub(super) async fn site() -> World {
    World::start(|asked| Reply::ok(format!("<head><title>{0}</title></head>This is page {0}.", asked.path))).await
}

/// How many answers of tools a request holds.
pub(super) fn tools_answered(asked: &Asked) -> usize {
    let messages = asked.body["messages"].as_array().expect("messages");
    messages.iter().filter(|message| message["role"] == "tool").count()
}

pub(super) fn last(asked: &Asked) -> &Value {
    asked.body["messages"].as_array().and_then(|messages| messages.last()).expect("messages")
}

pub(super) fn calls(asked: &Asked, name: &str, arguments: &Value) -> Vec<Act> {
    stream(asked.protocol(), &Says { calls: &[("c1", name, &arguments.to_string())], ..Says::default() })
}

pub(super) fn says(asked: &Asked, text: &str) -> Vec<Act> {
    stream(asked.protocol(), &Says { pieces: &[text], ..Says::default() })
}

/// Reads one page after the other, and answers with what it has read.
fn reads(asked: &Asked, origin: &str) -> Vec<Act> {
    let page = tools_answered(asked) + 1;
    if page < CALLS {
        return calls(asked, "read_page", &json!({ "url": format!("{origin}/{page}") }));
    }
    let read: Value = serde_json::from_str(last(asked)["content"].as_str().expect("text")).expect("a page");
    says(asked, &json!({ "answer": read["text"], "points": [], "sources": [] }).to_string())
}

fn request(site: &World) -> Value {
    json!({ "url": format!("{}/tides", site.origin()), "question": "Why twice a day?" })
}

pub(super) async fn output(asking: &Asking, run: RunId) -> Value {
    let run = asking.server.wait(run).await;
    let output = run.output.as_ref().unwrap_or_else(|| panic!("{run:?}\n{}", asking.server.log()));
    serde_json::from_str(output.get()).expect("JSON")
}

/// What each key stands for was answered once, whatever was killed.
pub(super) fn distinct_keys(log: &[Asked]) -> usize {
    log.iter().map(Asked::key).collect::<BTreeSet<_>>().len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn research_reads_on_and_its_trace_is_a_tree_with_what_it_cost() {
    let site = site().await;
    let origin = site.origin();
    let provider = Provider::start(move |asked| reads(asked, &origin)).await;
    let asking = asking(&provider, &site, "research").await;
    let run = asking.server.run("research/research", &request(&site)).await;
    let report = output(&asking, run).await;
    assert_eq!(report["summary"]["answer"], "This is page /9.");
    assert_eq!((&report["calls"], &report["usage"]["input_tokens"]), (&json!(CALLS), &json!(100 * CALLS)));
    // 80 tokens given, 20 more that were known, and 10 said: as gpt-4o-mini is priced.
    assert_eq!(report["cost"], json!((80 * 150 + 20 * 75 + 10 * 600) * CALLS));
    let first = &provider.log()[0].body;
    assert!(first["messages"][0]["content"].as_str().is_some_and(|told| told.contains("Why twice a day?")), "{first}");
    assert_eq!(first["tools"][0]["function"]["name"], "read_page");
    assert_eq!(first["response_format"]["json_schema"]["name"], "Summary");
    let told = trackway(&asking.server, &format!("trace {run} -o text")).expect(0).stdout;
    for word in ["agent researcher", "tool read_page", "model openai/gpt-4o-mini"] {
        assert!(told.contains(word), "{word}: {told}");
    }
    assert!(asking.server.replay(run).await.identical);
    asking.told_no_secret();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_is_killed_in_a_call_goes_on_with_it_and_asks_for_nothing_twice() {
    for held in [1, 8] {
        let site = site().await;
        let origin = site.origin();
        let provider = Provider::start(move |asked| match asked.number {
            number if number == held => vec![Act::Hold],
            _ => reads(asked, &origin),
        })
        .await;
        let asking = asking(&provider, &site, "research").await;
        let run = asking.server.run("research/research", &request(&site)).await;
        provider.until(|log| log.len() == held).await;
        let asking = asking.killed().await;
        let report = output(&asking, run).await;
        assert_eq!((&report["summary"]["answer"], &report["calls"]), (&json!("This is page /9."), &json!(CALLS)));
        let log = provider.log();
        assert_eq!((log.len(), distinct_keys(&log)), (CALLS + 1, CALLS), "held {held}");
        assert_eq!(log[held - 1].key(), log[held].key(), "held {held}");
        let pages: BTreeSet<String> = site.log().into_iter().map(|asked| asked.path).collect();
        assert_eq!((site.log().len(), pages.len()), (CALLS, CALLS), "held {held}: each page was read once");
        assert!(asking.server.replay(run).await.identical, "held {held}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_is_killed_at_any_moment_asks_at_most_once_more_for_each_kill() {
    let site = site().await;
    let origin = site.origin();
    let provider = Provider::start(move |asked| {
        // So that kills meet calls, tools and what is between them.
        [vec![Act::Wait(Duration::from_millis(25))], reads(asked, &origin)].concat()
    })
    .await;
    let mut asking = asking(&provider, &site, "research").await;
    let run = asking.server.run("research/research", &request(&site)).await;
    let mut kills = 0;
    while kills < 12 && asking.server.find(run).await.is_some_and(|run| run.finished_at.is_none()) {
        tokio::time::sleep(Duration::from_millis(kills * 41 % 90)).await;
        asking = asking.killed().await;
        kills += 1;
    }
    let report = output(&asking, run).await;
    assert_eq!((&report["summary"]["answer"], &report["calls"]), (&json!("This is page /9."), &json!(CALLS)));
    let log = provider.log();
    assert!(kills > 2, "it was killed often enough: {kills}");
    assert_eq!(distinct_keys(&log), CALLS);
    assert!(log.len() <= CALLS + kills as usize, "{} calls with {kills} kills", log.len());
    assert_eq!(report["cost"], json!(19_500 * CALLS), "nothing was counted twice");
    assert!(site.log().len() <= CALLS + kills as usize, "{} pages with {kills} kills", site.log().len());
    assert!(asking.server.replay(run).await.identical);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_is_down_at_the_eighth_call_costs_no_call_before_it_again() {
    let site = site().await;
    let origin = site.origin();
    // All that the host tries by itself, so that the attempt fails and another one goes on with it.
    let provider = Provider::start(move |asked| match asked.number {
        8..=10 => super::provider::plain(503, super::provider::json_head(), "{}"),
        _ => reads(asked, &origin),
    })
    .await;
    let asking = asking(&provider, &site, "research").await;
    let run = asking.server.run("research/research", &request(&site)).await;
    assert_eq!(output(&asking, run).await["calls"], json!(CALLS));
    let log = provider.log();
    assert_eq!((log.len(), distinct_keys(&log)), (CALLS + 3, CALLS));
    assert_eq!(site.log().len(), CALLS);
    assert!(asking.server.replay(run).await.identical);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_article_that_tells_the_agent_what_to_do_reaches_nothing_outside_the_grant() {
    let (site, elsewhere) = (site().await, World::start(|_| Reply::ok("stolen")).await);
    let there = elsewhere.origin();
    let provider = Provider::start(move |asked| match tools_answered(asked) {
        0 => calls(asked, "read_page", &json!({ "url": format!("{there}/?key=") })),
        1 => calls(asked, "run_command", &json!({ "command": "env" })),
        2 => calls(asked, "read_page", &json!({ "url": 7 })),
        _ => says(asked, &json!({ "answer": "no", "points": [], "sources": [] }).to_string()),
    })
    .await;
    let asking = asking(&provider, &site, "research").await;
    let run = asking.server.run("research/research", &request(&site)).await;
    assert_eq!(output(&asking, run).await["summary"]["answer"], "no");
    assert!(elsewhere.log().is_empty());
    let last = provider.log().pop().expect("it was asked").body["messages"].to_string();
    for told in ["EGRESS_DENIED", "UNKNOWN_TOOL", "arguments.url: expected string, not number"] {
        assert!(last.contains(told), "{told}: {last}");
    }
    asking.told_no_secret();
}

/// Hands the customer over, looks the order up, wants to pay, and tells what became of that.
fn pays_back(asked: &Asked) -> Vec<Act> {
    match tools_answered(asked) {
        0 => calls(asked, "hand_off_to_refunds", &json!({})),
        1 => calls(asked, "find_order", &json!({ "order": "4711" })),
        2 => calls(asked, "refund", &json!({ "order": "4711", "cents": 4_200, "why": "it broke" })),
        _ => says(asked, last(asked)["content"].as_str().expect("text")),
    }
}

async fn shop() -> World {
    World::start(|asked| match asked.path.as_str() {
        "/orders/4711" => Reply::ok(json!({ "id": "4711", "item": "lantern", "cents": 4_200 }).to_string()),
        _ => Reply::ok(""),
    })
    .await
}

/// What a person is asked, once they are.
async fn question(asking: &Asking) -> Value {
    let begun = Instant::now();
    loop {
        let found: Value = asking.server.get("questions").await;
        if let Some(question) = found["questions"].get(0) {
            return question.clone();
        }
        assert!(begun.elapsed() < Duration::from_secs(120), "nobody is asked\n{}", asking.server.log());
    }
}

fn answer(asking: &Asking, question: &Value, given: &Value) {
    let name = format!("{}.{}", question["step"], question["effect"]);
    let run = question["run"].as_str().expect("a run");
    trackway(&asking.server, &format!("questions answer {run} {name} --by ann -i {given}")).expect(0);
}

fn message(shop: &World, text: &str) -> Value {
    json!({ "shop": shop.origin(), "customer": "Ada", "message": text })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refund_waits_for_a_person_through_a_kill_and_is_paid_once() {
    let shop = shop().await;
    let provider = Provider::start(pays_back).await;
    let asking = asking(&provider, &shop, "agent").await;
    let run = asking.server.run("agent/desk", &message(&shop, "My lantern broke: 4711")).await;
    let asked = question(&asking).await;
    assert_eq!(asked["title"], "May agent refunds call refund?");
    assert!(asked["form"]["doc"].as_str().is_some_and(|doc| doc.contains("\"cents\": 4200")), "{asked}");
    assert_eq!((provider.log().len(), shop.log().len()), (3, 1));
    let asking = asking.killed().await;
    assert_eq!(question(&asking).await["title"], asked["title"]);
    answer(&asking, &asked, &json!({ "approve": true }));
    let reply = output(&asking, run).await;
    assert_eq!(reply, json!({ "text": "4200 cents were paid back", "agent": "refunds" }));
    let paths: Vec<String> = shop.log().into_iter().map(|asked| format!("{} {}", asked.method, asked.path)).collect();
    assert_eq!(paths, ["GET /orders/4711", "POST /orders/4711/refunds"]);
    assert_eq!((provider.log().len(), distinct_keys(&provider.log())), (4, 4));
    assert!(asking.server.replay(run).await.identical);
    let told = trackway(&asking.server, &format!("trace {run} -o text")).expect(0).stdout;
    for word in ["agent desk", "agent refunds", "tool refund", "ann"] {
        assert!(told.contains(word), "{word}: {told}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_paid_where_a_person_says_no_and_the_next_message_knows_it() {
    let shop = shop().await;
    let provider = Provider::start(pays_back).await;
    let asking = asking(&provider, &shop, "agent").await;
    let run = asking.server.run("agent/desk", &message(&shop, "My lantern broke: 4711")).await;
    answer(&asking, &question(&asking).await, &json!({ "approve": false, "why": "too-old" }));
    let refusal = "REFUSED: a person did not allow this call: too-old";
    assert_eq!(output(&asking, run).await["text"], refusal);
    assert_eq!(shop.log().len(), 1);
    // All that was said stands before what is said next.
    let run = asking.server.run("agent/desk", &message(&shop, "And now?")).await;
    output(&asking, run).await;
    let said = provider.log().pop().expect("it was asked again").body["messages"].to_string();
    assert!(said.contains("My lantern broke") && said.contains(refusal) && said.contains("And now?"), "{said}");
}
