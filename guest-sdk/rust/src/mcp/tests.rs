use proptest::prelude::*;
use std::cell::RefCell;
use std::rc::Rc;

use super::*;
use crate::prelude::*;
use crate::testing::{Host, HttpRequest, HttpResponse, ModelResponse};

const URL: &str = "https://mcp.example.com/mcp";

/// Lists what the server of the test has.
#[function]
async fn names(ctx: FnCtx, only: Option<Vec<String>>) -> Result<Vec<String>, Failure> {
    let server = match only {
        Some(names) => McpServer::new("lib", URL).only(names),
        None => McpServer::new("lib", URL),
    };
    Ok(server.tools(&ctx).await?.into_iter().map(|tool| tool.name).collect())
}

/// Lets an agent use them; gives what the model was told last.
#[function]
async fn uses(ctx: FnCtx) -> Result<String, Failure> {
    let server = McpServer::new("lib", URL).bearer_auth("t0ken");
    let agent = Agent::new("reader").model("test/model").tools(server.tools(&ctx).await?);
    let answer = agent.run(&ctx, "Go.").await?.output;
    server.close().await;
    Ok(answer)
}

fn asked(request: &HttpRequest) -> Json {
    serde_json::from_str(request.body.as_deref().unwrap_or("null")).expect("requests are JSON")
}

fn sent<'a>(request: &'a HttpRequest, name: &str) -> Option<&'a str> {
    request.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

fn plain(id: &Json, result: Json) -> HttpResponse {
    HttpResponse::new(200, json!({ "jsonrpc": "2.0", "id": id, "result": result }).to_string())
        .header("content-type", "application/json")
}

/// The same with what servers send before it, in lines that end in all three ways.
fn streamed(id: &Json, result: Json) -> HttpResponse {
    let progress = json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": { "progress": 1 } });
    let question = json!({ "jsonrpc": "2.0", "id": id, "method": "sampling/createMessage", "params": {} });
    let answer = json!({ "jsonrpc": "2.0", "id": id, "result": result }).to_string();
    let (head, tail) = answer.split_at(answer.find(',').expect("it has fields") + 1);
    let body = format!(
        ": hello\r\nid: 1\r\ndata: {progress}\r\n\r\nevent: message\ndata: {question}\n\ndata:{head}\rdata: {tail}\r\r"
    );
    HttpResponse::new(200, body).header("content-type", "text/event-stream; charset=utf-8")
}

fn begun(id: &Json, session: &str) -> HttpResponse {
    plain(id, json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "serverInfo": {} }))
        .header("mcp-session-id", session)
}

fn tool(name: &str) -> Json {
    json!({
        "name": name,
        "description": "Reads.",
        "inputSchema": { "type": "object", "properties": { "page": { "type": "integer" } }, "required": ["page"] },
    })
}

/// A server with these tools, all on one page; a call is answered by `call`.
fn host(tools: Json, call: impl Fn(&Json) -> Json + 'static) -> Host {
    Host::new().on_http(move |request| {
        let body = asked(request);
        let id = &body["id"];
        match body["method"].as_str() {
            Some("initialize") => begun(id, "s-1"),
            Some("tools/list") => streamed(id, json!({ "tools": tools })),
            Some("tools/call") => streamed(id, call(&body["params"])),
            _ => HttpResponse::new(202, ""),
        }
    })
}

fn text(said: &str) -> Json {
    json!({ "content": [{ "type": "text", "text": said }] })
}

/// Calls the tool once, and answers with what it was told then.
fn one_call(host: Host, arguments: Json) -> Host {
    host.on_model(move |asked| match asked.number {
        1 => ModelResponse::tool_call("lib_read", &arguments),
        _ => ModelResponse::text(asked.last_content()),
    })
}

