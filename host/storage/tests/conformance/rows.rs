//! Promises about what stands beside the journals.

use bytes::Bytes;
use trackway_replay::{
    Digest, EffectId, FrameId, MessageId, Position, QuestionId, RunId, Status, StepId, TenantId, Value,
};
use trackway_storage::{
    Append, Appended, ComponentRecord, Deployment, INBOX_MAX, INBOX_WORDS_MAX, InboxBody, InboxItem, Landmark, LogKey,
    LogLine, OpenQuestion, Owner, PAYLOAD_ROW_MAX_BYTES, RunKey, Sent, StartKey, Version,
};

use crate::subject::{Journal, Subject, at, claim, durable, item, run, started};

const TENANT: TenantId = TenantId::DEFAULT;

fn start_key(key: &str, number: u128) -> StartKey {
    StartKey { key: key.into(), run: run(number).run, request: Digest::of(b"request") }
}

pub async fn a_start_key_names_one_run_for_ever(subject: Subject) {
    let store = subject.store();
    let mut start = Journal::new(run(1)).next(Owner::Keep);
    start.rows.start_key = Some(start_key("daily", 1));
    let mut other = Journal::new(run(2)).next(Owner::Keep);
    other.rows.start_key = Some(start_key("daily", 2));
    // Both may come in one batch.
    let (first, second) = tokio::join!(store.append(start.clone()), store.append(other.clone()));
    durable(first);
    assert!(matches!(second, Appended::KeyTaken(taken) if taken == start_key("daily", 1)));
    durable(store.append(start.clone()).await);
    drop(store);

    let subject = subject.kill();
    let store = subject.store();
    assert!(matches!(store.append(other).await, Appended::KeyTaken(taken) if taken == start_key("daily", 1)));
    assert_eq!(store.start_key(TENANT, "daily").await.unwrap(), Some(start_key("daily", 1)));
    assert_eq!(store.start_key(TENANT, "dail").await.unwrap(), None);
    assert_eq!(store.start_key(TenantId(2), "daily").await.unwrap(), None);
    assert_eq!(store.head(run(2)).await.unwrap(), None);
    durable(store.append(start).await);
}

pub async fn an_item_is_delivered_once_and_kept_in_order(subject: Subject) {
    let mut journal = started(&*subject.store(), 1).await;
    for message in [3, 1, 2, 1, 3] {
        assert_eq!(subject.store().send(run(1), item(message)).await.unwrap(), Sent::Delivered);
    }
    let subject = subject.kill();
    let store = subject.store();
    assert_eq!(store.inbox(run(1)).await.unwrap(), [item(3), item(1), item(2)]);
    let mut append = journal.next(Owner::Keep);
    append.rows.read = vec![MessageId(1), MessageId(3)];
    journal.append(&*store, append).await;
    // Read already: delivered, but not again.
    assert_eq!(store.send(run(1), item(1)).await.unwrap(), Sent::Delivered);
    assert_eq!(store.inbox(run(1)).await.unwrap(), [item(2)]);
}

fn signal(number: u128) -> InboxItem {
    item(2 * number + 1)
}

pub async fn an_inbox_has_a_limit(subject: Subject) {
    let store = subject.store();
    let mut journal = started(&*store, 1).await;
    let sends = (0..INBOX_MAX as u128).map(|message| store.send(run(1), signal(message)));
    for sent in futures_util::future::join_all(sends).await {
        assert_eq!(sent.unwrap(), Sent::Delivered);
    }
    assert_eq!(store.send(run(1), signal(9_999)).await.unwrap(), Sent::Full);
    assert_eq!(store.send(run(1), signal(0)).await.unwrap(), Sent::Delivered);
    let mut append = journal.next(Owner::Keep);
    append.rows.read = vec![signal(7).message];
    journal.append(&*store, append).await;
    assert_eq!(store.send(run(1), signal(9_999)).await.unwrap(), Sent::Delivered);
}

