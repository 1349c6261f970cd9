//! A server that stops while runs are in flight: in order at the first signal, at once at the
//! second. Either way every run ends, and nothing that was answered is done again.

use serde_json::{Value, json};
use std::time::{Duration, Instant};

use super::disk::SmallDisk;
use super::wire::Wire;
use super::witness::Witness;
use super::{Place, Server, run, signal};
use crate::rig::guests;

const STEPS: [&str; 3] = ["/step/0/0", "/step/1/0", "/step/2/0"];
/// Longer than it takes to start a run and to send a signal.
const NAP: Duration = Duration::from_secs(5);

/// A server with an effect in flight, a run that sleeps and one that computes.
struct Busy {
    server: Server,
    witness: Witness,
    posts: String,
    naps: String,
    loops: String,
    due: Instant,
}

impl Busy {
    fn server() -> Busy {
        let witness = Witness::holding(STEPS[1]);
        let server = Server::with_guest("effects", &format!("--allow-host {}", witness.url));
        for guest in ["sleeper", "limits"] {
            run(server.trackway("deploy").arg(guests().join(format!("{guest}.wasm")))).expect(0);
        }
        let mut wire = Wire::to(&server);
        let mut start = |workflow: &str, input: Value| {
            let body = json!({ "workflow": workflow, "input": input }).to_string();
            let (status, answer) = wire.ask("POST", "runs", "application/json", body.as_bytes());
            assert_eq!(status, 201, "{answer}");
            answer["run"]["id"].as_str().expect("an id").to_owned()
        };
        let posts = start("posts", json!({ "url": witness.url, "steps": 3 }));
        witness.wait_for(STEPS[1], 1);
        let loops = start("endless_loop", Value::Null);
        let naps = start("naps", json!([NAP.as_millis()]));
        Busy { server, witness, posts, naps, loops, due: Instant::now() + NAP }
    }

    fn stop(&self) {
        let begun = Instant::now();
        signal(&self.server.child, "TERM");
        while !self.server.log().contains("stopping") {
            assert!(begun.elapsed() < super::PATIENCE, "{}", self.server.log());
            std::thread::yield_now();
        }
        assert!(Instant::now() < self.due, "the machine is too slow for this test: the nap was over already");
    }

    /// Every run ends as if nothing had happened.
    fn goes_on(place: Place, runs: [&str; 3], witness: &Witness) -> Vec<Value> {
        let server = Server::start(place, "");
        let mut wire = Wire::to(&server);
        let mut journals = Vec::new();
        for (id, (status, told)) in
            runs.into_iter().zip([("succeeded", json!(21)), ("succeeded", json!(1)), ("failed", json!("OUT_OF_FUEL"))])
        {
            let ended = loop {
                let run = wire.get(&format!("runs/{id}/wait"));
                if run.get("finished_at").is_some() {
                    break run;
                }
            };
            assert_eq!(ended["status"], status, "{ended}");
            assert!(ended["output"] == told || ended["failure"]["code"] == told, "{ended}");
            journals.push(Value::from(wire.journal(id)));
        }
        assert_eq!(witness.counts([STEPS[0], STEPS[2]]), [1, 1], "{:?}", witness.asked());
        journals
    }
}

