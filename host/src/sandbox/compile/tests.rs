//! What becomes of a compiling process that ends in other ways than with code. The real process is
//! tested with the binary.

use super::*;

/// A program that does what `script` says instead of compiling. Another process writes it: a file
/// that this one had open for writing might still be open in a child of another test, and busy.
fn child(script: &str) -> (tempfile::TempDir, Compiler) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("compiler");
    let write = "printf '#!/bin/sh\n%s\n' \"$1\" >\"$0\" && chmod 700 \"$0\"";
    let status = Command::new("/bin/sh").args(["-c", write]).arg(&path).arg(script).status().expect("a shell");
    assert!(status.success(), "the script is written");
    (folder, Compiler::child(path))
}

fn refusal(script: &str) -> String {
    let (_folder, compiler) = child(script);
    let error = compiler.compile(b"component").expect_err("this must fail");
    assert_eq!(error.code, Code::CompileFailed);
    error.message
}

#[test]
fn what_the_child_writes_is_the_code() {
    let (_folder, compiler) = child("cat; printf ' compiled'");
    assert_eq!(compiler.compile(b"component").expect("it wrote something"), b"component compiled");
}

#[test]
fn the_child_gets_its_limits_and_no_environment_of_ours() {
    let (_folder, compiler) = child("printf '%s' \"$* ${HOME-none}${USER-none}${CARGO-none}\"");
    let told = compiler.compile(b"").expect("it wrote something");
    assert_eq!(String::from_utf8_lossy(&told), "__compile 120 300 8589934592 nonenonenone");
}

#[test]
fn limits_are_lowered_by_arguments_and_never_raised() {
    let told = |arguments: &[&str]| CompileLimits::from_arguments(arguments.iter().map(|text| (*text).to_owned()));
    let lower = CompileLimits { cpu_seconds: 3, wall_seconds: 4, address_space_bytes: 5 };
    assert_eq!(CompileLimits::from_arguments(lower.arguments().into_iter()), lower);
    for arguments in [&["999", "999", "999999999999"][..], &[], &["x", "-1", "99999999999999999999"]] {
        assert_eq!(told(arguments), CompileLimits::DEFAULT, "{arguments:?}");
    }
    // Zero would be no limit at all.
    assert_eq!(told(&["0", "0", "0"]), CompileLimits { cpu_seconds: 1, wall_seconds: 1, address_space_bytes: 1 });
}

#[test]
fn a_refusal_of_the_compiler_is_told_in_its_words() {
    let message = refusal("cat >/dev/null; echo 'function 7 is too large' >&2; exit 3");
    assert_eq!(message, "the compiler refused the component: function 7 is too large");
}

#[test]
fn each_end_by_a_signal_names_its_cause() {
    for (signal, told) in [
        ("XCPU", "more than 120 s of processor time"),
        ("ALRM", "longer than 300 s"),
        ("ABRT", "at its memory limit"),
        ("KILL", "was killed"),
        ("SEGV", "crashed"),
    ] {
        let message = refusal(&format!("kill -{signal} $$"));
        assert!(message.contains(told), "{signal}: {message}");
    }
}

#[test]
fn an_end_without_code_or_words_is_told_too() {
    for script in ["exit 0", "exit 1", "exit 101"] {
        let message = refusal(script);
        assert!(message.contains("it said nothing"), "{script}: {message}");
    }
}

#[test]
fn a_child_that_reads_nothing_does_not_hang_the_host() {
    let (_folder, compiler) = child("printf code");
    assert_eq!(compiler.compile(&vec![0; 10 << 20]).expect("it wrote something"), b"code");
}

#[test]
fn a_program_that_is_not_there_is_told() {
    let error = Compiler::child("/nonexistent/compiler").compile(b"").expect_err("nothing to start");
    assert_eq!(error.code, Code::CompileFailed);
    assert!(error.message.contains("did not start"), "{error}");
}

#[test]
fn text_is_never_compiled() {
    let error = Compiler::InProcess.compile(b"(component)").expect_err("text is no binary");
    assert_eq!(error.code, Code::CompileFailed);
}
