//! What a folded journal promises.

use std::time::Duration;

use crate::testing::*;
use crate::{
    BadJournal, Digest, EffectId, EffectKind, EffectVerdict, End, Entry, Epoch, FuelRule, Kept, Kind, MessageId, Park,
    ParkedState, Phase, Position, QuestionId, RULES, RunState, Spent, Status, StepId, StepState, Timestamp, Value,
    Waiting, code,
};

fn state(kinds: impl IntoIterator<Item = Kind>) -> RunState {
    RunState::of(&journal(kinds)).expect("a sound journal")
}

fn check_status(kinds: impl IntoIterator<Item = Kind>, expected: &[Status]) {
    let entries = journal(kinds);
    let statuses: Vec<_> =
        (1..=entries.len()).map(|end| RunState::of(&entries[..end]).expect("a sound journal").status()).collect();
    assert_eq!(statuses, expected);
}

#[test]
fn the_status_follows_the_entries() {
    use Status::*;
    check_status([started(), claimed(), succeeded()], &[Queued, Running, Succeeded]);
    check_status(
        [started(), claimed(), call(1), attempt(1, 1), answered(1), finished(End::Failed(Value::inline("{}")))],
        &[Queued, Running, Running, Running, Running, Failed],
    );
    check_status(
        [started(), claimed(), sleep(1, 5), call(2), answered(2), answered(1), succeeded()],
        &[Queued, Running, Sleeping, Running, Sleeping, Running, Succeeded],
    );
    check_status(
        [started(), claimed(), call(1), attempt(1, 1), failed(1, 1, 9_000), sleep(2, 5), attempt(1, 2), forgotten(1)],
        &[Queued, Running, Running, Running, Waiting, Waiting, Running, Sleeping],
    );
    check_status(
        [started(), cancel(), claimed(), finished(End::Cancelled { reason: "r".into() })],
        &[Queued, Queued, Running, Cancelled],
    );
    check_status([started(), finished(End::Terminated { reason: "r".into() })], &[Queued, Cancelled]);
    check_status(
        [started(), claimed(), sleep(1, 1), step_cancel(1), answered(1)],
        &[Queued, Running, Sleeping, Sleeping, Running],
    );
}

fn check_refused(kinds: impl IntoIterator<Item = Kind>) {
    let entries = journal(kinds);
    let (last, before) = entries.split_last().expect("at least one entry");
    let mut state = RunState::of(before).expect("all but the last are sound");
    let unchanged = format!("{state:?}");
    let error = BadJournal::Unexpected { kind: last.kind.name(), at: last.position };
    assert_eq!(state.apply(last), Err(error));
    assert_eq!(format!("{state:?}"), unchanged, "an error leaves the state as it was");
}

#[test]
fn an_entry_that_cannot_follow_is_refused_and_changes_nothing() {
    let open = || [started(), claimed(), call(1), sleep(2, 5)];
    let attempting = || [started(), claimed(), call(1), attempt(1, 1), effect(1, 1, 1)];
    check_refused([started(), started()]);
    check_refused([started(), call(1)]);
    check_refused([started(), claimed(), call(2)]);
    check_refused([started(), claimed(), call(0)]);
    for kind in [
        call(1),
        call(2),
        call(4),
        attempt(0, 1),
        attempt(1, 0),
        attempt(1, 2),
        attempt(1, u32::MAX),
        attempt(2, 1),
        attempt(3, 1),
        resumed(1, 1),
        resumed(9, 1),
        effect(1, 1, 1),
        effect_answered(1, 1, 1),
        failed(1, 1, 5),
        failed(2, 1, 5),
        answered(0),
        answered(3),
        forgotten(0),
        forgotten(3),
        step_cancel(0),
        step_cancel(3),
    ] {
        check_refused(open().into_iter().chain([kind]));
    }
    for kind in [
        attempt(1, 1),
        attempt(1, 2),
        resumed(1, 2),
        effect(1, 1, 1),
        effect(1, 1, 3),
        effect(1, 2, 1),
        effect_answered(1, 1, 2),
        effect_answered(1, 2, 1),
        failed(1, 2, 5),
    ] {
        check_refused(attempting().into_iter().chain([kind]));
    }
    check_refused(attempting().into_iter().chain([effect_answered(1, 1, 1), effect_answered(1, 1, 1)]));
    check_refused(attempting().into_iter().chain([answered(1), answered(1)]));
    check_refused(attempting().into_iter().chain([forgotten(1), answered(1)]));
    check_refused(attempting().into_iter().chain([failed(1, 1, 5), attempt(1, 3)]));
    for kind in [claimed(), call(1), cancel(), succeeded(), forgotten(1)] {
        check_refused([started(), claimed(), succeeded(), kind]);
    }
}

