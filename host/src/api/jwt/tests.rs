use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaKeyPair};
use serde_json::json;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

const NOW: i64 = 1_800_000_000;

enum Signer {
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

fn text(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Signer {
    fn ed25519() -> Signer {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("a key");
        Signer::Ed25519(Ed25519KeyPair::from_pkcs8(document.as_ref()).expect("a key"))
    }

    fn p256() -> Signer {
        let way = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let document = EcdsaKeyPair::generate_pkcs8(way, &SystemRandom::new()).expect("a key");
        Signer::P256(EcdsaKeyPair::from_pkcs8(way, document.as_ref(), &SystemRandom::new()).expect("a key"))
    }

    fn rsa() -> Option<Signer> {
        let made = std::process::Command::new("openssl")
            .args(["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-outform", "DER"])
            .output()
            .ok()
            .filter(|made| made.status.success())?;
        // Some versions wrap it, others do not.
        let pair = RsaKeyPair::from_pkcs8(&made.stdout).or_else(|_| RsaKeyPair::from_der(&made.stdout));
        Some(Signer::Rsa(pair.expect("a key")))
    }

    fn way(&self) -> &'static str {
        match self {
            Signer::Ed25519(_) => "EdDSA",
            Signer::P256(_) => "ES256",
            Signer::Rsa(_) => "RS256",
        }
    }

    fn published(&self, id: &str) -> Value {
        match self {
            Signer::Ed25519(pair) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "kid": id, "use": "sig", "x": text(pair.public_key()) })
            }
            Signer::P256(pair) => {
                let point = pair.public_key().as_ref();
                json!({ "kty": "EC", "crv": "P-256", "kid": id, "x": text(&point[1..33]), "y": text(&point[33..]) })
            }
            Signer::Rsa(pair) => {
                let RsaPublicKeyComponents { n, e } = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public());
                json!({ "kty": "RSA", "kid": id, "alg": "RS256", "n": text(n), "e": text(e) })
            }
        }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Signer::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
            Signer::P256(pair) => pair.sign(&SystemRandom::new(), message).expect("signed").as_ref().to_vec(),
            Signer::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                let padding = &ring::signature::RSA_PKCS1_SHA256;
                pair.sign(padding, &SystemRandom::new(), message, &mut signature).expect("signed");
                signature
            }
        }
    }

    fn token(&self, header: &Value, claims: &Value) -> String {
        let signed = format!("{}.{}", text(header.to_string()), text(claims.to_string()));
        let signature = self.sign(signed.as_bytes());
        format!("{signed}.{}", text(signature))
    }

    fn of(&self, id: &str, claims: &Value) -> String {
        self.token(&json!({ "alg": self.way(), "kid": id }), claims)
    }
}

fn setting(jwks: &str) -> JwtSetting {
    JwtSetting {
        issuer: "https://id.example".into(),
        audience: "trackway".into(),
        jwks: jwks.into(),
        tenant_claim: "tenant".into(),
        scopes_claim: "scope".into(),
    }
}

fn claims() -> Value {
    json!({
        "iss": "https://id.example", "aud": ["other", "trackway"], "sub": "ada", "tenant": "acme",
        "scope": "openid read run", "iat": NOW - 10, "exp": NOW + 300,
    })
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    match value {
        Value::Null => drop(claims.as_object_mut().expect("an object").remove(name)),
        value => claims[name] = value,
    }
    claims
}

fn now() -> Timestamp {
    Timestamp::from_millis(NOW as u64 * 1_000)
}

/// A file with these keys.
fn published(keys: &[Value]) -> (tempfile::NamedTempFile, Tokens) {
    let file = tempfile::NamedTempFile::new().expect("writable");
    std::fs::write(file.path(), json!({ "keys": keys }).to_string()).expect("writable");
    let tokens = Tokens::new(setting(file.path().to_str().expect("text"))).expect("a file");
    (file, tokens)
}

#[tokio::test]
async fn tokens_are_known_by_each_way_of_signing() {
    let mut signers = vec![Signer::ed25519(), Signer::p256()];
    match Signer::rsa() {
        Some(signer) => signers.push(signer),
        None => println!("NOT RUN: there is no openssl to make an RSA key with"),
    }
    let keys: Vec<Value> = signers.iter().map(|signer| signer.published(signer.way())).collect();
    let (_file, tokens) = published(&keys);
    for signer in &signers {
        let claimed = tokens.check(&signer.of(signer.way(), &claims()), now()).await.expect("it counts");
        let scopes = Scopes::from_iter([Scope::Read, Scope::Run]);
        assert_eq!(claimed, Claimed { subject: "ada".into(), tenant: "acme".into(), scopes });
        let unnamed = signer.token(&json!({ "alg": signer.way() }), &claims());
        tokens.check(&unnamed, now()).await.expect("there is only one such key");
    }
}

