//! Compiled code is used again, and only if it is ours.

use super::support::*;
use crate::sandbox::cache::Cache;
use crate::sandbox::*;
use std::fs;
use std::path::{Path, PathBuf};
use trackway_replay::{Digest, TenantId};

fn guest() -> (Digest, Arc<[u8]>) {
    let bytes = TextGuest::of_run(|texts| format!("(call $return {})", texts.put("1")));
    (Digest::of(&bytes), bytes.into())
}

fn file(folder: &Path, ending: &str) -> PathBuf {
    let found = fs::read_dir(folder).expect("readable").flat_map(|entry| {
        let path = entry.expect("readable").path();
        if path.is_dir() { vec![file(&path, ending)] } else { vec![path] }
    });
    let mut fitting = found.filter(|path| path.extension().is_some_and(|found| found == ending));
    fitting.next().expect("there is such a file")
}

async fn compiled() -> Place {
    let place = place();
    let (digest, bytes) = guest();
    place.sandbox.load(TenantId::DEFAULT, digest, &bytes).await.expect("it compiles");
    place
}

/// A sandbox over the same folder that cannot compile.
fn without_compiler(place: &Place) -> Sandbox {
    let compiler = Compiler::child("/nonexistent/compiler");
    Sandbox::new(Options { compiler, ..options(place.folder.path()) }).expect("a sandbox")
}

#[tokio::test]
async fn cached_code_is_loaded_without_a_compiler() {
    let place = compiled().await;
    let (digest, bytes) = guest();
    let again = without_compiler(&place);
    again.load(TenantId::DEFAULT, digest, &bytes).await.expect("from the cache");
    assert!(again.cached(TenantId::DEFAULT, digest).await.expect("readable").is_some());
}

#[tokio::test]
async fn a_cache_that_cannot_be_written_names_its_folder_once() {
    let place = place();
    let folder = place.folder.path().to_owned();
    for entry in std::fs::read_dir(&folder).expect("it was made").flatten() {
        std::fs::remove_dir_all(entry.path()).expect("it is ours");
    }
    let (digest, bytes) = guest();
    let error = place.sandbox.load(TenantId::DEFAULT, digest, &bytes).await.expect_err("there is nowhere to put it");
    assert_eq!(error.message.matches(&folder.display().to_string()).count(), 1, "{error}");
}

#[tokio::test]
async fn loaded_code_is_the_same_object() {
    let place = compiled().await;
    let (digest, bytes) = guest();
    let (one, two) = (
        place.sandbox.load(TenantId::DEFAULT, digest, &bytes).await.expect("loads"),
        place.sandbox.load(TenantId::DEFAULT, digest, &bytes).await.expect("loads"),
    );
    assert!(Arc::ptr_eq(&one, &two));
}

#[tokio::test]
async fn code_that_nobody_compiled_is_not_cached() {
    let sandbox = place();
    assert!(sandbox.sandbox.cached(TenantId::DEFAULT, Digest([1; 32])).await.expect("readable").is_none());
}

#[tokio::test]
async fn a_damaged_file_is_refused_and_made_anew() {
    let place = compiled().await;
    let (digest, bytes) = guest();
    for ending in ["code", "seal"] {
        let path = file(place.folder.path(), ending);
        let mut content = fs::read(&path).expect("readable");
        let middle = content.len() / 2;
        content[middle] ^= 1;
        fs::write(&path, content).expect("writable");
        without_compiler(&place)
            .load(TenantId::DEFAULT, digest, &bytes)
            .await
            .expect_err("it would have to be compiled");
        assert!(!path.exists(), "the damaged {ending} is gone");
        Sandbox::new(options(place.folder.path()))
            .expect("a sandbox")
            .load(TenantId::DEFAULT, digest, &bytes)
            .await
            .expect("made anew");
        without_compiler(&place).load(TenantId::DEFAULT, digest, &bytes).await.expect("good again");
    }
}

#[tokio::test]
async fn a_file_without_seal_or_cut_short_is_made_anew() {
    let place = compiled().await;
    let (digest, bytes) = guest();
    fs::remove_file(file(place.folder.path(), "seal")).expect("removable");
    Sandbox::new(options(place.folder.path()))
        .expect("a sandbox")
        .load(TenantId::DEFAULT, digest, &bytes)
        .await
        .expect("made anew");
    let path = file(place.folder.path(), "code");
    let content = fs::read(&path).expect("readable");
    // Another file under that name: the one before is still mapped by those who loaded it.
    fs::remove_file(&path).expect("removable");
    fs::write(&path, &content[..content.len() / 3]).expect("writable");
    Sandbox::new(options(place.folder.path()))
        .expect("a sandbox")
        .load(TenantId::DEFAULT, digest, &bytes)
        .await
        .expect("made anew");
}

