//! Models over real sockets: the real binary asks a provider that we script, and is held to what that one saw.

mod agents;
mod answers;
mod foreign;
mod hostile;
mod kill;
mod mcp;
mod misbehaving;
mod provider;
mod streaming;
mod works;

use reqwest::Method;
use serde_json::{Value, json};
use trackway::api::model;
use trackway_replay::Status;

use self::provider::Provider;
use crate::rig::guests;
use crate::server::{Environment, Server};

/// Wherever it shows up but in a request to the provider, somebody told a secret.
const SECRET: &str = "sk-scripted-0123456789";
const WITH_KEY: Environment<'static> = &[("SCRIPTED_KEY", SECRET)];

/// A server whose operator has set the provider up, and the folder that holds all of it.
struct Asking {
    folder: tempfile::TempDir,
    server: Server,
}

impl Asking {
    /// With `guest` deployed, which may ask all models of the provider.
    async fn new(provider: &Provider, guest: &str) -> Asking {
        Asking::with(&provider.settings(), guest).await
    }

    async fn with(settings: &str, guest: &str) -> Asking {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("trackway.toml"), settings).expect("writable");
        let server = Server::start(folder.path(), WITH_KEY).await;
        let component = server.upload(guest).await.digest;
        let deploy = json!({ "component": component, "allow_models": ["scripted/*", "scripted-r/*", "scripted-a/*"] });
        let _: model::Deployment = server.send(Method::PUT, &format!("deployments/{guest}"), &deploy).await;
        Asking { folder, server }
    }

    async fn killed(self) -> Asking {
        self.server.kill().await;
        let server = Server::start(self.folder.path(), WITH_KEY).await;
        Asking { folder: self.folder, server }
    }

    /// What one call of a model gives its function: kind and body of the completion.
    async fn ask(&self, request: &Value, options: &Value) -> (String, Value) {
        let script = json!({ "ops": [["model", request, options.to_string()], ["next"]] });
        let function = json!({ "ops": [["call", "script", script], ["next"]] });
        let run = self.server.run("raw/script", &function).await;
        let run = self.server.wait(run).await;
        assert_eq!(run.status, Status::Succeeded, "{run:?}");
        let told: Value = serde_json::from_str(run.output.expect("it has one").get()).expect("JSON");
        // That of the step holds what the function was told, as text.
        let of_function: Value = serde_json::from_str(told[1][2].as_str().expect("a body")).expect("JSON");
        let (kind, body) = (&of_function[1][0], &of_function[1][2]);
        let body = serde_json::from_str(body.as_str().expect("a body")).expect("JSON");
        (kind.as_str().expect("a kind").to_owned(), body)
    }

    async fn answer(&self, request: &Value) -> Value {
        let (kind, body) = self.ask(request, &json!({})).await;
        assert_eq!(kind, "succeeded", "{body}");
        body
    }

    async fn failure(&self, request: &Value, options: &Value) -> Value {
        let (kind, body) = self.ask(request, options).await;
        assert_eq!(kind, "failed", "{body}");
        body
    }

    /// Nothing that anybody can see, and nothing that is kept, has the key in it.
    fn told_no_secret(&self) {
        for entry in walkdir::WalkDir::new(self.folder.path()) {
            let path = entry.expect("readable").into_path();
            if path.is_file() {
                let bytes = std::fs::read(&path).expect("readable");
                let found = bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes());
                assert!(!found, "{} holds the key", path.display());
            }
        }
    }
}

fn request(model: &str) -> Value {
    json!({ "model": model, "messages": [{ "role": "user", "content": "hi" }] })
}

/// The program that users run, in a folder of a user who has set nothing else.
fn trackway(server: &Server, words: &str) -> crate::left::Left {
    let mut command = std::process::Command::new(crate::server::binary());
    command.args(words.split(' ')).env("TRACKWAY_SERVER", &server.url).env("TRACKWAY_KEY", crate::server::KEY);
    command.env("HOME", "/nonexistent").current_dir(guests());
    crate::left::Left::of(command.stdin(std::process::Stdio::null()).output().expect("the binary starts"))
}
