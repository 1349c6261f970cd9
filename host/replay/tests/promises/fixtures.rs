//! Journals of every format that was ever written stay readable, for ever.
//!
//! `tests/journals/vN/NAME.frames` holds frames of format N as hexadecimal text, one a line;
//! `NAME.entries` what they are read as. With `TRACKWAY_BLESS=1 cargo test -p trackway-replay --test
//! promises fixtures` new journals are written in the format of today, and every `.entries` anew,
//! for a reader to look at the difference. A `.frames` that exists is never changed.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Once;

use trackway_replay::{
    Answered, Asked, AttemptEmitted, AttemptFailed, AttemptFailedKeeping, AttemptParked, AttemptResumed,
    AttemptStarted, CancelReceived, CancelTaken, ChildEnded, ChildOf, ChildStarted, Claimed, Continued, Cut,
    DeadlineSet, Digest, EffectAnswered, EffectAsked, EffectId, EffectRequest, EffectSettled, EffectVerdict, Emitted,
    End, EntityAct, Entry, Epoch, FORMAT, Failure, Fingerprint, Finish, Finished, Forgotten, Forked, Frame, FuelUsed,
    GraceSet, Kept, Kind, Limits, MessageId, ModelUsed, Moved, Outcome, Park, Patched, Paused, Position, Progressed,
    Proof, Published, Replied, Resumed, RetryReceived, RunId, RunState, Sequencer, Settled, Signalled, SpanBegun,
    SpanEnded, SpanKind, Spending, SpendingTaken, Started, StepCancelAsked, StepId, StepRequest, StepTimed, Tie,
    Timestamp, UpdateExpired, UpdateOffered, UpdateReceived, Usage, Value, With, code,
};

fn folder(format: u8) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../tests/journals/v{format}"))
}

fn text_of(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn read(frames: &Path) -> Vec<Vec<u8>> {
    let bytes = |line: &str| -> Vec<u8> {
        let digits = |place| u8::from_str_radix(&line[place..place + 2], 16).expect("hexadecimal text");
        (0..line.len()).step_by(2).map(digits).collect()
    };
    text_of(frames).lines().map(bytes).collect()
}

fn entries_of(frames: &[Vec<u8>]) -> Vec<Entry> {
    frames
        .iter()
        .flat_map(|bytes| Frame::decode(bytes).expect("it was written by an earlier version").entries)
        .collect()
}

fn told(entries: &[Entry]) -> String {
    entries.iter().map(|entry| format!("{entry:#?}\n")).collect()
}

/// Before anything is compared, where it is asked for.
fn bless() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if std::env::var_os("TRACKWAY_BLESS").is_some() {
            journals().iter().for_each(|(name, frames)| write_new(name, frames));
            every_path().iter().for_each(|path| write(&path.with_extension("entries"), told(&entries_of(&read(path)))));
        }
    });
}

fn write_new(name: &str, frames: &[Vec<Entry>]) {
    let hex = |bytes: Vec<u8>| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>() + "\n";
    let path = folder(FORMAT).join(format!("{name}.frames"));
    if !path.exists() {
        write(&path, frames.iter().map(|entries| hex(Frame::encode(entries))).collect());
    }
}

fn write(path: &Path, text: String) {
    fs::create_dir_all(folder(FORMAT)).expect("the folder can be made");
    fs::write(path, text).expect("the file can be written");
}

fn every_path() -> Vec<PathBuf> {
    let files = (1..=FORMAT).flat_map(|format| fs::read_dir(folder(format)).expect("each format has its journals"));
    let paths = files.map(|file| file.expect("the folder can be read").path());
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "frames")).collect()
}

#[test]
fn every_journal_on_record_reads_as_it_always_did() {
    bless();
    let paths = every_path();
    assert!(paths.len() >= journals().len(), "journals are missing: {paths:?}");
    for path in paths {
        let frames = read(&path);
        assert!(frames.iter().all(|frame| path.starts_with(folder(frame[0]))), "{}", path.display());
        let entries = entries_of(&frames);
        assert_eq!(told(&entries), text_of(&path.with_extension("entries")), "{}", path.display());
        RunState::of(&entries).expect("it was a journal");
    }
}

#[test]
fn the_format_that_is_written_is_the_one_on_record() {
    bless();
    for (name, frames) in journals() {
        let on_record = read(&folder(FORMAT).join(format!("{name}.frames")));
        let written: Vec<_> = frames.iter().map(|entries| Frame::encode(entries)).collect();
        assert_eq!(written, on_record, "{name}: the same entries are written otherwise, which takes a new format");
        assert_eq!(entries_of(&on_record), frames.concat(), "{name}");
    }
}

#[test]
fn the_journals_hold_every_kind() {
    let journals = journals();
    let mut names: Vec<_> =
        journals.iter().flat_map(|(_, frames)| frames.concat()).map(|entry| entry.kind.name()).collect();
    names.sort_unstable();
    names.dedup();
    // Add a new kind to a new journal here, bless it, and count it.
    assert_eq!(names.len(), 44, "{names:?}");
}

