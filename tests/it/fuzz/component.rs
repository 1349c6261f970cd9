//! Uploads: guests that were damaged, cut, spliced and recomposed, and modules and components that no
//! compiler would make. Each goes the whole way: gates, compiler in its own process, `describe` in an instance.

use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::runtime::Runtime;
use trackway::Code;
use trackway::sandbox::{
    Admitted, Command, CompileLimits, Compiler, Delivery, Ended, GuestCall, GuestHost, Options, Reply, Role, Sandbox,
    Stop,
};
use trackway_replay::{Limits, TenantId};

use super::mutate;
use super::target::{Target, gist};
use crate::rig::guests;
use crate::server::binary;
use crate::simulate::dice::Dice;

/// Small, so that one input takes milliseconds: nothing here is about speed.
const GUESTS: [&str; 4] = ["hello", "orders", "values", "crossings"];
/// What compiling a small guest may take on a busy machine.
const COMPILE: CompileLimits = CompileLimits { cpu_seconds: 30, wall_seconds: 120, address_space_bytes: 4 << 30 };
const HEAD_BYTES: usize = 8;
/// Of each role.
const CALLS_MAX: usize = 2;
const COMMANDS_MAX: u32 = 100;
/// What a small guest takes many times over, and a damaged one uses up in no time.
const FUEL: u64 = 20_000_000;
/// Where a component keeps its strings; section numbers of core modules.
const SECTION_CUSTOM: u8 = 0;
const SECTION_CODE: u8 = 10;
const SECTION_DATA: u8 = 11;

const WORDS: [&str; 12] = [
    "trackway:guest/step@0.1.0",
    "trackway:guest/effect@0.1.0",
    "trackway:guest",
    "\"contract\":\"0.1\"",
    "\"0.2\"",
    "workflows",
    "functions",
    "describe",
    "component-type",
    "cabi_realloc",
    "\0asm",
    "memory",
];

pub struct Components {
    runtime: Runtime,
    sandbox: Sandbox,
    compiler: Compiler,
    _cache: tempfile::TempDir,
}

impl Components {
    pub fn new() -> Components {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let cache = tempfile::Builder::new().prefix("trackway-fuzz-").tempdir().expect("a temporary folder");
        let compiler = Compiler::Child { program: binary(), limits: COMPILE };
        let options = Options {
            cache: cache.path().join("code"),
            key: [7; 32],
            compiler: compiler.clone(),
            slots: 20,
            cores: 1,
            slow_threads: 0,
        };
        let sandbox = Sandbox::new(options).expect("the sandbox starts");
        Components { runtime, sandbox, compiler, _cache: cache }
    }
}

impl Components {
    /// Calls what the guest says it has, in both roles: whatever it does to the imports, the host goes on.
    async fn run(&self, admitted: &Admitted) -> String {
        let code =
            self.sandbox.load(TenantId::DEFAULT, admitted.digest, &admitted.bytes).await.expect("it was just admitted");
        let workflows = admitted.manifest.workflows.iter().map(|entry| (Role::Workflow, &entry.name));
        let functions = admitted.manifest.functions.iter().map(|entry| (Role::Function, &entry.name));
        let mut ends = Vec::new();
        for (role, name) in workflows.take(CALLS_MAX).chain(functions.take(CALLS_MAX)) {
            let call = GuestCall {
                tenant: TenantId::DEFAULT,
                role,
                name: name.clone(),
                input: "[1,2]".into(),
                context: "{}".into(),
                limits: Limits::default(),
                fuel: FUEL,
            };
            let end = Arc::clone(&code).call(call, Box::new(Forgetful(0))).await;
            ends.push(match end.how {
                Ended::Returned(Ok(_)) => "returned".to_owned(),
                Ended::Returned(Err(_)) => "failed".to_owned(),
                Ended::Trapped(failure) => failure.code,
                Ended::Stopped => "stopped".to_owned(),
                Ended::HostFailed(error) => panic!("the host failed: {error}"),
            });
        }
        ends.join(" ")
    }
}

