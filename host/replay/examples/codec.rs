//! Measures three codecs on the entries of a run as `headlines` makes them. Prints sizes and speeds; the numbers stand
//! in `docs/decisions/codec.md`. It decides nothing.

use serde::de::DeserializeOwned;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};
use trackway_replay::{
    Answered, Asked, AttemptStarted, Claimed, Digest, EffectAnswered, EffectAsked, EffectId, EffectRequest, End,
    Fingerprint, Finished, Kind, Limits, Outcome, Proof, RunId, Started, StepId, StepRequest, Timestamp, Value,
};

/// Steps of the run.
const STEPS: u32 = 20;
/// Long enough for a steady number, short enough to wait for.
const MEASURED_FOR: Duration = Duration::from_millis(700);

type Entries = Vec<(Timestamp, Kind)>;

fn main() {
    let entries = entries();
    println!("{} entries of a run with {STEPS} steps, one HTTP effect each", entries.len());
    println!("{:<12} {:>8} {:>12} {:>12}", "codec", "bytes", "write ns", "read ns");
    measure("postcard", &entries, |e| postcard::to_stdvec(e).ok(), |b| postcard::from_bytes::<Entries>(b).ok());
    measure("rmp-serde", &entries, |e| rmp_serde::to_vec(e).ok(), |b| rmp_serde::from_slice::<Entries>(b).ok());
    measure("serde_json", &entries, |e| serde_json::to_vec(e).ok(), from_json);
}

fn from_json<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    serde_json::from_slice(bytes).ok()
}

fn measure(
    name: &str,
    entries: &Entries,
    write: impl Fn(&Entries) -> Option<Vec<u8>>,
    read: impl Fn(&[u8]) -> Option<Entries>,
) {
    let Some(bytes) = write(entries) else { return println!("{name:<12} cannot write entries") };
    if read(&bytes).as_ref() != Some(entries) {
        return println!("{name:<12} {:>8} does not read back what it wrote", bytes.len());
    }
    let per_entry = |total: f64| total / entries.len() as f64;
    let written = per_entry(nanos(|| drop(black_box(write(black_box(entries))))));
    let was_read = per_entry(nanos(|| drop(black_box(read(black_box(&bytes))))));
    println!("{name:<12} {:>8} {written:>12.0} {was_read:>12.0}", bytes.len());
}

/// The best of several rounds, for one call.
fn nanos(work: impl Fn()) -> f64 {
    let begun = Instant::now();
    let mut best = f64::INFINITY;
    while begun.elapsed() < MEASURED_FOR {
        let round = Instant::now();
        for _ in 0..50 {
            work();
        }
        best = best.min(round.elapsed().as_nanos() as f64 / 50.0);
    }
    best
}

fn entries() -> Entries {
    let component = Digest::of(b"component");
    let proof = |n: u32| Proof { digest: Digest::of(&n.to_le_bytes()), deliveries: n, fuel: 41_000 + u64::from(n) };
    let mut kinds = vec![
        Kind::Started(Box::new(Started {
            run: RunId(0x0198_a7c3_11ee_55aa_0198_a7c3_11ee_55aa),
            workflow: "headlines".into(),
            deployment: "headlines".into(),
            component,
            input: Value::inline(r#"{"urls":["https://example.com/a","https://example.com/b"]}"#),
            seed: [0x5a; 32],
            key_seed: [0xa5; 32],
            limits: Limits::default(),
            rules: 1,
        })),
        Kind::Claimed(Claimed { worker: "worker-1".into(), engine: "wasmtime 48.0.8 x86_64".into(), component }),
    ];
    for step in 1..=STEPS {
        let url = format!("https://example.com/articles/{step}");
        let options: Arc<str> = r#"{"label":"page"}"#.into();
        let input = Value::inline(format!("\"{url}\""));
        let request = StepRequest::Call { function: "fetch_article".into(), input, options };
        let now = Timestamp::from_millis(1_795_000_000_000);
        let at: Option<Arc<str>> = Some("src/lib.rs:41".into());
        kinds.push(Kind::Asked(Asked { step: StepId(step), request, proof: proof(step), now, at: at.clone() }));
        kinds.push(Kind::AttemptStarted(AttemptStarted { step: StepId(step), attempt: 1 }));
        let request = Value::inline(format!(r#"{{"method":"GET","url":"{url}","headers":[["accept","text/html"]]}}"#));
        kinds.push(Kind::EffectAsked(EffectAsked {
            step: StepId(step),
            attempt: 1,
            effect: EffectId(1),
            request: EffectRequest::Http { request, options: "".into() },
            proof: proof(step),
            now,
            key: None,
            at,
        }));
        let answer = Value::Stored { digest: Digest::of(url.as_bytes()), size_bytes: 18_211 };
        let outcome = Outcome::Succeeded(answer);
        kinds.push(Kind::EffectAnswered(EffectAnswered {
            step: StepId(step),
            attempt: 1,
            effect: EffectId(1),
            outcome,
        }));
        let text =
            r#"{"title":"A walk on the beach","words":812,"links":31,"terms":[["walk",14],["beach",9],["step",7]]}"#;
        let outcome = Outcome::Succeeded(Value::inline(text));
        kinds.push(Kind::Answered(Answered { step: StepId(step), outcome }));
    }
    let fingerprint = Some(Fingerprint { commands: STEPS.into(), deliveries: STEPS, fuel: 90_000 });
    let end = End::Succeeded(Value::inline(r#"{"pages":20,"words":16240}"#));
    kinds.push(Kind::Finished(Finished { end, fingerprint, unread: Vec::new() }));
    let times = (0_u64..).map(|n| Timestamp(1_795_000_000_000_000 + n * 137));
    times.zip(kinds).collect()
}