/// Whoever resumes a run from where it was continued last knows as much as whoever read all of it.
#[test]
fn a_state_made_of_the_last_stretch_alone_is_that_of_the_whole_journal() {
    let journal = frames(continued()).concat();
    for end in 1..=journal.len() {
        let whole = RunState::of(&journal[..end]).expect("it is a journal");
        let Some(cut) = journal[..end].iter().rposition(|entry| matches!(entry.kind, Kind::Continued(_))) else {
            continue;
        };
        let Kind::Continued(continued) = &journal[cut].kind else { unreachable!("it was looked for") };
        let mail: Vec<_> = continued.mail.iter().map(|place| journal[place.0 as usize].clone()).collect();
        let mut state = RunState::resumed(&journal[..3], &mail, &journal[cut]).expect("they belong together");
        journal[cut + 1..end].iter().for_each(|entry| state.apply(entry).expect("it follows"));
        assert_eq!(format!("{state:#?}"), format!("{whole:#?}"), "the first {end}");
        assert_eq!(state.head(), whole.head());
    }
}

#[test]
fn a_continued_entry_that_does_not_fit_what_was_before_it_is_refused() {
    let journal = frames(continued()).concat();
    let change = |change: &dyn Fn(&mut Continued)| {
        let mut entry = journal[6].clone();
        let Kind::Continued(continued) = &mut entry.kind else { panic!("{entry:?}") };
        change(continued);
        let mut state = RunState::of(&journal[..6]).expect("it is a journal");
        state.apply(&entry)
    };
    assert!(change(&|_| {}).is_ok());
    assert!(change(&|continued| continued.steps = 2).is_err(), "other steps");
    assert!(change(&|continued| continued.mail = vec![Position(5)]).is_err(), "no mail");
    assert!(change(&|continued| continued.mail = vec![Position(99)]).is_err(), "not there");
}

fn journals() -> Vec<(&'static str, Vec<Vec<Entry>>)> {
    vec![
        ("every-kind", frames(every_kind())),
        ("extremes", frames(extremes())),
        ("terminated", frames(terminated())),
        ("moved", frames(moved())),
        ("patched", frames(patched())),
        ("restarted-and-held", frames(restarted_and_held())),
        ("child-and-parent", frames(child_and_parent())),
        ("parked", frames(parked())),
        ("signals", frames(signals())),
        ("questions", frames(questions())),
        ("promises", frames(promises())),
        ("continued", frames(continued())),
        ("entities", frames(entities())),
        ("timed", frames(timed())),
        ("updates", frames(updates())),
        ("grace", frames(grace())),
        ("events", frames(events())),
        ("models", frames(models())),
        ("spans", frames(spans())),
        ("offers", frames(offers())),
        ("questions-of-functions", frames(questions_of_functions())),
        ("fuel", frames(fuel())),
    ]
}

/// One frame for each claim, as different owners write them.
fn frames(kinds: Vec<Kind>) -> Vec<Vec<Entry>> {
    let (mut position, mut time) = (Position::FIRST, Timestamp::from_millis(1_750_000_000_000));
    let mut frames = Vec::new();
    let mut rest = kinds.into_iter().peekable();
    while rest.peek().is_some() {
        let mut sequencer = Sequencer::new(position, Epoch(1 + frames.len() as u64), time);
        while let Some(kind) = rest.next() {
            sequencer.push(Timestamp(sequencer.last_time().0 + 1_234), kind);
            if matches!(rest.peek(), Some(Kind::Claimed(_))) {
                break;
            }
        }
        (position, time) = (sequencer.next(), sequencer.last_time());
        while sequencer.has_pending() {
            frames.push(sequencer.take_frame());
        }
    }
    frames
}

const LIMITS: Limits = Limits {
    fuel: 10_000_000_000,
    memory_bytes: 256 << 20,
    table_elements: 1_000_000,
    value_bytes: 16 << 20,
    steps: 1_000_000,
    steps_open: 100_000,
    effects: 10_000,
};

fn started(input: Value) -> Kind {
    Kind::Started(Box::new(Started {
        run: RunId(0x0197_6543_2100_0000_0000_0000_0000_0001),
        workflow: "headlines".into(),
        deployment: "news".into(),
        component: Digest::of(b"component"),
        input,
        seed: [1; 32],
        key_seed: [2; 32],
        limits: LIMITS,
        rules: 1,
    }))
}

fn claimed(worker: &str) -> Kind {
    Kind::Claimed(Claimed {
        worker: worker.into(),
        engine: "wasmtime 48.0.8".into(),
        component: Digest::of(b"component"),
    })
}

fn proof(text: &str, deliveries: u32, fuel: u64) -> Proof {
    Proof { digest: Digest::of(text.as_bytes()), deliveries, fuel }
}

fn asked(step: u32, request: StepRequest, deliveries: u32) -> Kind {
    let (now, at) = (Timestamp::from_millis(1_750_000_000_000), Some("src/lib.rs:41".into()));
    Kind::Asked(Asked { step: StepId(step), request, proof: proof("asked", deliveries, 12_345), now, at })
}

fn call(step: u32, input: Value) -> Kind {
    asked(step, StepRequest::Call { function: "fetch".into(), input, options: "{\"label\":\"é\"}".into() }, 0)
}

fn effect(step: u32, attempt: u32, effect: u32, request: EffectRequest, key: Option<&str>) -> Kind {
    Kind::EffectAsked(EffectAsked {
        step: StepId(step),
        attempt,
        effect: EffectId(effect),
        request,
        proof: proof("effect", effect - 1, 99),
        now: Timestamp::from_millis(1_750_000_000_001),
        key: key.map(Into::into),
        at: None,
    })
}