pub async fn words_on_a_run_have_room_beside_its_messages(subject: Subject) {
    let store = subject.store();
    let mut parent = started(&*store, 1).await;
    let mut child = started(&*store, 2).await;
    let sends = (0..INBOX_MAX as u128).map(|message| store.send(run(1), signal(message)));
    futures_util::future::join_all(sends).await;
    let word = |message: u128| InboxItem { body: InboxBody::Terminate { reason: "late".into() }, ..item(message) };
    for message in 10_000..10_000 + INBOX_WORDS_MAX as u128 {
        assert_eq!(store.send(run(1), word(message)).await.unwrap(), Sent::Delivered);
    }
    assert_eq!(store.send(run(1), word(20_000)).await.unwrap(), Sent::Full);
    assert_eq!(store.send(run(1), signal(20_000)).await.unwrap(), Sent::Full);
    // What a frame brings along has room always, and takes none from others.
    let ended = |message| {
        (run(1), InboxItem { body: InboxBody::ChildEnded { step: StepId(1), run: RunId(2) }, ..item(message) })
    };
    let mut append = child.next(Owner::Keep);
    append.rows.send = (30_000..30_500).map(ended).collect();
    child.append(&*store, append).await;
    let mut append = parent.next(Owner::Keep);
    append.rows.read = vec![signal(7).message, MessageId(10_000)];
    parent.append(&*store, append).await;
    drop(store);
    let subject = subject.kill();
    let store = subject.store();
    assert_eq!(store.inbox(run(1)).await.unwrap().len(), INBOX_MAX + INBOX_WORDS_MAX + 500 - 2);
    assert_eq!(store.send(run(1), word(20_000)).await.unwrap(), Sent::Delivered);
    assert_eq!(store.send(run(1), signal(20_000)).await.unwrap(), Sent::Delivered);
}

pub async fn no_end_loses_an_item_of_the_inbox(subject: Subject) {
    let mut journal = started(&*subject.store(), 1).await;
    for message in 1..=3 {
        subject.store().send(run(1), item(message)).await.unwrap();
    }
    let mut end = journal.next(Owner::End);
    end.rows.read = vec![MessageId(2)];
    end.rows.unread = vec![MessageId(1)];
    let missed = subject.store().append(end.clone()).await;
    assert!(matches!(&missed, Appended::Missed(items) if *items == [MessageId(3)]), "{missed:?}");

    // Nothing was changed, here and on disk.
    let subject = subject.kill();
    let store = subject.store();
    assert_eq!(store.inbox(run(1)).await.unwrap(), [item(1), item(2), item(3)]);
    assert_eq!(store.frames(run(1), Position::FIRST, usize::MAX).await.unwrap().len(), 1);
    assert_eq!(store.head(run(1)).await.unwrap().unwrap().status, Status::Running);
    assert_eq!(store.send(run(1), item(4)).await.unwrap(), Sent::Delivered);
    let missed = store.append(end.clone()).await;
    assert!(matches!(&missed, Appended::Missed(items) if *items == [MessageId(3), MessageId(4)]), "{missed:?}");

    end.rows.unread.extend([MessageId(3), MessageId(4)]);
    journal.append(&*store, end).await;
    assert_eq!(store.send(run(1), item(5)).await.unwrap(), Sent::Ended(Status::Succeeded));
    assert_eq!(store.inbox(run(1)).await.unwrap(), []);
}

pub async fn nobody_sends_to_a_run_that_is_not_there_or_has_ended(subject: Subject) {
    let mut journal = started(&*subject.store(), 1).await;
    assert_eq!(subject.store().send(run(2), item(1)).await.unwrap(), Sent::NoSuchRun);
    journal.go(&*subject.store(), Owner::End).await;
    assert_eq!(subject.store().send(run(1), item(1)).await.unwrap(), Sent::Ended(Status::Succeeded));
    let subject = subject.kill();
    assert_eq!(subject.store().send(run(1), item(1)).await.unwrap(), Sent::Ended(Status::Succeeded));
    assert_eq!(claim(&*subject.store(), at(9)).await.runs, []);
}

