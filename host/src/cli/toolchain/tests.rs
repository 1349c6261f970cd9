//! What is passed to cargo, and what is passed on from it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::{TARGET, Toolchain, ToolchainError, pass_on, patch};

const SAID: &str =
    "\u{1b}[1m\u{1b}[33mwarning\u{1b}[0m: patch `trackway-sdk v0.1.0 (sdk)` was not used in the crate graph
\u{1b}[1m\u{1b}[96mhelp\u{1b}[0m: Check that the patched package version and available features are compatible
      with the dependency requirements.
   Compiling hello v0.1.0
\u{1b}[33mwarning\u{1b}[0m: unused variable: `ctx`
  --> src/lib.rs:5:7
    Finished `release` profile
";

#[test]
fn warnings_of_the_author_are_passed_on_and_that_about_the_patch_is_not() {
    let mut passed = Vec::new();
    pass_on(SAID.as_bytes(), &mut passed).expect("memory can be written");
    let passed = String::from_utf8(passed).expect("text stays text");
    assert!(!passed.contains("trackway-sdk") && !passed.contains("Check that"), "{passed}");
    assert!(passed.starts_with("   Compiling hello"), "{passed}");
    assert!(passed.contains("unused variable: `ctx`\n  --> src/lib.rs:5:7\n    Finished"), "{passed}");
}

#[test]
fn a_folder_with_quotes_in_its_name_stays_one_value() {
    let config = patch("trackway-sdk", Path::new(r#"/a "b"\c"#));
    assert_eq!(config, OsStr::new(r#"patch.crates-io.trackway-sdk.path="/a \"b\"\\c""#));
}

#[test]
fn debians_compiler_builds_std_and_the_users_own_does_not() {
    let path = PathBuf::from("x");
    let debian = Toolchain::Debian { rustc: "r".into(), cargo: "c".into(), linker: path };
    let words = |toolchain: &Toolchain| -> Vec<String> {
        toolchain.cargo_build().get_args().map(|word| word.to_string_lossy().into_owned()).collect()
    };
    assert_eq!(words(&Toolchain::Installed), ["build", "--target", TARGET, "--release"]);
    assert_eq!(words(&debian)[1..3], ["-Z", "build-std=std,panic_abort"]);
    assert_eq!(debian.cargo_build().get_program(), "c");
}

#[test]
fn a_build_without_a_module_says_what_is_missing_in_the_manifest() {
    let error = ToolchainError::NoArtifact { path: "hello.wasm".into() };
    assert!(error.to_string().contains("crate-type = [\"cdylib\"]"));
}