fn effect_answered(step: u32, attempt: u32, effect: u32, outcome: Outcome) -> Kind {
    Kind::EffectAnswered(EffectAnswered { step: StepId(step), attempt, effect: EffectId(effect), outcome })
}

fn every_kind() -> Vec<Kind> {
    let stored = Value::Stored { digest: Digest::of(b"body"), size_bytes: 70_000 };
    let http = EffectRequest::Http { request: Value::inline("{\"url\":\"http://a/\"}"), options: "".into() };
    let nap = EffectRequest::Sleep { duration_ms: 10, options: "".into() };
    let failure = || Failure::new(code::HTTP_CONNECT, "connection refused").to_value();
    let (first, second) = (StepId(1), StepId(2));
    vec![
        started(Value::inline("[\"http://a/\", \"http://b/\"]")),
        claimed("worker-1"),
        call(1, Value::inline("\"http://a/\"")),
        asked(2, StepRequest::Sleep { duration_ms: 250, options: "".into() }, 0),
        call(3, stored.clone()),
        Kind::AttemptStarted(AttemptStarted { step: first, attempt: 1 }),
        effect(1, 1, 1, http.clone(), Some("0123456789abcdef0123456789abcdef")),
        effect_answered(1, 1, 1, Outcome::Succeeded(stored)),
        effect(1, 1, 2, nap, None),
        claimed("worker-2"),
        Kind::AttemptResumed(AttemptResumed { step: first, attempt: 1 }),
        effect_answered(1, 1, 2, Outcome::Failed(failure())),
        Kind::Failed(AttemptFailed {
            step: first,
            attempt: 1,
            failure: failure(),
            next_at: Timestamp::from_millis(1_750_000_000_500),
        }),
        Kind::AttemptStarted(AttemptStarted { step: first, attempt: 2 }),
        Kind::Answered(Answered { step: first, outcome: Outcome::Succeeded(Value::inline("{\"words\": 12}")) }),
        Kind::Forgotten(Forgotten { step: second, proof: proof("forget", 1, 7) }),
        Kind::CancelReceived(CancelReceived { message: MessageId(7), reason: "enough".into() }),
        Kind::StepCancelAsked(StepCancelAsked { step: StepId(3), proof: proof("cancel", 2, 8) }),
        Kind::Answered(Answered {
            step: StepId(3),
            outcome: Outcome::Failed(Failure::permanent(code::CANCELLED, "by the workflow").to_value()),
        }),
        Kind::Finished(Finished {
            end: End::Succeeded(Value::inline("null")),
            fingerprint: Some(Fingerprint { commands: 5, deliveries: 3, fuel: 4_321 }),
            unread: vec![MessageId(8), MessageId(u128::MAX)],
        }),
    ]
}

/// Numbers as large and texts as short as they get.
fn extremes() -> Vec<Kind> {
    let proof = Proof { digest: Digest([255; 32]), deliveries: u32::MAX, fuel: u64::MAX };
    let sleep = StepRequest::Sleep { duration_ms: u64::MAX, options: "".into() };
    vec![
        started(Value::Stored { digest: Digest([0; 32]), size_bytes: u64::MAX }),
        Kind::Claimed(Claimed { worker: "".into(), engine: "".into(), component: Digest([255; 32]) }),
        Kind::Asked(Asked { step: StepId(1), request: sleep, proof, now: Timestamp(u64::MAX), at: None }),
        Kind::CancelReceived(CancelReceived { message: MessageId(u128::MAX), reason: "".into() }),
        Kind::Finished(Finished {
            end: End::Failed(Failure::permanent(code::OUT_OF_FUEL, "").to_value()),
            fingerprint: Some(Fingerprint { commands: u64::MAX, deliveries: u32::MAX, fuel: u64::MAX }),
            unread: Vec::new(),
        }),
    ]
}

fn moved() -> Vec<Kind> {
    let claim = Claimed { worker: "w".into(), engine: "engine 48.0.8".into(), component: Digest::of(b"other code") };
    let component = Digest::of(b"other code");
    vec![
        started(Value::null()),
        claimed("worker-1"),
        call(1, Value::inline("1")),
        Kind::Claimed(claim),
        Kind::Moved(Moved { message: MessageId(u128::MAX), deployment: "news-fixed".into(), component }),
    ]
}

/// One before the first command, one with the longest name.
fn patched() -> Vec<Kind> {
    let patched = |id: &str, fuel| Kind::Patched(Patched { id: id.into(), proof: proof(id, 0, fuel) });
    vec![
        started(Value::null()),
        claimed("worker-1"),
        patched("check-first", 3),
        call(1, Value::inline("1")),
        patched(&"p".repeat(128), u64::MAX),
    ]
}

/// Calls that have to begin, to be answered, or both.
fn timed() -> Vec<Kind> {
    let at = |millis| Some(Timestamp::from_millis(millis));
    let timed = |step, start_by, close_by| Kind::StepTimed(StepTimed { step: StepId(step), start_by, close_by });
    vec![
        started(Value::null()),
        claimed("worker-1"),
        call(1, Value::inline("1")),
        timed(1, at(1_750_000_001_000), None),
        call(2, Value::inline("2")),
        timed(2, None, at(1_750_000_002_000)),
        call(3, Value::inline("3")),
        timed(3, at(0), Some(Timestamp(u64::MAX))),
    ]
}

