//! An agent between people, budgets, failures and ends, with kills at bad moments: nothing is paid twice, nothing is done
//! that nobody allowed, and the sums are right.

use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use trackway_replay::{RunId, Status};

use super::agents::{calls, distinct_keys, last, output, says, tools_answered};
use super::mcp::borrowing;
use super::provider::{Act, Asked, Provider, Says, stream};
use super::{Asking, trackway};
use crate::world::{Reply, World};

/// On a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// What one call of a model costs here: 80 tokens given, 20 that were known, 10 said.
const COST: u64 = 80 * 1_000 + 20 * 500 + 10 * 10_000;

async fn site() -> World {
    World::start(|asked| Reply::ok(format!("did {}", asked.path))).await
}

async fn working(provider: &Provider, site: &World) -> Asking {
    borrowing(provider, &[site.origin()]).await
}

fn job(site: &World) -> Value {
    json!({ "site": site.origin() })
}

/// Several calls of tools in one answer.
fn calls_all(asked: &Asked, wanted: &[(&str, &str, Value)]) -> Vec<Act> {
    let arguments: Vec<String> = wanted.iter().map(|(.., arguments)| arguments.to_string()).collect();
    let calls: Vec<_> =
        wanted.iter().zip(&arguments).map(|((id, name, _), arguments)| (*id, *name, arguments.as_str())).collect();
    stream(asked.protocol(), &Says { calls: &calls, ..Says::default() })
}

async fn failure(asking: &Asking, run: RunId) -> Value {
    let run = asking.server.wait(run).await;
    let failure = run.failure.as_ref().unwrap_or_else(|| panic!("{run:?}\n{}", asking.server.log()));
    serde_json::from_str(failure.get()).expect("JSON")
}

/// So many open questions, the oldest first.
async fn questions(asking: &Asking, count: usize) -> Vec<Value> {
    let begun = Instant::now();
    loop {
        let found: Value = asking.server.get("questions").await;
        let mut found = found["questions"].as_array().expect("a list").clone();
        if found.len() == count {
            found.reverse();
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "not {count}: {found:?}\n{}", asking.server.log());
    }
}

fn answer(asking: &Asking, question: &Value, given: &Value) -> crate::left::Left {
    let name = format!("{}.{}", question["step"], question["effect"]);
    let run = question["run"].as_str().expect("a run");
    trackway(&asking.server, &format!("questions answer {run} {name} --by ann -i {given}"))
}

fn spent(asking: &Value) -> (u64, u64) {
    let of = |name: &str| asking["spending"][name].as_u64().unwrap_or(0);
    (of("calls"), of("cost_nanousd"))
}

/// What the run says, and what its trace adds up to.
async fn sums(asking: &Asking, run: RunId) -> ((u64, u64), (u64, u64)) {
    let told: Value = asking.server.get(&format!("runs/{run}")).await;
    let trace: Value = asking.server.get(&format!("runs/{run}/trace")).await;
    (spent(&told), spent(&trace["trace"]["totals"]))
}

/// Waits until so many requests of tools are answered, and that is on record.
async fn answered(asking: &Asking, run: RunId, count: usize) {
    let begun = Instant::now();
    loop {
        let trace: Value = asking.server.get(&format!("runs/{run}/trace")).await;
        let rows = trace["trace"]["rows"].as_array().expect("rows");
        let done = |row: &&Value| row["what"].get("http").is_some() && row["status"] == "succeeded";
        let found = rows.iter().filter(done).count();
        if found == count {
            return;
        }
        if found > count || begun.elapsed() > PATIENCE {
            let journal = asking.server.journal(run).await;
            panic!("not {count} answers: {trace}\n{journal:#?}\n{}", asking.server.log());
        }
    }
}

