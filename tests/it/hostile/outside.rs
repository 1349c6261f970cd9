//! Attacks from outside on a real server: ids that are guessed, code in its cache that somebody put there, uploads that
//! mean harm. It goes on, and an honest guest runs beside.

use serde_json::Value as Json;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::uploads::{Fate, TABLE};
use crate::server::{KEY, Server, binary};

/// What a server with an honest guest may have of the machine's memory after all of it.
const MEMORY_BYTES_MAX: u64 = 1 << 30;

fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().expect("a client")
}

async fn honest(server: &Server) {
    let run = server.run("hello/hello", &"Ada").await;
    assert_eq!(server.wait(run).await.output.expect("it succeeds").get(), "\"Hello, Ada!\"");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploads_that_mean_harm_are_refused_over_the_network_and_cost_nobody_else_anything() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start(folder.path(), &[]).await;
    server.deploy("hello", &[]).await;
    let client = client();
    // What takes the compiler long is tried alone.
    for upload in TABLE.iter().filter(|upload| !upload.fate.is_of_the_compiler()) {
        let request = client.post(format!("{}/v1/components", server.url)).bearer_auth(KEY);
        let request = request.header("content-type", "application/wasm").body((upload.bytes)());
        let response = request.send().await.unwrap_or_else(|error| panic!("{}: {error}", upload.name));
        let status = response.status().as_u16();
        let answer: Json = serde_json::from_str(&response.text().await.expect("an answer")).expect("JSON");
        let codes = match &upload.fate {
            Fate::Refused(codes) => *codes,
            Fate::NotKept(code) => std::slice::from_ref(code),
            Fate::Admitted | Fate::Digested | Fate::GivenUp | Fate::DigestedOrGivenUp => &[],
        };
        let code = answer["code"].as_str().unwrap_or_default();
        let is_right = match codes {
            [] => status < 300,
            codes => (400..500).contains(&status) && codes.iter().any(|known| known.text() == code),
        };
        assert!(is_right, "{}: {status} {answer}", upload.name);
    }
    honest(&server).await;
    let memory = server.memory_bytes();
    assert!(memory < MEMORY_BYTES_MAX, "it has {} MiB", memory >> 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ids_that_are_guessed_open_nothing_and_tell_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start(folder.path(), &[]).await;
    server.deploy("hello", &[]).await;
    server.deploy("talks", &[]).await;
    let run = server.run("hello/hello", &"Ada").await;
    server.wait(run).await;
    let client = client();
    let ask = async |method: reqwest::Method, path: &str, body: Option<&str>| {
        let mut request = client.request(method, format!("{}/v1/{path}", server.url)).bearer_auth(KEY);
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_owned());
        }
        let response = request.send().await.expect("an answer");
        (response.status().as_u16(), response.text().await.expect("a body"))
    };
    // One letter away from a run that is there, and far away from any: the same answer, but for the id.
    let known = run.to_string();
    let near = |place: usize| {
        let mut letters: Vec<char> = known.chars().collect();
        letters[place] = if letters[place] == '2' { '3' } else { '2' };
        letters.into_iter().collect::<String>()
    };
    let last = known.len() - 1;
    let guesses = [near(last), near(last - 1), near(last / 2), "00000000000000000000000000".to_owned()];
    for view in ["", "/trace", "/journal", "/logs", "/state", "/stream", "/wait?timeout=1"] {
        let mut answers = Vec::new();
        for guess in &guesses {
            let (status, body) = ask(reqwest::Method::GET, &format!("runs/{guess}{view}"), None).await;
            assert_eq!(status, 404, "{guess}{view}: {body}");
            answers.push(body.replace(guess, "ID"));
        }
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{view}: {answers:?}");
    }
    let token = promise(&server).await;
    let mut answers = Vec::new();
    for place in [0, token.len() / 2, token.len() - 1] {
        let mut letters: Vec<char> = token.chars().collect();
        letters[place] = if letters[place] == '2' { '3' } else { '2' };
        let guess: String = letters.into_iter().collect();
        let (status, body) = ask(reqwest::Method::GET, &format!("promises/{guess}"), None).await;
        assert_eq!(status, 404, "{guess}: {body}");
        answers.push(body.replace(&guess, "TOKEN"));
        let (status, body) =
            ask(reqwest::Method::POST, &format!("promises/{guess}/resolve"), Some("{\"value\":1}")).await;
        assert_eq!(status, 404, "{guess}: {body}");
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    for guess in ["x", &"0".repeat(80), "..%2fruns", "%00", &known] {
        let (status, body) = ask(reqwest::Method::GET, &format!("promises/{guess}"), None).await;
        assert!((400..500).contains(&status), "{guess}: {status} {body}");
    }
    for digest in [&"0".repeat(64), &"f".repeat(64), "0", "..", "%2e%2e%2f%2e%2e%2fkeys"] {
        let (status, body) = ask(reqwest::Method::GET, &format!("components/{digest}"), None).await;
        assert!((400..500).contains(&status), "{digest}: {status} {body}");
    }
    honest(&server).await;
}

/// The token of a promise that a run has made.
async fn promise(server: &Server) -> String {
    let run = server.run("talks/weighs", &()).await;
    loop {
        let trace: Json = server.get(&format!("runs/{run}/trace")).await;
        let trace = trace.to_string();
        if let Some(token) = trace.split("\"token\":\"").nth(1).and_then(|rest| rest.split('"').next()) {
            return token.to_owned();
        }
    }
}

/// What is put in the place of one of those.
type Forge = Box<dyn Fn(&[Vec<u8>], usize) -> Vec<u8>>;

/// All compiled code in a data folder.
fn code_files(data: &Path) -> Vec<PathBuf> {
    let files = walkdir::WalkDir::new(data).into_iter().filter_map(Result::ok).map(walkdir::DirEntry::into_path);
    let mut code: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|ending| ending == "code")).collect();
    code.sort();
    code
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn code_that_somebody_put_into_the_cache_is_never_run() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = folder.path().join("data");
    let mut server = Server::start(folder.path(), &[]).await;
    server.deploy("hello", &[]).await;
    server.deploy("sleeper", &[]).await;
    honest(&server).await;
    let program = std::fs::read(binary()).expect("readable");
    let library = [&b"\x7fELF\x02\x01\x01"[..], &[0; 57]].concat();
    let forgeries: [(&str, Forge); 5] = [
        ("code of the other component", Box::new(|codes, at| codes[1 - at].clone())),
        ("half of it", Box::new(|codes, at| codes[at][..codes[at].len() / 2].to_vec())),
        ("a program", Box::new(move |_, _| program[..200_000].to_vec())),
        ("a library of nothing", Box::new(move |_, _| library.clone())),
        ("nothing", Box::new(|_, _| Vec::new())),
    ];
    for (what, forge) in forgeries {
        server.kill().await;
        let paths = code_files(&data);
        assert_eq!(paths.len(), 2, "{paths:?}");
        let codes: Vec<Vec<u8>> = paths.iter().map(|path| std::fs::read(path).expect("readable")).collect();
        for (at, path) in paths.iter().enumerate() {
            std::fs::remove_file(path).expect("removable");
            std::fs::write(path, forge(&codes, at)).expect("writable");
        }
        let begun = Instant::now();
        server = Server::start(folder.path(), &[]).await;
        honest(&server).await;
        let run = server.run("sleeper/naps", &[1]).await;
        assert_eq!(server.wait(run).await.output.expect("it succeeds").get(), "1", "{what}");
        assert!(begun.elapsed() < Duration::from_secs(120), "{what}");
        assert!(server.log().contains("cached code refused"), "{what}: {}", server.log());
    }
}
