//! A toy guest and its host: a program of a few operations, driven through machine, sequencer and
//! state as a worker drives a workflow, from nothing or from what is on record.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;
use trackway_replay::{
    Act, Asked, AttemptResumed, Claimed, Command, Compared, Completion, Decision, Digest, Divergence, End, Entry,
    Epoch, Failure, Finished, Forgotten, Frame, Kind, Limits, Machine, Next, Outcome, Phase, Position, Proof,
    Published, RULES, Random, Replied, RunId, RunState, Sequencer, Started, StepCancelAsked, StepId, StepRequest,
    StepState, Timestamp, Topic, Value, code, digest_of_accept_update, digest_of_call, digest_of_cancel,
    digest_of_forget, digest_of_publish, digest_of_receive, digest_of_reply, digest_of_sleep,
};

use crate::world::{What, World};

pub const COMPONENT: Digest = Digest([1; 32]);
pub const BUDGET: u64 = 3_000;

#[derive(Debug, Clone)]
pub enum Op {
    Compute(u64),
    Call(u8),
    Sleep(u64),
    Receive(u8),
    Accept(u8),
    /// To the update of one of the ids so far, or of none.
    Reply(u32),
    Publish(u8),
    Next,
    /// About one of the ids so far, or one that was never given out.
    Forget(u32),
    Cancel(u32),
    Draw,
    /// Skips so many operations if what it got last says so.
    Branch(usize),
}

pub fn programs() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        3 => (1_u64..200).prop_map(Op::Compute),
        6 => (0_u8..5).prop_map(Op::Call),
        3 => (0_u64..3_000).prop_map(Op::Sleep),
        4 => (0_u8..3).prop_map(Op::Receive),
        4 => (0_u8..3).prop_map(Op::Accept),
        4 => any::<u32>().prop_map(Op::Reply),
        2 => (0_u8..3).prop_map(Op::Publish),
        6 => Just(Op::Next),
        2 => any::<u32>().prop_map(Op::Forget),
        2 => any::<u32>().prop_map(Op::Cancel),
        1 => Just(Op::Draw),
        1 => (1_usize..3).prop_map(Op::Branch),
        // More than the budget.
        1 => (1_u64..BUDGET * 20).prop_map(|fuel| Op::Compute(if fuel > BUDGET { 1 } else { fuel })),
    ];
    proptest::collection::vec(op, 1..28)
}

/// How the guest differs from the one that wrote the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The command after so many asks for something else.
    Other { commands: u64 },
    /// It computes otherwise before the command.
    Fuel { commands: u64, more: i64 },
    /// It returns instead of giving the command.
    Stops { commands: u64 },
}

#[derive(Debug, Clone)]
pub struct Setup<'a> {
    pub program: &'a [Op],
    pub seed: u64,
    pub cancel_at: Option<u32>,
    pub engine: &'a str,
    /// Fuel that this engine counts for one of the first.
    pub rate: u64,
    pub change: Option<Change>,
    pub record: &'a [Entry],
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Saw {
    Id(u32),
    Ignored,
    Delivered { completion: Completion, now: Timestamp },
    NothingOpen,
    Random([u8; 4]),
}

#[derive(Debug)]
pub struct Ran {
    pub journal: Vec<Entry>,
    pub saw: Vec<Saw>,
    pub end: Result<End, Box<Divergence>>,
    /// Commands that were on record, in the guest's order.
    pub recalled: u64,
    pub compared: Compared,
}

enum Stop {
    Ended(End),
    Diverged(Box<Divergence>),
}

struct Host<'a> {
    setup: &'a Setup<'a>,
    machine: Machine,
    sequencer: Sequencer,
    state: RunState,
    world: World,
    /// What is on record of what the world did.
    known: BTreeSet<String>,
    answered: BTreeSet<u32>,
    forgotten: BTreeSet<u32>,
    /// What the guest has cancelled so far.
    cancelled: BTreeSet<u32>,
    journal: Vec<Entry>,
    saw: Vec<Saw>,
    recalled: u64,
    fuel: u64,
    fuel_limit: u64,
    random: Random,
}

