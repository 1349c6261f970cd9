//! What a guest may try to get out past the gate, and what a server may try with its answer: each attack by its name, with
//! the outcome that it must have. A refusal is one only where nothing has left.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::effects::address::AddressClass;
use crate::effects::{ModelCall, ModelRequest, ProviderSetting};

/// Short, so that a server that takes its time ends no later than the test does.
const IMPATIENT: &str = r#"{"timeout_ms": 300}"#;

/// A deployment that may reach one server, and the server, which nobody must reach.
async fn granted() -> (Server, Vec<String>) {
    let server = Server::start(vec![]).await;
    let grants = vec![server.grant(), "http://granted.test".to_owned(), "granted.test".to_owned()];
    (server, grants)
}

/// A URL that is well formed, and that the gate refuses.
async fn not_granted(url: &str) -> Failure {
    let (server, grants) = granted().await;
    let (result, _) = send(call(&grants, &json!({ "url": url }), "")).await;
    let failure = result.expect_err(url);
    assert_eq!((failure.code.as_str(), failure.retryable), (code::EGRESS_DENIED, false), "{url}: {failure}");
    assert!(server.seen().is_empty(), "{url}");
    failure
}

/// A host that is refused as the address that it is, and not as a name that nobody granted.
async fn not_granted_as(address: &str, host: &str) {
    let failure = not_granted(&format!("http://{host}/latest/meta-data/")).await;
    assert!(failure.message.contains(&format!("`http://{address}` is")), "{host}: {failure}");
}

/// An address that is reached neither as it is written nor by a granted name that leads to it.
async fn unreachable(addresses: &[&str]) {
    for text in addresses {
        let address: IpAddr = text.parse().expect("an address of the table");
        let host = if address.is_ipv6() { format!("[{address}]") } else { address.to_string() };
        not_granted(&format!("http://{host}/")).await;
        not_granted(&format!("https://{host}:8443/")).await;
        let egress = with_lookup(Arc::new(move |_| std::future::ready(Ok(vec![address])).boxed()));
        let (server, grants) = granted().await;
        let asked = call(&grants, &json!({"url": "http://granted.test/"}), PATIENT);
        let failure = egress.http(asked).await.expect_err(text);
        assert_eq!((failure.code.as_str(), failure.retryable), (code::EGRESS_DENIED, false), "{text}: {failure}");
        assert!(failure.message.contains("granted.test"), "{failure}");
        assert!(server.seen().is_empty(), "{text}");
    }
}

/// A request that is no request.
fn malformed(request: &Value, options: &str) {
    let failure = HttpRequest::parse(&request.to_string(), options).map(|_| ()).expect_err(&request.to_string());
    assert!([code::BAD_REQUEST, code::BAD_OPTIONS].contains(&failure.code.as_str()), "{request}: {failure}");
    assert!(!failure.retryable);
}

fn malformed_header(name: &str, value: &str) {
    malformed(&json!({"url": "http://granted.test/", "headers": [[name, value]]}), "");
}

/// A server that takes its time, asked with little patience.
async fn gives_up_on(reply: Reply) {
    let server = Server::start(vec![reply]).await;
    let egress = Egress::new(Arc::new(SystemClock::new()), Providers::default(), no_secrets()).expect("a client");
    let call = call(&[server.grant()], &json!({"url": server.url("/")}), IMPATIENT);
    check_failure(egress.http(call).await.map(Value::from), code::HTTP_TIMEOUT, true, &["300 ms"]);
}

/// An answer that is none: the same thrice, and then a failure.
async fn breaks(reply: impl Fn() -> Reply) {
    let server = Server::start(vec![reply(), reply(), reply()]).await;
    let (result, _) = send(call(&[server.grant()], &json!({"url": server.url("/")}), PATIENT)).await;
    check_failure(result, code::HTTP_BROKEN, true, &[&server.grant()]);
}

// Where it goes.

#[tokio::test]
async fn a_host_that_was_not_granted() {
    not_granted("http://elsewhere.test/").await;
    not_granted("http://granted.test.elsewhere.test/").await;
    not_granted("http://elsewheregranted.test/").await;
    not_granted("http://sub.granted.test/").await;
}