/// Cancelled with so long to end, and then with longer.
fn grace() -> Vec<Kind> {
    let grace = |grace_ms| Kind::GraceSet(GraceSet { message: MessageId(7), grace_ms });
    let cancel = Kind::CancelReceived(CancelReceived { message: MessageId(7), reason: "enough".into() });
    vec![started(Value::null()), claimed("worker-1"), grace(0), cancel, grace(86_400_000)]
}

fn child_and_parent() -> Vec<Kind> {
    let input = Value::inline("7");
    let start = |step, options: &str| {
        let request = StepRequest::StartRun { workflow: "other".into(), input: input.clone(), options: options.into() };
        asked(step, request, 0)
    };
    let component = Digest::of(b"other code");
    let begun = |step, run| ChildStarted { step: StepId(step), run: RunId(run), deployment: "news".into(), component };
    let ended =
        |step, run, outcome| ChildEnded { message: MessageId(run), step: StepId(step), run: RunId(run), outcome };
    vec![
        started(Value::null()),
        Kind::ChildOf(ChildOf { parent: RunId(3), step: StepId(u32::MAX), tie: Tie::Detached }),
        claimed("worker-1"),
        start(1, ""),
        start(2, "{\"detach\":true,\"key\":\"k\",\"deployment\":\"news\"}"),
        start(3, "{\"on_cancel\":\"abandon\"}"),
        Kind::ChildStarted(begun(1, 11)),
        Kind::ChildStarted(begun(3, u128::MAX)),
        Kind::ChildStarted(begun(2, 12)),
        Kind::ChildEnded(ended(1, 11, Outcome::Succeeded(Value::inline("8")))),
        Kind::Forgotten(Forgotten { step: StepId(3), proof: proof("forget", 1, 7) }),
        Kind::ChildEnded(ended(3, u128::MAX, Outcome::Failed(Failure::new(code::FAILED, "it broke").to_value()))),
    ]
}

fn restarted_and_held() -> Vec<Kind> {
    let cuts = vec![Cut { commands: 0, seed: [4; 32] }, Cut { commands: u64::MAX, seed: [5; 32] }];
    let at = Timestamp::from_millis(1_750_000_060_000);
    vec![
        started(Value::null()),
        Kind::Forked(Box::new(Forked { from: RunId(9), step: StepId(2), entries: 1, at, cuts })),
        claimed("worker-1"),
        Kind::Paused(Paused { message: MessageId(7), reason: "look at it".into() }),
        Kind::Resumed(Resumed { message: MessageId(8) }),
    ]
}

/// One that is answered, and one that is not in time.
fn questions() -> Vec<Kind> {
    let form =
        Value::inline("{\"title\":\"Pay?\",\"fields\":[{\"name\":\"ok\",\"kind\":\"approval\"}],\"timeout_ms\":60000}");
    let question = |step| asked(step, StepRequest::AskPerson { form: form.clone(), options: "".into() }, 0);
    let settled = |step, request, outcome, by: Option<&str>| {
        Kind::Settled(Settled { step: StepId(step), request, outcome, by: by.map(Into::into) })
    };
    let expired = Failure::permanent(code::EXPIRED, "nobody answered in time").to_value();
    vec![
        started(Value::inline("null")),
        claimed("worker-1"),
        question(1),
        question(2),
        settled(1, Some(MessageId(5)), Outcome::Succeeded(Value::inline("{\"ok\":true}")), Some("ann")),
        settled(2, None, Outcome::Failed(expired), None),
    ]
}

/// One that is resolved, one that is rejected and one that is kept of another run and not settled in time.
fn promises() -> Vec<Kind> {
    let promise = |step, owner: u128| {
        let options = "{\"timeout_ms\":60000}".into();
        asked(step, StepRequest::Promise { name: "paid".into(), owner: RunId(owner), options }, 0)
    };
    let settled = |step, request, outcome| Kind::Settled(Settled { step: StepId(step), request, outcome, by: None });
    let expired = Failure::permanent(code::EXPIRED, "nobody settled the promise in time").to_value();
    let declined = Failure::permanent("DECLINED", "no money").to_value();
    vec![
        started(Value::inline("null")),
        claimed("worker-1"),
        promise(1, 0x0197_6543_2100_0000_0000_0000_0000_0001),
        promise(2, 0x0197_6543_2100_0000_0000_0000_0000_0001),
        promise(3, 9),
        settled(2, Some(MessageId(5)), Outcome::Failed(declined)),
        settled(
            1,
            Some(MessageId(6)),
            Outcome::Succeeded(Value::Stored { digest: Digest::of(b"body"), size_bytes: 70_000 }),
        ),
        settled(3, None, Outcome::Failed(expired)),
    ]
}

