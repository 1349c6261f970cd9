//! Guests written as text, a host that follows a script, and sandboxes to run them in.

use crate::sandbox::*;
use std::collections::VecDeque;
use std::sync::Mutex;
use trackway_replay::{Digest, TenantId};

/// Texts of a guest, laid out in its memory; everything below 4,096 is theirs.
#[derive(Default)]
pub struct Texts {
    bytes: String,
}

const TEXTS_AT: usize = 1024;

impl Texts {
    /// Puts a text into memory and gives its place as two operands.
    pub fn put(&mut self, text: &str) -> String {
        let at = TEXTS_AT + self.bytes.len();
        self.bytes.push_str(text);
        format!("(i32.const {at}) (i32.const {})", text.len())
    }

    fn data(&self) -> String {
        let escaped: String = self.bytes.bytes().map(|byte| format!("\\{byte:02x}")).collect();
        format!("(data (i32.const {TEXTS_AT}) \"{escaped}\")")
    }
}

pub const NO_AT: &str = "(i32.const 0) (i32.const 0) (i32.const 0)";
pub const MANIFEST: &str = r#"{"contract":"0.1","workflows":[{"name":"w"}],"functions":[{"name":"f"}]}"#;

const STEP_IMPORTS: &str = r#"
  (import "trackway:guest/step@0.1.0" "call" (func $call (param i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "trackway:guest/step@0.1.0" "start-run" (func $start (param i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "trackway:guest/step@0.1.0" "sleep" (func $sleep (param i64 i32 i32 i32 i32 i32) (result i32)))
  (import "trackway:guest/step@0.1.0" "receive" (func $receive (param i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "trackway:guest/step@0.1.0" "ask-person" (func $ask (param i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "trackway:guest/step@0.1.0" "promise" (func $promise (param i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "trackway:guest/step@0.1.0" "promise-token" (func $token (param i32 i32)))
  (import "trackway:guest/step@0.1.0" "next" (func $next (param i32)))
  (import "trackway:guest/step@0.1.0" "forget" (func $forget (param i32)))
  (import "trackway:guest/step@0.1.0" "cancel" (func $cancel (param i32)))
  (import "trackway:guest/step@0.1.0" "now" (func $now (result i64)))
  (import "trackway:guest/step@0.1.0" "random" (func $random (param i32 i32)))
  (import "trackway:guest/step@0.1.0" "log" (func $log (param i32 i32 i32 i32 i32 i32)))
  (import "trackway:guest/step@0.1.0" "panicked" (func $panicked (param i32 i32 i32 i32 i32)))
"#;
const EFFECT_IMPORTS: &str = r#"
  (import "trackway:guest/effect@0.1.0" "http" (func $http (param i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "trackway:guest/effect@0.1.0" "sleep" (func $esleep (param i64 i32 i32 i32 i32 i32) (result i32)))
  (import "trackway:guest/effect@0.1.0" "next" (func $enext (param i32)))
  (import "trackway:guest/effect@0.1.0" "forget" (func $eforget (param i32)))
  (import "trackway:guest/effect@0.1.0" "cancel" (func $ecancel (param i32)))
  (import "trackway:guest/effect@0.1.0" "now" (func $enow (result i64)))
  (import "trackway:guest/effect@0.1.0" "random" (func $erandom (param i32 i32)))
  (import "trackway:guest/effect@0.1.0" "log" (func $elog (param i32 i32 i32 i32 i32 i32)))
  (import "trackway:guest/effect@0.1.0" "panicked" (func $epanicked (param i32 i32 i32 i32 i32)))
"#;

/// A guest of world `app` in the making. `run` and `call` are bodies of functions with the locals
/// `$i` and `$j` that leave nothing on the stack; what they return is set by `$return`.
#[derive(Default)]
pub struct TextGuest {
    pub texts: Texts,
    pub manifest: Option<String>,
    pub run: String,
    pub call: String,
    pub more: String,
    pub memory: Option<String>,
}

impl TextGuest {
    pub fn of_run(make: impl FnOnce(&mut Texts) -> String) -> Vec<u8> {
        let mut guest = TextGuest::default();
        guest.run = make(&mut guest.texts);
        guest.build("app")
    }

    pub fn of_call(make: impl FnOnce(&mut Texts) -> String) -> Vec<u8> {
        let mut guest = TextGuest::default();
        guest.call = make(&mut guest.texts);
        guest.build("app")
    }

    pub fn build(self, world: &str) -> Vec<u8> {
        wit_component::ComponentEncoder::default()
            .module(&self.core(world))
            .expect("the module is well formed")
            .validate(true)
            .encode()
            .expect("the module fits the world")
    }

    /// The core module with its component type.
    pub fn core(mut self, world: &str) -> Vec<u8> {
        let text = self.text(world);
        let mut module = wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        let mut resolve = wit_parser::Resolve::default();
        let wit = concat!(env!("CARGO_MANIFEST_DIR"), "/../wit");
        let (package, _) = resolve.push_dir(wit).expect("wit/ is well formed");
        let world = resolve.select_world(&[package], Some(world)).expect("the world is in wit/");
        wit_component::embed_component_metadata(&mut module, &resolve, world, wit_component::StringEncoding::UTF8)
            .expect("metadata fits");
        module
    }

    pub fn text(&mut self, world: &str) -> String {
        let manifest = self.manifest.clone().unwrap_or_else(|| match world {
            "workflow" => r#"{"contract":"0.1","workflows":[{"name":"w"}]}"#.to_owned(),
            "functions" => r#"{"contract":"0.1","functions":[{"name":"f"}]}"#.to_owned(),
            _ => MANIFEST.to_owned(),
        });
        let manifest = self.texts.put(&manifest);
        let entry = |name: &str, body: &str| {
            format!(
                "(func (export \"{name}\") (param $a i32) (param $al i32) (param $b i32) (param $bl i32) \
                 (param $c i32) (param $cl i32) (result i32) (local $i i32) (local $j i32) {body} (i32.const 16))"
            )
        };
        let (step, effect) = (world != "functions", world != "workflow");
        let parts = [
            if step { STEP_IMPORTS } else { "" }.to_owned(),
            if effect { EFFECT_IMPORTS } else { "" }.to_owned(),
            self.memory.clone().unwrap_or_else(|| "(memory (export \"memory\") 1)".to_owned()),
            self.texts.data(),
            PRELUDE.to_owned(),
            format!("(func (export \"describe\") (result i32) (call $return {manifest}) (i32.const 20))"),
            if step { entry("run", &self.run) } else { String::new() },
            if effect { entry("call", &self.call) } else { String::new() },
            self.more.clone(),
        ];
        format!("(module {})", parts.join("\n"))
    }
}

/// `$return` writes an `ok` result at 16 (or a plain string at 20), `$fail` an error.
const PRELUDE: &str = r#"
  (global $top (mut i32) (i32.const 32768))
  (func $alloc (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $top) (i32.const 7)) (i32.const -8)))
    (global.set $top (i32.add (local.get $at) (local.get 3)))
    (loop $grow
      (if (i32.gt_u (global.get $top) (i32.shl (memory.size) (i32.const 16)))
        (then
          (if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then unreachable))
          (br $grow))))
    (local.get $at))
  (func $return (param i32 i32)
    (i32.store (i32.const 16) (i32.const 0))
    (i32.store (i32.const 20) (local.get 0))
    (i32.store (i32.const 24) (local.get 1)))
  (func $fail (param i32 i32)
    (call $return (local.get 0) (local.get 1))
    (i32.store8 (i32.const 16) (i32.const 1)))
"#;

/// What a guest did, as the host saw it.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Seen {
    /// Each command with the fuel that was used.
    pub commands: Vec<(String, u64)>,
    pub logs: Vec<String>,
    pub deliveries: Vec<u64>,
}

/// Follows a script; what it sees is shared with the test.
#[derive(Default)]
pub struct Scripted {
    pub seen: Arc<Mutex<Seen>>,
    pub deliveries: VecDeque<Delivery>,
    /// Fuel to set with each reply, in order.
    pub reply_fuel: VecDeque<u64>,
    pub stop_at_command: Option<u32>,
    /// How often `poll_room` and `poll_next` are pending before each answer.
    pub pending: u32,
    pub waited: u32,
    pub id: u32,
}

impl Scripted {
    pub fn watched() -> (Box<Scripted>, Arc<Mutex<Seen>>) {
        let host = Scripted::default();
        let seen = Arc::clone(&host.seen);
        (Box::new(host), seen)
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().expect("no test panics while it looks")
    }

    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.waited < self.pending {
            self.waited += 1;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.waited = 0;
        Poll::Ready(())
    }
}

pub fn delivery(id: u32, body: &str) -> Delivery {
    Delivery { kind: "succeeded", id, body: body.into(), fuel: None, refuel: true }
}

impl GuestHost for Scripted {
    fn command(&mut self, command: Command<'_>, fuel: u64) -> Result<Reply, Stop> {
        let told = match command {
            Command::Call { function, input, options, at } => format!("call {function} {input} {options} {at:?}"),
            Command::Http { request, options, at } => format!("http {request} {options} {at:?}"),
            Command::Model { request, options, at } => format!("model {request} {options} {at:?}"),
            Command::Sleep { duration_ms, options, at } => format!("sleep {duration_ms} {options} {at:?}"),
            Command::StartRun { workflow, input, options, at } => {
                format!("start-run {workflow} {input} {options} {at:?}")
            }
            Command::Receive { signal, options, at } => format!("receive {signal} {options} {at:?}"),
            Command::AskPerson { form, options, at } => format!("ask-person {form} {options} {at:?}"),
            Command::Promise { name, options, at } => format!("promise {name} {options} {at:?}"),
            Command::EntityGet { entity, key, options, at } => format!("entity-get {entity} {key} {options} {at:?}"),
            Command::EntitySet { entity, key, value, options, at } => {
                format!("entity-set {entity} {key} {value} {options} {at:?}")
            }
            Command::EntityDelete { entity, key, options, at } => {
                format!("entity-delete {entity} {key} {options} {at:?}")
            }
            Command::Forget { id } => format!("forget {id}"),
            Command::Cancel { id } => format!("cancel {id}"),
            Command::ContinueWith { input, unused } => format!("continue-with {input} {unused:?}"),
            Command::Patched { patch } => format!("patched {patch}"),
            Command::Progress { progress } => format!("progress {progress}"),
            Command::Publish { key, value, at } => format!("publish {key} {value} {at:?}"),
            Command::Emit { event, data, at } => format!("emit {event} {data} {at:?}"),
            Command::Delta { event, data } => format!("delta {event} {data}"),
            Command::Begin { kind, name, input, options, at } => {
                format!("begin {kind} {name} {input} {options} {at:?}")
            }
            Command::End { id, outcome, at } => format!("end {id} {outcome:?} {at:?}"),
            Command::AcceptUpdate { update, options, at } => format!("accept-update {update} {options} {at:?}"),
            Command::Reply { id, answer, at } => format!("reply {id} {answer:?} {at:?}"),
        };
        self.seen().commands.push((told, fuel));
        self.id += 1;
        if self.stop_at_command == Some(self.id) {
            return Err(Stop);
        }
        Ok(Reply { id: self.id, fuel: self.reply_fuel.pop_front() })
    }

    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Stop>> {
        self.wait(cx).map(Ok)
    }

    fn poll_next(&mut self, cx: &mut Context<'_>, fuel: u64) -> Poll<Result<Delivery, Stop>> {
        std::task::ready!(self.wait(cx));
        self.seen().deliveries.push(fuel);
        Poll::Ready(self.deliveries.pop_front().ok_or(Stop))
    }

    fn now_ms(&mut self) -> u64 {
        1_700_000_000_000
    }

    fn random(&mut self, into: &mut [u8]) {
        into.fill(b'7');
    }

    fn log(&mut self, level: &str, message: &str, fields: &str) {
        self.seen().logs.push(format!("{level} {message} {fields}"));
    }
}

pub fn options(folder: &std::path::Path) -> Options {
    Options {
        cache: folder.to_owned(),
        key: [7; 32],
        compiler: Compiler::InProcess,
        slots: 20,
        cores: 2,
        slow_threads: 0,
    }
}

/// A sandbox with a cache of its own.
pub struct Place {
    pub sandbox: Sandbox,
    pub folder: tempfile::TempDir,
}

pub fn place() -> Place {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let sandbox = Sandbox::new(options(folder.path())).expect("a sandbox");
    Place { sandbox, folder }
}

impl Place {
    pub async fn code(&self, component: Vec<u8>) -> Arc<Code> {
        let digest = Digest::of(&component);
        self.sandbox.load(TenantId::DEFAULT, digest, &component.into()).await.expect("the guest loads")
    }
}

pub fn call_of(role: Role) -> GuestCall {
    let name = match role {
        Role::Workflow => "w",
        Role::Function => "f",
    };
    GuestCall {
        tenant: TenantId::DEFAULT,
        role,
        name: name.into(),
        input: "{}".into(),
        context: "{}".into(),
        limits: Limits::default(),
        fuel: 100_000_000,
    }
}

/// Loads a guest, makes one call, and gives what came of it.
pub async fn play(component: Vec<u8>, role: Role, host: Box<Scripted>) -> End {
    place().code(component).await.call(call_of(role), host).await
}

pub fn failure_of(end: End) -> Failure {
    match end.how {
        Ended::Trapped(failure) => failure,
        other => panic!("expected a trap, got {other:?}"),
    }
}

pub fn output_of(end: End) -> String {
    match end.how {
        Ended::Returned(Ok(output)) => output,
        other => panic!("expected an output, got {other:?}"),
    }
}

/// Polls once, with nobody to wake.
pub fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    std::pin::Pin::new(future).poll(&mut Context::from_waker(std::task::Waker::noop()))
}
