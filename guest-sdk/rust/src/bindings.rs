//! The imports of the contract, and nothing else: on wasm the generated code, elsewhere the host
//! of [`crate::testing`]. No other file names wit-bindgen.

/// What both roles may do. One object per role, so that a component without functions never
/// refers to `effect`, and is seen to be pure.
pub(crate) trait Port {
    fn sleep(&self, duration_ms: u64, options: &str, at: &str) -> u32;
    fn next(&self) -> Completion;
    fn forget(&self, id: u32);
    fn cancel(&self, id: u32);
    fn now(&self) -> u64;
    fn random(&self, size_bytes: u32) -> Vec<u8>;
    fn log(&self, level: &str, message: &str, fields: &str);
    fn emit(&self, event: &str, data: &str, at: &str);
    fn panicked(&self, message: &str, at: Option<&str>);
    /// Only of workflows.
    fn continue_with(&self, input: &str, unused: &[u32]);
}

#[cfg(not(target_arch = "wasm32"))]
mod native;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use native::{
    Completion, EffectPort, Host, StepPort, accept_update, ask_person, ask_person_of_function, begin, call, delta, end,
    entity_delete, entity_get, entity_set, http, model, patched, progress, promise, promise_token, publish, receive,
    reply, start_run, with_host,
};

#[cfg(target_arch = "wasm32")]
pub use wasm::generated::*;
#[cfg(target_arch = "wasm32")]
pub(crate) use wasm::{
    Completion, EffectPort, StepPort, accept_update, ask_person, ask_person_of_function, begin, call, delta, end,
    entity_delete, entity_get, entity_set, http, model, patched, progress, promise, promise_token, publish, receive,
    reply, start_run,
};

#[cfg(target_arch = "wasm32")]
mod wasm {
    use super::Port;
    use generated::trackway::guest::{effect, step};

    #[allow(unsafe_code, missing_docs, clippy::all, reason = "generated from wit/")]
    pub mod generated {
        wit_bindgen::generate!({
            path: "../../wit",
            world: "app",
            pub_export_macro: true,
            export_macro_name: "wit_export",
            default_bindings_module: "::trackway_sdk::__private::bindings",
            runtime_path: "::wit_bindgen::rt",
        });
    }

    pub(crate) use generated::trackway::guest::types::Completion;

    pub(crate) fn call(function: &str, input: &str, options: &str, at: &str) -> u32 {
        step::call(function, input, options, Some(at))
    }

    pub(crate) fn start_run(workflow: &str, input: &str, options: &str, at: &str) -> u32 {
        step::start_run(workflow, input, options, Some(at))
    }

    pub(crate) fn receive(signal: &str, options: &str, at: &str) -> u32 {
        step::receive(signal, options, Some(at))
    }

    pub(crate) fn ask_person(form: &str, options: &str, at: &str) -> u32 {
        step::ask_person(form, options, Some(at))
    }

    pub(crate) fn patched(id: &str) -> bool {
        step::patched(id)
    }

    pub(crate) fn promise(name: &str, options: &str, at: &str) -> u32 {
        step::promise(name, options, Some(at))
    }

    pub(crate) fn promise_token(id: u32) -> String {
        step::promise_token(id)
    }

    pub(crate) fn progress(progress: &str) {
        effect::progress(progress);
    }

    pub(crate) fn entity_get(name: &str, key: &str, options: &str, at: &str) -> u32 {
        step::entity_get(name, key, options, Some(at))
    }

    /// Name, key and value.
    pub(crate) fn entity_set([name, key, value]: [&str; 3], options: &str, at: &str) -> u32 {
        step::entity_set(name, key, value, options, Some(at))
    }

    pub(crate) fn entity_delete(name: &str, key: &str, options: &str, at: &str) -> u32 {
        step::entity_delete(name, key, options, Some(at))
    }

    pub(crate) fn accept_update(update: &str, options: &str, at: &str) -> u32 {
        step::accept_update(update, options, Some(at))
    }

    pub(crate) fn reply(id: u32, answer: Result<&str, &str>, at: &str) {
        step::reply(id, answer, Some(at));
    }

    pub(crate) fn publish(key: &str, value: &str, at: &str) {
        step::publish(key, value, Some(at));
    }

    pub(crate) fn delta(event: &str, data: &str) {
        effect::delta(event, data);
    }

    pub(crate) fn http(request: &str, options: &str, at: &str) -> u32 {
        effect::http(request, options, Some(at))
    }

    pub(crate) fn model(request: &str, options: &str, at: &str) -> u32 {
        effect::model(request, options, Some(at))
    }

    pub(crate) fn ask_person_of_function(form: &str, options: &str, at: &str) -> u32 {
        effect::ask_person(form, options, Some(at))
    }

    /// Kind, name and input.
    pub(crate) fn begin([kind, name, input]: [&str; 3], options: &str, at: &str) -> u32 {
        effect::begin(kind, name, input, options, Some(at))
    }

    pub(crate) fn end(id: u32, outcome: Result<&str, &str>, at: &str) {
        effect::end(id, outcome, Some(at));
    }

    pub(crate) struct StepPort;
    pub(crate) struct EffectPort;

    macro_rules! port {
        ($port:ident, $interface:ident, $continue_with:expr) => {
            impl Port for $port {
                fn sleep(&self, duration_ms: u64, options: &str, at: &str) -> u32 {
                    $interface::sleep(duration_ms, options, Some(at))
                }
                fn next(&self) -> Completion {
                    $interface::next()
                }
                fn forget(&self, id: u32) {
                    $interface::forget(id);
                }
                fn cancel(&self, id: u32) {
                    $interface::cancel(id);
                }
                fn now(&self) -> u64 {
                    $interface::now()
                }
                fn random(&self, size_bytes: u32) -> Vec<u8> {
                    $interface::random(size_bytes)
                }
                fn log(&self, level: &str, message: &str, fields: &str) {
                    $interface::log(level, message, fields);
                }
                fn emit(&self, event: &str, data: &str, at: &str) {
                    $interface::emit(event, data, Some(at));
                }
                fn panicked(&self, message: &str, at: Option<&str>) {
                    $interface::panicked(message, at);
                }
                fn continue_with(&self, input: &str, unused: &[u32]) {
                    let continue_with: fn(&str, &[u32]) = $continue_with;
                    continue_with(input, unused);
                }
            }
        };
    }

    port!(StepPort, step, step::continue_with);
    port!(EffectPort, effect, |_, _| {});
}