fn check_bad(change: impl FnOnce(&mut Vec<Entry>), expected: BadJournal) {
    let mut entries = journal([started(), claimed(), call(1), answered(1)]);
    change(&mut entries);
    assert_eq!(RunState::of(&entries).map(|state| state.status()), Err(expected));
}

#[test]
fn a_journal_that_cannot_be_is_named_by_what_is_wrong_with_it() {
    check_bad(|entries| entries.clear(), BadJournal::Empty);
    check_bad(|entries| _ = entries.remove(0), BadJournal::NoStart);
    check_bad(|entries| entries[0].position = Position(1), BadJournal::NoStart);
    check_bad(|entries| _ = entries.remove(2), BadJournal::Gap { before: Position(1), found: Position(3) });
    check_bad(
        |entries| entries[2].position = Position(u64::MAX),
        BadJournal::Gap { before: Position(1), found: Position(u64::MAX) },
    );
    check_bad(|entries| entries[3].epoch = Epoch(0), BadJournal::EpochBack { at: Position(3) });
    check_bad(|entries| entries[3].time = Timestamp(7), BadJournal::TimeBack { at: Position(3) });
    check_bad(
        |entries| entries[0].kind = started_with(Value::null(), RULES + 1),
        BadJournal::NewerRules { found: RULES + 1 },
    );
    check_bad(
        |entries| entries.push(Entry { position: Position(4), ..entries[3].clone() }),
        BadJournal::Unexpected { kind: "Answered", at: Position(4) },
    );
}

#[test]
fn every_beginning_of_a_journal_folds() {
    let entries = every_kind();
    for end in 1..=entries.len() {
        let state = RunState::of(&entries[..end]).expect("a beginning of a sound journal");
        assert_eq!(state.last().0, entries[end - 1].position);
    }
}

#[test]
fn entries_in_any_order_never_panic() {
    let kinds: Vec<_> = every_kind().into_iter().map(|entry| entry.kind).collect();
    proptest::proptest!(|(picks in proptest::collection::vec(0..kinds.len(), 0..60))| {
        let chosen = [started(), claimed()].into_iter().chain(picks.iter().map(|pick| kinds[*pick].clone()));
        let mut entries = journal(chosen).into_iter();
        let mut state = RunState::new(&entries.next().expect("it begins")).expect("with a start");
        for mut entry in entries {
            entry.position = state.last().0.plus(1);
            let before = format!("{state:?}");
            if state.apply(&entry).is_err() {
                assert_eq!(format!("{state:?}"), before);
            }
            let due = state.steps().values().filter_map(|step| [step.due(), step.deadline()].into_iter().flatten().min());
            let due = due.min();
            assert_eq!(state.due(), due, "the timers are those of the open steps");
            _ = state.head();
        }
    });
}

#[test]
fn a_sleep_is_due_at_the_guests_time_plus_its_duration_and_never_wraps() {
    let due = |duration_ms| state([started(), claimed(), sleep(1, duration_ms)]).due();
    assert_eq!(due(0), Some(Timestamp::from_millis(1_000)));
    assert_eq!(due(250), Some(Timestamp::from_millis(1_250)));
    assert_eq!(due(u64::MAX), Some(Timestamp(u64::MAX)));
}

