//! Promises about lists of runs.

use trackway_replay::{Head, RunId, Status, TenantId, Timestamp};
use trackway_storage::{Owner, RunKey, RunQuery};

use crate::subject::{Journal, Subject, head};

fn key(run: RunId) -> RunKey {
    RunKey { tenant: TenantId::DEFAULT, run }
}

async fn start(subject: &Subject, run: RunId, change: impl FnOnce(&mut Head)) {
    let key = key(run);
    let mut journal = Journal::new(key);
    journal.go(&*subject.store(), Owner::Keep).await;
    let mut head = head(key, Status::Running);
    change(&mut head);
    let owner = if head.status.has_ended() { Owner::End } else { Owner::Keep };
    let mut append = journal.next(owner);
    append.rows.head = Some(head);
    journal.append(&*subject.store(), append).await;
}

fn ended(head: &mut Head, code: &str, started: u64) {
    (head.status, head.code, head.started) = (Status::Failed, Some(code.into()), Timestamp(started));
}

async fn listed(subject: &Subject, query: RunQuery) -> Vec<u128> {
    let heads = subject.store().heads(TenantId::DEFAULT, query).await.unwrap();
    heads.iter().map(|head| head.run.0).collect()
}

pub async fn the_newest_runs_come_first_page_by_page(subject: Subject) {
    for number in 1..=5 {
        start(&subject, RunId(number), |_| {}).await;
    }
    let page = |before: Option<u128>| RunQuery { before: before.map(RunId), limit: 2, ..RunQuery::default() };
    assert_eq!(listed(&subject, page(None)).await, [5, 4]);
    assert_eq!(listed(&subject, page(Some(4))).await, [3, 2]);
    assert_eq!(listed(&subject, page(Some(2))).await, [1]);
    assert!(listed(&subject, page(Some(1))).await.is_empty());
    assert!(listed(&subject, page(Some(0))).await.is_empty());
    assert!(listed(&subject, RunQuery::default()).await.is_empty());
}

pub async fn runs_are_filtered_by_what_their_heads_say(subject: Subject) {
    start(&subject, RunId(1), |head| head.workflow = "fetch".into()).await;
    start(&subject, RunId(2), |head| head.deployment = "beta".into()).await;
    start(&subject, RunId(3), |head| head.status = Status::Failed).await;
    start(&subject, RunId(4), |head| head.status = Status::Sleeping).await;
    let all = RunQuery { limit: 9, ..RunQuery::default() };
    assert_eq!(listed(&subject, RunQuery { workflow: Some("fetch".into()), ..all.clone() }).await, [1]);
    assert!(listed(&subject, RunQuery { workflow: Some("fetc".into()), ..all.clone() }).await.is_empty());
    assert_eq!(listed(&subject, RunQuery { deployment: Some("beta".into()), ..all.clone() }).await, [2]);
    let status = vec![Status::Failed, Status::Sleeping];
    assert_eq!(listed(&subject, RunQuery { status, ..all.clone() }).await, [4, 3]);
    start(&subject, RunId(5), |head| ended(head, "TIMEOUT", 90)).await;
    start(&subject, RunId(6), |head| ended(head, "TIME", 91)).await;
    assert_eq!(listed(&subject, RunQuery { code: Some("TIMEOUT".into()), ..all.clone() }).await, [5]);
    let from_to =
        |since, until| RunQuery { since: Some(Timestamp(since)), until: Some(Timestamp(until)), ..all.clone() };
    assert_eq!(listed(&subject, from_to(90, 91)).await, [5]);
    assert_eq!(listed(&subject, from_to(90, 92)).await, [6, 5]);
    let costly = |head: &mut Head| (head.status, head.spending.cost_nanousd) = (Status::Failed, 50);
    start(&subject, RunId(7), costly).await;
    let costing = |least| RunQuery { min_cost_nanousd: Some(least), ..all.clone() };
    assert_eq!(listed(&subject, costing(50)).await, [7]);
    assert!(listed(&subject, costing(51)).await.is_empty());
    assert_eq!(listed(&subject, costing(0)).await.len(), 7);
    let subject = subject.kill();
    let running = RunQuery { status: vec![Status::Running], ..all.clone() };
    assert_eq!(listed(&subject, running.clone()).await, [2, 1]);
    let open = RunQuery { status: vec![Status::Running, Status::Sleeping], ..all };
    assert_eq!(listed(&subject, open.clone()).await, [4, 2, 1]);
    subject.store().park(key(RunId(2)), None, None).await.unwrap();
    assert_eq!(listed(&subject, open.clone()).await, [4, 2, 1]);
    assert_eq!(listed(&subject, RunQuery { before: Some(RunId(4)), limit: 1, ..open }).await, [2]);
    assert_eq!(listed(&subject, RunQuery { from: Some(RunId(2)), ..running }).await, [2]);
}

pub async fn a_prefix_of_an_id_finds_its_runs(subject: Subject) {
    let ids = [(1_000, 7), (1_000, 8), (900_000, 9)];
    let ids = ids.map(|(millis, random)| RunId::new(Timestamp::from_millis(millis), random << 100));
    for id in ids {
        start(&subject, id, |_| {}).await;
    }
    let prefix = &ids[0].to_string()[..10];
    let (low, high) = RunId::range_of_prefix(prefix).unwrap();
    let found = RunQuery { from: Some(low), before: Some(RunId(high.0 + 1)), limit: 9, ..RunQuery::default() };
    assert_eq!(listed(&subject, found).await, [ids[1].0, ids[0].0]);
    let (low, high) = RunId::range_of_prefix(&ids[2].to_string()).unwrap();
    let found = RunQuery { from: Some(low), before: Some(RunId(high.0 + 1)), limit: 9, ..RunQuery::default() };
    assert_eq!(listed(&subject, found).await, [ids[2].0]);
}
