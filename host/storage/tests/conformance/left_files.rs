//! Files of components on a real disk: gone with their rows, and left over by nobody for longer than until the next opening.

use bytes::Bytes;
use std::fs;
use std::path::{Path, PathBuf};
use trackway_replay::{Digest, TenantId};
use trackway_storage::{ComponentRecord, SledStorage, Storage};

use crate::subject::{at, small};

const TENANT: TenantId = TenantId::DEFAULT;

fn open(folder: &Path) -> SledStorage {
    SledStorage::open(folder, small()).unwrap()
}

async fn put(store: &SledStorage, tenant: TenantId, bytes: &'static [u8]) -> Digest {
    let digest = Digest::of(bytes);
    let size_bytes = bytes.len() as u64;
    let record = ComponentRecord { digest, size_bytes, uploaded: at(1), manifest: "{}".into(), pure: true };
    store.put_component(tenant, record, Bytes::from_static(bytes)).await.unwrap();
    digest
}

fn of_tenant(folder: &Path, tenant: TenantId) -> PathBuf {
    folder.join("components").join(tenant.to_string())
}

/// Names of files, in order.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn files_of(digest: Digest) -> [String; 2] {
    [format!("{digest}.manifest"), format!("{digest}.wasm")]
}

#[tokio::test]
async fn files_of_a_component_go_with_it_and_others_stay() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let digest = put(&store, TENANT, b"one").await;
    put(&store, TenantId(2), b"one").await;
    assert_eq!(names(&of_tenant(folder.path(), TENANT)), files_of(digest));
    assert!(store.remove_component(TENANT, digest).await.unwrap());
    assert!(names(&of_tenant(folder.path(), TENANT)).is_empty());
    assert_eq!(names(&of_tenant(folder.path(), TenantId(2))), files_of(digest));
}

#[tokio::test]
async fn what_a_crash_left_of_a_component_goes_at_the_next_opening() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let gone = put(&store, TENANT, b"gone").await;
    let kept = put(&store, TENANT, b"kept").await;
    let here = of_tenant(folder.path(), TENANT);
    let files: Vec<(PathBuf, Vec<u8>)> = files_of(gone)
        .iter()
        .map(|name| {
            let path = here.join(name);
            let bytes = fs::read(&path).unwrap();
            (path, bytes)
        })
        .collect();
    assert!(store.remove_component(TENANT, gone).await.unwrap());
    drop(store);
    // As if the process had died between the row and the files.
    for (path, bytes) in &files {
        fs::write(path, bytes).unwrap();
    }
    // Nobody's business.
    fs::write(here.join("notes.txt"), "").unwrap();
    let store = open(folder.path());
    let mut left = files_of(kept).to_vec();
    left.push("notes.txt".to_owned());
    left.sort();
    assert_eq!(names(&here), left);
    assert_eq!(store.component(TENANT, gone).await.unwrap(), None);
    assert_eq!(store.component_bytes(TENANT, kept).await.unwrap(), Some(Bytes::from_static(b"kept")));
    assert!(store.check_rest(TENANT).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_is_left_of_a_component_is_in_nobodys_way() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let digest = Digest::of(b"one");
    let here = of_tenant(folder.path(), TENANT);
    fs::create_dir_all(&here).unwrap();
    let [manifest, bytes] = files_of(digest);
    fs::write(here.join(&bytes), b"one").unwrap();
    // It is listed by nobody, and goes with a removal that finds nothing else.
    assert!(store.components(TENANT).await.unwrap().is_empty());
    assert!(!store.remove_component(TENANT, digest).await.unwrap());
    assert!(names(&here).is_empty());
    // An upload takes the place of what was cut off.
    fs::write(here.join(&bytes), b"o").unwrap();
    fs::write(here.join(&manifest), b"").unwrap();
    put(&store, TENANT, b"one").await;
    assert_eq!(store.component_bytes(TENANT, digest).await.unwrap(), Some(Bytes::from_static(b"one")));
    assert_eq!(&*store.component(TENANT, digest).await.unwrap().unwrap().manifest, "{}");
}