#[test]
fn steps_that_are_due_come_earliest_first() {
    let state = state([
        started(),
        claimed(),
        sleep(1, 500),
        sleep(2, 100),
        sleep(3, 300),
        call(4),
        attempt(4, 1),
        failed(4, 1, 1_100),
    ]);
    let due = |millis| state.steps_due(Timestamp::from_millis(millis)).map(|step| step.0).collect::<Vec<_>>();
    assert_eq!(due(1_099), [0_u32; 0]);
    assert_eq!(due(1_100), [2, 4]);
    assert_eq!(due(1_300), [2, 4, 3]);
    assert_eq!(due(9_999), [2, 4, 3, 1]);
    assert_eq!(state.due(), Some(Timestamp::from_millis(1_100)));
}

#[test]
fn an_unfinished_attempt_keeps_what_is_needed_to_resume_it() {
    let state = state([
        started(),
        claimed(),
        call(1),
        attempt(1, 1),
        effect(1, 1, 1),
        effect(1, 1, 2),
        effect(1, 1, 3),
        effect_answered(1, 1, 2),
        claimed(),
        resumed(1, 1),
    ]);
    let Phase::Attempting(attempt) = &state.step(StepId(1)).expect("it is open").phase else {
        panic!("it is being attempted")
    };
    assert_eq!((attempt.attempt, attempt.started), (1, Timestamp::from_millis(1_003)));
    let open: Vec<_> = attempt.open_effects().map(|asked| asked.effect.0).collect();
    assert_eq!(open, [1, 3]);
    let kinds: Vec<_> =
        attempt.effects.iter().map(|record| (record.position.0, matches!(record.kind, EffectKind::Asked(_)))).collect();
    assert_eq!(kinds, [(4, true), (5, true), (6, true), (7, false)]);
}

#[test]
fn the_next_attempt_begins_without_the_effects_of_the_last() {
    let state =
        state([started(), claimed(), call(1), attempt(1, 1), effect(1, 1, 1), failed(1, 1, 2_000), attempt(1, 2)]);
    let Phase::Attempting(attempt) = &state.step(StepId(1)).expect("it is open").phase else {
        panic!("it is being attempted")
    };
    assert_eq!((attempt.attempt, attempt.effects.len(), attempt.open_effects().count()), (2, 0, 0));
}

#[test]
fn a_step_remembers_that_the_workflow_asked_to_cancel_it() {
    let state = state([started(), claimed(), call(1), call(2), step_cancel(2)]);
    let asked: Vec<_> = state.steps().values().map(|step| step.cancel_asked).collect();
    assert_eq!(asked, [false, true]);
}

#[test]
fn a_step_may_be_forgotten_or_cancelled_after_its_answer() {
    let state = state([started(), claimed(), call(1), call(2), answered(1), answered(2), forgotten(1), step_cancel(2)]);
    assert!(state.steps().is_empty());
}

#[test]
fn the_first_cancel_counts() {
    let state = state([started(), claimed(), cancel(), cancel()]);
    assert_eq!(state.cancel().map(|cancel| cancel.received), Some(Timestamp::from_millis(1_002)));
}

#[test]
fn a_run_that_is_held_is_paused_until_it_is_resumed_or_cancelled() {
    let held = [started(), claimed(), sleep(1, 5), paused()];
    let head = state(held.clone()).head();
    assert_eq!((head.status, head.waiting, head.due), (Status::Paused, None, None));
    assert_eq!(state(held.clone().into_iter().chain([answered(1)])).status(), Status::Paused);
    assert_eq!(state(held.clone().into_iter().chain([resumed_run()])).status(), Status::Sleeping);
    assert_eq!(state(held.clone().into_iter().chain([paused(), resumed_run()])).status(), Status::Sleeping);
    assert_eq!(state(held.into_iter().chain([cancel()])).status(), Status::Sleeping);
    assert_eq!(state([started(), claimed(), sleep(1, 5), cancel(), paused()]).status(), Status::Sleeping);
}