/// Runs the program to its end, and holds it against the model of the world at each step.
pub fn drive(setup: &Setup) -> Ran {
    let mut host = Host::new(setup);
    let stop = host.run();
    let end = match stop {
        Stop::Diverged(divergence) => Err(divergence),
        Stop::Ended(end) => host.finish(end),
    };
    host.flush();
    if end.is_ok() {
        let again = RunState::of(&host.journal).expect("what was written is a journal");
        assert_eq!(format!("{again:?}"), format!("{:?}", host.state), "the state is a fold of the journal");
    }
    Ran { journal: host.journal, saw: host.saw, end, recalled: host.recalled, compared: host.machine.compared() }
}

impl<'a> Host<'a> {
    fn new(setup: &'a Setup<'a>) -> Host<'a> {
        let begin = Timestamp::from_millis(1_000);
        let mut journal = setup.record.to_vec();
        if journal.is_empty() {
            journal.push(Entry { position: Position::FIRST, epoch: Epoch(1), time: begin, kind: started() });
        }
        let state = RunState::of(&journal).expect("any beginning of a journal is one");
        let mut machine = Machine::new(begin, BUDGET);
        let rule = |position| {
            let claim = state.claims().iter().rfind(|claim| claim.from <= position).expect("commands have a claim");
            claim.fuel_rule(setup.engine, COMPONENT)
        };
        let (mut known, mut answered, mut forgotten) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for entry in &journal[1..] {
            machine.recall(entry, rule(entry.position));
            known.insert(name(&entry.kind));
            match &entry.kind {
                Kind::Answered(answer) => _ = answered.insert(answer.step.0),
                Kind::Forgotten(forget) => _ = forgotten.insert(forget.step.0),
                _ => {}
            }
        }
        let (last, time) = state.last();
        let epoch = journal.last().map_or(Epoch(1), |entry| Epoch(entry.epoch.0 + 1));
        let sequencer = Sequencer::new(last.plus(1), epoch, time);
        let world = World::new(setup.seed, setup.cancel_at, begin);
        let random = Random::of_run(state.started().seed);
        let (saw, recalled, fuel) = (Vec::new(), 0, 0);
        let fuel_limit = machine.allowance(0);
        let mut host = Host {
            setup,
            machine,
            sequencer,
            state,
            world,
            known,
            answered,
            forgotten,
            cancelled: BTreeSet::new(),
            journal,
            saw,
            recalled,
            fuel,
            fuel_limit,
            random,
        };
        host.claim();
        host
    }

    fn claim(&mut self) {
        if self.state.end().is_some() {
            return;
        }
        let claimed = Claimed { worker: "w".into(), engine: self.setup.engine.into(), component: COMPONENT };
        self.push(Kind::Claimed(claimed));
        let attempts: Vec<_> = self
            .state
            .steps()
            .iter()
            .filter_map(|(step, state)| match &state.phase {
                Phase::Attempting(attempt) => Some((*step, attempt.attempt)),
                Phase::Sleeping { .. }
                | Phase::Waiting
                | Phase::Retrying { .. }
                | Phase::Parked(_)
                | Phase::Child { .. }
                | Phase::Receiving
                | Phase::Asking { .. }
                | Phase::Promised { .. }
                | Phase::Entity
                | Phase::Accepting => None,
            })
            .collect();
        for (step, attempt) in attempts {
            self.push(Kind::AttemptResumed(AttemptResumed { step, attempt }));
        }
    }

    fn run(&mut self) -> Stop {
        let stopped = (|| {
            let mut skip = 0;
            for op in self.setup.program {
                if skip > 0 {
                    skip -= 1;
                    continue;
                }
                match op {
                    Op::Compute(fuel) => self.burn(*fuel)?,
                    Op::Call(function) => self.call(*function)?,
                    Op::Sleep(duration_ms) => self.sleep(*duration_ms)?,
                    Op::Receive(name) => self.receive(*name)?,
                    Op::Accept(name) => self.accept(*name)?,
                    Op::Reply(pick) => self.reply(*pick)?,
                    Op::Publish(key) => self.publish(*key)?,
                    Op::Next => _ = self.next()?,
                    Op::Forget(pick) => self.about(1 + pick % (self.machine.ids() + 1), true)?,
                    Op::Cancel(pick) => self.about(1 + pick % (self.machine.ids() + 1), false)?,
                    Op::Draw => {
                        let mut bytes = [0; 4];
                        self.random.fill(&mut bytes);
                        self.saw.push(Saw::Random(bytes));
                    }
                    Op::Branch(count) => skip = if self.digest().0[0] & 1 == 0 { *count } else { 0 },
                }
            }
            // What is still open is awaited.
            while self.next()? {}
            Err(Stop::Ended(End::Succeeded(Value::inline(format!("\"{}\"", self.digest())))))
        })();
        match stopped {
            Ok(()) => unreachable!("the closure leaves by its error"),
            Err(stop) => stop,
        }
    }

    fn finish(&mut self, end: End) -> Result<End, Box<Divergence>> {
        let fingerprint = self.machine.end(self.fuel)?;
        match self.state.end() {
            Some(recorded) => assert_eq!(recorded, &end, "the same way to the end, another end"),
            None => {
                let finished = Finished { end: end.clone(), fingerprint: Some(fingerprint), unread: Vec::new() };
                self.push(Kind::Finished(finished));
            }
        }
        Ok(end)
    }

    /// As an engine does: a guest is stopped at a check that it reaches with nothing left.
    fn burn(&mut self, fuel: u64) -> Result<(), Stop> {
        self.fuel += fuel * self.setup.rate;
        if self.fuel < self.fuel_limit {
            return Ok(());
        }
        self.fuel = self.fuel_limit;
        match self.machine.ran_past_record() {
            Some(divergence) => Err(Stop::Diverged(divergence)),
            None => {
                let failure = Failure::permanent(code::OUT_OF_FUEL, "computed too long");
                Err(Stop::Ended(End::Failed(failure.to_value())))
            }
        }
    }

    /// What every command costs, changed where the guest is another one.
    fn before_command(&mut self) -> Result<bool, Stop> {
        let done = self.machine.commands();
        match self.setup.change {
            Some(Change::Other { commands }) => {
                self.burn(10)?;
                Ok(commands == done)
            }
            Some(Change::Fuel { commands, more }) if commands == done => {
                self.burn(10_u64.checked_add_signed(more).expect("no less than nothing"))?;
                Ok(false)
            }
            Some(Change::Stops { commands }) if commands == done => {
                Err(Stop::Ended(End::Succeeded(Value::inline("\"early\""))))
            }
            Some(Change::Fuel { .. } | Change::Stops { .. }) | None => {
                self.burn(10)?;
                Ok(false)
            }
        }
    }

    fn call(&mut self, function: u8) -> Result<(), Stop> {
        let other = if self.before_command()? { "-other" } else { "" };
        let function: Arc<str> = format!("f{function}{other}").into();
        let digest = digest_of_call(&function, "[]", "");
        let command =
            Command { act: Act::Call { function: function.clone() }, digest, at: Some("src/lib.rs:1".into()) };
        let request = StepRequest::Call { function: function.clone(), input: Value::inline("[]"), options: "".into() };
        let id = self.ask(command, request)?;
        self.world.called(id, &function);
        self.after_command(Vec::new())
    }

    fn sleep(&mut self, duration_ms: u64) -> Result<(), Stop> {
        let duration_ms = duration_ms + u64::from(self.before_command()?);
        let digest = digest_of_sleep(duration_ms, "");
        let command = Command { act: Act::Sleep { duration_ms }, digest, at: None };
        let id = self.ask(command, StepRequest::Sleep { duration_ms, options: "".into() })?;
        self.world.slept(id);
        self.after_command(Vec::new())
    }

    fn receive(&mut self, name: u8) -> Result<(), Stop> {
        let other = if self.before_command()? { "-other" } else { "" };
        let signal: Arc<str> = format!("s{name}{other}").into();
        let digest = digest_of_receive(&signal, "");
        let command = Command { act: Act::Receive { signal: signal.clone() }, digest, at: None };
        let id = self.ask(command, StepRequest::Receive { signal: signal.clone(), options: "".into() })?;
        self.world.received(id, &signal);
        self.after_command(Vec::new())
    }

    fn accept(&mut self, name: u8) -> Result<(), Stop> {
        let other = if self.before_command()? { "-other" } else { "" };
        let update: Arc<str> = format!("u{name}{other}").into();
        let digest = digest_of_accept_update(&update, "");
        let command = Command { act: Act::AcceptUpdate { update: update.clone() }, digest, at: None };
        let request = StepRequest::AcceptUpdate { update: update.clone(), options: "".into() };
        let id = self.ask(command, request)?;
        self.world.received(id, &update);
        self.after_command(Vec::new())
    }

    fn reply(&mut self, pick: u32) -> Result<(), Stop> {
        let waiting: Vec<u32> = self.world.unanswered.keys().copied().collect();
        let id = waiting.get(pick as usize % (waiting.len() + 1)).copied().unwrap_or(pick);
        let update = self.world.unanswered.remove(&id);
        assert_eq!(self.machine.update_of(id), update, "what waits for an answer is what the guest knows to wait");
        let is_other = if update.is_some() { self.before_command()? } else { self.burn(10).map(|()| false)? };
        let output = format!("[{id},{is_other}]");
        let command = Command { act: Act::Reply { id }, digest: digest_of_reply(id, Ok(&output)), at: None };
        let decision = self.machine.reply(id, command, self.fuel);
        let Some(message) = update else {
            assert_eq!(decision, Decision::Ignore);
            self.saw.push(Saw::Ignored);
            return self.after_command(Vec::new());
        };
        let outcome = Outcome::Succeeded(Value::inline(output));
        self.tell(decision, |proof| Kind::Replied(Replied { step: StepId(id), message, outcome, proof, at: None }))
    }

    fn publish(&mut self, key: u8) -> Result<(), Stop> {
        let value = format!("[{},{}]", self.machine.commands(), self.before_command()?);
        let key: Arc<str> = format!("k{key}").into();
        let digest = digest_of_publish(&key, &value);
        assert!(self.machine.may_publish(&key));
        let command = Command { act: Act::Publish { key: key.clone() }, digest, at: None };
        let decision = self.machine.publish(command, self.fuel);
        self.tell(decision, |proof| Kind::Published(Published { key, value: Value::inline(value), proof, at: None }))
    }

    fn tell(&mut self, decision: Decision, kind: impl FnOnce(Proof) -> Kind) -> Result<(), Stop> {
        match decision {
            Decision::Perform { proof, .. } => self.push(kind(proof)),
            Decision::Recall { .. } => self.recalled += 1,
            Decision::Resume { .. } | Decision::Ignore => unreachable!("what is told leaves nothing to do"),
            Decision::Diverged(divergence) => return Err(Stop::Diverged(divergence)),
        }
        self.saw.push(Saw::Id(0));
        self.after_command(Vec::new())
    }

    fn ask(&mut self, command: Command, request: StepRequest) -> Result<u32, Stop> {
        let at = command.at.clone();
        let was_on_record = !self.machine.has_caught_up();
        let id = match self.machine.ask(command, self.fuel) {
            Decision::Perform { id, proof } => {
                assert!(!was_on_record, "a command on record is performed again");
                let now = self.machine.now();
                self.push(Kind::Asked(Asked { step: StepId(id), request, proof, now, at }));
                id
            }
            Decision::Recall { id } => {
                assert!(self.answered.contains(&id) || self.forgotten.contains(&id), "something is left to do");
                self.recalled += 1;
                id
            }
            Decision::Resume { id } => {
                assert!(!self.answered.contains(&id) && !self.forgotten.contains(&id), "nothing is left to do");
                self.recalled += 1;
                id
            }
            Decision::Ignore => unreachable!("asking is about no id"),
            Decision::Diverged(divergence) => return Err(Stop::Diverged(divergence)),
        };
        self.saw.push(Saw::Id(id));
        Ok(id)
    }

    fn about(&mut self, id: u32, is_forget: bool) -> Result<(), Stop> {
        let is_open = self.machine.is_open(id);
        assert_eq!(is_open, self.world.open.contains(&id), "what is open is what the guest knows to be open");
        let is_again = is_open && !is_forget && self.cancelled.contains(&id);
        // One that is ignored costs the same whatever the guest is.
        let is_other = if is_open && !is_again { self.before_command()? } else { self.burn(10).map(|()| false)? };
        // To cancel once more would be no other command, but none.
        let other_id = id + u32::from(is_other && is_forget && self.cancelled.contains(&id));
        let is_forget = is_forget != is_other || other_id != id;
        let (act, digest) = match is_forget {
            true => (Act::Forget { id: other_id }, digest_of_forget(other_id)),
            false => (Act::Cancel { id }, digest_of_cancel(id)),
        };
        let step = StepId(id);
        match self.machine.about(id, Command { act, digest, at: None }, self.fuel) {
            Decision::Ignore => {
                assert!(!is_open || is_again);
                self.saw.push(Saw::Ignored);
                return self.after_command(Vec::new());
            }
            Decision::Perform { proof, .. } => self.push(match is_forget {
                true => Kind::Forgotten(Forgotten { step, proof }),
                false => Kind::StepCancelAsked(StepCancelAsked { step, proof }),
            }),
            Decision::Recall { .. } => self.recalled += 1,
            Decision::Resume { .. } => {
                assert!(!is_forget && !self.answered.contains(&id) && !self.forgotten.contains(&id));
                self.recalled += 1;
            }
            Decision::Diverged(divergence) => return Err(Stop::Diverged(divergence)),
        }
        assert!(!is_again, "it is cancelled once");
        self.saw.push(Saw::Id(id));
        if !is_forget {
            self.cancelled.insert(id);
        }
        let told = if is_forget {
            self.world.forgotten(id);
            Vec::new()
        } else {
            self.world.asked_to_cancel(id)
        };
        self.after_command(told)
    }

    fn after_command(&mut self, told: Vec<(Timestamp, Kind)>) -> Result<(), Stop> {
        self.fuel_limit = self.fuel + self.machine.allowance(self.fuel);
        self.happens(told);
        let told = self.world.goes_on(false);
        self.happens(told);
        if self.setup.record.is_empty() && self.state.end().is_none() {
            let waits =
                |step: &&StepState| matches!(step.phase, Phase::Receiving | Phase::Accepting) && !step.cancel_asked;
            let waiting = self.state.steps().values().filter(waits).count();
            assert_eq!(waiting, self.world.receives_unmet(), "the state knows how many wait for a signal or an update");
        }
        Ok(())
    }

    /// Whether it got something.
    fn next(&mut self) -> Result<bool, Stop> {
        self.burn(5)?;
        if self.world.open.is_empty() {
            assert_eq!(self.machine.deliver(), Next::NothingOpen, "nothing open, whatever waits");
            self.fuel_limit = self.fuel + self.machine.allowance(self.fuel);
            self.saw.push(Saw::NothingOpen);
            return Ok(false);
        }
        if self.world.first().is_none() && self.machine.would_wait() {
            assert_eq!(self.machine.deliver(), Next::Wait);
        }
        let told = self.world.goes_on(true);
        self.happens(told);
        self.flush();
        let before = self.machine.now();
        let completion = match self.machine.deliver() {
            Next::Deliver(completion) => completion,
            Next::Diverged(divergence) => return Err(Stop::Diverged(divergence)),
            other => panic!("{other:?}, though the world told {:?}", self.world.queue),
        };
        let (place, wanted) = self.world.first().expect("something is there to be delivered");
        let told = self.world.queue.remove(place);
        assert_eq!(completion, wanted, "the earliest in the journal that can be delivered");
        match &completion {
            Completion::Answer { id, .. } => {
                self.world.delivered(*id);
                if let What::Mail { update: Some(message), .. } = told.what {
                    self.world.unanswered.insert(*id, message);
                }
            }
            Completion::Cancel { .. } => self.world.cancel_delivered(),
        }
        // A signal may have waited for long.
        let now = told.time.max(before);
        assert_eq!(self.machine.now(), now, "the guest's time is that of its last delivery, and never goes back");
        self.saw.push(Saw::Delivered { completion, now });
        self.fuel = 0;
        self.fuel_limit = self.machine.allowance(0);
        Ok(true)
    }

    fn happens(&mut self, told: Vec<(Timestamp, Kind)>) {
        for (time, kind) in told {
            if self.known.contains(&name(&kind)) {
                continue;
            }
            if self.setup.change.is_none() {
                assert!(self.machine.has_caught_up(), "the record lacks {kind:?} and has what came of it");
            }
            if self.state.end().is_none() {
                self.push_at(time, kind);
            }
        }
    }

    fn push(&mut self, kind: Kind) {
        self.push_at(self.world.clock, kind);
    }

    fn push_at(&mut self, clock: Timestamp, kind: Kind) {
        assert!(self.state.end().is_none(), "a run that has ended is written to");
        let entry = self.sequencer.push(clock, kind);
        self.state.apply(entry).expect("what is written follows what is there");
        match &entry.kind {
            Kind::Answered(answer) => {
                let (position, time, id) = (entry.position, entry.time, answer.step.0);
                self.machine.answered(position, time, id, answer.outcome.clone());
                // A worker that hears the same answer again, later and otherwise.
                let other = Outcome::Failed(Value::inline("\"a second answer\""));
                self.machine.answered(position.plus(1_000_000), time, id, other);
            }
            Kind::Signalled(_) | Kind::UpdateReceived(_) => {
                let (topic, letter) = Topic::of_entry(entry).expect("a signal is sent");
                self.machine.mail_arrived(topic, letter);
            }
            Kind::CancelReceived(cancel) => {
                self.machine.cancel_received(entry.position, entry.time, cancel.reason.clone());
                self.machine.cancel_received(entry.position.plus(1_000_000), entry.time, "again".into());
            }
            _ => {}
        }
    }

    /// Writes all that is sequenced, and reads it back.
    fn flush(&mut self) {
        while self.sequencer.has_pending() {
            let entries = self.sequencer.take_frame();
            let frame = Frame::decode(&Frame::encode(&entries)).expect("a frame that was written can be read");
            assert_eq!(frame.entries, entries);
            self.journal.extend(frame.entries);
        }
    }

    fn digest(&self) -> Digest {
        Digest::of(format!("{:?}", self.saw).as_bytes())
    }
}