/// State that is shown, an update that is answered, one that is refused and one that nobody takes.
fn updates() -> Vec<Kind> {
    let proof = |deliveries| Proof { digest: Digest::of(b"told"), deliveries, fuel: 44 };
    let published = |key: &str, value, deliveries| {
        let (proof, at) = (proof(deliveries), Some("src/lib.rs:9".into()));
        Kind::Published(Published { key: key.into(), value, proof, at })
    };
    let update = |message: u128, payload| {
        Kind::UpdateReceived(UpdateReceived { message: MessageId(message), name: "move".into(), payload })
    };
    let accept = |step, deliveries| {
        asked(step, StepRequest::AcceptUpdate { update: "move".into(), options: "".into() }, deliveries)
    };
    let replied = |step, message: u128, outcome, deliveries| {
        let (step, message) = (StepId(step), MessageId(message));
        Kind::Replied(Replied { step, message, outcome, proof: proof(deliveries), at: None })
    };
    let refused = Failure::permanent("OCCUPIED", "somebody stands there").to_value();
    vec![
        started(Value::inline("null")),
        claimed("worker-1"),
        published("place", Value::inline("{\"x\": 1}"), 0),
        published("map", Value::Stored { digest: Digest::of(b"map"), size_bytes: 70_000 }, 0),
        update(1, Value::inline("\"left\"")),
        accept(1, 0),
        replied(1, 1, Outcome::Succeeded(Value::inline("true")), 1),
        accept(2, 1),
        claimed("worker-2"),
        update(2, Value::Stored { digest: Digest::of(b"body"), size_bytes: 70_000 }),
        replied(2, 2, Outcome::Failed(refused), 2),
        update(u128::MAX, Value::inline("null")),
    ]
}

/// Updates that are to be taken in time: one is, one is not, and one is still offered.
fn offers() -> Vec<Kind> {
    let offered = |message: u128, payload, after_ms| {
        let (message, due) = (MessageId(message), Timestamp::from_millis(1_750_000_000_000 + after_ms));
        Kind::UpdateOffered(UpdateOffered { message, name: "move".into(), payload, due })
    };
    let large = || Value::Stored { digest: Digest::of(b"body"), size_bytes: 70_000 };
    vec![
        started(Value::inline("null")),
        claimed("worker-1"),
        offered(1, large(), 60_000),
        offered(2, Value::inline("\"left\""), 30_000),
        asked(1, StepRequest::AcceptUpdate { update: "move".into(), options: "".into() }, 0),
        Kind::UpdateReceived(UpdateReceived { message: MessageId(1), name: "move".into(), payload: large() }),
        claimed("worker-2"),
        Kind::UpdateExpired(UpdateExpired { message: MessageId(2) }),
        offered(u128::MAX, Value::inline("null"), u64::from(u32::MAX)),
    ]
}

/// A signal before and one after it is waited for, and one that nobody takes.
fn signals() -> Vec<Kind> {
    let signal = |message: u128, name: &str, payload: Value, from: Option<RunId>| {
        Kind::Signalled(Signalled { message: MessageId(message), name: name.into(), payload, from })
    };
    let receive = |step: u32, name: &str| {
        asked(step, StepRequest::Receive { signal: name.into(), options: "{\"label\":\"é\"}".into() }, step - 1)
    };
    let sender = RunId(0x0197_6543_2100_0000_0000_0000_0000_0002);
    vec![
        started(Value::inline("null")),
        claimed("worker-1"),
        signal(1, "paid", Value::inline("{\"amount\": 12}"), None),
        receive(1, "paid"),
        receive(2, "shipped"),
        claimed("worker-2"),
        signal(2, "paid", Value::Stored { digest: Digest::of(b"body"), size_bytes: 70_000 }, Some(sender)),
        signal(u128::MAX, "shipped", Value::inline("null"), Some(sender)),
        Kind::Finished(Finished {
            end: End::Succeeded(Value::inline("2")),
            fingerprint: Some(Fingerprint { commands: 2, deliveries: 2, fuel: 4_321 }),
            unread: vec![MessageId(3)],
        }),
    ]
}

fn entities() -> Vec<Kind> {
    let entity = |step, act, options: &str| {
        let request =
            StepRequest::Entity { entity: "counter".into(), key: "a/é".into(), act, options: options.into() };
        asked(step, request, step - 1)
    };
    let answered = |step, outcome| Kind::Answered(Answered { step: StepId(step), outcome });
    let succeeded = |step, text: &str| answered(step, Outcome::Succeeded(Value::inline(text)));
    let conflict = Failure::permanent(code::VERSION_CONFLICT, "it is at version 8").to_value();
    vec![
        started(Value::inline("null")),
        claimed("worker-1"),
        entity(1, EntityAct::Get, ""),
        succeeded(1, "null"),
        entity(2, EntityAct::Set { value: Value::inline("{\"n\": 1}") }, "{\"if_version\":0}"),
        claimed("worker-2"),
        succeeded(2, "{\"version\":7}"),
        entity(3, EntityAct::Delete, "{\"if_version\":7,\"label\":\"away\"}"),
        answered(3, Outcome::Failed(conflict)),
        Kind::Finished(Finished {
            end: End::Succeeded(Value::inline("1")),
            fingerprint: Some(Fingerprint { commands: 3, deliveries: 3, fuel: 4_321 }),
            unread: Vec::new(),
        }),
    ]
}