pub async fn payloads_come_back_as_they_were(subject: Subject) {
    let sizes = [0, 1, 4_095, 4_096, PAYLOAD_ROW_MAX_BYTES, PAYLOAD_ROW_MAX_BYTES + 1, 1 << 20, (1 << 20) + 1];
    let payloads = sizes.map(|size_bytes| Bytes::from(vec![size_bytes as u8 ^ 0x5a; size_bytes]));
    let mut journal = started(&*subject.store(), 1).await;
    for bytes in &payloads {
        for _ in 0..2 {
            subject.store().put_payload(run(1), Digest::of(bytes), bytes.clone()).await.unwrap();
        }
    }
    let with_frame = [Bytes::from_static(b"in the same batch as its frame"), Bytes::from(vec![b'x'; 20_000])];
    let mut append = journal.next(Owner::Keep);
    append.rows.payloads = with_frame.iter().map(|bytes| (Digest::of(bytes), bytes.clone())).collect();
    journal.append(&*subject.store(), append).await;

    let subject = subject.kill();
    let store = subject.store();
    for bytes in payloads.iter().chain(&with_frame) {
        let digest = Digest::of(bytes);
        assert_eq!(store.payload(run(1), digest).await.unwrap().as_ref(), Some(bytes));
        assert_eq!(store.payload(run(2), digest).await.unwrap(), None);
        assert_eq!(store.payload(RunKey { tenant: TenantId(2), ..run(1) }, digest).await.unwrap(), None);
    }
}

fn line(step: u32, attempt: u32, number: u32) -> LogLine {
    LogLine {
        key: LogKey { step, attempt, effect: 0, line: number },
        time: at(1),
        level: "info".into(),
        message: format!("line {step} {attempt} {number}").into(),
        fields: "".into(),
    }
}

pub async fn lines_without_a_frame_stand_only_after_the_last_frame_that_is_known(subject: Subject) {
    let mut journal = started(&*subject.store(), 1).await;
    let first = journal.last.unwrap();
    assert!(subject.store().log(run(1), first, vec![line(1, 0, 0), line(1, 0, 1)], Vec::new()).await.unwrap());
    journal.go(&*subject.store(), Owner::Park { due: None }).await;
    assert!(!subject.store().log(run(1), first, vec![line(2, 0, 0)], Vec::new()).await.unwrap());
    assert!(
        subject
            .store()
            .log(run(1), journal.last.unwrap(), vec![line(1, 0, 1), line(3, 0, 0)], Vec::new())
            .await
            .unwrap()
    );
    assert!(!subject.store().log(run(2), first, vec![line(1, 0, 0)], Vec::new()).await.unwrap());

    let subject = subject.kill();
    let store = subject.store();
    assert_eq!(store.logs(run(1), None, 9).await.unwrap(), [line(1, 0, 0), line(1, 0, 1), line(3, 0, 0)]);
    assert_eq!(claim(&*store, at(9)).await.runs, [], "a line makes no run ready");
    journal.go(&*store, Owner::End).await;
    assert!(!store.log(run(1), journal.last.unwrap(), vec![line(4, 0, 0)], Vec::new()).await.unwrap());
}

pub async fn log_lines_stand_once_in_order(subject: Subject) {
    let mut journal = started(&*subject.store(), 1).await;
    started(&*subject.store(), 2).await;
    let mut append = journal.next(Owner::Keep);
    append.rows.logs = vec![line(1, 0, 0), line(0, 0, 1), line(0, 0, 0)];
    journal.append(&*subject.store(), append).await;
    let subject = subject.kill();
    let store = subject.store();
    let mut append = journal.next(Owner::Keep);
    append.rows.logs = vec![line(0, 0, 1), line(300, 0, 0), line(1, 2, 0)];
    journal.append(&*store, append).await;

    let all = [line(0, 0, 0), line(0, 0, 1), line(1, 0, 0), line(1, 2, 0), line(300, 0, 0)];
    assert_eq!(store.logs(run(1), None, 99).await.unwrap(), all);
    assert_eq!(store.logs(run(1), None, 2).await.unwrap(), all[..2]);
    assert_eq!(store.logs(run(1), Some(all[1].key), 2).await.unwrap(), all[2..4]);
    assert_eq!(store.logs(run(1), Some(all[4].key), 2).await.unwrap(), []);
    assert_eq!(store.logs(run(2), None, 99).await.unwrap(), []);
}