#[test]
fn an_agent_uses_the_tools_of_a_server_within_one_session() {
    let log: Rc<RefCell<Vec<String>>> = Rc::default();
    let seen = log.clone();
    let host = Host::new().on_http(move |request| {
        let body = asked(request);
        let id = &body["id"];
        assert_eq!(sent(request, "authorization"), Some("Bearer t0ken"));
        let session = sent(request, "mcp-session-id");
        assert_eq!(session.map(|_| "2025-06-18"), sent(request, "mcp-protocol-version"));
        let what = body["method"].as_str().unwrap_or(&request.method).to_owned();
        seen.borrow_mut().push(format!("{what} {}", session.unwrap_or("-")));
        match what.as_str() {
            "initialize" => begun(id, "s-1"),
            "notifications/initialized" => HttpResponse::new(202, ""),
            "tools/list" if body["params"]["cursor"].is_null() => {
                plain(id, json!({ "tools": [tool("find.all")], "nextCursor": "2" }))
            }
            "tools/list" => streamed(id, json!({ "tools": [tool("read")] })),
            "tools/call" => streamed(id, text(&format!("page {}", body["params"]["arguments"]["page"]))),
            _ => HttpResponse::new(405, ""),
        }
    });
    let host = one_call(host, json!({ "page": 7 }));
    assert_eq!(host.call(uses(())).expect("it succeeds"), "page 7");
    let session = ["notifications/initialized s-1", "tools/list s-1", "tools/list s-1", "tools/call s-1", "DELETE s-1"];
    assert_eq!(*log.borrow(), [&["initialize -"][..], &session[..]].concat());
    let post = format!("http POST {URL}");
    let shown = ["agent reader", "  model test/model", "  tool lib_read", &format!("    {post}"), "  model test/model"];
    assert_eq!(host.effects()[4..9], shown);
}

#[test]
fn a_session_that_is_lost_is_begun_anew_once() {
    for (lost, outcome) in [(1, Ok("page".to_owned())), (2, Err("HTTP_STATUS"))] {
        let (begins, losses) = (Cell::new(0), Cell::new(0));
        let host = Host::new().on_http(move |request| {
            let body = asked(request);
            let id = &body["id"];
            match body["method"].as_str() {
                Some("initialize") => {
                    begins.set(begins.get() + 1);
                    begun(id, &format!("s-{}", begins.get()))
                }
                Some("tools/list") => plain(id, json!({ "tools": [tool("read")] })),
                Some("tools/call") if losses.get() < lost => {
                    losses.set(losses.get() + 1);
                    HttpResponse::new(404, "no such session")
                }
                Some("tools/call") => {
                    assert_eq!(sent(request, "mcp-session-id"), Some("s-2"));
                    plain(id, text("page"))
                }
                _ => HttpResponse::new(202, ""),
            }
        });
        let told = one_call(host, json!({ "page": 1 })).call(uses(())).expect("what failed is told to the model");
        match outcome {
            Ok(said) => assert_eq!(told, said),
            Err(code) => assert!(told.contains(code), "{told}"),
        }
    }
}

#[test]
fn what_goes_wrong_in_a_call_is_told_to_the_model() {
    let long = "x".repeat(300 * 1024);
    let cases = [
        (
            json!({ "content": [{ "type": "text", "text": "no such page" }], "isError": true }),
            "MCP_ERROR: no such page",
        ),
        (json!({ "isError": true }), "MCP_ERROR: the tool failed"),
        (text(&long), "TOO_LARGE: the result has 307200 bytes"),
        (json!({ "content": 7 }), "MCP_BROKEN: the MCP server lib: what its tool gave is no result"),
        (json!([]), "the page is empty"),
    ];
    for (result, told) in cases {
        let result = if result == json!([]) { text("the page is empty") } else { result };
        let host = one_call(host(json!([tool("read")]), move |_| result.clone()), json!({ "page": 1 }));
        let said = host.call(uses(())).expect("the agent goes on");
        assert!(said.starts_with(told), "{said}");
    }
    // What does not fit the schema of the server never reaches it.
    let host = host(json!([tool("read")]), |_| panic!("nothing is called"));
    let said = one_call(host, json!({ "page": "one" })).call(uses(())).expect("the agent goes on");
    assert!(said.contains("arguments.page: expected integer, not string"), "{said}");
}

