//! What each import does on the host for tests, but for those that both roles have.

use serde_json::json;

use super::sent::{promise, question, told, update};
use super::{HttpRequest, Instance, WORKFLOWS, drive};
use crate::bindings::Host as Imports;
use crate::failure::{Failure, code};

use super::tried::Tried;

impl Imports for Instance {
    /// All attempts are made at once; what they would have waited passes as virtual time.
    fn call(&self, function: &str, input: &str, options: &str, _at: &str) -> u32 {
        let begun_ms = self.shared.now_ms.get();
        let step = self.inbox.borrow().ids + 1;
        let mut waited_ms = 0;
        let mut attempt = 1;
        let mut progress = None;
        let (outcome, took_ms) = loop {
            let (outcome, known) = self.attempt(function, input, (step, attempt), &mut progress);
            let policy = known.map(|known| Tried::of(&known.policy, options)).unwrap_or_default();
            let spent_ms = waited_ms + (self.shared.now_ms.get() - begun_ms);
            let failure = outcome.as_ref().err().map(|failure| Failure::from_text(failure));
            let Some(wait_ms) = failure.and_then(|failure| policy.wait_ms(&failure, attempt, spent_ms)) else {
                break policy.in_time(outcome, spent_ms);
            };
            waited_ms += wait_ms;
            attempt += 1;
        };
        self.shared.now_ms.set(begun_ms);
        self.answer(outcome, took_ms)
    }

    fn delta(&self, event: &str, data: &str) {
        self.shared.deltas.borrow_mut().push((event.to_owned(), told(data)));
    }

    fn progress(&self, progress: &str) {
        self.inbox.borrow_mut().progress = Some(progress.to_owned());
    }

    /// The run is made at once; what it waited passes as virtual time.
    fn start_run(&self, workflow: &str, input: &str, options: &str, _at: &str) -> u32 {
        let Some(main) = WORKFLOWS.with_borrow(|workflows| workflows.get(workflow).copied()) else {
            let message = format!("no workflow `{workflow}`: see `testing::Host::knows`");
            return self.answer(Err(Failure::permanent(code::UNKNOWN_WORKFLOW, message).to_text()), 0);
        };
        self.shared.calls.borrow_mut().push(workflow.to_owned());
        let begun_ms = self.shared.now_ms.get();
        let context = json!({ "run": "child", "workflow": workflow, "deployment": "test" }).to_string();
        let outcome = drive(&self.shared, main, input.to_owned(), &context, None);
        let took_ms = self.shared.now_ms.replace(begun_ms) - begun_ms;
        let options: serde_json::Value = serde_json::from_str(options).unwrap_or_default();
        match options["detach"] == true {
            true => self.answer(Ok(json!({ "run": "child" }).to_string()), 0),
            false => self.answer(outcome, took_ms),
        }
    }

    fn receive(&self, signal: &str, _options: &str, _at: &str) -> u32 {
        let mut inbox = self.inbox.borrow_mut();
        inbox.ids += 1;
        let id = inbox.ids;
        inbox.open.insert(id);
        inbox.receives.insert(id, signal.to_owned());
        id
    }

    fn ask_person(&self, form: &str, options: &str, at: &str) -> u32 {
        let form: serde_json::Value = serde_json::from_str(form).unwrap_or_default();
        let title = form["title"].as_str().unwrap_or_default();
        self.note(options, format!("ask {title}"));
        let id = self.receive(&question(title), options, at);
        self.expires(id, &form, "nobody answered in time");
        id
    }

    fn patched(&self, id: &str) -> bool {
        !self.shared.before_patches.iter().any(|patch| patch == id)
    }

    fn promise(&self, name: &str, options: &str, at: &str) -> u32 {
        let id = self.receive(&promise(name), "", at);
        self.expires(id, &serde_json::from_str(options).unwrap_or_default(), "nobody settled the promise in time");
        id
    }

    fn promise_token(&self, id: u32) -> String {
        format!("pr_test_{id}")
    }

    fn entity_get(&self, name: &str, key: &str) -> u32 {
        self.answer(self.shared.entities.borrow().get(name, key), 0)
    }

    fn entity_write(&self, name: &str, key: &str, value: Option<&str>, options: &str) -> u32 {
        let outcome = self.shared.entities.borrow_mut().write(name, key, value, options);
        self.answer(outcome, 0)
    }

    fn accept_update(&self, name: &str, options: &str, at: &str) -> u32 {
        self.receive(&update(name), options, at)
    }

    fn reply(&self, _id: u32, answer: Result<&str, &str>, _at: &str) {
        self.shared.replies.borrow_mut().push(answer.map(str::to_owned).map_err(str::to_owned));
    }

    fn publish(&self, key: &str, value: &str, _at: &str) {
        self.shared.states.borrow_mut().insert(key.to_owned(), value.to_owned());
    }

    fn model(&self, request: &str, options: &str, _at: &str) -> u32 {
        self.ask_model(request, options)
    }

    fn begin(&self, [kind, name, _input]: [&str; 3], options: &str, _at: &str) -> u32 {
        let place = self.note(options, format!("{kind} {name}"));
        self.open_span(place)
    }

    fn end(&self, id: u32, outcome: Result<&str, &str>, _at: &str) {
        self.close_span(id, outcome.err());
    }

    fn http(&self, request: &str, options: &str, _at: &str) -> u32 {
        self.shared.requests.set(self.shared.requests.get() + 1);
        let outcome = match (serde_json::from_str::<HttpRequest>(request), &self.shared.http) {
            (Err(error), _) => Err(Failure::permanent("BAD_REQUEST", error)),
            (Ok(_), None) => Err(Failure::permanent("EGRESS_DENIED", "this test answers no HTTP: see `on_http`")),
            (Ok(request), Some(answer)) => {
                self.note(options, format!("http {} {}", request.method, request.url));
                answer(&HttpRequest { number: self.shared.requests.get(), ..request }).outcome
            }
        };
        self.answer(outcome.map(|output| output.to_string()).map_err(|failure| failure.to_text()), 0)
    }
}