#[tokio::test]
async fn whatever_is_not_signed_by_the_provider_is_nobody() {
    let (signer, stranger) = (Signer::ed25519(), Signer::ed25519());
    let (_file, tokens) = published(&[signer.published("a")]);
    let good = signer.of("a", &claims());
    tokens.check(&good, now()).await.expect("it counts");
    let (signed, signature) = good.rsplit_once('.').expect("three parts");
    let unsigned = format!("{}.{}.", text(r#"{"alg":"none"}"#), text(claims().to_string()));
    let public = signer.published("a")["x"].as_str().expect("text").to_owned();
    let shared = format!("{}.{}", text(r#"{"alg":"HS256","kid":"a"}"#), text(claims().to_string()));
    let mac = {
        use hmac::{Hmac, KeyInit as _, Mac as _};
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(public.as_bytes()).expect("any size");
        mac.update(shared.as_bytes());
        mac.finalize().into_bytes()
    };
    let mut flipped = URL_SAFE_NO_PAD.decode(signature).expect("it is");
    flipped[0] ^= 1;
    let others = [
        stranger.of("a", &claims()),
        signer.of("b", &claims()),
        signer.token(&json!({ "alg": "ES256", "kid": "a" }), &claims()),
        signer.token(&json!({ "alg": "EdDSA", "kid": "a", "crit": ["x"] }), &claims()),
        format!("{shared}.{}", text(mac)),
        unsigned,
        format!("{signed}.{}", text(flipped)),
        format!("{signed}."),
        signed.to_owned() + "..",
        "..".to_owned(),
        "a.b.c".to_owned(),
        format!("{good}{}", "x".repeat(TOKEN_MAX_BYTES)),
    ];
    for token in others {
        let refused = tokens.check(&token, now()).await;
        assert_eq!(refused.map_err(|error| error.code), Err(Code::Unauthorized), "{token}");
    }
}

#[tokio::test]
async fn a_token_counts_for_this_server_in_its_time_and_names_whose_it_is() {
    let signer = Signer::p256();
    let (_file, tokens) = published(&[signer.published("a")]);
    let counts = async |claims: Value| tokens.check(&signer.of("a", &claims), now()).await.is_ok();
    for good in [
        claims(),
        with("aud", json!("trackway")),
        with("exp", json!(NOW - SKEW_MAX_SECONDS + 1)),
        with("nbf", json!(NOW + SKEW_MAX_SECONDS)),
        with("iat", Value::Null),
        with("scope", json!(["read"])),
        with("exp", json!(NOW as f64 + 0.5)),
    ] {
        assert!(counts(good.clone()).await, "{good}");
    }
    for bad in [
        with("iss", json!("https://id.example/")),
        with("iss", Value::Null),
        with("aud", json!("other")),
        with("aud", json!([["trackway"]])),
        with("aud", Value::Null),
        with("exp", json!(NOW - SKEW_MAX_SECONDS)),
        with("exp", json!("never")),
        with("exp", Value::Null),
        with("nbf", json!(NOW + SKEW_MAX_SECONDS + 1)),
        with("nbf", json!("soon")),
        with("iat", json!(NOW + SKEW_MAX_SECONDS + 1)),
        with("sub", Value::Null),
        with("sub", json!("x".repeat(SUBJECT_MAX_BYTES + 1))),
        with("tenant", Value::Null),
        with("tenant", json!(["acme"])),
    ] {
        assert!(!counts(bad.clone()).await, "{bad}");
    }
    let none = tokens.check(&signer.of("a", &with("scope", json!("openid profile"))), now()).await.expect("it counts");
    assert_eq!(none.scopes, Scopes::default(), "words of others give nothing");
}

#[tokio::test]
async fn keys_are_read_from_the_provider_and_new_ones_as_they_come() {
    let (first, second) = (Signer::ed25519(), Signer::p256());
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = format!("http://{}/jwks.json", listener.local_addr().expect("bound"));
    let served = Arc::new(std::sync::Mutex::new(json!({ "keys": [first.published("1")] }).to_string()));
    let asked = Arc::new(AtomicU32::new(0));
    let (serving, asking) = (served.clone(), asked.clone());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            asking.fetch_add(1, Ordering::SeqCst);
            let body = serving.lock().expect("nobody panics").clone();
            let mut head = [0; 4_096];
            let _ = stream.read(&mut head).await;
            let length = body.len();
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    let tokens = Tokens::new(setting(&address)).expect("an address of this machine");
    for _ in 0..3 {
        tokens.check(&first.of("1", &claims()), now()).await.expect("it counts");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1, "keys are kept");
    // Somebody invents keys: the provider is not asked for each.
    for number in 0..20 {
        assert!(tokens.check(&second.of(&format!("invented {number}"), &claims()), now()).await.is_err());
    }
    assert!(asked.load(Ordering::SeqCst) <= 2);
    // The provider goes over to another key.
    *served.lock().expect("nobody panics") = json!({ "keys": [second.published("2")] }).to_string();
    tokens.age(REFRESH_AGAIN_AFTER);
    tokens.check(&second.of("2", &claims()), now()).await.expect("its new key");
    assert!(tokens.check(&first.of("1", &claims()), now()).await.is_err(), "the old one is gone");
    // What is no set of keys, and a provider that cannot be asked, leave those that there are; for a while.
    *served.lock().expect("nobody panics") = "{}".to_owned();
    tokens.age(REFRESH_AFTER);
    tokens.check(&second.of("2", &claims()), now()).await.expect("it is known");
    tokens.age(STALE_MAX);
    assert!(tokens.check(&second.of("2", &claims()), now()).await.is_err(), "for too long");
}

#[test]
fn keys_are_asked_for_over_tls_or_on_this_machine() {
    for good in ["https://id.example/jwks", "http://127.0.0.1:9/jwks", "http://localhost/jwks", "/etc/jwks.json"] {
        assert!(Tokens::new(setting(good)).is_ok(), "{good}");
    }
    for bad in ["http://id.example/jwks", "ftp://id.example/jwks", "://"] {
        assert_eq!(Tokens::new(setting(bad)).err().map(|error| error.code), Some(Code::BadConfig), "{bad}");
    }
}
