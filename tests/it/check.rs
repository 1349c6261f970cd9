//! Inputs whose check could go on for ever or need more of the stack than there is: the real binary
//! checks them in a process of its own, and each costs its own start and nothing else.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};
use trackway::Code;
use trackway::host::{Catalog, check_input};
use trackway::sandbox::Manifest;

use crate::server::binary;

/// What a check may take of a processor, and what a busy machine makes of it.
const ENDS_WITHIN: Duration = Duration::from_secs(120);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

fn catalog(schema: &str) -> trackway::Result<Arc<Catalog>> {
    let manifest = format!(r#"{{"contract":"0.1","workflows":[{{"name":"w","input":{schema}}}]}}"#);
    Catalog::of(&Manifest::read(&manifest)?).map(Arc::new)
}

async fn check(catalog: &Arc<Catalog>, input: &str) -> trackway::Result<()> {
    check_input(catalog, &Arc::from("w"), &Arc::from(input), Some(&binary())).await
}

/// Processes that this one started to check something.
fn checking() -> usize {
    let ours = std::process::id().to_string();
    let processes = std::fs::read_dir("/proc").expect("Linux says").flatten();
    let is_ours = |path: &std::path::Path| {
        let parent = std::fs::read_to_string(path.join("stat")).unwrap_or_default();
        let words = std::fs::read(path.join("cmdline")).unwrap_or_default();
        // After the name in brackets: the state, and the parent.
        let parent = parent.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1).map(str::to_owned));
        parent.as_deref() == Some(&ours) && words.split(|byte| *byte == 0).any(|word| word == b"__check")
    };
    processes.filter(|process| is_ours(&process.path())).count()
}

/// Threads of this process that check something.
fn checking_here() -> usize {
    let threads = std::fs::read_dir("/proc/self/task").expect("Linux says").flatten();
    let name = |path: std::path::PathBuf| std::fs::read_to_string(path.join("comm")).unwrap_or_default();
    threads.filter(|thread| name(thread.path()).trim() == "check").count()
}

#[tokio::test]
async fn a_check_without_an_end_is_ended_and_leaves_nothing_that_goes_on() {
    let mut schema = r##"{"$ref":"#/$defs/d0","$defs":{"##.to_owned();
    for nth in 0..60 {
        let next = format!(r##"{{"$ref":"#/$defs/d{}"}}"##, nth + 1);
        write!(schema, r#""d{nth}":{{"allOf":[{next},{next}]}},"#).expect("text");
    }
    schema.push_str(r#""d60":{"type":"integer"}}}"#);
    let catalog = catalog(&schema).expect("it is a schema");
    let begun = Instant::now();
    let error = check(&catalog, "1").await.expect_err("it takes too long");
    assert_eq!(error.code, Code::InputBreaksSchema, "{error}");
    assert!(error.to_string().contains("takes more than it may"), "{error}");
    while checking() + checking_here() > 0 {
        assert!(begun.elapsed() < ENDS_WITHIN, "something still checks after {:?}", begun.elapsed());
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

#[tokio::test]
async fn references_that_lead_on_and_on_take_no_stack_of_the_host() {
    let chain = |links: usize| {
        let mut schema = r##"{"$ref":"#/$defs/d0","$defs":{"##.to_owned();
        for link in 0..links {
            let next = link + 1;
            write!(schema, r##""d{link}":{{"type":"integer","allOf":[{{"$ref":"#/$defs/d{next}"}}]}},"##)
                .expect("text");
        }
        write!(schema, r#""d{links}":{{"minimum":5}}}}}}"#).expect("text");
        schema
    };
    let long = catalog(&chain(1_900)).expect("it is a schema");
    check(&long, "7").await.expect("it fits");
    let error = check(&long, "4").await.expect_err("it is too small");
    assert!(error.to_string().contains("less than the minimum of 5"), "{error}");
    let error = catalog(&chain(10_000)).err().expect("it takes too long to compile");
    assert_eq!(error.code, Code::BadManifest, "{error}");
}

#[tokio::test]
async fn a_schema_that_refers_to_itself_is_checked_as_any_other() {
    let tree = r##"{"type":"object","required":["name"],"properties":{"name":{"type":"string"},
        "left":{"$ref":"#"},"right":{"$ref":"#"}}}"##;
    let catalog = catalog(tree).expect("it is a schema");
    check(&catalog, r#"{"name":"a","left":{"name":"b","right":{"name":"c"}}}"#).await.expect("it fits");
    let error = check(&catalog, r#"{"name":"a","left":{"name":"b","right":{"name":3}}}"#).await.expect_err("a number");
    assert_eq!(error.code, Code::InputBreaksSchema);
    assert!(error.to_string().contains("at /left/right/name: "), "{error}");
    let error = check(&catalog, "{").await.expect_err("cut off");
    assert_eq!(error.code, Code::InputNotJson, "{error}");
}