#[test]
fn a_fork_has_begun_when_all_that_it_keeps_stands() {
    let kinds = [started(), forked(&[0]), claimed(), call(1)];
    let lacks = |count| state(kinds.clone().into_iter().take(count)).fork_lacks();
    assert_eq!((lacks(1), lacks(2), lacks(3), lacks(4)), (0, 2, 1, 0));
    assert_eq!(state(kinds.clone().into_iter().take(3)).status(), Status::Queued);
    assert_eq!(state(kinds.clone()).head().started, Timestamp::from_millis(9_000));
    let late = journal([started(), claimed(), forked(&[0])]);
    assert!(matches!(RunState::of(&late), Err(BadJournal::Unexpected { kind: "Forked", .. })));
}

#[test]
fn a_head_says_what_a_list_shows() {
    let waiting = state([started(), claimed(), call(1), attempt(1, 1), failed(1, 1, 9_000)]).head();
    assert_eq!((waiting.status, waiting.waiting), (Status::Waiting, Some(Waiting::Retry)));
    assert_eq!((waiting.due, waiting.steps), (Some(Timestamp::from_millis(9_000)), 1));
    assert_eq!(waiting.changed, Timestamp::from_millis(1_004));

    let running = state([started(), claimed(), sleep(1, 5), call(2)]).head();
    assert_eq!((running.status, running.due, running.finished), (Status::Running, None, None));

    let failure = crate::Failure::new(code::TRAP, "it trapped").to_value();
    let failed = state([started(), claimed(), finished(End::Failed(failure))]).head();
    assert_eq!((failed.code.as_deref(), failed.message.as_deref()), (Some("TRAP"), Some("it trapped")));
    assert_eq!(failed.finished, Some(Timestamp::from_millis(1_002)));

    let cancelled = state([started(), finished(End::Cancelled { reason: "enough".into() })]).head();
    assert_eq!((cancelled.code, cancelled.message.as_deref()), (None, Some("enough")));
}

#[test]
fn fuel_binds_only_between_the_same_engine_and_code() {
    let state = state([started(), claimed()]);
    let rule = |engine, component| state.claims()[0].fuel_rule(engine, Digest([component; 32]));
    assert_eq!(rule("engine 48.0.8", 1), FuelRule::Exact);
    assert_eq!(rule("engine 48.0.9", 1), FuelRule::Loose);
    assert_eq!(rule("engine 48.0.8", 2), FuelRule::Loose);
}

/// A hundred thousand open timers, each apart: what is done for each must not grow with the others.
#[test]
fn many_open_steps_cost_no_walk_each() {
    let steps = 100_000;
    let kinds = [started(), claimed()].into_iter().chain((1..=steps).map(|step| sleep(step, u64::from(step))));
    let mut entries = journal(kinds);
    let mut state = RunState::of(&entries).expect("a sound journal");
    let first = entries.split_off(2);
    for (step, entry) in (1..).zip(first) {
        assert_eq!(state.due(), Some(Timestamp::from_millis(1_000 + u64::from(step))));
        let (position, time) = (state.last().0.plus(1), state.last().1);
        let entry = Entry { position, time, kind: answered(step), ..entry };
        state.apply(&entry).expect("each is answered");
    }
    assert_eq!((state.due(), state.status()), (None, Status::Running));
}

#[test]
fn an_attempt_that_goes_on_after_a_failed_one_has_what_that_one_had_done() {
    let told = |kept, more: Vec<Kind>| {
        let begun = [started(), claimed(), call(1), attempt(1, 1), effect(1, 1, 1), effect_answered(1, 1, 1)];
        let then = [effect(1, 1, 2), effect_answered(1, 1, 2), failed_keeping(1, 1, 2_000, kept), attempt(1, 2)];
        let state = state(begun.into_iter().chain(then).chain(more));
        let Some(Phase::Attempting(attempt)) = state.step(StepId(1)).map(|step| &step.phase) else {
            panic!("{state:?}")
        };
        assert_eq!((attempt.attempt, attempt.origin, attempt.started), (2, 1, Timestamp::from_millis(1_003)));
        (attempt.effects.len(), attempt.open_effects().map(|asked| asked.effect.0).collect::<Vec<_>>())
    };
    let last = Kept { answers: 2, last: Some(EffectId(2)) };
    assert_eq!(told(last, vec![]), (3, vec![2]), "the last answer is asked for again");
    assert_eq!(told(last, vec![effect_answered(1, 2, 2)]), (4, vec![]));
    assert_eq!(told(last, vec![effect_answered(1, 2, 2), effect(1, 2, 3)]), (5, vec![3]));
    assert_eq!(told(Kept { answers: 2, last: None }, vec![]), (4, vec![]), "all is kept");
    assert_eq!(told(Kept { answers: 0, last: Some(EffectId(1)) }, vec![effect(1, 2, 1)]), (1, vec![1]));
}

