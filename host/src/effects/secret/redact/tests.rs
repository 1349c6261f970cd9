use super::*;

const VALUE: &str = "p%41ss\\word\"+ 1";

fn redactor(values: &[(&str, &str)]) -> Redactor {
    let mut redactor = Redactor::default();
    for (name, value) in values {
        let name = SecretName::new(name).expect("a name of the table");
        redactor.add(&name, &Secret::new((*value).to_owned()).expect("a secret of the table"));
    }
    redactor
}

/// A small generator: the same bytes in every run of the test.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).expect("it is below a usize")
    }
}

#[test]
fn what_holds_no_secret_stays_as_it_is() {
    let redactor = redactor(&[("KEY", VALUE)]);
    for text in
        ["", "p", "p%41ss", "p%41ss\\word\"+ ", "%", "%4", "\\", "\\u", "\\ud83d\\u", "{\"a\": \"\\u0070\"}", "+++"]
    {
        assert_eq!(redactor.bytes(text.as_bytes()), None, "{text}");
    }
    assert_eq!(Redactor::default().bytes(VALUE.as_bytes()), None);
}

#[test]
fn any_characters_of_it_may_be_escaped() {
    let redactor = redactor(&[("KEY", VALUE)]);
    let mut dice = Dice(7);
    for round in 0..2_000 {
        let is_json = round % 2 == 0;
        let spelled: String = VALUE
            .chars()
            .map(|character| match (is_json, dice.below(3)) {
                (true, 0) => format!("\\u{:04X}", u32::from(character)),
                (true, _) if "\"\\".contains(character) => format!("\\{character}"),
                (false, 0) => format!("%{:02x}", u32::from(character)),
                (false, 1) => format!("%{:02X}", u32::from(character)),
                // As it is, a per cent sign would be read with what follows.
                (false, _) if character == '%' => "%25".to_owned(),
                (false, _) if character == ' ' && dice.below(2) == 0 => "+".to_owned(),
                (_, _) => character.to_string(),
            })
            .collect();
        let text = format!("a{spelled}b");
        let clean = redactor.bytes(text.as_bytes()).unwrap_or_else(|| panic!("{text}"));
        assert_eq!(clean, b"a[secret:KEY]b", "{text}");
    }
}

#[test]
fn of_two_secrets_the_longer_one_is_taken_out_whole() {
    let redactor = redactor(&[("SHORT", "0123456789"), ("LONG", "0123456789abcdef")]);
    assert_eq!(redactor.text("0123456789abcdef 0123456789".to_owned()), "[secret:LONG] [secret:SHORT]");
}

#[test]
fn whatever_bytes_come_it_ends_and_what_is_left_holds_no_secret() {
    let redactor = redactor(&[("KEY", VALUE), ("TWO", "\u{e9}\u{1f511}%%%%++++"), ("THREE", "aaaaaaaaaaaa")]);
    let parts: [&[u8]; 12] = [
        VALUE.as_bytes(),
        "\u{e9}\u{1f511}%%%%++++".as_bytes(),
        b"aaaaaaaaaaaa",
        b"%",
        b"\\u",
        b"\\ud83d\\udd11",
        b"%c3%a9",
        b"a",
        b"\xff",
        b"+",
        b"\\",
        b"%25%25",
    ];
    let mut dice = Dice(11);
    for _ in 0..5_000 {
        let mut bytes = Vec::new();
        for _ in 0..dice.below(12) {
            let part = parts[dice.below(parts.len())];
            bytes.extend_from_slice(&part[..=dice.below(part.len())]);
        }
        let clean = redactor.bytes(&bytes).unwrap_or(bytes);
        for value in [VALUE.as_bytes(), b"aaaaaaaaaaaa"] {
            assert!(!clean.windows(value.len()).any(|window| window == value), "{}", String::from_utf8_lossy(&clean));
        }
    }
}

#[test]
fn details_of_a_failure_stay_json() {
    let redactor = redactor(&[("KEY", VALUE)]);
    let details = serde_json::json!({ "tries": [{ "error": format!("got {VALUE}") }] });
    let failure = Failure {
        details: serde_json::value::to_raw_value(&details).ok(),
        ..Failure::new("HTTP_BROKEN", format!("said {VALUE}"))
    };
    let clean = redactor.failure(failure);
    assert_eq!(clean.message, "said [secret:KEY]");
    let details: serde_json::Value =
        serde_json::from_str(clean.details.as_ref().expect("they stay").get()).expect("they are JSON");
    assert_eq!(details, serde_json::json!({ "tries": [{ "error": "got [secret:KEY]" }] }));
}