#[test]
fn results_are_told_as_text_and_checked_where_the_server_says_what_they_are() {
    let mut typed = tool("read");
    typed["outputSchema"] =
        json!({ "type": "object", "properties": { "n": { "type": "integer" } }, "required": ["n"] });
    let picture = json!({ "content": [
        { "type": "text", "text": "look:" },
        { "type": "image", "mimeType": "image/png", "data": "AAAA" },
        { "type": "resource_link", "name": "a", "uri": "file:///a" },
        { "type": "resource", "resource": { "uri": "file:///b", "text": "of b" } },
    ] });
    let seen = "look:\n[image image/png is not text, and left out]\n[a: file:///a]\nof b";
    let cases = [
        (tool("read"), picture, seen),
        (typed.clone(), json!({ "structuredContent": { "n": 1 } }), "{\"n\":1}"),
        (typed.clone(), json!({ "content": text("one")["content"], "structuredContent": { "n": 1 } }), "one"),
        (
            typed.clone(),
            json!({ "structuredContent": { "n": "1" } }),
            "BAD_OUTPUT: output.n: expected integer, not string",
        ),
        (typed, text("one"), "BAD_OUTPUT: output: expected object, not null"),
    ];
    for (tool, result, told) in cases {
        let host = one_call(host(json!([tool]), move |_| result.clone()), json!({ "page": 1 }));
        assert_eq!(host.call(uses(())).expect("the agent goes on"), told);
    }
}

#[test]
fn only_what_was_chosen_is_taken_and_has_to_be_there() {
    let tools = json!([tool("read"), tool("wipe"), { "name": "odd", "inputSchema": { "type": "string" } }]);
    let choose = |names: &[&str]| {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        host(tools.clone(), |_| Json::Null).call(super::tests::names(Some(names)))
    };
    assert_eq!(choose(&["read"]).expect("it is there"), ["lib_read"]);
    let failure = choose(&["read", "gone"]).expect_err("it is not there");
    assert_eq!((failure.code.as_str(), failure.message.as_str()), (code::BAD_REQUEST, "lib has no tool `gone`"));
}

#[test]
fn a_hostile_list_is_refused_before_any_model_reads_it() {
    let deep = (0..100).fold(json!({}), |inner, _| json!({ "not": inner }));
    let large = |bytes: usize| json!({ "name": "a", "inputSchema": { "type": "object", "title": "x".repeat(bytes) } });
    let many = |count: usize| (0..count).map(|number| tool(&format!("t{number}"))).collect::<Json>();
    let fat = (0..20).map(|number| {
        json!({ "name": format!("t{number}"), "inputSchema": { "type": "object", "title": "x".repeat(60_000) } })
    });
    let cases = [
        (many(129), code::TOO_MANY, "more than 128 tools"),
        (fat.collect(), code::TOO_LARGE, "more than 1048576 bytes"),
        (json!([large(70_000)]), code::MCP_BROKEN, "a schema of its tool `a` has more than 65536 bytes"),
        (json!([{ "name": "a", "inputSchema": true }]), code::MCP_BROKEN, "the input of its tool `a` is no object"),
        (json!([tool("a b"), tool("a.b")]), code::MCP_BROKEN, "two of its tools would be called `lib_a_b`"),
        (json!([tool("")]), code::MCP_BROKEN, "a name that is none"),
        (json!([tool("a\nb")]), code::MCP_BROKEN, "a name that is none"),
        (json!([tool(&"a".repeat(61))]), code::BAD_REQUEST, "more than 64 characters"),
        (json!("none"), code::MCP_BROKEN, "its list of tools is none"),
        (json!([deep]), code::MCP_BROKEN, "its list of tools is none"),
    ];
    for (tools, code, why) in cases {
        let failure = host(tools, |_| Json::Null).call(names(None)).expect_err("it is refused");
        assert!(failure.code == code && failure.message.contains(why), "{failure}");
    }
    assert_eq!(host(many(128), |_| Json::Null).call(names(None)).expect("as many as there may be").len(), 128);
}