/// A child that goes on with new inputs, with a signal and a cancel that it takes along.
fn continued() -> Vec<Kind> {
    let signal = |message: u128, name: &str| {
        let (name, payload) = (name.into(), Value::inline("1"));
        Kind::Signalled(Signalled { message: MessageId(message), name, payload, from: None })
    };
    let child_of = ChildOf { parent: RunId(3), step: StepId(9), tie: Tie::Awaited };
    let goes_on = |input, commands, steps, mail: &[u64]| Continued {
        input,
        fingerprint: Fingerprint { commands, deliveries: 1, fuel: 4_321 },
        seed: [9; 32],
        steps,
        mail: mail.iter().map(|place| Position(*place)).collect(),
        cancel: None,
        deployment: "news".into(),
        component: Digest::of(b"newer code"),
        began: Timestamp::from_millis(1_750_000_000_000),
        deadline: Some(Timestamp::from_millis(1_760_000_000_000)),
        child_of: Some(child_of.clone()),
        published: vec!["progress".into()],
    };
    let cancel = CancelTaken { received: Timestamp::from_millis(1_750_000_000_010), reason: "no more".into() };
    let large = Value::Stored { digest: Digest::of(b"input"), size_bytes: 70_000 };
    vec![
        started(Value::null()),
        Kind::ChildOf(child_of.clone()),
        claimed("worker-1"),
        signal(1, "number"),
        signal(2, "number"),
        asked(1, StepRequest::Receive { signal: "number".into(), options: "".into() }, 0),
        Kind::Continued(Box::new(goes_on(Value::inline("{\"left\": 2}"), 1, 1, &[4]))),
        claimed("worker-1"),
        call(2, Value::inline("1")),
        Kind::CancelReceived(CancelReceived { message: MessageId(3), reason: "no more".into() }),
        signal(4, "other"),
        Kind::Continued(Box::new(Continued { cancel: Some(cancel), ..goes_on(large, 2, 2, &[4, 10]) })),
        claimed("worker-2"),
        asked(3, StepRequest::Receive { signal: "number".into(), options: "".into() }, 0),
        Kind::Finished(Finished {
            end: End::Cancelled { reason: "no more".into() },
            fingerprint: Some(Fingerprint { commands: 3, deliveries: 2, fuel: 4_321 }),
            unread: Vec::new(),
        }),
    ]
}

/// Of the workflow and of an attempt, which is taken up again.
fn events() -> Vec<Kind> {
    let emitted = |name: &str, data: &str, at: Option<&str>| {
        let proof = proof(name, 0, 21);
        Kind::Emitted(Emitted { name: name.into(), data: Value::inline(data), proof, at: at.map(Into::into) })
    };
    let told = |attempt, data: &str, deliveries| {
        let (name, proof) = ("page".into(), proof(data, deliveries, 5));
        let data = Value::inline(data);
        Kind::AttemptEmitted(AttemptEmitted { step: StepId(1), attempt, name, data, proof, at: None })
    };
    let attempt = 1;
    vec![
        started(Value::inline("null")),
        claimed("worker-1"),
        emitted("chapter", "{\"n\": 1}", Some("src/lib.rs:12")),
        call(1, Value::inline("1")),
        Kind::AttemptStarted(AttemptStarted { step: StepId(1), attempt }),
        told(attempt, "1", 0),
        claimed("worker-2"),
        Kind::AttemptResumed(AttemptResumed { step: StepId(1), attempt }),
        told(attempt, "\"zwölf\"", 1),
        Kind::Answered(Answered { step: StepId(1), outcome: Outcome::Succeeded(Value::inline("7")) }),
        emitted(&"e".repeat(128), "", None),
        Kind::Finished(Finished {
            end: End::Succeeded(Value::inline("7")),
            fingerprint: Some(Fingerprint { commands: 3, deliveries: 1, fuel: 99 }),
            unread: Vec::new(),
        }),
    ]
}

/// Calls of models with and without a price, one of them after a crash, and the sum that is taken along.
fn models() -> Vec<Kind> {
    let model =
        |request, options: &str| EffectRequest::Model { model: "openai/gpt".into(), request, options: options.into() };
    let used = |effect, finish, usage, cost_nanousd| {
        let (provider, model) = ("openai".into(), "gpt-2026-01-01".into());
        let (step, effect) = (StepId(1), EffectId(effect));
        Kind::ModelUsed(ModelUsed { step, attempt: 1, effect, provider, model, finish, usage, cost_nanousd })
    };
    let usage = Usage { input_tokens: 1_200, output_tokens: 80, cached_tokens: 1_024, cache_write_tokens: 0 };
    let most = Usage {
        input_tokens: u64::MAX,
        output_tokens: u64::MAX,
        cached_tokens: u64::MAX,
        cache_write_tokens: u64::MAX,
    };
    let stored = Value::Stored { digest: Digest::of(b"prompt"), size_bytes: 70_000 };
    let answer = || Outcome::Succeeded(Value::inline("{\"content\":\"four\"}"));
    let failure = Failure::permanent(code::MODEL_CONTEXT_TOO_LONG, "too long").to_value();
    let sum = |calls, cost_nanousd| Spending { calls, unpriced_calls: 0, usage, cost_nanousd };
    let Some(Kind::Continued(goes_on)) = continued().into_iter().nth(6) else { unreachable!("it stands there") };
    let goes_on = Continued { mail: Vec::new(), published: Vec::new(), ..*goes_on };
    vec![
        started(Value::null()),
        claimed("worker-1"),
        call(1, Value::inline("1")),
        Kind::AttemptStarted(AttemptStarted { step: StepId(1), attempt: 1 }),
        effect(1, 1, 1, model(Value::inline("{\"model\":\"openai/gpt\"}"), ""), Some("key-1")),
        used(1, Finish::ToolCalls, usage, Some(228_600)),
        effect_answered(1, 1, 1, answer()),
        effect(1, 1, 2, model(stored, "{\"deltas\":\"token\"}"), Some("key-2")),
        claimed("worker-2"),
        Kind::AttemptResumed(AttemptResumed { step: StepId(1), attempt: 1 }),
        used(2, Finish::Refused, most, Some(u64::MAX)),
        effect_answered(1, 1, 2, answer()),
        effect(1, 1, 3, model(Value::null(), ""), None),
        effect_answered(1, 1, 3, Outcome::Failed(failure)),
        Kind::Answered(Answered { step: StepId(1), outcome: Outcome::Succeeded(Value::inline("4")) }),
        Kind::Continued(Box::new(goes_on)),
        Kind::SpendingTaken(SpendingTaken { spending: sum(2, u64::MAX) }),
        claimed("worker-2"),
        Kind::Finished(Finished {
            end: End::Succeeded(Value::inline("4")),
            fingerprint: Some(Fingerprint { commands: 1, deliveries: 0, fuel: 1 }),
            unread: Vec::new(),
        }),
    ]
}