#[tokio::test]
async fn a_port_that_was_not_granted() {
    not_granted("http://granted.test:22/").await;
    not_granted("https://granted.test:444/").await;
    not_granted("http://granted.test:443/").await;
    malformed(&json!({"url": "http://granted.test:0/"}), "");
    malformed(&json!({"url": "http://granted.test:65536/"}), "");
}

#[tokio::test]
async fn another_scheme() {
    for url in [
        "file:///etc/passwd",
        "ftp://granted.test/",
        "gopher://granted.test/",
        "data:,x",
        "unix:/run/x",
        "ws://granted.test/",
    ] {
        malformed(&json!({ "url": url }), "");
    }
}

#[tokio::test]
async fn loopback_of_both_versions() {
    unreachable(&["127.0.0.1", "127.255.255.254", "::1"]).await;
}

#[tokio::test]
async fn private_networks_of_version_4() {
    unreachable(&["10.0.0.1", "172.16.0.1", "172.31.255.254", "192.168.1.1", "100.64.0.1"]).await;
}

#[tokio::test]
async fn private_networks_of_version_6() {
    unreachable(&["fc00::1", "fd12:3456::1", "fec0::1"]).await;
}

#[tokio::test]
async fn link_local_addresses() {
    unreachable(&["169.254.1.1", "fe80::1"]).await;
}

#[tokio::test]
async fn credentials_of_clouds() {
    unreachable(&["169.254.169.254", "169.254.170.2", "168.63.129.16", "100.100.100.200", "fd00:ec2::254"]).await;
}

#[tokio::test]
async fn addresses_of_nobody_and_of_many() {
    unreachable(&["0.0.0.0", "0.0.0.1", "::", "224.0.0.1", "239.255.255.250", "255.255.255.255", "ff02::1"]).await;
}

#[tokio::test]
async fn ranges_that_are_set_aside() {
    unreachable(&["192.0.0.1", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "240.0.0.1"]).await;
    unreachable(&["100::1", "2001:db8::1", "2001:2::1", "3fff::1", "5f00::1"]).await;
}

#[tokio::test]
async fn version_4_mapped_into_version_6() {
    unreachable(&["::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:8.8.8.8", "::127.0.0.1", "::ffff:0:10.0.0.1"])
        .await;
}

#[tokio::test]
async fn nat64() {
    unreachable(&["64:ff9b::127.0.0.1", "64:ff9b::169.254.169.254", "64:ff9b:1::10.0.0.1"]).await;
}

#[tokio::test]
async fn six_to_four_and_teredo() {
    unreachable(&["2002:7f00:1::", "2002:a9fe:a9fe::1", "2001:0:7f00:1::1"]).await;
}

#[tokio::test]
async fn addresses_in_decimal_hexadecimal_and_octal() {
    for host in
        ["2130706433", "0x7f000001", "0x7f.1", "017700000001", "0177.0.0.1", "127.1", "127.0.1", "0x7F.0x0.0x0.0x1"]
    {
        not_granted_as("127.0.0.1", host).await;
    }
    for host in ["2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "0xa9.0xfe.43518"] {
        not_granted_as("169.254.169.254", host).await;
    }
    for (address, host) in [
        ("0.0.0.0", "0"),
        ("0.0.0.0", "0x0"),
        ("224.0.0.1", "3758096385"),
        ("255.255.255.255", "0xffffffff"),
        ("255.255.255.255", "037777777777"),
    ] {
        let failure = not_granted(&format!("http://{host}/")).await;
        assert_eq!(failure.message, format!("`http://{address}` is an address that no grant can open"), "{host}");
        Grants::parse(&[format!("http://{host}")]).expect_err("nor is there a grant of it");
    }
}

