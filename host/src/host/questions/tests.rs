use std::time::Instant;
use trackway_replay::{
    Claimed, Digest, Epoch, Frame, FrameId, Limits, Proof, RULES, RunState, Started, StepId, TenantId,
};
use trackway_storage::{Append, Appended, MemoryStorage, Rows, RunKey};

use super::*;

const RUN: RunKey = RunKey { tenant: TenantId::DEFAULT, run: RunId(7) };
const QUESTIONS: u32 = 20_000;
const FRAME_ENTRIES: usize = 50;
/// A look reads the journal, decodes it and folds it, once each: so much longer than folding alone it takes at most.
const FOLDS_MAX: u32 = 20;

fn started() -> Kind {
    Kind::Started(Box::new(Started {
        run: RUN.run,
        workflow: "w".into(),
        deployment: "d".into(),
        component: Digest([0; 32]),
        input: Value::inline("null"),
        seed: [1; 32],
        key_seed: [2; 32],
        limits: Limits::default(),
        rules: RULES,
    }))
}

fn question(step: u32) -> Kind {
    let request = StepRequest::AskPerson { form: Value::inline(r#"{"title":"Pay?"}"#), options: "".into() };
    let proof = Proof { digest: Digest([7; 32]), deliveries: 0, fuel: 10 };
    Kind::Asked(Asked { step: StepId(step), request, proof, now: Timestamp(1), at: None })
}

fn settled(step: u32) -> Kind {
    let outcome = Outcome::Succeeded(Value::inline("{}"));
    Kind::Settled(Settled { step: StepId(step), request: Some(MessageId(1)), outcome, by: None })
}

async fn stored(kinds: impl IntoIterator<Item = Kind>) -> (MemoryStorage, Vec<Entry>) {
    let entry = |(place, kind): (u64, Kind)| Entry {
        position: Position(place),
        epoch: Epoch(1),
        time: Timestamp(1 + place),
        kind,
    };
    let entries: Vec<Entry> = (0..).zip(kinds).map(entry).collect();
    let storage = MemoryStorage::new();
    let mut previous = None;
    for frame in entries.chunks(FRAME_ENTRIES) {
        let id = FrameId(u128::from(frame[0].position.0) + 1);
        let appended = storage.append(Append {
            run: RUN,
            position: frame[0].position,
            entries: u32::try_from(frame.len()).expect("frames are small"),
            previous: previous.replace(id),
            id,
            frame: Frame::encode(frame).into(),
            rows: Rows::default(),
        });
        assert!(matches!(appended.await, Appended::Durable));
    }
    (storage, entries)
}

#[tokio::test]
async fn one_look_among_many_questions_takes_one_pass_over_the_journal() {
    let claimed = Claimed { worker: "w".into(), engine: "e".into(), component: Digest([0; 32]) };
    let begun = [started(), Kind::Claimed(claimed)];
    let (storage, entries) = stored(begun.into_iter().chain((1..=QUESTIONS).map(question)).chain([settled(2)])).await;
    let begun = Instant::now();
    let head = RunState::of(&entries).expect("a journal").head();
    let fold = begun.elapsed();
    let begun = Instant::now();
    let found = async |step| {
        let name = QuestionId::of_step(StepId(step)).name;
        match look(&storage, RUN, &head, name).await.expect("it can be read") {
            Looked::Found(question) => Some(question),
            Looked::EndedBefore | Looked::Nothing => None,
        }
    };
    let last = found(QUESTIONS).await.expect("it is there");
    let look = begun.elapsed();
    assert!(last.settled.is_none() && last.id.name.step == StepId(QUESTIONS));
    assert!(look < fold * FOLDS_MAX, "{look:?} for a look, {fold:?} to fold");
    assert!(found(2).await.is_some_and(|question| question.settled.is_some()));
    assert!(found(QUESTIONS + 1).await.is_none());
}