#[test]
fn a_parked_step_waits_for_a_person_who_gives_it_all_its_attempts_again() {
    let parked = || vec![started(), claimed(), call(1), attempt(1, 1), parked(1, 1, Park::Exhausted)];
    let waiting = state(parked());
    assert_eq!(
        (waiting.status(), waiting.head().waiting, waiting.due()),
        (Status::Waiting, Some(Waiting::Retry), None)
    );
    let retried = state(parked().into_iter().chain([retry(1, Some("fixed"), None)]));
    let at = Timestamp::from_millis(1_005);
    assert_eq!((retried.status(), retried.due()), (Status::Waiting, Some(at)));
    let step = retried.step(StepId(1)).expect("it is open");
    assert_eq!(step.budget, Spent { attempts: 1, since: at });
    assert_eq!(step.with.as_ref().map(|with| &*with.deployment), Some("fixed"));
    let again = state(parked().into_iter().chain([retry(1, None, None), attempt(1, 2), retry(1, None, None)]));
    assert_eq!(again.status(), Status::Running, "a word that comes too late changes nothing");
    check_refused(parked().into_iter().chain([attempt(1, 2)]));
}

#[test]
fn an_attempt_with_unclear_effects_goes_on_with_a_persons_word() {
    let begun = || vec![started(), claimed(), call(1), attempt(1, 1), effect(1, 1, 1), claimed()];
    let parked = || begun().into_iter().chain([parked(1, 1, Park::Unclear(EffectId(1)))]);
    let waiting = state(parked());
    assert_eq!(waiting.status(), Status::Waiting);
    let phase = |state: &RunState| format!("{:?}", state.step(StepId(1)).expect("it is open").phase);
    assert!(matches!(&waiting.step(StepId(1)).expect("it is open").phase, Phase::Parked(parked)
        if matches!(&**parked, ParkedState::Unclear(attempt) if attempt.open_effects().count() == 1)));
    let decided = state(parked().chain([retry(1, None, Some(EffectVerdict::Fail))]));
    assert_eq!(decided.status(), Status::Running);
    assert!(phase(&decided).contains("verdict: Some(Fail)"), "{}", phase(&decided));
    let resumed = state(parked().chain([retry(1, None, None), resumed(1, 1)]));
    assert!(phase(&resumed).contains("verdict: None"), "{}", phase(&resumed));
}

#[test]
fn the_next_attempt_is_given_the_last_progress_of_those_before() {
    let given = |kinds: Vec<Kind>| {
        let state = state([started(), claimed(), call(1), attempt(1, 1)].into_iter().chain(kinds));
        let Some(Phase::Attempting(attempt)) = state.step(StepId(1)).map(|step| &step.phase) else {
            panic!("{state:?}")
        };
        attempt.given.clone()
    };
    let told = |attempt, text| progressed(1, attempt, text);
    assert_eq!(given(vec![told(1, "1")]), None, "its own it knows");
    assert_eq!(given(vec![told(1, "1"), told(1, "2"), failed(1, 1, 2_000), attempt(1, 2)]), Some(Value::inline("2")));
    let silent = vec![told(1, "1"), failed(1, 1, 2_000), attempt(1, 2), failed(1, 2, 3_000), attempt(1, 3)];
    assert_eq!(given(silent), Some(Value::inline("1")));
}

#[test]
fn a_deadline_stands_right_behind_the_start_or_nowhere() {
    assert_eq!(state([started(), deadline(9_000), claimed()]).deadline(), Some(Timestamp::from_millis(9_000)));
    check_refused([started(), claimed(), deadline(9_000)]);
    check_refused([started(), deadline(9_000), deadline(9_000)]);
}