#[test]
fn a_server_on_a_full_disk_ends_after_its_grace_and_loses_nothing_acknowledged() {
    let place = Place::new();
    let disk = match SmallDisk::mount(place.path().join("data")) {
        Ok(disk) => disk,
        Err(why) => {
            println!("NOT RUN: stopping on a full disk: {} (it needs root)", why.trim());
            return;
        }
    };
    let witness = Witness::holding(STEPS[1]);
    let server = Server::start(place, "--grace 1s");
    let deploy = format!("deploy --allow-host {}", witness.url);
    run(server.trackway(&deploy).arg(guests().join("effects.wasm"))).expect(0);
    run(server.trackway("deploy").arg(guests().join("hello.wasm"))).expect(0);
    let plan = json!({ "url": witness.url, "steps": 3 }).to_string();
    let posts = run(server.trackway("run posts --detach -o id -i").arg(plan)).expect(0);
    witness.wait_for(STEPS[1], 1);
    disk.fill();
    // The host looks at the disk ten times a second; its reserve is for what comes in between.
    let mut looks = (0..200).map(|_| run(&mut server.trackway("run hello --detach")));
    let refused = looks.find(|hello| hello.exit != 0).expect("the host notices that the disk is full");
    refused.refused(1, "TW0405");
    // The answer finds no room in the journal.
    witness.release();
    let begun = Instant::now();
    while !server.log().contains("storage takes nothing") {
        assert!(begun.elapsed() < super::PATIENCE, "{}", server.log());
        std::thread::yield_now();
    }
    signal(&server.child, "TERM");
    let log = server.place.path().join("log");
    let (exit, place) = server.wait();
    let told = std::fs::read_to_string(log).expect("it was written");
    assert_eq!(exit, Some(1), "{told}");
    for words in ["[TW0405]", "still had something to write", "Nothing that was acknowledged is lost"] {
        assert!(told.contains(words), "no `{words}` in:\n{told}");
    }
    // The next one says so before anybody asks it for anything.
    let (exit, place) = {
        let server = Server::start(place, "");
        assert!(server.log().contains("are kept in reserve: nothing more is written"), "{}", server.log());
        signal(&server.child, "KILL");
        server.wait()
    };
    assert_eq!(exit, None, "it was killed");
    disk.clear();

    let server = Server::start(place, "");
    let waited = Wire::to(&server).get(&format!("runs/{}/wait", posts.line()));
    assert_eq!(waited["output"], 21, "{waited}\n{}", server.log());
    assert_eq!(witness.counts(STEPS), [1, 2, 1], "only the answer that was not written is asked for again");
    let keys = witness.asked().into_iter().filter(|(path, _)| path == STEPS[1]).map(|(_, key)| key);
    let keys = keys.collect::<std::collections::BTreeSet<_>>();
    assert_eq!(keys.len(), 1, "it is asked for under the same key: {keys:?}");
    signal(&server.child, "TERM");
    let (exit, place) = server.wait();
    assert_eq!(exit, Some(0));
    drop((disk, place));
}

/// The epoch and the text of each entry.
fn entries(journal: &Value) -> impl Iterator<Item = (u64, String)> {
    let entries = journal.as_array().expect("a list").iter();
    entries.map(|entry| (entry["epoch"].as_u64().expect("an epoch"), entry.to_string()))
}

fn epoch_of(journal: &Value, wanted: &str) -> u64 {
    entries(journal).find(|(_, text)| text.contains(wanted)).unwrap_or_else(|| panic!("no {wanted} in {journal}")).0
}

#[test]
fn a_signal_lets_effects_in_flight_end_and_begins_nothing_new() {
    let Busy { server, witness, posts, naps, loops, due } = {
        let busy = Busy::server();
        busy.stop();
        busy
    };
    let refused = run(&mut server.trackway("run sleeps -i 1")).expect(8);
    assert!(refused.stderr.contains("TW0602") || refused.stderr.contains("TW0606"), "{}", refused.stderr);
    // Whoever took up a run that is due would do it now, while the effect is still open.
    while Instant::now() < due + Duration::from_millis(500) {
        std::thread::park_timeout(due + Duration::from_millis(500) - Instant::now());
    }
    assert_eq!(witness.counts(STEPS), [1, 1, 0]);
    witness.release();
    let (exit, place) = server.wait();
    assert_eq!(exit, Some(0));
    assert_eq!(witness.counts(STEPS), [1, 1, 0], "a step was begun after the signal");

    let journals = Busy::goes_on(place, [&posts, &naps, &loops], &witness);
    assert_eq!(witness.counts(STEPS), [1, 1, 1], "{:?}", witness.asked());
    // The answer was journaled by the process that was told to stop; what came after, by the next.
    let first = entries(&journals[0]).next().expect("a start").0;
    let answers: Vec<u64> =
        entries(&journals[0]).filter(|(_, text)| text.contains("EffectAnswered")).map(|(epoch, _)| epoch).collect();
    assert_eq!(answers.len(), 3, "{}", journals[0]);
    assert!(answers[..2] == [first, first] && answers[2] > first, "{answers:?}");
    assert!(epoch_of(&journals[1], "AttemptStarted") > first, "the nap was ended by the process that was stopping");
}

#[test]
fn a_second_signal_ends_a_busy_server_at_once_and_loses_nothing() {
    let busy = Busy::server();
    busy.stop();
    signal(&busy.server.child, "TERM");
    let Busy { server, witness, posts, naps, loops, .. } = busy;
    let (exit, place) = server.wait();
    assert_eq!(exit, Some(130));
    witness.release();

    Busy::goes_on(place, [&posts, &naps, &loops], &witness);
    // What was in flight is asked again, and says that it is the same.
    let asked = witness.asked();
    let keys: Vec<&str> = asked.iter().filter(|(path, _)| path == STEPS[1]).map(|(_, key)| key.as_str()).collect();
    assert!(keys.len() == 2 && keys[0] == keys[1] && !keys[0].is_empty(), "{asked:?}");
}