pub async fn components_come_back_with_their_manifest(subject: Subject) {
    let bytes = Bytes::from(vec![9; 300_000]);
    let record = ComponentRecord {
        digest: Digest::of(&bytes),
        size_bytes: bytes.len() as u64,
        uploaded: at(1),
        manifest: format!("{{\"doc\":\"{}\"}}", "x".repeat(200_000)).into(),
        pure: true,
    };
    subject.store().put_component(TENANT, record.clone(), bytes.clone()).await.unwrap();
    let later = ComponentRecord { uploaded: at(2), ..record.clone() };
    subject.store().put_component(TENANT, later, bytes.clone()).await.unwrap();

    let subject = subject.kill();
    let store = subject.store();
    assert_eq!(store.component(TENANT, record.digest).await.unwrap(), Some(record.clone()));
    assert_eq!(store.component_bytes(TENANT, record.digest).await.unwrap(), Some(bytes));
    assert_eq!(store.components(TENANT).await.unwrap(), std::slice::from_ref(&record));
    assert_eq!(store.component(TenantId(2), record.digest).await.unwrap(), None);
    assert_eq!(store.component_bytes(TenantId(2), record.digest).await.unwrap(), None);
    assert_eq!(store.components(TenantId(2)).await.unwrap(), []);
}

fn deployment(name: &str, revision: u64, versions: u32) -> Deployment {
    let versions = (1..=versions).map(|version| Version {
        version,
        component: Digest::of(&version.to_be_bytes()),
        deployed: at(u64::from(version)),
        allow: vec![format!("host-{version}.example").into()],
    });
    Deployment { name: name.into(), revision, current: 1, versions: versions.collect() }
}

pub async fn a_deployment_is_changed_only_from_the_revision_it_has(subject: Subject) {
    let store = subject.store();
    assert!(!store.put_deployment(TENANT, deployment("main", 2, 1)).await.unwrap());
    assert!(store.put_deployment(TENANT, deployment("main", 1, 1)).await.unwrap());
    assert!(!store.put_deployment(TENANT, deployment("main", 1, 2)).await.unwrap());
    assert!(store.put_deployment(TENANT, deployment("mai", 1, 3)).await.unwrap());
    let (one, other) = tokio::join!(
        store.put_deployment(TENANT, deployment("main", 2, 2)),
        store.put_deployment(TENANT, deployment("main", 2, 2)),
    );
    assert!(one.unwrap() ^ other.unwrap(), "two changes of one revision");
    drop(store);

    let subject = subject.kill();
    let store = subject.store();
    assert_eq!(store.deployment(TENANT, "main").await.unwrap(), Some(deployment("main", 2, 2)));
    assert_eq!(store.deployment(TENANT, "ma").await.unwrap(), None);
    assert_eq!(store.deployments(TENANT).await.unwrap(), [deployment("mai", 1, 3), deployment("main", 2, 2)]);
    assert_eq!(store.deployments(TenantId(2)).await.unwrap(), []);
    // Many more versions than one row could hold.
    assert!(store.put_deployment(TENANT, deployment("main", 3, 2_000)).await.unwrap());
    assert_eq!(store.deployment(TENANT, "main").await.unwrap(), Some(deployment("main", 3, 2_000)));
}

pub async fn what_a_frame_sends_to_other_runs_stands_with_it_or_not_at_all(subject: Subject) {
    let store = subject.store();
    started(&*store, 1).await.go(&*store, Owner::Park { due: None }).await;
    let sender = started(&*store, 2).await;
    let mut append = sender.next(Owner::Keep);
    // One that is not there takes nothing, and that is no error.
    append.rows.send = vec![(run(1), item(1)), (run(9), item(2)), (run(1), item(3))];
    let fenced = Append { previous: Some(FrameId(77)), ..append.clone() };
    assert!(matches!(store.append(fenced).await, Appended::Fenced));
    assert_eq!(store.inbox(run(1)).await.unwrap(), []);
    assert!(matches!(store.append(append.clone()).await, Appended::Durable));
    assert!(matches!(store.append(append).await, Appended::Durable));
    assert_eq!(store.inbox(run(1)).await.unwrap(), [item(1), item(3)]);
    assert_eq!(claim(&*store, at(9)).await.runs, [run(1)]);
    drop(store);
    let subject = subject.kill();
    assert_eq!(subject.store().inbox(run(1)).await.unwrap(), [item(1), item(3)]);
}