fn started() -> Kind {
    Kind::Started(Box::new(Started {
        run: RunId(1),
        workflow: "toy".into(),
        deployment: "toys".into(),
        component: COMPONENT,
        input: Value::null(),
        seed: [2; 32],
        key_seed: [3; 32],
        limits: Limits { fuel: BUDGET, ..Limits::default() },
        rules: RULES,
    }))
}

/// The same for an entry and for its repetition after a crash.
fn name(kind: &Kind) -> String {
    if let Kind::Signalled(signalled) = kind {
        return format!("Signalled {}", signalled.message);
    }
    if let Kind::UpdateReceived(update) = kind {
        return format!("UpdateReceived {}", update.message);
    }
    let place = match kind {
        Kind::AttemptStarted(begun) => (begun.step, begun.attempt, 0),
        Kind::EffectAsked(asked) => (asked.step, asked.attempt, asked.effect.0),
        Kind::EffectAnswered(answered) => (answered.step, answered.attempt, answered.effect.0),
        Kind::Failed(failed) => (failed.step, failed.attempt, 0),
        Kind::Answered(answered) => (answered.step, 0, 0),
        _ => (StepId(0), 0, 0),
    };
    format!("{} {place:?}", kind.name())
}

pub fn proof_of(kind: &Kind) -> Option<&Proof> {
    match kind {
        Kind::Asked(asked) => Some(&asked.proof),
        Kind::Forgotten(forgotten) => Some(&forgotten.proof),
        Kind::StepCancelAsked(asked) => Some(&asked.proof),
        Kind::Published(published) => Some(&published.proof),
        Kind::Replied(replied) => Some(&replied.proof),
        _ => None,
    }
}