/// Answers everything at once with the same, and stops what asks too often.
struct Forgetful(u32);

impl GuestHost for Forgetful {
    fn command(&mut self, _: Command<'_>, _: u64) -> Result<Reply, Stop> {
        self.0 += 1;
        Ok(Reply { id: self.0, fuel: None })
    }

    fn poll_room(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Stop>> {
        Poll::Ready(if self.0 > COMMANDS_MAX { Err(Stop) } else { Ok(()) })
    }

    fn poll_next(&mut self, _: &mut Context<'_>, _: u64) -> Poll<Result<Delivery, Stop>> {
        self.0 += 1;
        let answer = Delivery { kind: "answer", id: self.0, body: "1".into(), fuel: None, refuel: false };
        Poll::Ready(if self.0 > COMMANDS_MAX { Err(Stop) } else { Ok(answer) })
    }

    fn now_ms(&mut self) -> u64 {
        u64::MAX
    }

    fn random(&mut self, into: &mut [u8]) {
        into.fill(7);
    }

    fn log(&mut self, _: &str, _: &str, _: &str) {}
}

impl Target for Components {
    fn seeds(&mut self) -> Vec<Vec<u8>> {
        let read = |name: &&str| {
            let path = guests().join(format!("{name}.wasm"));
            fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}; run `cargo xtask guests`", path.display()))
        };
        GUESTS.iter().map(read).chain(made()).collect()
    }

    fn mutate(&mut self, dice: &mut Dice, input: &mut Vec<u8>, other: &[u8]) {
        match dice.within(0..=9) {
            0 | 1 => disguised(dice, input, other),
            2 => mutate::bytes(dice, input, other, &WORDS),
            3 => {
                // As a component, whose sections are others.
                if let Ok(admitted) = self.runtime.block_on(self.sandbox.admit(Arc::from(input.as_slice()))) {
                    *input = admitted.bytes.to_vec();
                }
                sections(dice, input, other);
            }
            4..=6 => within(dice, input, other, SECTION_DATA),
            7 => within(dice, input, other, SECTION_CODE),
            8 => within(dice, input, other, SECTION_CUSTOM),
            _ => sections(dice, input, other),
        }
    }

    fn feed(&mut self, input: &[u8]) -> String {
        match self.runtime.block_on(self.sandbox.admit(Arc::from(input))) {
            Ok(admitted) => {
                let manifest = &admitted.manifest;
                let entries = format!("{} {}", manifest.workflows.len(), manifest.functions.len());
                format!("admitted {} {entries} {}", admitted.pure, self.runtime.block_on(self.run(&admitted)))
            }
            Err(error) => {
                // The host's own fault, whatever it was given.
                assert!(error.code != Code::Internal, "{error}");
                let refused = format!("{:?} {}", error.code, gist(&error.to_string()));
                // Of those that only have another world than ours the compiler has something to do.
                let is_sound = matches!(error.code, Code::ForeignImport | Code::WrongWorld);
                match is_sound.then(|| self.compiler.compile(input)) {
                    None => refused,
                    Some(Ok(_)) => format!("{refused}, compiled"),
                    Some(Err(error)) => format!("{refused}, {}", gist(&error.to_string())),
                }
            }
        }
    }

    fn rare(&self) -> &'static str {
        "BadWasm"
    }
}

/// Where [`make`] puts what it makes.
fn made_folder() -> PathBuf {
    guests().with_file_name("fuzz").join("made")
}

fn made() -> Vec<Vec<u8>> {
    let Ok(entries) = fs::read_dir(made_folder()) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("a readable folder").path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).expect("a readable file")).collect()
}

