use serde_json::{Value, json};

use super::support::*;

#[tokio::test]
async fn a_run_gives_back_the_very_bytes_it_got() {
    let server = Server::start().await;
    server.deploy("main", echo()).await;
    let reply = server.post("/v1/runs?wait=60", r#"{"workflow":"echo","input":{"name":"\u0041","z":1.50e2}}"#).await;
    assert_eq!(reply.status, 201, "{}", reply.text());
    assert!(reply.text().contains(r#""input":{"name":"\u0041","z":1.50e2}"#), "{}", reply.text());
    assert!(reply.text().contains(r#""output":{"name":"\u0041","z":1.50e2}"#), "{}", reply.text());
    let run = &reply.json::<Value>()["run"];
    assert_eq!((&run["status"], &run["deployment"]), (&json!("succeeded"), &json!("main")));
    let id = run["id"].as_str().expect("an id");
    assert!(reply.has_header(&format!("location: /v1/runs/{id}")), "{}", reply.head);
}

#[tokio::test]
async fn a_run_is_found_by_id_by_prefix_and_as_the_last_one() {
    let server = Server::start().await;
    server.deploy("main", echo()).await;
    let first = server.finish(r#"{"workflow":"echo","input":{"name":"a"}}"#).await;
    let second = server.finish(r#"{"workflow":"main/echo","input":{"name":"b"}}"#).await;
    for (reference, id) in [(first.as_str(), &first), (&first[..25], &first), ("@last", &second)] {
        let run: Value = server.get(&format!("/v1/runs/{reference}")).await.json();
        assert_eq!(run["id"], **id, "{reference}");
    }
    let ambiguous = server.get(&format!("/v1/runs/{}", &first[..1])).await;
    assert_eq!(ambiguous.problem(), (409, "TW0304".to_owned()));
    for nothing in ["zzzz", "0000", "!", "@first"] {
        assert_eq!(server.get(&format!("/v1/runs/{nothing}")).await.problem(), (404, "TW0303".to_owned()), "{nothing}");
    }
}

#[tokio::test]
async fn without_runs_there_is_no_last_one() {
    let server = Server::start().await;
    assert_eq!(server.get("/v1/runs/@last").await.problem(), (404, "TW0303".to_owned()));
}

#[tokio::test]
async fn a_failed_run_shows_its_failure_as_the_guest_gave_it() {
    let server = Server::start().await;
    server.deploy("main", fail()).await;
    let reply = server.post("/v1/runs?wait=60", r#"{"workflow":"fail"}"#).await;
    assert!(reply.text().contains(r#""details":{"z":1.50,"a":2}"#), "{}", reply.text());
    let run = &reply.json::<Value>()["run"];
    assert_eq!((&run["status"], &run["code"]), (&json!("failed"), &json!("NO_LUCK")));
    assert_eq!((&run["failure"]["message"], &run["input"]), (&json!("not today"), &json!(null)));
}

#[tokio::test]
async fn the_same_key_starts_one_run_and_another_request_is_a_conflict() {
    let server = Server::start().await;
    server.deploy("main", echo()).await;
    let start = async |body: &str| server.ask("POST", "/v1/runs", &[("idempotency-key", "k1")], body.as_bytes()).await;
    let first = start(r#"{"workflow":"echo","input":{"name":"a"}}"#).await;
    assert_eq!((first.status, &first.json::<Value>()["existing"]), (201, &json!(false)));
    // What the name points to by now does not matter: it is the same request.
    server.deploy("main", nap(1, "1")).await;
    let second = start(r#"{"workflow":"echo","input":{"name":"a"}}"#).await;
    assert_eq!((second.status, &second.json::<Value>()["existing"]), (200, &json!(true)));
    assert_eq!(first.json::<Value>()["run"]["id"], second.json::<Value>()["run"]["id"]);
    let other = start(r#"{"workflow":"echo","input":{"name":"b"}}"#).await;
    assert_eq!(other.problem(), (409, "TW0309".to_owned()));
    let all: Value = server.get("/v1/runs").await.json();
    assert_eq!(all["runs"].as_array().map(Vec::len), Some(1), "{all}");
}

#[tokio::test]
async fn many_starts_with_one_key_at_once_are_one_run() {
    let server = Server::start().await;
    server.deploy("main", echo()).await;
    let body = br#"{"workflow":"echo","input":{"name":"a"}}"#;
    let starts = (0..16).map(|_| server.ask("POST", "/v1/runs", &[("idempotency-key", "k")], body));
    let replies = futures_util::future::join_all(starts).await;
    let ids: std::collections::BTreeSet<_> =
        replies.iter().map(|reply| reply.json::<Value>()["run"]["id"].to_string()).collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
    assert_eq!(replies.iter().filter(|reply| reply.status == 201).count(), 1);
}

#[tokio::test]
async fn a_key_that_is_none_is_refused() {
    let server = Server::start().await;
    server.deploy("main", echo()).await;
    for key in ["", &"k".repeat(257), "ключ"] {
        let body = br#"{"workflow":"echo","input":{"name":"a"}}"#;
        let reply = server.ask("POST", "/v1/runs", &[("idempotency-key", key)], body).await;
        assert_eq!(reply.problem(), (400, "TW0604".to_owned()), "{key}");
    }
}

#[tokio::test]
async fn an_input_that_does_not_fit_is_refused_by_its_place() {
    let server = Server::start().await;
    server.deploy("main", echo()).await;
    let wrong = server.post("/v1/runs", r#"{"workflow":"echo","input":{"name":7}}"#).await;
    assert_eq!(wrong.problem(), (422, "TW0306".to_owned()));
    assert!(wrong.text().contains("at /name"), "{}", wrong.text());
    let missing = server.post("/v1/runs", r#"{"workflow":"echo"}"#).await;
    assert_eq!(missing.problem(), (422, "TW0306".to_owned()));
    let not_json = server.post("/v1/runs", r#"{"workflow":"echo","input":{name:1}}"#).await;
    assert_eq!(not_json.problem(), (400, "TW0305".to_owned()));
    for bad in [r#"{"input":1}"#, "[]", r#"{"workflow":1}"#, r#"{"workflow":"echo","extra":1}"#] {
        assert_eq!(server.post("/v1/runs", bad).await.problem(), (400, "TW0604".to_owned()), "{bad}");
    }
    assert_eq!(server.post("/v1/runs", "").await.problem(), (400, "TW0305".to_owned()));
    let all: Value = server.get("/v1/runs").await.json();
    assert_eq!(all, json!({"runs": []}));
}

#[tokio::test]
async fn an_input_over_16_mib_is_refused() {
    let server = Server::start().await;
    server.deploy("main", echo()).await;
    for size in [(16 << 20) + 1, 17 << 20] {
        let input = format!(r#"{{"name":"{}"}}"#, "a".repeat(size - r#"{"name":""}"#.len()));
        assert_eq!(input.len(), size);
        let reply = server.post("/v1/runs", &format!(r#"{{"workflow":"echo","input":{input}}}"#)).await;
        assert_eq!(reply.problem(), (413, "TW0307".to_owned()));
    }
}

#[tokio::test]
async fn a_workflow_is_named_with_its_deployment_where_several_have_it() {
    let server = Server::start().await;
    let nothing = server.post("/v1/runs", r#"{"workflow":"echo"}"#).await;
    assert_eq!(nothing.problem(), (404, "TW0302".to_owned()));
    server.deploy("one", echo()).await;
    server.deploy("two", echo()).await;
    let ambiguous = server.post("/v1/runs", r#"{"workflow":"echo","input":{"name":"a"}}"#).await;
    assert_eq!(ambiguous.problem(), (409, "TW0312".to_owned()));
    assert!(ambiguous.text().contains("one/echo, two/echo"), "{}", ambiguous.text());
    server.finish(r#"{"workflow":"two/echo","input":{"name":"a"}}"#).await;
    let elsewhere = server.post("/v1/runs", r#"{"workflow":"three/echo"}"#).await;
    assert_eq!(elsewhere.problem(), (404, "TW0301".to_owned()));
    let unknown = server.post("/v1/runs", r#"{"workflow":"one/nap"}"#).await;
    assert_eq!(unknown.problem(), (404, "TW0302".to_owned()));
    assert!(unknown.text().contains("it has: echo"), "{}", unknown.text());
}

#[tokio::test]
async fn runs_are_listed_newest_first_in_pages() {
    let server = Server::start().await;
    server.deploy("main", echo()).await;
    server.deploy("other", fail()).await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(server.finish(r#"{"workflow":"echo","input":{"name":"a"}}"#).await);
    }
    assert_eq!(server.post("/v1/runs?wait=60", r#"{"workflow":"fail"}"#).await.status, 201);
    ids.reverse();
    let mut seen = Vec::new();
    let mut path = "/v1/runs?workflow=echo&deployment=main&status=succeeded,failed&limit=2".to_owned();
    loop {
        let page: Value = server.get(&path).await.json();
        let runs = page["runs"].as_array().expect("a list");
        seen.extend(runs.iter().map(|run| run["id"].as_str().expect("an id").to_owned()));
        let Some(cursor) = page["cursor"].as_str() else { break };
        path = format!("/v1/runs?workflow=echo&deployment=main&status=succeeded,failed&limit=2&cursor={cursor}");
    }
    assert_eq!(seen, ids);
    let failed: Value = server.get("/v1/runs?status=failed").await.json();
    assert_eq!(failed["runs"][0]["workflow"], "fail");
    let started = failed["runs"][0]["started_at"].as_str().expect("a time");
    for (query, count) in [
        ("code=NO_LUCK".to_owned(), 1),
        ("code=NO".to_owned(), 0),
        (format!("since={started}"), 1),
        (format!("until={started}"), 3),
        ("since=2999-01-01T00:00:00Z".to_owned(), 0),
        ("min_cost_nanousd=0".to_owned(), 4),
        ("min_cost_nanousd=1".to_owned(), 0),
    ] {
        let page: Value = server.get(&format!("/v1/runs?{query}")).await.json();
        assert_eq!(page["runs"].as_array().map(Vec::len), Some(count), "{query}: {page}");
    }
    for bad in ["status=done", "since=yesterday", "limit=x", "min_cost_nanousd=-1", "cursor=x", "colour=red"] {
        assert_eq!(server.get(&format!("/v1/runs?{bad}")).await.problem(), (400, "TW0604".to_owned()), "{bad}");
    }
}

#[tokio::test]
async fn waiting_ends_with_the_run_or_with_patience() {
    let server = Server::start().await;
    server.deploy("main", nap(3_600_000, "1")).await;
    server.deploy("short", echo()).await;
    let long = server.begin(r#"{"workflow":"nap"}"#).await;
    let run: Value = server.get(&format!("/v1/runs/{long}/wait?timeout=0.01")).await.json();
    assert!(["queued", "running", "sleeping"].contains(&run["status"].as_str().expect("a status")), "{run}");
    let short = server.begin(r#"{"workflow":"echo","input":{"name":"a"}}"#).await;
    let run: Value = server.get(&format!("/v1/runs/{short}/wait")).await.json();
    assert_eq!((&run["status"], &run["output"]), (&json!("succeeded"), &json!({"name": "a"})));
    for bad in ["timeout=-1", "timeout=NaN", "timeout=soon"] {
        let reply = server.get(&format!("/v1/runs/{short}/wait?{bad}")).await;
        assert_eq!(reply.problem(), (400, "TW0604".to_owned()), "{bad}");
    }
}

#[tokio::test]
async fn a_cancelled_run_ends_and_takes_no_other_cancel() {
    let server = Server::start().await;
    server.deploy("main", nap(3_600_000, "1")).await;
    let run = server.begin(r#"{"workflow":"nap"}"#).await;
    let path = format!("/v1/runs/{run}/cancel");
    let key = [("idempotency-key", "c1")];
    let asked = server.ask("POST", &path, &key, br#"{"reason":"enough"}"#).await;
    assert_eq!(asked.status, 202, "{}", asked.text());
    let ended: Value = server.get(&format!("/v1/runs/{run}/wait")).await.json();
    assert!(ended["finished_at"].is_string(), "{ended}");
    // The same request again is answered as it was, though the run has ended since.
    let again = server.ask("POST", &path, &key, br#"{"reason":"enough"}"#).await;
    assert_eq!(again.status, 202, "{}", again.text());
    assert_eq!(server.post(&path, "").await.problem(), (409, "TW0308".to_owned()));
    assert_eq!(server.post("/v1/runs/zzzz/cancel", "").await.problem(), (404, "TW0303".to_owned()));
    assert_eq!(server.post(&path, "{").await.problem(), (400, "TW0604".to_owned()));
    let journal: Value = server.get(&format!("/v1/runs/{run}/journal")).await.json();
    let entries = journal["entries"].as_array().expect("entries");
    let cancels: Vec<_> = entries.iter().filter(|entry| entry["kind"] == "CancelReceived").collect();
    assert_eq!((cancels.len(), &cancels[0]["reason"]), (1, &json!("enough")));
}

#[tokio::test]
async fn trace_journal_and_logs_tell_the_same_run() {
    let server = Server::start().await;
    server.deploy("main", nap(1, r#"{"z":1.50}"#)).await;
    let run = server.finish(r#"{"workflow":"nap"}"#).await;
    let trace = server.get(&format!("/v1/runs/{run}/trace")).await;
    assert!(trace.text().contains(r#"{"z":1.50}"#), "{}", trace.text());
    let trace: crate::api::model::Trace = trace.json();
    assert_eq!((trace.trace.rows.len(), trace.trace.totals.entries), (1, trace.position));

    let journal: Value = server.get(&format!("/v1/runs/{run}/journal")).await.json();
    let entries = journal["entries"].as_array().expect("entries");
    assert_eq!(entries.len() as u64, trace.position);
    assert_eq!((&entries[0]["kind"], &entries[0]["run"]), (&json!("Started"), &json!(run)));
    assert_eq!(entries.last().expect("an end")["outcome"], "succeeded");
    let rest: Value = server.get(&format!("/v1/runs/{run}/journal?from={}", journal["next"])).await.json();
    assert_eq!(rest, json!({"entries": []}));
    let tail: Value = server.get(&format!("/v1/runs/{run}/journal?from=2")).await.json();
    assert_eq!(tail["entries"][0], entries[2]);
}

#[tokio::test]
async fn a_log_line_is_told_with_its_fields_as_they_were() {
    let server = Server::start().await;
    server.deploy("main", echo()).await;
    let run = server.finish(r#"{"workflow":"echo","input":{"name":"a"}}"#).await;
    let logs = server.get(&format!("/v1/runs/{run}/logs")).await;
    assert!(logs.text().contains(r#""fields":{"n":1.0}"#), "{}", logs.text());
    let logs: Value = logs.json();
    assert_eq!((&logs["lines"][0]["message"], &logs["lines"][0]["level"]), (&json!("hello"), &json!("info")));
    let id = logs["lines"][0]["id"].as_str().expect("an id");
    let rest: Value = server.get(&format!("/v1/runs/{run}/logs?cursor={id}")).await.json();
    assert_eq!(rest, json!({"lines": []}));
    assert_eq!(server.get(&format!("/v1/runs/{run}/logs?cursor=x")).await.problem(), (400, "TW0604".to_owned()));
}

#[tokio::test]
async fn a_finished_run_replays_identical_and_other_code_diverges() {
    let server = Server::start().await;
    server.deploy("main", nap(1, "1")).await;
    let other = server.deploy("other", nap(2, "1")).await;
    let run = server.finish(r#"{"workflow":"main/nap"}"#).await;
    let path = format!("/v1/runs/{run}/replay");
    let report: Value = server.post(&path, "").await.json();
    assert_eq!((&report["identical"], &report["end"]), (&json!(true), &json!("identical")), "{report}");
    assert_eq!((&report["commands_with_fuel"], &report["deliveries"]), (&json!(1), &json!(1)), "{report}");
    let changed: Value = server.post(&path, &format!(r#"{{"component":"{other}"}}"#)).await.json();
    assert_eq!((&changed["identical"], &changed["component"]), (&json!(false), &json!(other)), "{changed}");
    assert_eq!(changed["divergence"]["step"], 1, "{changed}");
    let unknown = server.post(&path, &format!(r#"{{"component":"{}"}}"#, "ab".repeat(32))).await;
    assert_eq!(unknown.problem(), (404, "TW0209".to_owned()));
}

#[tokio::test]
async fn a_terminated_run_has_ended_when_it_is_answered_and_nothing_is_left_to_try_again() {
    let server = Server::start().await;
    server.deploy("main", nap(3_600_000, "1")).await;
    let run = server.begin(r#"{"workflow":"nap"}"#).await;
    let retry = format!("/v1/runs/{run}/retry");
    assert_eq!(server.post(&retry, "").await.problem(), (409, "TW0315".to_owned()));
    assert_eq!(server.post(&retry, r#"{"step": 9}"#).await.problem(), (409, "TW0315".to_owned()));
    assert_eq!(server.post(&retry, r#"{"effect": "answer"}"#).await.problem(), (400, "TW0604".to_owned()));
    let path = format!("/v1/runs/{run}/terminate");
    let key = [("idempotency-key", "t1")];
    let ended = server.ask("POST", &path, &key, br#"{"reason":"it loops"}"#).await;
    assert_eq!(ended.status, 202, "{}", ended.text());
    let ended: Value = ended.json();
    assert_eq!(
        (&ended["status"], &ended["code"], &ended["message"]),
        (&json!("cancelled"), &json!("TERMINATED"), &json!("it loops"))
    );
    assert_eq!(server.ask("POST", &path, &key, br#"{"reason":"it loops"}"#).await.status, 202, "asked again");
    assert_eq!(server.post(&path, "").await.problem(), (409, "TW0308".to_owned()));
    assert_eq!(server.post(&retry, "").await.problem(), (409, "TW0308".to_owned()));
}

#[tokio::test]
async fn a_run_with_a_timeout_fails_at_its_deadline() {
    let server = Server::start().await;
    server.deploy("main", nap(3_600_000, "1")).await;
    let run: Value = server.post("/v1/runs?wait=60", r#"{"workflow":"nap","run_timeout_ms":50}"#).await.json();
    assert_eq!((&run["run"]["status"], &run["run"]["code"]), (&json!("failed"), &json!("TIMEOUT")), "{run}");
    let zero = server.post("/v1/runs", r#"{"workflow":"nap","run_timeout_ms":0}"#).await;
    assert_eq!(zero.problem(), (400, "TW0604".to_owned()));
}
