//! Says which folders the binary embeds, so that a new file in one of them is noticed.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    for folder in ["../docs/errors", "../wit", "../guest-sdk/rust"] {
        println!("cargo:rerun-if-changed={folder}");
    }
}
