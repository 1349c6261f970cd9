//! Which grants count for a run.

use super::*;
use trackway_replay::Timestamp;

const OLD: Digest = Digest([1; 32]);
const NEW: Digest = Digest([2; 32]);

fn deployment(current: u32, versions: &[(Digest, &str)]) -> Deployment {
    let version = |(place, (component, host)): (usize, &(Digest, &str))| Version {
        version: place as u32 + 1,
        component: *component,
        deployed: Timestamp(1),
        allow: vec![(*host).into()],
    };
    let versions = versions.iter().enumerate().map(version).collect();
    Deployment { name: "news".into(), revision: 1, current, versions }
}

fn granted(deployment: &Deployment, component: Digest) -> Option<&str> {
    version_of(deployment, component).map(|version| &*version.allow[0])
}

#[test]
fn a_rollback_takes_back_the_grants_of_a_later_version_with_the_same_component() {
    let versions = [(OLD, "few.test"), (OLD, "many.test")];
    assert_eq!(granted(&deployment(2, &versions), OLD), Some("many.test"));
    assert_eq!(granted(&deployment(1, &versions), OLD), Some("few.test"));
}

#[test]
fn a_run_of_an_older_component_keeps_the_grants_that_it_had_last() {
    let versions = [(OLD, "first.test"), (OLD, "last.test"), (NEW, "new.test")];
    assert_eq!(granted(&deployment(3, &versions), OLD), Some("last.test"));
    assert_eq!(granted(&deployment(3, &versions), Digest([3; 32])), None);
}
