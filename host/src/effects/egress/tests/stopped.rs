//! The clock on the wall is set back, or stands still: how long something may take is not read from it.

use tokio::time::Instant;

use super::*;
use crate::effects::{ModelRequest, ProviderSetting};

/// Nothing is ever due by it.
struct StoppedClock(SystemClock);

impl Clock for StoppedClock {
    fn now(&self) -> trackway_replay::Timestamp {
        trackway_replay::Timestamp(1)
    }

    fn sleep_until(&self, _: trackway_replay::Timestamp) -> BoxFuture<'static, ()> {
        std::future::pending().boxed()
    }

    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    fn wait(&self, time: Duration) -> BoxFuture<'static, ()> {
        self.0.wait(time)
    }
}

/// Asks the server as a model.
async fn ask(server: &Server, timeout_ms: u64) -> Result<Value, Failure> {
    let setting = json!({ "protocol": "openai-chat", "url": server.url("/v1") });
    let setting: ProviderSetting = serde_json::from_value(setting).expect("a setting");
    let providers = Providers::new(&BTreeMap::from([("mine".to_owned(), setting)]), |_| None).expect("a provider");
    let egress = Egress::new(Arc::new(StoppedClock(SystemClock::new())), providers, no_secrets()).expect("a client");
    let request = json!({ "model": "mine/m", "messages": [{ "role": "user", "content": "hi" }] }).to_string();
    let request = ModelRequest::parse(&request, &json!({ "timeout_ms": timeout_ms }).to_string()).expect("a request");
    let allow = Arc::new(Grants::parse(&["model:mine/*"]).expect("a grant"));
    let call = ModelCall { tenant: TenantId::DEFAULT, allow, request, key: "k".into(), told: None };
    egress.model(call).await.map(|answer| serde_json::from_str(&answer.body).expect("JSON"))
}

#[tokio::test]
async fn a_model_that_says_nothing_is_given_up_though_the_clock_stands() {
    let server = Server::start(vec![Reply::SendThenHold("HTTP/1.1 200 OK\r\n".into())]).await;
    let begun = Instant::now();
    check_failure(ask(&server, 100).await, code::MODEL_TIMEOUT, true, &["100 ms"]);
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_model_is_tried_again_and_its_answer_ends_though_the_clock_stands() {
    // All is said, and the connection stays open.
    let said =
        "data: {\"choices\":[{\"delta\":{\"content\":\"fine\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    let stream = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{said}\r\n",
        said.len()
    );
    let server = Server::start(vec![Reply::Send(answer(503, "", "")), Reply::SendThenHold(stream)]).await;
    let answer = ask(&server, 600_000).await.expect("an answer");
    assert_eq!((&answer["content"], &answer["tries"]), (&json!("fine"), &json!([{ "status": 503 }])));
}