#[test]
fn a_deadline_may_stand_behind_what_says_where_the_run_comes_from() {
    let at = Some(Timestamp::from_millis(19_000));
    let of_child = state([started(), child_of(), deadline(19_000), claimed()]);
    assert_eq!((of_child.deadline(), of_child.child_of().is_some()), (at, true));
    check_refused([started(), child_of(), claimed(), deadline(19_000)]);
    let fork = state([started(), forked(&[0]), deadline(19_000)]);
    // It was started anew at 9,000.
    assert_eq!((fork.deadline(), fork.timeout(), fork.fork_lacks()), (at, Some(Duration::from_secs(10)), 2));
    assert_eq!(fork.status(), Status::Queued);
    let copying = state([started(), forked(&[0]), deadline(19_000), claimed(), call(1)]);
    assert_eq!((copying.deadline(), copying.fork_lacks()), (at, 0));
    assert_eq!(state([started(), forked(&[0]), claimed()]).fork_lacks(), 1);
}

#[test]
fn a_call_has_its_times_once_and_before_its_first_attempt() {
    let at = |millis| Some(Timestamp::from_millis(millis));
    let timed_call = || vec![started(), claimed(), call(1), timed(1, Some(5_000), Some(9_000))];
    let told = |more: Vec<Kind>| {
        let state = state(timed_call().into_iter().chain(more));
        (state.step(StepId(1)).and_then(StepState::deadline), state.due())
    };
    assert_eq!(told(vec![]), (at(5_000), at(5_000)));
    assert_eq!(told(vec![attempt(1, 1)]), (at(9_000), at(9_000)), "it has begun");
    assert_eq!(told(vec![attempt(1, 1), failed(1, 1, 2_000)]), (at(9_000), at(2_000)));
    assert_eq!(told(vec![attempt(1, 1), parked(1, 1, Park::Exhausted)]), (at(9_000), at(9_000)));
    assert_eq!(told(vec![answered(1)]), (None, None));
    for late in [timed(1, None, Some(9_000)), timed(2, None, None)] {
        check_refused(timed_call().into_iter().chain([late]));
    }
    check_refused([started(), claimed(), sleep(1, 5), timed(1, None, Some(9_000))]);
    check_refused([started(), claimed(), call(1), attempt(1, 1), timed(1, None, Some(9_000))]);
}

fn waits_for(kinds: Vec<Kind>) -> (Status, Option<Waiting>) {
    let head = RunState::of(&journal(kinds)).expect("a journal").head();
    (head.status, head.waiting)
}

#[test]
fn a_run_waits_for_a_signal_until_it_is_there() {
    let waiting = (Status::Waiting, Some(Waiting::Signal));
    let running = (Status::Running, None);
    let begun = || vec![started(), claimed()];
    let with = |more: Vec<Kind>| waits_for([begun(), more].concat());
    assert_eq!(with(vec![receive(1, "a")]), waiting);
    assert_eq!(with(vec![receive(1, "a"), sleep(2, 250)]), waiting);
    assert_eq!(with(vec![receive(1, "a"), signalled(1, "b")]), waiting);
    assert_eq!(with(vec![receive(1, "a"), signalled(1, "a")]), running);
    assert_eq!(with(vec![signalled(1, "a"), receive(1, "a")]), running);
    assert_eq!(with(vec![receive(1, "a"), signalled(1, "a"), sleep(2, 250)]), (Status::Sleeping, None));
    assert_eq!(with(vec![receive(1, "a"), receive(2, "a"), signalled(1, "a")]), waiting);
}

