//! One tenant: what it asks for, and notes for its audit log. It never judges.

use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use std::time::Duration;

use super::ledger::{FIRST, Ledger};
use crate::rig::guests;
use crate::server::{KEY, Server};

/// Where the host says no for now and not for how long.
const AGAIN_AFTER: Duration = Duration::from_millis(200);

pub struct Tenant {
    pub name: String,
    url: String,
    key: String,
    client: Client,
    /// What it asked for that its audit log has to tell.
    pub ledger: Ledger,
}

/// Status and body; an error is why there are none.
pub type Answered = Result<(StatusCode, Value), String>;

/// How a run ended.
pub struct Done {
    pub status: String,
    pub output: String,
}

impl Tenant {
    pub async fn make(server: &Server, name: &str) -> Tenant {
        let _: Value = server.send(Method::POST, "tenants", &json!({ "name": name })).await;
        let client = Client::builder().no_proxy().build().expect("a client");
        let (url, ledger) = (server.url.clone(), Ledger::default());
        let request = client.post(format!("{url}/v1/keys")).bearer_auth(KEY).header("trackway-tenant", name);
        let wanted = json!({ "name": "all", "scopes": ["admin"] }).to_string();
        ledger.asked(FIRST);
        let made = answer(request.header("content-type", "application/json").body(wanted)).await;
        let (status, made) = made.expect("the server answers");
        assert!(status.is_success(), "{name}: {status} {made}");
        ledger.answered(FIRST.to_owned(), status.as_u16(), &made);
        let key = made["bearer"].as_str().expect("a key").to_owned();
        Tenant { name: name.to_owned(), url, key, client, ledger }
    }

    pub async fn deploy(&self, guest: &str, host: &str) {
        let bytes = std::fs::read(guests().join(format!("{guest}.wasm"))).expect("`cargo xtask guests` built it");
        let (status, told) = self.upload(bytes).await.expect("the server answers");
        assert!(status.is_success(), "{}: {guest}: {status} {told}", self.name);
        let deploy = json!({ "component": told["digest"], "allow_hosts": [host] });
        let (status, told) =
            self.send(Method::PUT, &format!("deployments/{guest}"), &deploy).await.expect("the server answers");
        assert!(status.is_success(), "{}: {guest}: {status} {told}", self.name);
    }

    pub async fn upload(&self, bytes: Vec<u8>) -> Answered {
        let request = self.client.post(format!("{}/v1/components", self.url)).bearer_auth(&self.key);
        self.noted("POST /v1/components", request.header("content-type", "application/wasm").body(bytes)).await
    }

    pub async fn send(&self, method: Method, path: &str, body: &Value) -> Answered {
        let what = format!("{method} /v1/{path}");
        let is_audited = method != Method::GET;
        let request = self.client.request(method, format!("{}/v1/{path}", self.url)).bearer_auth(&self.key);
        let request = request.header("content-type", "application/json").body(body.to_string());
        if is_audited { self.noted(&what, request).await } else { answer(request).await }
    }

    /// Sends it, and notes it before and after.
    async fn noted(&self, what: &str, request: RequestBuilder) -> Answered {
        self.ledger.asked(what);
        let (status, told) = answer(request).await?;
        self.ledger.answered(what.to_owned(), status.as_u16(), &told);
        Ok((status, told))
    }

    /// Asks with a key that is not its own. Of whoever is not known no log tells.
    pub async fn get_with(&self, key: &str, path: &str) -> Answered {
        answer(self.client.get(format!("{}/v1/{path}", self.url)).bearer_auth(key)).await
    }

    pub async fn get(&self, path: &str) -> Result<Value, String> {
        let (status, told) = answer(self.client.get(format!("{}/v1/{path}", self.url)).bearer_auth(&self.key)).await?;
        if status.is_success() { Ok(told) } else { Err(format!("{path} answers {status}: {told}")) }
    }

    /// One start, whatever is answered.
    pub async fn start(&self, workflow: &str, input: &Value) -> Answered {
        self.send(Method::POST, "runs", &json!({ "workflow": workflow, "input": input })).await
    }

    /// Starts it, as soon as the host takes it.
    pub async fn run_detached(&self, workflow: &str, input: &Value) -> Result<String, String> {
        loop {
            let (status, told) = self.start(workflow, input).await?;
            if status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::SERVICE_UNAVAILABLE {
                tokio::time::sleep(AGAIN_AFTER).await;
                continue;
            }
            return match told["run"]["id"].as_str() {
                Some(id) if status.is_success() => Ok(id.to_owned()),
                _ => Err(format!("a start answers {status}: {told}")),
            };
        }
    }

    pub async fn run(&self, workflow: &str, input: &Value) -> Result<Done, String> {
        let id = self.run_detached(workflow, input).await?;
        let run = self.get(&format!("runs/{id}/wait")).await?;
        let status = run["status"].as_str().unwrap_or_default().to_owned();
        Ok(Done { status, output: if run["failure"].is_null() { &run["output"] } else { &run["failure"] }.to_string() })
    }

    /// The bytes of values that were stored beside its journals, also of those that are removed by now.
    pub async fn stored_bytes(&self) -> Result<u64, String> {
        let usage = self.get("usage").await?;
        usage["total"]["payload_bytes"].as_u64().ok_or_else(|| format!("usage answers {usage}"))
    }
}

async fn answer(request: RequestBuilder) -> Answered {
    let response = request.send().await.map_err(|error| format!("{error:?}"))?;
    let status = response.status();
    let text = response.text().await.map_err(|error| format!("{error:?}"))?;
    Ok((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
}