#[tokio::test]
async fn an_address_in_another_spelling_that_was_granted_opens_that_address_alone() {
    let server = Server::start(vec![Reply::Send(answer(200, "", "ok")), Reply::Send(answer(200, "", "ok"))]).await;
    let port = server.address.port();
    let grants = [format!("http://0x7f000001:{port}")];
    for host in ["2130706433", "127.0.0.1"] {
        let (result, _) = send(call(&grants, &json!({"url": format!("http://{host}:{port}/")}), "")).await;
        assert_eq!(result.expect("it is the granted one")["status"], json!(200), "{host}");
    }
    for host in ["0x7f000002", "2130706434", "0xa9fea9fe", "localhost", "0x7f000001.granted.test"] {
        let (result, _) = send(call(&grants, &json!({"url": format!("http://{host}:{port}/")}), "")).await;
        check_failure(result, code::EGRESS_DENIED, false, &["not granted"]);
    }
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn addresses_in_disguise() {
    // Escaped, in the wide digits of other scripts, with a dot behind.
    for host in [
        "%31%32%37.0.0.1",
        "\u{ff11}\u{ff12}\u{ff17}.0.0.1",
        "\u{2460}27.0.0.1",
        "127\u{3002}0\u{3002}0\u{3002}1",
        "127.0.0.1.",
    ] {
        not_granted_as("127.0.0.1", host).await;
    }
}

#[tokio::test]
async fn zones_of_addresses() {
    malformed(&json!({"url": "http://[fe80::1%25eth0]/"}), "");
    malformed(&json!({"url": "http://[fe80::1%eth0]/"}), "");
}

#[tokio::test]
async fn names_of_this_machine() {
    for host in ["localhost", "LOCALHOST.", "l\u{24de}calhost"] {
        not_granted(&format!("http://{host}/")).await;
    }
}

#[tokio::test]
async fn a_name_that_leads_elsewhere_the_second_time() {
    // Public, and given to nobody: nothing is sent to it, or nothing comes back.
    let public: IpAddr = "2000::1".parse().expect("an address");
    assert_eq!(AddressClass::of(public), AddressClass::Public);
    for first in [Ok(public), Err("no answer this time")] {
        let server = Server::start(vec![]).await;
        let (loopback, asked) = (server.address.ip(), Arc::new(AtomicUsize::new(0)));
        let lookup: Lookup = {
            let asked = asked.clone();
            Arc::new(move |_| {
                let answer = match asked.fetch_add(1, Ordering::SeqCst) {
                    0 => first.map(|address| vec![address]).map_err(std::io::Error::other),
                    _ => Ok(vec![loopback]),
                };
                std::future::ready(answer).boxed()
            })
        };
        let grant = format!("http://granted.test:{}", server.address.port());
        let asking = call(std::slice::from_ref(&grant), &json!({ "url": grant }), PATIENT);
        let failure = with_lookup(lookup).http(asking).await.expect_err("it leads to this machine");
        assert_eq!(failure.code, code::EGRESS_DENIED, "{failure}");
        assert!(failure.message.contains("loopback"), "{failure}");
        // The first was let out to where it led, and did not get there.
        assert_eq!(tries_of(&failure), 1, "{failure}");
        assert_eq!(asked.load(Ordering::SeqCst), 2, "each connection asks anew");
        assert!(server.seen().is_empty());
    }
}

#[tokio::test]
async fn a_redirect_to_a_granted_name_that_leads_inside() {
    let server = Server::start(vec![redirect(302, "http://granted.test/")]).await;
    let inside: Lookup = Arc::new(|_| std::future::ready(Ok(vec![IpAddr::from([10, 0, 0, 1])])).boxed());
    let grants = [server.grant(), "http://granted.test".to_owned()];
    let failure = with_lookup(inside).http(call(&grants, &json!({"url": server.url("/")}), PATIENT)).await;
    assert_eq!(failure.expect_err("it leads inside").code, code::EGRESS_DENIED);
}

#[tokio::test]
async fn a_redirect_to_an_address_in_disguise() {
    for target in [
        "http://2852039166/",
        "http://0xa9fea9fe/",
        "//[::ffff:169.254.169.254]/",
        "http://169.254.169.254./",
        "\\\\10.0.0.1\\x",
    ] {
        let server = Server::start(vec![redirect(307, target)]).await;
        let (result, _) = get(&server).await;
        check_failure(result, code::EGRESS_DENIED, false, &["redirects"]);
    }
}

#[tokio::test]
async fn names_and_passwords_in_a_url() {
    for url in [
        "http://granted.test@elsewhere.test/",
        "http://user:word@granted.test/",
        "http://:word@granted.test/",
        "http://a%40b@granted.test/",
    ] {
        malformed(&json!({ "url": url }), "");
    }
    // As browsers read it, the host ends at a backslash, a question mark or a hash.
    for url in [
        "http://elsewhere.test\\@granted.test/",
        "http://elsewhere.test?@granted.test/",
        "http://elsewhere.test#@granted.test/",
    ] {
        not_granted(url).await;
    }
}

// What leaves.

#[tokio::test]
async fn methods_that_open_tunnels_or_show_what_was_sent() {
    for method in ["CONNECT", "TRACE", "connect", "Trace", "GET\r\nX: y", "GET http://elsewhere.test/", "", "PRI "] {
        malformed(&json!({"method": method, "url": "http://granted.test/"}), "");
    }
}

#[tokio::test]
async fn line_breaks_in_headers() {
    for value in
        ["a\r\nX-Other: b", "a\nX-Other: b", "a\rX-Other: b", "a\r\n\r\nGET / HTTP/1.1", "a\0b", "a\r\n folded"]
    {
        malformed_header("x-guest", value);
        malformed_header(value, "x");
    }
    for name in ["", " ", "x y", "x:", ":authority", "x\t", "(x)", "\u{e9}"] {
        malformed_header(name, "x");
    }
}

#[tokio::test]
async fn headers_that_frame_a_message() {
    for name in [
        "Host",
        "content-LENGTH",
        "Transfer-Encoding",
        "connection",
        "TE",
        "trailer",
        "Upgrade",
        "Expect",
        "keep-alive",
        "Proxy-Connection",
        "proxy-authorization",
        "HTTP2-Settings",
    ] {
        malformed_header(name, "x");
    }
}

#[tokio::test]
async fn line_breaks_in_the_key_of_a_request() {
    malformed(&json!({"url": "http://granted.test/"}), r#"{"idempotency_key": "a\r\nX-Other: b"}"#);
    malformed_header("idempotency-key", "a\tb");
}

#[tokio::test]
async fn line_breaks_in_a_url() {
    let server = Server::start(vec![Reply::Send(answer(200, "", "ok"))]).await;
    let url = server.url("/a%0d%0aX-Other:%20b\r\nX-Third: c/?d=\r\nX-Fourth: e");
    let (result, _) = send(call(&[server.grant()], &json!({ "url": url }), "")).await;
    assert_eq!(result.expect("an answer")["status"], json!(200));
    let seen = &server.seen()[0];
    assert_eq!(seen.line(), "GET /a%0d%0aX-Other:%20bX-Third:%20c/?d=X-Fourth:%20e HTTP/1.1");
    for name in ["x-other", "x-third", "x-fourth"] {
        assert_eq!(seen.header(name), None, "{name}");
    }
}

#[tokio::test]
async fn a_request_inside_the_body_of_another() {
    let server = Server::start(vec![Reply::Send(answer(200, "", "ok"))]).await;
    let body = "0\r\n\r\nGET /inner HTTP/1.1\r\nHost: inner\r\n\r\n";
    let request = json!({"method": "POST", "url": server.url("/"), "body": body});
    let (result, _) = send(call(&[server.grant()], &request, "")).await;
    assert_eq!(result.expect("an answer")["status"], json!(200));
    let seen = server.seen();
    assert_eq!((seen.len(), seen[0].body.as_slice()), (1, body.as_bytes()));
    assert_eq!(seen[0].header("content-length"), Some(body.len().to_string().as_str()));
    assert_eq!(seen[0].header("transfer-encoding"), None);
}

// What comes back.

#[tokio::test]
async fn headers_that_take_for_ever() {
    gives_up_on(Reply::Drip("HTTP/1.1 200 OK\r\nx-slow: ".into())).await;
}

#[tokio::test]
async fn a_body_that_takes_for_ever() {
    gives_up_on(Reply::Drip("HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n".into())).await;
}

#[tokio::test]
async fn answers_that_only_say_that_one_will_come() {
    gives_up_on(Reply::SendThenRepeat(String::new(), "HTTP/1.1 100 Continue\r\n\r\n".repeat(100))).await;
}

#[tokio::test]
async fn a_header_without_an_end() {
    breaks(|| Reply::SendThenRepeat("HTTP/1.1 200 OK\r\nx-long: ".into(), "x".repeat(0x1_0000))).await;
}

#[tokio::test]
async fn headers_without_an_end() {
    breaks(|| Reply::SendThenRepeat("HTTP/1.1 200 OK\r\n".into(), "x-one: more\r\n".repeat(1_000))).await;
}

#[tokio::test]
async fn chunks_without_an_end() {
    let extension = format!("1;{}", "x".repeat(0x1_0000));
    breaks(|| Reply::SendThenRepeat("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".into(), extension.clone()))
        .await;
}

#[tokio::test]
async fn a_small_body_that_would_grow_without_an_end() {
    // A hundred thousand zeros in gzip: each byte of it stands for hundreds.
    let packed = [
        b"\x1f\x8b\x08\0\0\0\0\0\x02\xff\xed\xc1\x31\x01\0\0\0\xc2\xa0\xf5\x4f\x6d\x0d\x0f\xa0".as_slice(),
        &[0; 96],
        b"\x80\x57\x03\x7d\x95\x11\xd4\xa0\x86\x01\0",
    ]
    .concat();
    for encoding in ["gzip", "br", "deflate", "zstd", "gzip, gzip, gzip"] {
        let head =
            format!("HTTP/1.1 200 OK\r\ncontent-encoding: {encoding}\r\ncontent-length: {}\r\n\r\n", packed.len());
        let server = Server::start(vec![Reply::SendBytes([head.as_bytes(), &packed].concat())]).await;
        let request = json!({"url": server.url("/"), "headers": [["accept-encoding", encoding]]});
        let answer = send(call(&[server.grant()], &request, "")).await.0.expect("an answer");
        let bytes =
            base64::Engine::decode(&base64::prelude::BASE64_STANDARD, answer["body_base64"].as_str().expect("bytes"));
        assert_eq!(bytes.expect("base64"), packed, "it is handed on as it came");
    }
}

#[tokio::test]
async fn a_second_answer_behind_the_first() {
    let two = format!("{}{}", answer(200, "", "first"), answer(200, "", "planted"));
    let server = Server::start(vec![Reply::Send(two), Reply::Send(answer(200, "", "second"))]).await;
    let egress = Egress::new(Arc::new(SystemClock::new()), Providers::default(), no_secrets()).expect("a client");
    for expected in ["first", "second"] {
        let asked = call(&[server.grant()], &json!({"url": server.url("/")}), PATIENT);
        let answer: Value = serde_json::from_str(&egress.http(asked).await.expect("an answer")).expect("JSON");
        assert_eq!(answer["body"], json!(expected));
    }
}

#[tokio::test]
async fn two_lengths_of_one_body() {
    breaks(|| Reply::SendThenClose("HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 7\r\n\r\nokHTTP/1".into()))
        .await;
}

#[tokio::test]
async fn a_length_and_chunks() {
    let both = "HTTP/1.1 200 OK\r\ncontent-length: 50\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    let server = Server::start(vec![Reply::Send(both.into()), Reply::Send(answer(200, "", "second"))]).await;
    let egress = Egress::new(Arc::new(SystemClock::new()), Providers::default(), no_secrets()).expect("a client");
    for expected in ["ok", "second"] {
        let asked = call(&[server.grant()], &json!({"url": server.url("/")}), PATIENT);
        let answer: Value = serde_json::from_str(&egress.http(asked).await.expect("an answer")).expect("JSON");
        assert_eq!(answer["body"], json!(expected), "chunks count, and nothing is left for the next");
    }
}

#[tokio::test]
async fn a_length_that_is_no_number() {
    for length in ["-1", "0x10", "99999999999999999999", "1 2", "+5"] {
        breaks(|| Reply::SendThenClose(format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\nhello"))).await;
    }
}

#[tokio::test]
async fn a_change_of_the_protocol() {
    let upgrade = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n";
    let server = Server::start((0..3).map(|_| Reply::SendThenClose(upgrade.into())).collect()).await;
    let (result, _) = send(call(&[server.grant()], &json!({"url": server.url("/")}), PATIENT)).await;
    match result {
        Ok(answer) => assert_eq!(answer["status"], json!(101), "an answer as any other"),
        Err(failure) => assert_eq!(failure.code, code::HTTP_BROKEN),
    }
}

#[tokio::test]
async fn cookies_are_not_kept() {
    let first = Reply::Send(answer(200, "set-cookie: a=b\r\n", ""));
    let server = Server::start(vec![first, Reply::Send(answer(200, "", ""))]).await;
    let egress = Egress::new(Arc::new(SystemClock::new()), Providers::default(), no_secrets()).expect("a client");
    for _ in 0..2 {
        egress.http(call(&[server.grant()], &json!({"url": server.url("/")}), PATIENT)).await.expect("an answer");
    }
    assert!(server.seen().iter().all(|seen| seen.header("cookie").is_none()));
}

#[tokio::test]
async fn another_place_that_a_server_offers() {
    let other = Server::start(vec![]).await;
    let offer = format!(
        "alt-svc: h2=\"{0}\", http/1.1=\"{0}\"\r\nrefresh: 0; url=http://{0}/\r\nlink: <http://{0}/>; rel=preload\r\n",
        other.address
    );
    let server = Server::start((0..2).map(|_| Reply::Send(answer(200, &offer, ""))).collect()).await;
    let egress = Egress::new(Arc::new(SystemClock::new()), Providers::default(), no_secrets()).expect("a client");
    for _ in 0..2 {
        egress
            .http(call(&[server.grant(), other.grant()], &json!({"url": server.url("/")}), PATIENT))
            .await
            .expect("an answer");
    }
    assert!(other.seen().is_empty());
}

// Models: where they are is the operator's to say, and nobody else's.

fn asks(model: &str) -> ModelCall {
    let request = json!({"model": model, "messages": [{"role": "user", "content": "http://169.254.169.254/"}]});
    let request = ModelRequest::parse(&request.to_string(), PATIENT).expect("a request of the table");
    let allow = Arc::new(Grants::parse(&["model:openai/*", "model:mine/*"]).expect("patterns"));
    ModelCall { tenant: TenantId::DEFAULT, allow, request, key: "key".into(), told: None }
}

fn with_models(url: Option<String>, lookup: Lookup) -> Egress {
    let mine =
        ProviderSetting { protocol: Some(crate::effects::Protocol::OpenAiChat), url, ..ProviderSetting::default() };
    let settings = mine.url.is_some().then(|| ("mine".to_owned(), mine)).into_iter().collect();
    let providers = Providers::new(&settings, |_| Some("key".to_owned())).expect("providers");
    Egress::with(Arc::new(JumpingClock::default()), (lookup, &[]), providers, no_secrets()).expect("a client")
}

fn nowhere() -> Lookup {
    Arc::new(|_| std::future::ready(Ok(vec![IpAddr::from([127, 0, 0, 1])])).boxed())
}

#[tokio::test]
async fn a_provider_whose_name_leads_inside() {
    let failure = with_models(None, nowhere()).model(asks("openai/any")).await.expect_err("it leads inside");
    assert!(failure.message.contains("loopback"), "{failure}");
}

#[tokio::test]
async fn a_provider_that_redirects() {
    let other = Server::start(vec![]).await;
    let server = Server::start((0..3).map(|_| redirect(307, &other.url("/"))).collect()).await;
    let egress = with_models(Some(server.url("/v1")), nowhere());
    egress.model(asks("mine/any")).await.expect_err("no redirect is followed");
    assert!(!server.seen().is_empty() && other.seen().is_empty());
}

#[tokio::test]
async fn the_address_of_a_model_is_the_operator_s() {
    let server = Server::start(vec![]).await;
    for model in ["http://127.0.0.1/any", "mine@elsewhere.test/any", "../mine/any", "elsewhere/any"] {
        let request = json!({"model": model, "messages": [{"role": "user", "content": "hi"}]});
        let Ok(request) = ModelRequest::parse(&request.to_string(), "") else { continue };
        let asked = ModelCall { request, ..asks("mine/any") };
        let failure = with_models(Some(server.url("/v1")), nowhere()).model(asked).await.expect_err(model);
        assert_eq!(failure.code, code::MODEL_UNKNOWN, "{model}: {failure}");
    }
    assert!(server.seen().is_empty());
}