/// Reads one page after the other, and never ends.
fn reads_on(asked: &Asked) -> Vec<Act> {
    calls(asked, "read", &json!({ "input": tools_answered(asked) + 1 }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_budget_stops_an_agent_at_the_same_call_whatever_is_killed() {
    // 110 tokens a call, of which the next one gets 100 and some: the fifth is the last within 600.
    for (budget, limit, used) in [("tokens", 600, 550), ("cost_nanousd", 5 * COST + COST / 2, 5 * COST)] {
        let site = site().await;
        let provider = Provider::start(|asked| match asked.number {
            3 => vec![Act::Hold],
            _ => reads_on(asked),
        })
        .await;
        let asking = working(&provider, &site).await;
        let mut job = job(&site);
        job[budget] = json!(limit);
        let run = asking.server.run("models/works", &job).await;
        provider.until(|log| log.len() == 3).await;
        let asking = asking.killed().await;
        let failure = failure(&asking, run).await;
        assert_eq!((&failure["code"], &failure["retryable"]), (&json!("BUDGET_EXCEEDED"), &json!(false)), "{failure}");
        let details = json!({ "agent": "worker", "budget": budget, "limit": limit, "used": used });
        assert_eq!(failure["details"], details);
        assert!(failure["message"].as_str().is_some_and(|told| told.contains("does not allow another call")));
        let log = provider.log();
        assert_eq!((log.len(), distinct_keys(&log)), (6, 5), "{budget}: five calls, one of them twice");
        assert_eq!(sums(&asking, run).await, ((5, 5 * COST), (5, 5 * COST)), "{budget}");
        assert_eq!(site.log().len(), 5, "{budget}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_model_that_a_tool_asks_is_paid_from_the_budget_of_the_agent() {
    let site = site().await;
    let provider = Provider::start(|asked| match asked.body["model"].as_str() {
        Some("n") => says(asked, "two"),
        _ => calls(asked, "consult", &json!({ "input": "What is one and one?" })),
    })
    .await;
    let asking = working(&provider, &site).await;
    let mut job = job(&site);
    job["tokens"] = json!(600);
    let run = asking.server.run("models/works", &job).await;
    // Each call takes 110. The tool's own are short, so the sixth is the last that fits.
    assert_eq!(failure(&asking, run).await["details"]["used"], 660);
    let of_tool = |asked: &&Asked| asked.body["model"] == "n";
    assert_eq!((provider.log().len(), provider.log().iter().filter(of_tool).count()), (6, 3));
    assert_eq!(asking.server.wait(run).await.spending.map(|spending| spending.calls), Some(6));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_need_approval_stand_side_by_side_through_kills_and_each_is_made_once() {
    let site = site().await;
    let provider = Provider::start(|asked| match tools_answered(asked) {
        0 => {
            let pay = |cents: u32| ("c", "pay", json!({ "cents": cents }));
            calls_all(asked, &[pay(1), ("c", "read", json!({ "input": 7 })), pay(2), pay(3)])
        }
        _ => {
            let messages = asked.body["messages"].as_array().expect("messages");
            let told: Vec<&Value> = messages.iter().filter(|said| said["role"] == "tool").collect();
            let ids: BTreeSet<String> = told.iter().map(|said| said["tool_call_id"].to_string()).collect();
            assert_eq!(ids.len(), 4, "calls of one name are told apart");
            says(asked, &told.iter().map(|said| said["content"].as_str().unwrap_or("?")).collect::<Vec<_>>().join("; "))
        }
    })
    .await;
    let asking = working(&provider, &site).await;
    let run = asking.server.run("models/works", &job(&site)).await;
    let asked = questions(&asking, 3).await;
    answered(&asking, run, 1).await;
    let asking = asking.killed().await;
    questions(&asking, 3).await;
    // In another order than they were asked in.
    answer(&asking, &asked[2], &json!({ "approve": true })).expect(0);
    answered(&asking, run, 2).await;
    let asking = asking.killed().await;
    let left = questions(&asking, 2).await;
    assert_eq!((&left[0]["effect"], &left[1]["effect"]), (&asked[0]["effect"], &asked[1]["effect"]));
    answer(&asking, &asked[2], &json!({ "approve": false })).refused(7, "TW0316");
    answer(&asking, &asked[1], &json!({ "approve": false })).expect(0);
    questions(&asking, 1).await;
    let asking = asking.killed().await;
    answer(&asking, &asked[0], &json!({ "approve": true })).expect(0);
    let told = output(&asking, run).await["output"].as_str().expect("text").to_owned();
    assert_eq!(told, "did /pay/1; did /7; REFUSED: a person did not allow this call; did /pay/3");
    let mut done: Vec<String> = site.log().into_iter().map(|asked| asked.path).collect();
    done.sort();
    assert_eq!(done, ["/7", "/pay/1", "/pay/3"]);
    assert_eq!((provider.log().len(), sums(&asking, run).await.0), (2, (2, 2 * COST)));
    // All is over: nobody is asked any more.
    answer(&asking, &asked[1], &json!({ "approve": true })).refused(7, "TW0316");
    assert!(asking.server.replay(run).await.identical);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_after_the_run_was_cancelled_does_nothing() {
    let site = site().await;
    let provider = Provider::start(|asked| calls(asked, "pay", &json!({ "cents": 1 }))).await;
    let asking = working(&provider, &site).await;
    let run = asking.server.run("models/works", &job(&site)).await;
    let asked = questions(&asking, 1).await;
    trackway(&asking.server, &format!("runs cancel {run}")).expect(0);
    assert_eq!(asking.server.wait(run).await.status, Status::Cancelled);
    let left = answer(&asking, &asked[0], &json!({ "approve": true }));
    assert!(left.exit != 0, "{}", left.stdout);
    let asking = asking.killed().await;
    assert_eq!(asking.server.wait(run).await.status, Status::Cancelled);
    questions(&asking, 0).await;
    assert!(site.log().is_empty());
    assert_eq!(provider.log().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_is_cancelled_during_a_call_of_a_model_asks_nobody_any_more() {
    for kills in [false, true] {
        let site = site().await;
        let provider = Provider::start(|asked| match asked.number {
            1 => reads_on(asked),
            _ => vec![Act::Hold],
        })
        .await;
        let mut asking = working(&provider, &site).await;
        let run = asking.server.run("models/works", &job(&site)).await;
        provider.until(|log| log.len() == 2).await;
        let path = format!("runs/{run}/cancel");
        let _: Value = asking.server.send(Method::POST, &path, &json!({ "reason": "enough" })).await;
        if kills {
            asking = asking.killed().await;
        }
        let run_now = asking.server.wait(run).await;
        assert_eq!(run_now.status, Status::Cancelled, "{run_now:?}");
        let asked = provider.log().len();
        // Taken up after a kill it may have asked once more before it was told.
        assert!(asked == 2 || (kills && asked == 3), "{asked}");
        assert_eq!(distinct_keys(&provider.log()), 2);
        assert_eq!(sums(&asking, run).await, ((1, COST), (1, COST)));
        let asking = asking.killed().await;
        assert_eq!(asking.server.wait(run).await.status, Status::Cancelled);
        assert_eq!(provider.log().len(), asked);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tool_that_fails_the_attempt_is_made_again_and_no_model_is() {
    let site = World::start(|asked| match (asked.path.as_str(), asked.nonce) {
        ("/stumble", 2) => Reply { status: 500, ..Reply::ok("not now") },
        _ => Reply::ok(format!("did {}", asked.path)),
    })
    .await;
    let provider = Provider::start(|asked| match tools_answered(asked) {
        0 => calls(asked, "read", &json!({ "input": 1 })),
        1 => calls(asked, "stumble", &json!({})),
        _ => says(asked, last(asked)["content"].as_str().expect("text")),
    })
    .await;
    let asking = working(&provider, &site).await;
    let run = asking.server.run("models/works", &job(&site)).await;
    assert_eq!(output(&asking, run).await["output"], "did /stumble");
    let log = provider.log();
    assert_eq!((log.len(), distinct_keys(&log)), (3, 3));
    let done: Vec<(String, Option<String>)> = site.log().into_iter().map(|asked| (asked.path, asked.key)).collect();
    assert_eq!(done.len(), 3, "{done:?}");
    assert_eq!(done[1], done[2], "the one that failed is sent again under its key");
    assert_eq!(sums(&asking, run).await, ((3, 3 * COST), (3, 3 * COST)), "what was recalled is paid once");
    let told = trackway(&asking.server, &format!("trace {run} -o text")).expect(0).stdout;
    assert_eq!(told.matches("model scripted/m").count(), 3, "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_restarted_from_a_step_pays_for_what_it_does_itself() {
    let site = site().await;
    let provider = Provider::start(|asked| match tools_answered(asked) {
        0 => reads_on(asked),
        _ => says(asked, "done"),
    })
    .await;
    let asking = working(&provider, &site).await;
    let run = asking.server.run("models/works_twice", &job(&site)).await;
    assert_eq!(output(&asking, run).await["output"], "done");
    assert_eq!(sums(&asking, run).await, ((4, 4 * COST), (4, 4 * COST)));
    for (step, paid) in [(2, 2), (1, 4)] {
        let words = format!("runs restart {run} --from-step {step} -o id");
        let fork: RunId = trackway(&asking.server, &words).expect(0).line().parse().expect("an id");
        assert_eq!(output(&asking, fork).await["output"], "done");
        assert_eq!(sums(&asking, fork).await, ((paid, paid * COST), (paid, paid * COST)), "from step {step}");
        assert!(asking.server.replay(fork).await.identical);
    }
    assert_eq!(sums(&asking, run).await.0, (4, 4 * COST), "the other one is as it was");
    let log = provider.log();
    assert_eq!((log.len(), distinct_keys(&log)), (10, 10), "a run of its own has keys of its own");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_trace_of_an_agent_that_was_killed_at_random_is_whole_and_adds_up() {
    const CALLS: usize = 8;
    let site = site().await;
    let provider = Provider::start(|asked| {
        let mut acts = match tools_answered(asked) + 1 {
            CALLS => says(asked, "done"),
            _ => reads_on(asked),
        };
        acts.insert(0, Act::Wait(Duration::from_millis(20)));
        acts
    })
    .await;
    let mut asking = working(&provider, &site).await;
    let run = asking.server.run("models/works", &job(&site)).await;
    let mut kills = 0;
    while kills < 8 && asking.server.find(run).await.is_some_and(|run| run.finished_at.is_none()) {
        tokio::time::sleep(Duration::from_millis(kills * 53 % 110)).await;
        asking = asking.killed().await;
        kills += 1;
    }
    assert_eq!(output(&asking, run).await["output"], "done");
    let paid = (CALLS as u64, CALLS as u64 * COST);
    assert_eq!(sums(&asking, run).await, (paid, paid));
    let trace: Value = asking.server.get(&format!("runs/{run}/trace")).await;
    let rows = trace["trace"]["rows"].as_array().expect("rows");
    let of = |kind: &str| rows.iter().filter(|row| row["what"].get(kind).is_some()).collect::<Vec<_>>();
    assert_eq!((of("model").len(), of("http").len()), (CALLS, CALLS - 1), "{trace}");
    for row in of("model").into_iter().chain(of("http")) {
        assert_eq!(row["status"], "succeeded", "{row}");
        assert!(row["output"].is_object() && row["started_us"].is_u64() && row["ended_us"].is_u64(), "{row}");
    }
    let cost: u64 = of("model").iter().filter_map(|row| row["what"]["model"]["cost_nanousd"].as_u64()).sum();
    assert_eq!(cost, paid.1);
}
