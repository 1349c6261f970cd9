//! What each tenant may use and has used: set, crossed, metered and kept, as it is typed.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use super::wire::Wire;
use super::{LOOK_EVERY, PATIENCE, Place, Server, run, signal};
use crate::rig::guests;

impl Server {
    pub(super) fn deployed(&self, guest: &str, flags: &str) {
        run(self.trackway(&format!("deploy {flags}")).arg(guests().join(format!("{guest}.wasm")))).expect(0);
    }

    pub(super) fn typed(&self, words: &str) -> crate::left::Left {
        run(&mut self.trackway(words))
    }

    /// Looks until the run is so.
    pub(super) fn until(&self, run: &str, flags: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let found = self.typed(&format!("runs describe {run} {flags} -o json")).expect(0).json();
            if is_so(&found) {
                return found;
            }
            assert!(begun.elapsed() < PATIENCE, "{found}\n{}", self.log());
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// A new process on the same data.
    fn again(mut self, flags: &str) -> Server {
        signal(&self.child, "KILL");
        self.child.wait().expect("it was killed");
        let place = std::mem::replace(&mut self.place, Place::new());
        Server::start(place, flags)
    }
}

fn limit_of(quotas: &Value, name: &str) -> Value {
    let quotas = quotas.as_array().expect("a list");
    let quota = quotas.iter().find(|quota| quota["name"] == name).expect("each quota is listed");
    quota["limit"].clone()
}

#[test]
fn quotas_are_set_shown_put_back_and_kept_by_hand() {
    let server = Server::start(Place::new(), "--quota runs=7");
    server.typed("tenants create acme").expect(0);
    let shown = server.typed("tenants quota acme -o json").expect(0).json();
    assert_eq!((limit_of(&shown, "runs"), limit_of(&shown, "memory")), (json!(7), Value::Null));
    server.typed("tenants quota acme --set runs=2 --set memory=4GiB --set weight=250").expect(0);
    let shown = server.typed("tenants quota acme -o json").expect(0).json();
    assert_eq!((limit_of(&shown, "runs"), limit_of(&shown, "memory")), (json!(2), json!(4_u64 << 30)));
    assert!(server.typed("tenants quota acme -o text").expect(0).stdout.contains("4GiB"));
    assert_eq!(limit_of(&server.typed("tenants quota default -o json").expect(0).json(), "runs"), json!(7));
    for (words, code) in [("--set nonsense=1", "TW0604"), ("--set weight=0", "TW0604"), ("--set runs=many", "TW0604")] {
        server.typed(&format!("tenants quota acme {words}")).refused(2, code);
    }
    server.typed("tenants quota nobody").refused(4, "TW0702");
    let key = server.typed("keys create --tenant acme --scope admin first -o id").expect(0).stdout.trim().to_owned();
    let mut own = server.trackway("tenants quota acme --set runs=1000");
    run(own.env("TRACKWAY_KEY", &key)).refused(5, "TW0701");
    let seen = run(server.trackway("usage -o json").env("TRACKWAY_KEY", &key)).expect(0).json();
    assert_eq!(limit_of(&seen["quotas"], "runs"), json!(2));
    let audit = server.typed("audit -o jsonl").expect(0).stdout;
    assert!(audit.contains("PATCH /v1/tenants/acme/quotas"), "{audit}");
    let server = server.again("--quota runs=8");
    let shown = server.typed("tenants quota acme -o json").expect(0).json();
    assert_eq!((limit_of(&shown, "runs"), limit_of(&shown, "weight")), (json!(2), json!(250)));
    server.typed("tenants quota acme --unset runs").expect(0);
    assert_eq!(limit_of(&server.typed("tenants quota acme -o json").expect(0).json(), "runs"), json!(8));
}

#[test]
fn starts_over_a_quota_are_refused_by_name_and_another_tenant_goes_on() {
    let server = Server::start(Place::new(), "");
    for tenant in ["acme", "beta"] {
        server.typed(&format!("tenants create {tenant}")).expect(0);
        server.deployed("sleeper", &format!("--tenant {tenant}"));
    }
    let start = |tenant: &str| server.typed(&format!("run sleeps -i 600000 --detach --tenant {tenant} -o id"));
    let quota = |words: &str| server.typed(&format!("tenants quota acme {words}")).expect(0);
    quota("--set runs=1");
    let first = start("acme").expect(0).line().to_owned();
    let refused = start("acme").refused(1, "TW0708");
    assert!(refused.stderr.contains("`runs`") && refused.stderr.contains("1 of 1"), "{}", refused.stderr);
    start("beta").expect(0);
    let server_log = server.log();
    assert!(!server_log.contains("panicked"), "{server_log}");
    server.typed(&format!("runs terminate {first} --tenant acme")).expect(0);
    start("acme").expect(0);
    quota("--unset runs --set journal_bytes=1");
    let refused = start("acme").refused(1, "TW0709");
    assert!(refused.stderr.contains("`journal_bytes`"), "{}", refused.stderr);
    quota("--unset journal_bytes --set starts_per_second=1");
    let starts: Vec<_> = (0..8).map(|_| start("acme")).collect();
    assert!(starts.iter().any(|left| left.stderr.contains("starts_per_second")), "{:?}", starts[7].stderr);
    start("beta").expect(0);
    quota("--unset starts_per_second --set components=1");
    let mut more = server.trackway("deploy --tenant acme");
    let refused = run(more.arg(guests().join("hello.wasm"))).refused(1, "TW0709");
    assert!(refused.stderr.contains("`components`"), "{}", refused.stderr);
    quota("--set components=2 --set component_bytes=1");
    let mut more = server.trackway("deploy --tenant acme");
    run(more.arg(guests().join("hello.wasm"))).refused(1, "TW0709");
    run(server.trackway("deploy --tenant beta").arg(guests().join("hello.wasm"))).expect(0);
}

#[test]
fn a_refused_start_says_on_the_wire_which_quota_it_was() {
    let server = Server::with_guest("sleeper", "");
    server.typed("tenants quota default --set runs=0").expect(0);
    let mut wire = Wire::to(&server);
    let body = json!({ "workflow": "sleeps", "input": 1 }).to_string();
    let (status, problem) = wire.ask("POST", "runs", "application/json", body.as_bytes());
    assert_eq!(status, 429, "{problem}");
    assert_eq!(problem["quota"], json!({ "name": "runs", "limit": 0, "used": 0 }));
    assert!(wire.head.iter().any(|line| line.starts_with("retry-after:")), "{:?}", wire.head);
    server.typed("tenants quota default --set runs=unlimited --set fuel_per_day=0").expect(0);
    let (status, problem) = wire.ask("POST", "runs", "application/json", body.as_bytes());
    assert_eq!((status, &problem["quota"]["name"]), (429, &json!("fuel_per_day")), "{problem}");
    server.typed("tenants quota default --unset fuel_per_day --set payload_bytes=0").expect(0);
    let (status, problem) = wire.ask("POST", "runs", "application/json", body.as_bytes());
    assert_eq!((status, &problem["quota"]["name"]), (507, &json!("payload_bytes")), "{problem}");
}

/// In it and in the folders in it; none where there is no such folder.
fn files_below(folder: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let paths = entries.map(|entry| entry.expect("readable").path());
    paths.map(|path| if path.is_dir() { files_below(&path) } else { 1 }).sum()
}

#[test]
fn what_is_said_to_a_run_over_a_quota_is_refused_by_name_and_what_ends_it_is_not() {
    let server = Server::with_guest("sleeper", "");
    let start = || server.typed("run sleeps -i 80000000 --detach -o id").expect(0).line().to_owned();
    let runs = [start(), start()];
    let quota = |words: &str| server.typed(&format!("tenants quota default {words}")).expect(0);
    let large = json!("x".repeat(1_200 << 10)).to_string();
    let payloads = server.place.path().join("data/store/payloads");
    let mut wire = Wire::to(&server);
    let mut ask = |method: &str, path: &str, body: &str| {
        let (status, answer) = wire.ask(method, path, "application/json", body.as_bytes());
        (status, answer["quota"].clone())
    };
    let (signals, updates) = (format!("runs/{}/signals/go", runs[0]), format!("runs/{}/updates/go", runs[0]));

    quota("--set payload_bytes=0");
    let none_left = json!({ "name": "payload_bytes", "limit": 0, "used": 0 });
    assert_eq!(ask("POST", &signals, &large), (507, none_left.clone()));
    assert_eq!(ask("POST", &updates, &large), (507, none_left.clone()));
    assert_eq!(ask("PUT", "entities/count/a", "1"), (507, none_left));
    assert_eq!(files_below(&payloads), 0, "nothing of it is stored");
    assert_eq!(ask("POST", &signals, "1").0, 202, "nothing of it stands beside the journal");

    // No journal has what nobody read, and it counts all the same.
    quota("--set payload_bytes=3MiB");
    assert_eq!((ask("POST", &signals, &large).0, ask("POST", &signals, &large).0), (202, 202));
    let used = json!({ "name": "payload_bytes", "limit": 3 << 20, "used": 2 * large.len() });
    assert_eq!(ask("POST", &signals, &large), (507, used));
    assert_eq!(files_below(&payloads), 1, "both are the same");

    quota("--unset payload_bytes --set journal_bytes=1");
    for (method, path) in [("POST", signals.as_str()), ("PUT", "entities/count/a")] {
        let (status, quota) = ask(method, path, "1");
        assert_eq!((status, &quota["name"]), (507, &json!("journal_bytes")), "{path}: {quota}");
    }
    server.typed(&format!("runs cancel {}", runs[0])).expect(0);
    server.typed(&format!("runs terminate {}", runs[1])).expect(0);
    for run in &runs {
        server.until(run, "", |run| run["finished_at"].is_string());
    }
}

#[test]
fn what_a_run_does_over_a_quota_fails_with_its_name_and_replays_so_when_the_quota_is_gone() {
    let server = Server::start(Place::new(), "");
    server.deployed("family", "");
    server.deployed("parallel", "");
    server.deployed("effects", "--allow-host http://127.0.0.1:9");
    let fails = |quota: &str, workflow: &str, input: &str, said: &str| {
        server.typed(&format!("tenants quota default --set {quota}")).expect(0);
        let name = quota.split('=').next().expect("a name");
        let left = run(server.trackway(&format!("run {workflow} -i")).arg(input));
        assert_eq!(left.exit, 3, "{quota}: {}\n{}", left.stdout, left.stderr);
        let told = format!("{}{}", left.stdout, left.stderr);
        assert!(told.contains(said) && told.contains(name), "{quota}: {told}");
        server.typed(&format!("tenants quota default --unset {name}")).expect(0);
        let last = server.typed("runs ls -o id").expect(0).stdout;
        for id in last.lines() {
            server.typed(&format!("replay {id}")).expect(0);
        }
    };
    // Of what is stored already a start would be refused. On a slow disk many steps are on their way before one is counted.
    fails("journal_bytes=3000", "chain", r#"{"n":3000}"#, "QUOTA_EXCEEDED");
    fails("child_depth=2", "deep", "3", "QUOTA_EXCEEDED");
    fails("steps_per_run=3", "chain", r#"{"n":10}"#, "TOO_MANY");
    fails("fuel_per_delivery=1M", "fan_out", r#"{"n":5000}"#, "OUT_OF_FUEL");
    fails("egress_requests_per_day=0", "fetches", r#""http://127.0.0.1:9/""#, "QUOTA_EXCEEDED");
}

#[test]
fn a_tenant_over_the_fuel_of_its_day_is_held_and_goes_on_when_the_quota_is_raised() {
    let server = Server::start(Place::new(), "");
    for tenant in ["acme", "beta"] {
        server.typed(&format!("tenants create {tenant}")).expect(0);
        server.deployed("sleeper", &format!("--tenant {tenant}"));
    }
    let mut start = server.trackway("run naps --detach --tenant acme -o id -i");
    let held = run(start.arg("[1500, 1, 1]")).expect(0).line().to_owned();
    server.typed("tenants quota acme --set fuel_per_day=1").expect(0);
    let found = server.until(&held, "--tenant acme", |run| run["status"] == "paused");
    assert!(found.to_string().contains("fuel_per_day"), "{found}");
    server.typed("run sleeps -i 1 --tenant acme").refused(1, "TW0708");
    server.typed("run sleeps -i 1 --tenant beta").expect(0);
    // It is held also by the next process.
    let server = server.again("");
    server.until(&held, "--tenant acme", |run| run["status"] == "paused");
    server.typed("tenants quota acme --unset fuel_per_day").expect(0);
    server.until(&held, "--tenant acme", |run| run["status"] == "succeeded");
    server.typed(&format!("replay {held} --tenant acme")).expect(0);
}

#[test]
fn a_run_that_the_quota_of_a_server_holds_can_be_ended_and_goes_on_in_a_server_with_another_one() {
    let server = Server::start(Place::new(), "--quota starts_per_second=2000");
    server.deployed("sleeper", "");
    let start = || run(server.trackway("run naps --detach -o id -i").arg("[1500, 1, 1]")).expect(0).line().to_owned();
    let runs = [start(), start()];
    let server = server.again("--quota fuel_per_day=1");
    for held in &runs {
        server.until(held, "", |run| run["status"] == "paused");
    }
    server.typed(&format!("runs cancel {}", runs[0])).expect(0);
    server.until(&runs[0], "", |run| run["finished_at"].is_string());
    let server = server.again("");
    server.until(&runs[1], "", |run| run["status"] == "succeeded");
}

/// What the journals say, counted here once more: of each turn of a guest the most fuel that was seen.
fn fuel_in(journals: &[Vec<Value>]) -> (u64, u64, u64) {
    let (mut fuel, mut steps, mut started) = (0, 0, 0);
    for journal in journals {
        let mut turns: BTreeMap<(u64, u64, u64, u64), u64> = BTreeMap::new();
        let mut stretch = 0;
        for entry in journal {
            let kind = entry["kind"].as_str().expect("a kind");
            steps += u64::from(kind == "Asked");
            started += u64::from(kind == "Started");
            let Some(used) = entry["fuel"].as_u64() else { continue };
            if kind == "FuelUsed" {
                // What no command tells of, beside all that is told.
                fuel += used;
                continue;
            }
            let of_attempt = matches!(kind, "EffectAsked" | "AttemptEmitted" | "SpanBegun" | "SpanEnded");
            let number = |name: &str| if of_attempt { entry[name].as_u64().unwrap_or(0) } else { 0 };
            let deliveries = entry["deliveries"].as_u64().unwrap_or(0);
            let most = turns.entry((stretch, number("step"), number("attempt"), deliveries)).or_default();
            *most = used.max(*most);
            stretch += u64::from(kind == "Continued");
        }
        fuel += turns.values().sum::<u64>();
    }
    (fuel, steps, started)
}

fn journals_of(server: &Server) -> Vec<Vec<Value>> {
    let runs = server.typed("runs ls --limit 1000 -o id").expect(0).stdout;
    let mut wire = Wire::to(server);
    runs.lines().map(|run| wire.journal(run)).collect()
}

pub(super) fn total_of(server: &Server, flags: &str) -> Value {
    server.typed(&format!("usage {flags} -o json")).expect(0).json()["total"].clone()
}

#[test]
fn usage_is_what_the_journals_say_also_after_kills_and_in_a_backup() {
    let mut server = Server::start(Place::new(), "");
    for guest in ["parallel", "family", "sleeper"] {
        server.deployed(guest, "");
    }
    run(server.trackway("run parent -i").arg("4")).expect(0);
    run(server.trackway("run deep -i").arg("3")).expect(0);
    let mut runs = Vec::new();
    for _ in 0..3 {
        for (workflow, input) in
            [("chain", r#"{"n":300}"#), ("naps", "[300,1,200,1]"), ("fan_out", r#"{"n":200}"#), ("parent", "1")]
        {
            let mut start = server.trackway(&format!("run {workflow} --detach -o id -i"));
            runs.push(run(start.arg(input)).expect(0).line().to_owned());
        }
        server = server.again("");
    }
    for run in &runs {
        server.until(run, "", |run| run["status"] == "succeeded");
    }
    let agrees = |server: &Server| {
        let total = total_of(server, "");
        let number = |name: &str| total[name].as_u64().expect("a number");
        let counted = (number("fuel"), number("steps"), number("runs_started"));
        assert_eq!(counted, fuel_in(&journals_of(server)), "{total}");
        assert_eq!(number("runs_started"), number("runs_ended"));
        total
    };
    let total = agrees(&server);
    // The number stands in the store, not only in the process.
    let server = server.again("");
    assert_eq!(agrees(&server), total);
    let days = server.typed("usage -o json").expect(0).json()["days"].clone();
    let of_days: u64 = days.as_array().expect("a list").iter().filter_map(|day| day["used"]["fuel"].as_u64()).sum();
    assert_eq!(json!(of_days), total["fuel"]);

    server.typed("tenants quota default --set runs=77").expect(0);
    server.typed("backup all.trackway").expect(0);
    run(&mut server.place.command("restore all.trackway --data fresh")).expect(0);
    std::fs::rename(server.place.path().join("data"), server.place.path().join("old")).expect("renamed");
    std::fs::rename(server.place.path().join("fresh"), server.place.path().join("data")).expect("renamed");
    let server = server.again("");
    assert_eq!(agrees(&server), total);
    assert_eq!(limit_of(&server.typed("tenants quota default -o json").expect(0).json(), "runs"), json!(77));

    // What is removed is used all the same, and takes no room any more.
    for run in server.typed("runs ls --limit 1000 -o id").expect(0).stdout.lines() {
        server.typed(&format!("runs rm {run}")).expect(0);
    }
    let left = total_of(&server, "");
    assert_eq!((&left["fuel"], &left["journal_bytes"]), (&total["fuel"], &left["journal_bytes_removed"]), "{left}");
    assert_eq!(left["payload_bytes"], left["payload_bytes_removed"], "{left}");
}

#[test]
fn what_an_attempt_computes_until_it_is_broken_off_is_used() {
    let server = Server::with_guest("raw", "");
    let options = json!({ "timeout_ms": 500, "retry": { "attempts": 1 } });
    let spins =
        json!({ "ops": [["call", "script", { "ops": [["spin"]] }, options.to_string()], ["next"], ["return", "1"]] });
    run(server.trackway("run script -i").arg(spins.to_string())).expect(0);
    let journals = journals_of(&server);
    let noted = journals.iter().flatten().filter(|entry| entry["kind"] == "FuelUsed").collect::<Vec<_>>();
    assert!(noted.len() == 1 && noted[0]["fuel"].as_u64() >= Some(20_000_000), "{journals:?}");
    assert_eq!(total_of(&server, "")["fuel"], json!(fuel_in(&journals).0));
}

#[test]
fn with_a_tenant_go_its_quotas_and_what_it_used() {
    let server = Server::start(Place::new(), "");
    let make = || {
        server.typed("tenants create acme").expect(0);
        server.deployed("parallel", "--tenant acme");
        run(server.trackway("run chain --tenant acme -i").arg(r#"{"n":20}"#)).expect(0);
    };
    make();
    server.typed("tenants quota acme --set runs=5").expect(0);
    let total = total_of(&server, "--tenant acme");
    assert_eq!(total["steps"], json!(20), "{total}");
    assert_eq!(total_of(&server, "")["steps"], json!(0), "of another tenant");
    server.typed("tenants rm acme --yes").expect(0);
    make();
    assert_eq!(total_of(&server, "--tenant acme")["steps"], json!(20));
    assert_eq!(limit_of(&server.typed("tenants quota acme -o json").expect(0).json(), "runs"), Value::Null);
    server.typed("usage --tenant acme --day yesterday").refused(2, "TW0604");
    assert_eq!(server.typed("usage --tenant acme --day 2001-02-03 -o json").expect(0).json()["days"], json!([]));
}
