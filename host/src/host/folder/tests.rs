use super::*;
use std::os::unix::fs::PermissionsExt;

struct Sevens;

impl Randomness for Sevens {
    fn fill(&self, into: &mut [u8]) {
        into.fill(7);
    }
}

struct Eights;

impl Randomness for Eights {
    fn fill(&self, into: &mut [u8]) {
        into.fill(8);
    }
}

#[test]
fn the_key_of_the_code_cache_is_made_once_and_closed_to_others() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join(CODE_KEY);
    assert_eq!(code_key(&file, &Sevens).expect("a key"), [7; 32]);
    assert_eq!(code_key(&file, &Eights).expect("the same key"), [7; 32]);
    let mode = fs::metadata(&file).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_key_that_was_cut_off_is_replaced() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join(CODE_KEY);
    fs::write(&file, b"short").expect("it can be written");
    assert_eq!(code_key(&file, &Eights).expect("a key"), [8; 32]);
    assert_eq!(fs::read(&file).expect("it is there"), [8; 32]);
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("file");
    fs::write(&file, b"").expect("it can be written");
    let opened = open(&file.join("data"), Compiler::InProcess, SledOptions::default(), &Sevens);
    let error = opened.err().expect("a file is in the way");
    assert_eq!(error.code, Code::File);
    assert!(error.message.contains("file/data"), "{error}");
}
