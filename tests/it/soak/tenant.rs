//! One tenant and what it was answered. It never judges.

use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::rig::guests;
use crate::server::{KEY, Server};

/// Where the host says no for now and not for how long.
const AGAIN_AFTER: Duration = Duration::from_millis(200);

pub struct Tenant {
    pub name: String,
    url: String,
    key: String,
    client: Client,
    /// Answers to starts, by their status.
    starts: Mutex<BTreeMap<u16, u64>>,
}

/// How a run ended.
pub struct Done {
    pub status: String,
    pub output: String,
}

impl Tenant {
    pub async fn make(server: &Server, name: &str) -> Tenant {
        let _: Value = server.send(Method::POST, "tenants", &json!({ "name": name })).await;
        let client = Client::builder().no_proxy().build().expect("a client");
        let request = client.post(format!("{}/v1/keys", server.url)).bearer_auth(KEY).header("trackway-tenant", name);
        let wanted = json!({ "name": "all", "scopes": ["admin"] }).to_string();
        let made = answer(request.header("content-type", "application/json").body(wanted)).await;
        let (status, made) = made.expect("the server answers");
        assert!(status.is_success(), "{name}: {status} {made}");
        let key = made["bearer"].as_str().expect("a key").to_owned();
        Tenant { name: name.to_owned(), url: server.url.clone(), key, client, starts: Mutex::default() }
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

    pub async fn upload(&self, bytes: Vec<u8>) -> Result<(StatusCode, Value), String> {
        let request = self.client.post(format!("{}/v1/components", self.url)).bearer_auth(&self.key);
        answer(request.header("content-type", "application/wasm").body(bytes)).await
    }

    pub async fn send(&self, method: Method, path: &str, body: &Value) -> Result<(StatusCode, Value), String> {
        self.send_with(&self.key, method, path, body).await
    }

    pub async fn send_with(
        &self,
        key: &str,
        method: Method,
        path: &str,
        body: &Value,
    ) -> Result<(StatusCode, Value), String> {
        let request = self.client.request(method, format!("{}/v1/{path}", self.url)).bearer_auth(key);
        answer(request.header("content-type", "application/json").body(body.to_string())).await
    }

    pub async fn get(&self, path: &str) -> Result<Value, String> {
        let (status, told) = answer(self.client.get(format!("{}/v1/{path}", self.url)).bearer_auth(&self.key)).await?;
        if status.is_success() { Ok(told) } else { Err(format!("{path} answers {status}: {told}")) }
    }

    /// One start, whatever is answered.
    pub async fn start(&self, workflow: &str, input: &Value) -> Result<(StatusCode, Value), String> {
        let start = json!({ "workflow": workflow, "input": input });
        let (status, told) = self.send(Method::POST, "runs", &start).await?;
        let mut starts = self.starts.lock().unwrap_or_else(PoisonError::into_inner);
        *starts.entry(status.as_u16()).or_default() += 1;
        Ok((status, told))
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

    pub fn starts(&self) -> BTreeMap<u16, u64> {
        self.starts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn answer(request: reqwest::RequestBuilder) -> Result<(StatusCode, Value), String> {
    let response = request.send().await.map_err(|error| format!("{error:?}"))?;
    let status = response.status();
    let text = response.text().await.map_err(|error| format!("{error:?}"))?;
    Ok((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
}