fn terminated() -> Vec<Kind> {
    let ended = |end| Kind::Finished(Finished { end, fingerprint: None, unread: vec![MessageId(0)] });
    vec![started(Value::inline("")), claimed("worker-1"), ended(End::Terminated { reason: "by hand".into() })]
}

/// Steps that a person was asked about, and one that went on with what it had done.
fn parked() -> Vec<Kind> {
    let http = EffectRequest::Http { request: Value::inline("{\"url\":\"http://a/\"}"), options: "".into() };
    let failure = || Failure::new(code::HTTP_CONNECT, "connection refused").to_value();
    let (first, at) = (StepId(1), Timestamp::from_millis(1_750_000_000_500));
    let begun = |attempt| Kind::AttemptStarted(AttemptStarted { step: first, attempt });
    let parked = |attempt, park| Kind::Parked(AttemptParked { step: first, attempt, failure: failure(), park });
    let retry =
        |with, verdict| Kind::RetryReceived(RetryReceived { message: MessageId(5), step: first, with, verdict });
    let with = With { deployment: "news-fixed".into(), component: Digest::of(b"fixed") };
    let kept = |last| Kept { answers: 1, last };
    let failed = |attempt, kept| {
        Kind::FailedKeeping(AttemptFailedKeeping { step: first, attempt, failure: failure(), next_at: at, kept })
    };
    vec![
        started(Value::inline("null")),
        Kind::DeadlineSet(DeadlineSet { at: Timestamp::from_millis(1_750_000_060_000) }),
        claimed("worker-1"),
        call(1, Value::inline("1")),
        begun(1),
        effect(1, 1, 1, http.clone(), Some("key")),
        effect_answered(1, 1, 1, Outcome::Succeeded(Value::inline("{\"status\":500}"))),
        failed(1, kept(Some(EffectId(1)))),
        begun(2),
        Kind::Progressed(Progressed { step: first, attempt: 2, progress: Value::inline("{\"done\":3}") }),
        claimed("worker-2"),
        parked(2, Park::Unclear(EffectId(1))),
        retry(None, Some(EffectVerdict::Answer(Value::inline("{\"status\":200}")))),
        effect_answered(1, 2, 1, Outcome::Succeeded(Value::inline("{\"status\":200}"))),
        Kind::AttemptResumed(AttemptResumed { step: first, attempt: 2 }),
        failed(2, kept(None)),
        begun(3),
        parked(3, Park::ExhaustedKeeping(kept(None))),
        retry(Some(with), None),
        begun(4),
        parked(4, Park::Exhausted),
        retry(None, Some(EffectVerdict::Repeat)),
        retry(None, Some(EffectVerdict::Fail)),
        Kind::Finished(Finished { end: End::Terminated { reason: "".into() }, fingerprint: None, unread: Vec::new() }),
    ]
}

/// A tool within an agent, with an effect below it, in an attempt that fails and is gone on with.
fn spans() -> Vec<Kind> {
    let begun = |attempt, span, kind, name: &str, options: &str, deliveries| {
        let input = Value::inline("{\"q\": \"süß\"}");
        let (name, options, proof) = (name.into(), options.into(), proof(name, deliveries, 9));
        let (step, span, at) = (StepId(1), EffectId(span), Some("src/lib.rs:30".into()));
        Kind::SpanBegun(SpanBegun { step, attempt, span, kind, name, input, options, proof, at })
    };
    let ended = |attempt, span, outcome, deliveries| {
        let (step, span, proof) = (StepId(1), EffectId(span), proof("end", deliveries, 11));
        Kind::SpanEnded(SpanEnded { step, attempt, span, outcome, proof, at: None })
    };
    let nap = || EffectRequest::Sleep { duration_ms: 10, options: "{\"span\":2}".into() };
    let large = Value::Stored { digest: Digest::of(b"found"), size_bytes: 70_000 };
    let failure = Failure::new("LATER", "not yet").to_value();
    let (attempt, kept) = (1, Kept { answers: 4, last: Some(EffectId(4)) });
    let failed = || Outcome::Failed(Failure::permanent("NOT_FOUND", "no such page").to_value());
    vec![
        started(Value::inline("null")),
        claimed("worker-1"),
        call(1, Value::inline("1")),
        Kind::AttemptStarted(AttemptStarted { step: StepId(1), attempt }),
        begun(attempt, 1, SpanKind::Agent, "researcher", "", 2),
        begun(attempt, 2, SpanKind::Tool, "search", "{\"span\":1}", 2),
        effect(1, attempt, 3, nap(), None),
        claimed("worker-2"),
        Kind::AttemptResumed(AttemptResumed { step: StepId(1), attempt }),
        effect_answered(1, attempt, 3, Outcome::Succeeded(Value::null())),
        ended(attempt, 2, Outcome::Succeeded(large), 3),
        effect(1, attempt, 4, nap(), None),
        effect_answered(1, attempt, 4, Outcome::Succeeded(Value::null())),
        begun(attempt, 5, SpanKind::Tool, &"t".repeat(64), "{\"span\":1}", 4),
        Kind::FailedKeeping(AttemptFailedKeeping {
            step: StepId(1),
            attempt,
            failure,
            next_at: Timestamp::from_millis(1_750_000_000_000),
            kept,
        }),
        Kind::AttemptStarted(AttemptStarted { step: StepId(1), attempt: 2 }),
        effect_answered(1, 2, 4, Outcome::Succeeded(Value::null())),
        begun(2, 5, SpanKind::Tool, "read", "{\"span\":1}", 4),
        ended(2, 5, failed(), 4),
        ended(2, 1, Outcome::Succeeded(Value::inline("7")), 4),
        Kind::Answered(Answered { step: StepId(1), outcome: Outcome::Succeeded(Value::inline("7")) }),
        Kind::Finished(Finished {
            end: End::Succeeded(Value::inline("7")),
            fingerprint: Some(Fingerprint { commands: 1, deliveries: 1, fuel: 99 }),
            unread: Vec::new(),
        }),
    ]
}

