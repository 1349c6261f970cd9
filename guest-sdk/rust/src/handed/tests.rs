use super::*;

#[test]
fn the_last_value_of_a_type_counts() {
    let ctx = FnCtx::from_context("").with(1_u8).with("a").with(2_u8);
    assert_eq!((*ctx.handed::<u8>().expect("it is there"), *ctx.handed::<&str>().expect("it is there")), (2, "a"));
    let failure = ctx.handed::<String>().expect_err("it is not there");
    assert!(failure.is_fatal() && failure.message.contains("String"), "{failure}");
}