/// Of the workflow, and of an attempt: its effect and number.
fn question_of(step: u32, within: Option<(u32, u32)>) -> QuestionId {
    let of_effect = |(effect, attempt)| QuestionId::of_effect(StepId(step), attempt, EffectId(effect));
    within.map_or(QuestionId::of_step(StepId(step)), of_effect)
}

pub async fn open_questions_are_listed_page_by_page_until_they_are_settled(subject: Subject) {
    let store = subject.store();
    let own = |step| question_of(step, None);
    let asked = |question: QuestionId| (question, Position(u64::from(question.name.step.0)));
    let mut journals = Vec::new();
    let (first, second) = (question_of(2, Some((1, 1))), question_of(2, Some((2, 1))));
    for (number, questions) in [(1, vec![own(1), own(300)]), (2, vec![]), (3, vec![first, second, own(4)])] {
        let mut journal = started(&*store, number).await;
        let mut append = journal.next(Owner::Keep);
        append.rows.asked = questions.into_iter().map(asked).collect();
        journal.append(&*store, append).await;
        journals.push(journal);
    }
    drop(store);
    let subject = subject.kill();
    let store = subject.store();
    let open = |run: u128, question| OpenQuestion { run: RunId(run), question, asked: asked(question).1 };
    let page = async |before: Option<(u128, &str)>, max| {
        let before = before.map(|(run, name)| (RunId(run), name.parse().expect("a name")));
        store.questions(TENANT, before, max).await.unwrap()
    };
    assert_eq!(page(None, 4).await, [open(3, own(4)), open(3, second), open(3, first), open(1, own(300))]);
    assert_eq!(page(Some((3, "2.2")), 1).await, [open(3, first)]);
    assert_eq!(page(Some((3, "2.1")), 1).await, [open(1, own(300))]);
    assert_eq!(page(Some((1, "300")), 3).await, [open(1, own(1))]);
    assert_eq!(page(Some((1, "1")), 3).await, []);
    assert_eq!(store.questions(TenantId(2), None, 9).await.unwrap(), []);
    assert_eq!(store.check_run(run(1)).await.unwrap().questions, [own(1), own(300)].map(asked));
    assert_eq!(store.check_run(run(3)).await.unwrap().questions, [first, second, own(4)].map(asked));

    // One that is asked and settled by one frame was never open.
    let mut append = journals[2].next(Owner::Keep);
    append.rows.asked = [own(5), own(6), question_of(2, Some((1, 2)))].map(asked).to_vec();
    append.rows.settled = vec![own(5), first, second];
    journals[2].append(&*store, append).await;
    assert_eq!(page(None, 3).await, [open(3, own(6)), open(3, own(4)), open(3, question_of(2, Some((1, 2))))]);
    let mut end = journals[2].next(Owner::End);
    end.rows.asked = vec![asked(own(9))];
    journals[2].append(&*store, end).await;
    assert_eq!(page(None, 9).await, [open(1, own(300)), open(1, own(1))]);
    assert_eq!(store.check_run(run(3)).await.unwrap().flaws, Vec::<String>::new());
}

pub async fn a_landmark_leads_to_the_last_entry_of_its_name_also_after_the_end(subject: Subject) {
    let store = subject.store();
    let state = |name: &str| Landmark::State(name.into());
    let reply = |message| Landmark::Reply(MessageId(message));
    let mut journal = started(&*store, 1).await;
    started(&*store, 2).await;
    let mut append = journal.next(Owner::Keep);
    append.rows.landmarks = vec![(state("map"), Position(1)), (state("a"), Position(1)), (reply(7), Position(1))];
    let fenced = Append { previous: Some(FrameId(77)), ..append.clone() };
    assert!(matches!(store.append(fenced).await, Appended::Fenced));
    assert_eq!(store.states(run(1)).await.unwrap(), [], "nothing of a lost timeline is found");
    journal.append(&*store, append).await;
    let mut append = journal.next(Owner::Keep);
    append.rows.landmarks = vec![(state("map"), Position(2)), (state("map"), Position(3))];
    journal.append(&*store, append).await;
    journal.go(&*store, Owner::End).await;
    drop(store);
    let subject = subject.kill();
    let store = subject.store();
    assert_eq!(store.states(run(1)).await.unwrap(), [("a".into(), Position(1)), ("map".into(), Position(3))]);
    assert_eq!(store.landmark(run(1), reply(7)).await.unwrap(), Some(Position(1)));
    assert_eq!(store.landmark(run(1), reply(8)).await.unwrap(), None);
    assert_eq!(store.landmark(run(1), state("ma")).await.unwrap(), None);
    assert_eq!(store.landmark(run(2), state("map")).await.unwrap(), None);
    assert_eq!(store.states(run(2)).await.unwrap(), []);
    let rows = store.check_run(run(1)).await.unwrap();
    assert_eq!(rows.landmarks, [(state("a"), Position(1)), (state("map"), Position(3)), (reply(7), Position(1))]);
    assert_eq!(rows.flaws, Vec::<String>::new());
}

