//! Tokens of an identity provider, against the real binary: signed by another program, its keys on another server.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use super::{Place, Server, run};
use crate::left::Left;
use crate::rig::guests;

/// A key pair in a file, made by openssl. `None`: it cannot.
struct Provider {
    place: Place,
    public: Vec<u8>,
}

impl Provider {
    fn new() -> Option<Provider> {
        let place = Place::new();
        let openssl = |words: &str| {
            let made = Command::new("openssl").args(words.split(' ')).current_dir(place.path()).output().ok()?;
            made.status.success().then_some(made.stdout)
        };
        openssl("genpkey -algorithm ed25519 -out provider.key")?;
        let document = openssl("pkey -in provider.key -pubout -outform DER")?;
        let public = document.get(document.len().checked_sub(32)?..)?.to_vec();
        Some(Provider { place, public })
    }

    fn published(&self, id: &str) -> Value {
        json!({ "kty": "OKP", "crv": "Ed25519", "kid": id, "x": URL_SAFE_NO_PAD.encode(&self.public) })
    }

    fn token(&self, id: &str, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&json!({ "alg": "EdDSA", "kid": id })), part(claims));
        std::fs::write(self.place.path().join("signed"), &signed).expect("writable");
        let made = Command::new("openssl")
            .args(["pkeyutl", "-sign", "-rawin", "-inkey", "provider.key", "-in", "signed"])
            .current_dir(self.place.path())
            .output()
            .expect("it was there before");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(made.stdout))
    }
}

/// Serves the keys until the process ends; gives the address.
fn serve(keys: Arc<Mutex<Vec<Value>>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = format!("http://{}/keys", listener.local_addr().expect("bound"));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let body = json!({ "keys": *keys.lock().expect("nobody panics") }).to_string();
            // A request of one packet; its client closes.
            let _ = stream.read(&mut [0; 4_096]);
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            let _ = stream.write_all((head + &body).as_bytes());
        }
    });
    address
}

fn claims(scope: &str, tenant: &str) -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    json!({ "iss": "https://id.test", "aud": "trackway", "sub": "ada@id.test", "exp": now + 600,
        "scope": scope, "tenant": tenant })
}

#[test]
fn whoever_the_provider_vouches_for_gets_in_with_what_it_says_and_nobody_else() {
    let Some(provider) = Provider::new() else {
        println!("NOT RUN: there is no openssl to sign with");
        return;
    };
    let stranger = Provider::new().expect("as before");
    let keys = Arc::new(Mutex::new(vec![provider.published("one")]));
    let place = Place::new();
    let auth =
        format!("[auth.jwt]\nissuer = \"https://id.test\"\naudience = \"trackway\"\njwks = \"{}\"\n", serve(keys));
    std::fs::write(place.path().join("auth.toml"), auth).expect("writable");
    let server = Server::start(place, "--auth auth.toml");
    run(&mut server.trackway("tenants create acme")).expect(0);
    let with = |token: &str, words: &str| -> Left {
        let mut command = server.trackway(words);
        run(command.env("TRACKWAY_KEY", token))
    };
    let deployer = provider.token("one", &claims("openid deploy run read", "acme"));
    run(server.trackway("deploy").env("TRACKWAY_KEY", &deployer).arg(guests().join("hello.wasm"))).expect(0);
    with(&deployer, "run hello").expect(0);
    with(&deployer, "keys ls").refused(5, "TW0701");
    with(&deployer, "runs ls --tenant default").refused(4, "TW0702");
    with(&provider.token("one", &claims("read", "acme")), "run hello").refused(5, "TW0701");
    with(&provider.token("one", &claims("admin", "nobody")), "runs ls").refused(5, "TW0603");
    with(&stranger.token("one", &claims("admin", "acme")), "runs ls").refused(5, "TW0603");
    let admin = provider.token("one", &claims("admin", "acme"));
    with(&admin, "tenants ls").refused(5, "TW0701");
    let audit = with(&admin, "audit -o jsonl").expect(0).stdout;
    assert!(audit.contains("token ada@id.test"), "{audit}");
    assert!(!audit.contains(&deployer), "a token stands in the log");
    // A key goes on beside it.
    let key = run(&mut server.trackway("keys create --tenant acme --scope read first -o id")).expect(0);
    with(key.line(), "runs ls").expect(0);
    let place = Place::new();
    std::fs::write(
        place.path().join("auth.toml"),
        "[auth.jwt]\nissuer = \"a\"\naudience = \"b\"\njwks = \"http://id.test\"\n",
    )
    .expect("writable");
    run(&mut place.command("server --auth auth.toml")).refused(2, "TW0102");
    run(&mut place.command("server --auth none.toml")).refused(1, "TW0106");
}