#[tokio::test]
async fn code_sealed_with_another_key_is_not_run() {
    let place = compiled().await;
    let (digest, bytes) = guest();
    let options = Options { key: [8; 32], compiler: Compiler::child("/nonexistent"), ..options(place.folder.path()) };
    let stranger = Sandbox::new(options).expect("a sandbox");
    stranger.load(TenantId::DEFAULT, digest, &bytes).await.expect_err("it would have to be compiled");
}

#[tokio::test]
async fn code_of_one_component_does_not_pass_for_another() {
    let place = compiled().await;
    let (digest, _) = guest();
    let other = TextGuest::of_run(|texts| format!("(call $return {})", texts.put("2")));
    let other_digest = Digest::of(&other);
    place.code(other.clone()).await;
    let folder = file(place.folder.path(), "code").parent().expect("in a folder").to_owned();
    for ending in ["code", "seal"] {
        fs::copy(folder.join(format!("{digest}.{ending}")), folder.join(format!("{other_digest}.{ending}")))
            .expect("copied");
    }
    without_compiler(&place)
        .load(TenantId::DEFAULT, other_digest, &other.into())
        .await
        .expect_err("the seal names the component");
}

#[tokio::test]
async fn several_uploads_of_the_same_bytes_compile_once() {
    let place = place();
    let (digest, bytes) = guest();
    let all: Vec<_> = (0..8).map(|_| place.sandbox.load(TenantId::DEFAULT, digest, &bytes)).collect();
    let codes = futures_util::future::join_all(all).await;
    let first = codes[0].as_ref().expect("loads");
    assert!(codes.iter().all(|code| Arc::ptr_eq(code.as_ref().expect("loads"), first)));
}

fn opened(parent: &Path, engine: &str) -> Cache {
    Cache::open(parent, [7; 32], engine.to_owned()).expect("a cache")
}

fn folders(parent: &Path) -> Vec<PathBuf> {
    let mut folders: Vec<_> = fs::read_dir(parent).expect("readable").map(|entry| entry.expect("one").path()).collect();
    folders.sort();
    folders
}

#[test]
fn folders_of_engines_that_nobody_uses_are_removed() {
    let parent = tempfile::tempdir().expect("a temporary folder");
    opened(parent.path(), "old").save(Digest([1; 32]), b"code").expect("writable");
    let old = folders(parent.path());
    let half = parent.path().join("0123456789abcdef.removed");
    fs::create_dir(&half).and_then(|()| fs::write(half.join("x.code"), "")).expect("writable");
    let _new = opened(parent.path(), "new");
    let left = folders(parent.path());
    assert!(left.len() == 1 && left != old, "{left:?}");
}

#[test]
fn a_folder_that_somebody_uses_stays_as_it_is() {
    let parent = tempfile::tempdir().expect("a temporary folder");
    let older = opened(parent.path(), "older");
    older.save(Digest([1; 32]), b"code").expect("writable");
    let (newer, again) = (opened(parent.path(), "newer"), opened(parent.path(), "newer"));
    assert_eq!(folders(parent.path()).len(), 2);
    older.save(Digest([2; 32]), b"code").expect("its folder is there");
    drop((older, again));
    drop(opened(parent.path(), "newest"));
    assert_eq!(folders(parent.path()).len(), 2, "newer is in use, older is not");
    newer.save(Digest([1; 32]), b"code").expect("its folder is there");
}

#[test]
fn what_no_cache_made_is_never_removed() {
    let parent = tempfile::tempdir().expect("a temporary folder");
    let place = |name: &str, file: &str, content: &str| {
        let folder = parent.path().join(name);
        fs::create_dir_all(&folder).and_then(|()| fs::write(folder.join(file), content)).expect("writable");
    };
    place("photos", "engine", "old");
    place("0123456789abcdef", "a.code", "");
    place("0123456789abcde0", "engine", "not of this name");
    place("notes.removed", "engine", "old");
    fs::write(parent.path().join("file"), "").expect("writable");
    let _cache = opened(parent.path(), "new");
    assert_eq!(folders(parent.path()).len(), 6);
}

#[cfg(unix)]
#[tokio::test]
async fn the_cache_is_closed_to_other_users() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = compiled().await;
    let path = file(place.folder.path(), "code");
    let mode = |path: &Path| fs::metadata(path).expect("readable").permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(path.parent().expect("in a folder")), 0o700);
}

#[test]
fn the_name_of_the_engine_holds_the_full_version_of_the_lock_file() {
    let lock = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.lock")).expect("a lock file");
    let (_, after) = lock.split_once("name = \"wasmtime\"\nversion = \"").expect("wasmtime is locked");
    let (version, _) = after.split_once('"').expect("a version");
    let sandbox = place();
    assert!(sandbox.sandbox.engine_name().starts_with(&format!("wasmtime-{version}/")), "{version}");
}