#[test]
fn a_list_that_never_ends_is_given_up() {
    let host = Host::new().on_http(|request| {
        let body = asked(request);
        match body["method"].as_str() {
            Some("initialize") => begun(&body["id"], "s"),
            Some("tools/list") => plain(&body["id"], json!({ "tools": [], "nextCursor": "again" })),
            _ => HttpResponse::new(202, ""),
        }
    });
    let failure = host.call(names(None)).expect_err("it ends");
    assert_eq!((failure.code.as_str(), host.effects().len()), (code::TOO_MANY, 2 + PAGES_MAX));
}

#[test]
fn what_is_no_answer_of_the_protocol_is_told_apart() {
    let ready = || json!({ "protocolVersion": "2025-06-18" });
    let cases: [(HttpResponse, &str, &str); 9] = [
        (HttpResponse::new(500, "busy"), code::HTTP_STATUS, "status 500: busy"),
        (HttpResponse::new(401, ""), code::HTTP_STATUS, "status 401"),
        (HttpResponse::broken("EGRESS_DENIED", "not granted"), code::EGRESS_DENIED, "not granted"),
        (HttpResponse::new(200, "<html>"), code::MCP_BROKEN, "its answer is not JSON"),
        (HttpResponse::new(202, ""), code::MCP_BROKEN, "its answer is not JSON"),
        (plain(&json!(8), ready()), code::MCP_BROKEN, "there is no answer in what it sent"),
        (
            HttpResponse::new(200, "data: {\n\n").header("content-type", "text/event-stream"),
            code::MCP_BROKEN,
            "there is no answer",
        ),
        (
            plain(&json!(1), json!({ "protocolVersion": "1999-01-01" })),
            code::MCP_BROKEN,
            "it speaks version `1999-01-01`",
        ),
        (plain(&json!(1), ready()).header("mcp-session-id", "a b"), code::MCP_BROKEN, "the id of its session is none"),
    ];
    for (answer, code, why) in cases {
        let failure = Host::new().on_http(move |_| answer.clone()).call(names(None)).expect_err("it cannot be used");
        assert!(failure.code == code && failure.message.contains(why), "{failure}");
    }
    let refused = r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32022,"message":"too old"}}"#;
    let failure =
        Host::new().on_http(move |_| HttpResponse::new(200, refused)).call(names(None)).expect_err("it refuses");
    assert_eq!((failure.code.as_str(), failure.retryable), (code::MCP_ERROR, false));
    assert_eq!(failure.message, "the MCP server lib refuses: too old (-32022)");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_answer_makes_it_panic(body in ".{0,200}", framed: bool, inner in any::<Vec<(String, i64)>>(), is_stream: bool) {
        let inner: Json = inner.into_iter().map(|(key, value)| json!({ key: value })).collect();
        let body = if framed { format!("data: {}\n\n{body}", json!({ "id": 1, "result": inner })) } else { body };
        let kind = if is_stream { "text/event-stream" } else { "application/json" };
        let host = Host::new().on_http(move |_| HttpResponse::new(200, body.clone()).header("content-type", kind));
        prop_assert!(host.call(names(None)).is_err());
    }

    #[test]
    fn any_result_is_told_or_refused(kind in "text|image|resource|.{0,5}", word in any::<String>(), is_error: bool) {
        let part = json!({ "type": kind, "text": word, "mimeType": 7, "resource": word });
        let result = json!({ "content": [part, word, null], "isError": is_error });
        prop_assert_eq!(wire::told("lib", result, None).is_err(), is_error);
    }
}
