//! The imports where there is no Trackway: whatever host a test has put in place on this thread.

use std::cell::RefCell;
use std::rc::Rc;

use super::Port;

/// What `next` delivers; the same fields as in the contract.
#[derive(Debug, Clone)]
pub(crate) struct Completion {
    pub kind: String,
    pub id: u32,
    pub body: String,
}

/// What answers the imports in a test. Roles are not told apart.
pub(crate) trait Host: Port {
    fn call(&self, function: &str, input: &str, options: &str, at: &str) -> u32;
    fn receive(&self, signal: &str, options: &str, at: &str) -> u32;
    fn ask_person(&self, form: &str, options: &str, at: &str) -> u32;
    fn patched(&self, id: &str) -> bool;
    fn promise(&self, name: &str, options: &str, at: &str) -> u32;
    fn promise_token(&self, id: u32) -> String;
    fn publish(&self, key: &str, value: &str, at: &str);
    fn accept_update(&self, update: &str, options: &str, at: &str) -> u32;
    fn reply(&self, id: u32, answer: Result<&str, &str>, at: &str);
    fn http(&self, request: &str, options: &str, at: &str) -> u32;
    fn model(&self, request: &str, options: &str, at: &str) -> u32;
    /// Kind, name and input.
    fn begin(&self, what: [&str; 3], options: &str, at: &str) -> u32;
    fn end(&self, id: u32, outcome: Result<&str, &str>, at: &str);
    fn progress(&self, progress: &str);
    fn delta(&self, event: &str, data: &str);
    fn start_run(&self, workflow: &str, input: &str, options: &str, at: &str) -> u32;
    fn entity_get(&self, name: &str, key: &str) -> u32;
    /// `None` deletes.
    fn entity_write(&self, name: &str, key: &str, value: Option<&str>, options: &str) -> u32;
}

thread_local! {
    static HOST: RefCell<Option<Rc<dyn Host>>> = const { RefCell::new(None) };
}

/// Runs `body` with `host` behind the imports, and puts the host before it back afterwards.
pub(crate) fn with_host<T>(host: Rc<dyn Host>, body: impl FnOnce() -> T) -> T {
    struct Restore(Option<Rc<dyn Host>>);
    impl Drop for Restore {
        fn drop(&mut self) {
            HOST.set(self.0.take());
        }
    }
    let _restore = Restore(HOST.replace(Some(host)));
    body()
}

fn host() -> Rc<dyn Host> {
    HOST.with_borrow(Clone::clone)
        .expect("there is no Trackway on this target: run workflows in a test with `trackway_sdk::testing::Host`")
}

pub(crate) fn call(function: &str, input: &str, options: &str, at: &str) -> u32 {
    host().call(function, input, options, at)
}

pub(crate) fn start_run(workflow: &str, input: &str, options: &str, at: &str) -> u32 {
    host().start_run(workflow, input, options, at)
}

pub(crate) fn receive(signal: &str, options: &str, at: &str) -> u32 {
    host().receive(signal, options, at)
}

pub(crate) fn ask_person(form: &str, options: &str, at: &str) -> u32 {
    host().ask_person(form, options, at)
}

pub(crate) fn patched(id: &str) -> bool {
    host().patched(id)
}

pub(crate) fn promise(name: &str, options: &str, at: &str) -> u32 {
    host().promise(name, options, at)
}

pub(crate) fn promise_token(id: u32) -> String {
    host().promise_token(id)
}

pub(crate) fn progress(progress: &str) {
    host().progress(progress);
}

pub(crate) fn entity_get(name: &str, key: &str, _options: &str, _at: &str) -> u32 {
    host().entity_get(name, key)
}

pub(crate) fn entity_set([name, key, value]: [&str; 3], options: &str, _at: &str) -> u32 {
    host().entity_write(name, key, Some(value), options)
}

pub(crate) fn entity_delete(name: &str, key: &str, options: &str, _at: &str) -> u32 {
    host().entity_write(name, key, None, options)
}

pub(crate) fn accept_update(update: &str, options: &str, at: &str) -> u32 {
    host().accept_update(update, options, at)
}

/// Also from a drop after the end of the test's host: then nobody waits for it.
pub(crate) fn reply(id: u32, answer: Result<&str, &str>, at: &str) {
    if let Some(host) = HOST.with_borrow(Clone::clone) {
        host.reply(id, answer, at);
    }
}

pub(crate) fn publish(key: &str, value: &str, at: &str) {
    host().publish(key, value, at);
}

pub(crate) fn delta(event: &str, data: &str) {
    host().delta(event, data);
}

pub(crate) fn http(request: &str, options: &str, at: &str) -> u32 {
    host().http(request, options, at)
}

pub(crate) fn model(request: &str, options: &str, at: &str) -> u32 {
    host().model(request, options, at)
}

/// Roles are not told apart here.
pub(crate) fn ask_person_of_function(form: &str, options: &str, at: &str) -> u32 {
    host().ask_person(form, options, at)
}

pub(crate) fn begin(what: [&str; 3], options: &str, at: &str) -> u32 {
    host().begin(what, options, at)
}

/// Also from a drop after the end of the test's host: then nobody looks at it.
pub(crate) fn end(id: u32, outcome: Result<&str, &str>, at: &str) {
    if let Some(host) = HOST.with_borrow(Clone::clone) {
        host.end(id, outcome, at);
    }
}

pub(crate) struct StepPort;
pub(crate) struct EffectPort;

macro_rules! port {
    ($port:ident) => {
        impl Port for $port {
            fn sleep(&self, duration_ms: u64, options: &str, at: &str) -> u32 {
                host().sleep(duration_ms, options, at)
            }
            fn next(&self) -> Completion {
                host().next()
            }
            fn forget(&self, id: u32) {
                host().forget(id);
            }
            fn cancel(&self, id: u32) {
                host().cancel(id);
            }
            fn now(&self) -> u64 {
                host().now()
            }
            fn random(&self, size_bytes: u32) -> Vec<u8> {
                host().random(size_bytes)
            }
            fn log(&self, level: &str, message: &str, fields: &str) {
                host().log(level, message, fields);
            }
            fn emit(&self, event: &str, data: &str, at: &str) {
                host().emit(event, data, at);
            }
            fn panicked(&self, message: &str, at: Option<&str>) {
                host().panicked(message, at);
            }
            fn continue_with(&self, input: &str, unused: &[u32]) {
                host().continue_with(input, unused);
            }
        }
    };
}

port!(StepPort);
port!(EffectPort);
