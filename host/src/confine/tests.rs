use super::*;

#[test]
fn what_the_kernel_lacks_is_said_each_with_its_consequence() {
    assert!(Kernel { landlock: Some(6), seccomp: true }.lacks().is_empty());
    assert_eq!(Kernel { landlock: Some(1), seccomp: true }.lacks().len(), 1);
    let nothing = Kernel { landlock: None, seccomp: false };
    assert_eq!(nothing.lacks().len(), 2);
    assert!(nothing.lacks().iter().all(|lack| lack.contains(": ")));
    assert_eq!(nothing.to_string(), "no Landlock, no seccomp");
}
