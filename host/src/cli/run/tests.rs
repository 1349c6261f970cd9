use super::*;

fn quiet() -> Output {
    Output::new(Some(Format::Json))
}

#[test]
fn input_is_taken_from_the_argument_byte_for_byte() {
    let input = read_input(r#" {"b": 1.10, "a": "ü"} "#, &quiet()).expect("JSON");
    assert_eq!(input.get(), r#"{"b": 1.10, "a": "ü"}"#);
}

#[test]
fn input_is_taken_from_a_file() {
    let file = tempfile::NamedTempFile::new().expect("writable");
    std::fs::write(file.path(), "[1,\n 2]\n").expect("writable");
    let input = read_input(&format!("@{}", file.path().display()), &quiet()).expect("JSON");
    assert_eq!(input.get(), "[1,\n 2]");
}

#[test]
fn a_word_without_quotes_is_refused_with_the_quoted_form() {
    let error = read_input("Ada", &quiet()).expect_err("not JSON");
    assert_eq!(error.code, Code::InputNotJson);
    assert_eq!(error.hint.as_deref(), Some("text needs quotes in JSON: -i '\"Ada\"'"));
}

#[test]
fn a_file_name_without_its_sign_is_refused_with_the_right_form() {
    let file = tempfile::NamedTempFile::new().expect("writable");
    let path = file.path().display().to_string();
    let error = read_input(&path, &quiet()).expect_err("not JSON");
    assert_eq!(error.hint, Some(format!("to read the file, write -i @{path}")));
}

#[test]
fn input_that_cannot_be_read_says_which_and_why() {
    let error = read_input("@/nowhere/input.json", &quiet()).expect_err("no such file");
    assert_eq!(error.code, Code::File);
    assert!(error.message.contains("/nowhere/input.json"), "{}", error.message);
}

#[test]
fn input_over_the_limit_is_not_read_to_its_end() {
    let error = limited(std::io::repeat(b' '), "a pipe").expect_err("endless");
    assert_eq!(error.code, Code::InputTooLarge);
}

#[test]
fn each_start_gets_a_key_of_its_own() {
    assert_ne!(fresh_key().expect("random bytes"), fresh_key().expect("random bytes"));
}