/// Two at once, one answered and one given up with its attempt, which is gone on with; one that nobody answers.
fn questions_of_functions() -> Vec<Kind> {
    let form = |title: &str| Value::inline(format!(r#"{{"title":"{title}","timeout_ms":60000}}"#));
    let asks = |attempt, number, title| {
        effect(1, attempt, number, EffectRequest::AskPerson { form: form(title), options: "".into() }, None)
    };
    let settled = |attempt, number, request: Option<u128>, outcome, by: Option<&str>| {
        let (step, effect, request) = (StepId(1), EffectId(number), request.map(MessageId));
        Kind::EffectSettled(EffectSettled { step, attempt, effect, request, outcome, by: by.map(Into::into) })
    };
    let yes = || Outcome::Succeeded(Value::inline("{\"approve\": true}"));
    let expired = Outcome::Failed(Failure::permanent(code::EXPIRED, "nobody answered in time").to_value());
    let (attempt, kept) = (1, Kept { answers: 2, last: None });
    vec![
        started(Value::null()),
        claimed("worker-1"),
        call(1, Value::inline("1")),
        Kind::AttemptStarted(AttemptStarted { step: StepId(1), attempt }),
        asks(attempt, 1, "Pay?"),
        asks(attempt, 2, "Zahlen, bitte?"),
        claimed("worker-2"),
        Kind::AttemptResumed(AttemptResumed { step: StepId(1), attempt }),
        settled(attempt, 2, Some(u128::MAX), yes(), Some("jürgen")),
        Kind::FailedKeeping(AttemptFailedKeeping {
            step: StepId(1),
            attempt,
            failure: Failure::new("LATER", "not yet").to_value(),
            next_at: Timestamp::from_millis(1_750_000_000_000),
            kept,
        }),
        Kind::AttemptStarted(AttemptStarted { step: StepId(1), attempt: 2 }),
        settled(2, 1, Some(7), yes(), None),
        asks(2, 3, "Sure?"),
        settled(2, 3, None, expired, None),
        Kind::Answered(Answered { step: StepId(1), outcome: Outcome::Succeeded(Value::inline("7")) }),
        Kind::Finished(Finished {
            end: End::Succeeded(Value::inline("7")),
            fingerprint: Some(Fingerprint { commands: 1, deliveries: 1, fuel: 99 }),
            unread: Vec::new(),
        }),
    ]
}

/// A workflow that computes before it waits, and attempts that compute before they end: one fails, one is given up.
fn fuel() -> Vec<Kind> {
    let used = |attempt: Option<(u32, u32)>, fuel| {
        Kind::FuelUsed(FuelUsed { attempt: attempt.map(|(step, number)| (StepId(step), number)), fuel })
    };
    let begun = |step, attempt| Kind::AttemptStarted(AttemptStarted { step: StepId(step), attempt });
    vec![
        started(Value::null()),
        claimed("worker-1"),
        call(1, Value::inline("1")),
        call(2, Value::inline("2")),
        begun(1, 1),
        begun(2, 1),
        used(None, 100_000),
        used(Some((1, 1)), u64::MAX),
        Kind::Failed(AttemptFailed {
            step: StepId(1),
            attempt: 1,
            failure: Failure::new("LATER", "not yet").to_value(),
            next_at: Timestamp::from_millis(1_750_000_000_000),
        }),
        begun(1, 2),
        used(Some((1, 2)), 250_000),
        Kind::Answered(Answered { step: StepId(1), outcome: Outcome::Succeeded(Value::inline("7")) }),
        used(Some((2, 1)), 300_000),
        Kind::Finished(Finished {
            end: End::Succeeded(Value::inline("7")),
            fingerprint: Some(Fingerprint { commands: 2, deliveries: 1, fuel: 99 }),
            unread: Vec::new(),
        }),
    ]
}
