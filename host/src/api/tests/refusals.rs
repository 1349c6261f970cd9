use serde_json::{Value, json};

use super::support::*;
use crate::Code;
use crate::api::{Keys, bind, serve};
use crate::host::Host;

#[tokio::test]
async fn nothing_but_health_is_answered_without_a_key() {
    let server = Server::start().await;
    let health = server.raw("GET", "/v1/health", &[], b"").await;
    assert_eq!((health.status, &health.json::<Value>()["status"]), (200, &json!("ready")));
    let document: Value = server.get("/v1/openapi.json").await.json();
    let paths = document["paths"].as_object().expect("paths");
    assert!(paths.len() > 10, "{paths:?}");
    for (path, methods) in paths.iter().filter(|(path, _)| *path != "/v1/health") {
        let path = path.replace("{digest}", "x").replace("{name}", "x").replace("{id}", "x");
        for method in methods.as_object().expect("methods").keys() {
            for headers in [&[][..], &[("authorization", "Bearer tw_wrong")]] {
                let reply = server.raw(&method.to_uppercase(), &path, headers, b"").await;
                assert_eq!(reply.problem(), (401, "TW0603".to_owned()), "{method} {path}");
                assert!(reply.has_header("www-authenticate: bearer"), "{}", reply.head);
            }
        }
    }
    assert_eq!(server.raw("GET", "/elsewhere", &[], b"").await.problem(), (401, "TW0603".to_owned()));
}

#[tokio::test]
async fn a_path_or_method_that_is_not_there_is_a_problem() {
    let server = Server::start().await;
    for path in ["/", "/v1", "/v2/runs", "/v1/runs/x/y", "/v1/runs/"] {
        assert_eq!(server.get(path).await.problem(), (404, "TW0605".to_owned()), "{path}");
    }
    let wrong = server.put("/v1/runs", "{}").await;
    assert_eq!(wrong.problem(), (405, "TW0604".to_owned()));
    assert!(wrong.head.contains("allow: "), "{}", wrong.head);
}

#[tokio::test]
async fn a_small_body_that_is_large_is_refused() {
    let server = Server::start().await;
    let body = format!(r#"{{"component":"{}"}}"#, "a".repeat(70_000));
    assert_eq!(server.put("/v1/deployments/x", &body).await.problem(), (413, "TW0607".to_owned()));
}

#[tokio::test]
async fn a_stopping_host_answers_questions_and_takes_no_work() {
    let server = Server::start().await;
    let digest = server.deploy("main", echo()).await;
    server.host.refuse_new_work();
    let health: Value = server.get("/v1/health").await.json();
    assert_eq!(health["status"], "stopping");
    assert_eq!(server.get("/v1/runs").await.status, 200);
    let start = r#"{"workflow":"echo","input":{"name":"a"}}"#;
    let deploy = format!(r#"{{"component":"{digest}"}}"#);
    for reply in [
        server.post("/v1/runs", start).await,
        server.ask("POST", "/v1/components", &[], &echo()).await,
        server.put("/v1/deployments/x", &deploy).await,
    ] {
        assert_eq!(reply.problem(), (503, "TW0606".to_owned()));
    }
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let taken = bind("127.0.0.1:0").await.expect("a free port");
    let address = taken.local_addr().expect("it is bound").to_string();
    let error = bind(&address).await.expect_err("it is taken");
    assert_eq!(error.code, Code::PortInUse);
    assert!(error.message.contains(&address), "{error}");
    assert_eq!(bind("nowhere").await.expect_err("no such address").code, Code::BadConfig);
}

#[tokio::test]
async fn a_server_that_would_be_open_to_others_does_not_start() {
    let server = Server::start().await;
    let everywhere = bind("0.0.0.0:0").await.expect("a free port");
    let refused = serve(server.host.clone(), everywhere, Keys::OpenOnLoopback, std::future::ready(())).await;
    assert_eq!(refused.expect_err("it must not start").code, Code::BadConfig);
    let here = bind("127.0.0.1:0").await.expect("a free port");
    let refused = serve(server.host.clone(), here, Keys::of([]), std::future::ready(())).await;
    assert_eq!(refused.expect_err("nobody could use it").code, Code::BadConfig);
    let here = bind("127.0.0.1:0").await.expect("a free port");
    serve(server.host.clone(), here, Keys::OpenOnLoopback, std::future::ready(())).await.expect("it starts and stops");
}

#[tokio::test]
async fn a_data_folder_has_one_host_at_a_time_and_keeps_everything() {
    let server = Server::start().await;
    let error = Host::open(options_of(&server.folder)).await.err().expect("it is in use");
    assert_eq!(error.code, Code::DataInUse);
    server.deploy("main", nap(3_600_000, "1")).await;
    server.deploy("other", echo()).await;
    let open = server.begin(r#"{"workflow":"nap"}"#).await;
    let ended = server.finish(r#"{"workflow":"echo","input":{"name":"a"}}"#).await;
    let before: Value = server.get(&format!("/v1/runs/{ended}")).await.json();
    let folder = server.stop().await;

    let server = Server::start_in(folder).await;
    let after: Value = server.get(&format!("/v1/runs/{ended}")).await.json();
    assert_eq!(after, before);
    assert_eq!(server.post(&format!("/v1/runs/{open}/cancel"), "").await.status, 202);
    let run: Value = server.get(&format!("/v1/runs/{open}/wait")).await.json();
    assert!(run["finished_at"].is_string(), "{run}");
}