#[test]
fn a_signal_that_a_step_did_not_take_goes_to_the_next_one() {
    let waiting = (Status::Waiting, Some(Waiting::Signal));
    let running = (Status::Running, None);
    let with = |more: Vec<Kind>| waits_for([vec![started(), claimed()], more].concat());
    let one_of_two = || vec![receive(1, "a"), receive(2, "a"), signalled(1, "a")];
    assert_eq!(with([one_of_two(), vec![forgotten(1)]].concat()), running, "the second one has it now");
    assert_eq!(with([one_of_two(), vec![forgotten(1), forgotten(2), receive(3, "a")]].concat()), running);
    assert_eq!(with([one_of_two(), vec![forgotten(2), receive(3, "a")]].concat()), waiting);
    let cancelled = vec![receive(1, "a"), signalled(1, "a"), step_cancel(1), answered(1)];
    assert_eq!(with(cancelled.clone()), running);
    assert_eq!(with([cancelled, vec![receive(2, "a"), receive(3, "a")]].concat()), waiting, "only one has it");
}

#[test]
fn a_message_is_copied_once() {
    let twice = journal([started(), claimed(), signalled(1, "a"), signalled(1, "b")]);
    let Err(error) = RunState::of(&twice) else { panic!("it was copied twice") };
    assert_eq!(error, BadJournal::Unexpected { kind: "Signalled", at: Position(3) });
    let once = RunState::of(&twice[..3]).expect("a journal");
    assert!(once.has_message(MessageId(1)) && !once.has_message(MessageId(2)));
}

#[test]
fn a_run_waits_for_a_person_that_one_of_its_attempts_asks() {
    let waiting = (Status::Waiting, Some(Waiting::Person));
    let running = (Status::Running, None);
    let begun = || vec![started(), claimed(), call(1), attempt(1, 1)];
    let with = |more: Vec<Kind>| waits_for([begun(), more].concat());
    assert_eq!(with(vec![asks_person(1, 1, 1, 5_000)]), waiting);
    assert_eq!(with(vec![asks_person(1, 1, 1, 5_000), asks_person(1, 1, 2, 5_000), settled_effect(1, 1, 1)]), waiting);
    assert_eq!(with(vec![asks_person(1, 1, 1, 5_000), settled_effect(1, 1, 1)]), running);
    assert_eq!(with(vec![asks_person(1, 1, 1, 5_000), effect(1, 1, 2)]), running, "something else goes on");
    assert_eq!(with(vec![asks_person(1, 1, 1, 5_000), failed(1, 1, 2_000)]), (Status::Waiting, Some(Waiting::Retry)));
    check_refused([begun(), vec![effect(1, 1, 1), settled_effect(1, 1, 1)]].concat());
    check_refused([begun(), vec![asks_person(1, 1, 1, 5_000), settled_effect(1, 2, 1)]].concat());
    check_refused([begun(), vec![asks_person(1, 1, 1, 5), settled_effect(1, 1, 1), settled_effect(1, 1, 1)]].concat());
}

#[test]
fn questions_of_an_attempt_are_open_until_it_is_over_and_again_in_the_next_one() {
    let open = |more: Vec<Kind>| {
        let all = journal([vec![started(), claimed(), question(1, 500), call(2), attempt(2, 1)], more].concat());
        let state = RunState::of(&all).expect("a journal");
        let told = |(id, place): (QuestionId, Position)| format!("{} {} {place}", id.name, id.attempt);
        (state.questions().map(told).collect::<Vec<_>>(), state.due().map(Timestamp::millis))
    };
    let asked = || vec![asks_person(2, 1, 1, 300), asks_person(2, 1, 2, 900)];
    let both = ["1 0 2", "2.1 1 5", "2.2 1 6"].map(str::to_owned).to_vec();
    assert_eq!(open(asked()), (both, Some(1_300)));
    let one = ["1 0 2", "2.2 1 6"].map(str::to_owned).to_vec();
    assert_eq!(open([asked(), vec![settled_effect(2, 1, 1)]].concat()), (one, Some(1_500)));
    assert_eq!(open([asked(), vec![failed(2, 1, 9_000)]].concat()).0, ["1 0 2"]);
    let keeping = failed_keeping(2, 1, 2_000, Kept { answers: 0, last: None });
    let again = [asked(), vec![settled_effect(2, 1, 1), keeping, attempt(2, 2)]].concat();
    assert_eq!(open(again).0, ["1 0 2", "2.2 2 6"], "what had its answer is not asked anew");
}