pub async fn what_a_backup_brings_back_counts_as_sent_and_read(subject: Subject) {
    let store = subject.store();
    let signal = |message, payload: &str| InboxItem {
        body: InboxBody::Signal { name: "paid".into(), payload: Value::inline(payload), from: None },
        ..item(message)
    };
    let (read, cancel) = (signal(1, "1"), item(2));
    let brought = vec![(read.message, read.body.identity()), (cancel.message, cancel.body.identity())];
    let mut start = Journal::new(run(1)).next(Owner::Keep);
    start.rows.brought.clone_from(&brought);
    durable(store.append(start).await);
    let mut ended = Journal::new(run(2)).next(Owner::End);
    ended.rows.brought = brought;
    durable(store.append(ended).await);
    drop(store);
    let subject = subject.kill();
    let store = subject.store();
    assert_eq!(store.send(run(1), read).await.unwrap(), Sent::Delivered);
    assert_eq!(store.send(run(1), cancel).await.unwrap(), Sent::Delivered);
    assert_eq!(store.send(run(1), signal(1, "2")).await.unwrap(), Sent::Differs);
    assert!(store.inbox(run(1)).await.unwrap().is_empty());
    assert_eq!(store.send(run(1), signal(3, "2")).await.unwrap(), Sent::Delivered);
    assert_eq!(store.check_run(run(2)).await.unwrap().flaws, Vec::<String>::new(), "an ended run remembers nothing");
}

pub async fn a_message_is_told_from_another_one_under_its_id(subject: Subject) {
    let mut journal = started(&*subject.store(), 1).await;
    let signal = |name: &str, payload: &str| InboxItem {
        body: InboxBody::Signal { name: name.into(), payload: Value::inline(payload), from: None },
        ..item(1)
    };
    let update = InboxItem { body: InboxBody::Update { name: "paid".into(), payload: Value::inline("1") }, ..item(1) };
    assert_eq!(subject.store().send(run(1), signal("paid", "1")).await.unwrap(), Sent::Delivered);
    let subject = subject.kill();
    let store = subject.store();
    for _ in 0..2 {
        assert_eq!(store.send(run(1), signal("paid", "1")).await.unwrap(), Sent::Delivered);
        assert_eq!(store.send(run(1), signal("paid", "2")).await.unwrap(), Sent::Differs);
        assert_eq!(store.send(run(1), signal("due", "1")).await.unwrap(), Sent::Differs);
        assert_eq!(store.send(run(1), update.clone()).await.unwrap(), Sent::Differs);
        assert!(store.inbox(run(1)).await.unwrap().len() <= 1);
        // And so before it is sent.
        assert_eq!(store.known(run(1), signal("paid", "1")).await.unwrap(), Some(Sent::Delivered));
        assert_eq!(store.known(run(1), signal("paid", "2")).await.unwrap(), Some(Sent::Differs));
        assert_eq!(store.known(run(1), item(2)).await.unwrap(), None);
        assert_eq!(store.known(run(2), signal("paid", "1")).await.unwrap(), None);
        // The same where the run has read it.
        let mut append = journal.next(Owner::Keep);
        append.rows.read = vec![MessageId(1)];
        journal.append(&*store, append).await;
    }
    // In one batch too, where neither is on the disk yet.
    let both = [signal("paid", "1"), signal("paid", "2")].map(|item| InboxItem { message: MessageId(2), ..item });
    let sends = both.map(|item| store.send(run(1), item));
    let sent: Vec<Sent> = futures_util::future::join_all(sends).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(sent, [Sent::Delivered, Sent::Differs]);
}