/// Has `tests/smith` make valid modules and components that no compiler would; it is built for that.
/// An error says why it could not.
pub fn make(seed: u64, count: u64) -> Result<(), String> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    // Those of another seed are no inputs of this one.
    let _ = fs::remove_dir_all(made_folder());
    let mut cargo = process::Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["run", "--quiet", "--manifest-path"]).arg(tests.join("smith/Cargo.toml")).arg("--target-dir");
    cargo.arg(guests().with_file_name("smith")).arg("--").arg(made_folder());
    let output = cargo.args([seed.to_string(), count.to_string()]).output().map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(()) } else { Err(said.lines().last().unwrap_or_default().to_owned()) }
}

/// Another module with the component type of a guest, whose imports and exports it may lack.
fn disguised(dice: &mut Dice, input: &mut Vec<u8>, other: &[u8]) {
    for (kind, section) in split(other) {
        if kind == SECTION_CUSTOM && dice.chance(80) {
            append(input, kind, &section);
        }
    }
}

/// The sections of a module or component: number and content.
fn split(bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut sections = Vec::new();
    let mut rest = bytes.get(HEAD_BYTES..).unwrap_or_default();
    while let Some((kind, after)) = rest.split_first() {
        let Some((size, after)) = number(after) else { break };
        let size = size.min(after.len());
        sections.push((*kind, after[..size].to_vec()));
        rest = &after[size..];
    }
    sections
}

/// A LEB128 number, and what follows it.
fn number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0;
    for (place, byte) in bytes.iter().take(5).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Some((value, &bytes[place + 1..]));
        }
    }
    None
}

fn append(to: &mut Vec<u8>, kind: u8, section: &[u8]) {
    to.push(kind);
    let mut size = section.len();
    while size > 0x7f {
        to.push(size as u8 | 0x80);
        size >>= 7;
    }
    to.push(size as u8);
    to.extend_from_slice(section);
}

fn joined(head: &[u8], sections: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = head[..HEAD_BYTES.min(head.len())].to_vec();
    sections.iter().for_each(|(kind, section)| append(&mut bytes, *kind, section));
    bytes
}

/// Drops, repeats, moves and exchanges sections.
fn sections(dice: &mut Dice, input: &mut Vec<u8>, other: &[u8]) {
    let mut all = split(input);
    let others = split(other);
    let place = dice.next() as usize % all.len().max(1);
    let Some(section) = all.get(place).cloned() else { return };
    match dice.within(0..=4) {
        0 => drop(all.remove(place)),
        1 => all.insert(place, section),
        2 => {
            let to = dice.next() as usize % all.len();
            all.swap(place, to);
        }
        3 if !others.is_empty() => all[place] = dice.one_of(&others).clone(),
        _ => mutate::bytes(dice, &mut all[place].1, other, &WORDS),
    }
    *input = joined(input, &all);
}

/// Changes the content of one kind of section; of strings, without changing their length.
fn within(dice: &mut Dice, input: &mut Vec<u8>, other: &[u8], kind: u8) {
    let mut all = split(input);
    let Some((_, section)) = all.iter_mut().find(|(found, _)| *found == kind) else {
        return mutate::bytes(dice, input, other, &WORDS);
    };
    if kind != SECTION_DATA || dice.chance(20) {
        mutate::bytes(dice, section, other, &WORDS);
    } else {
        let length = section.len();
        // What `describe` returns is made of what stands between quotes and braces.
        let quotes: Vec<usize> = (0..length).filter(|place| b"\"{}[]:,".contains(&section[*place])).collect();
        for _ in 0..dice.within(1..=6) {
            let near = if quotes.is_empty() { 0 } else { *dice.one_of(&quotes) };
            let place = (near + dice.within(0..=8) as usize) % length.max(1);
            let byte = if dice.chance(50) { dice.next() as u8 } else { *dice.one_of(b"\"{}[]:,0-e.\\ ") };
            if let Some(to) = section.get_mut(place) {
                *to = byte;
            }
        }
    }
    *input = joined(input, &all);
}
