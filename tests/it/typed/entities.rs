//! Values that runs share, as they are typed.

use super::{Server, run};

#[test]
fn entities_are_set_shown_listed_and_deleted_by_hand_and_by_runs() {
    let server = Server::with_guest("entities", "");
    let typed = |words: &str| run(&mut server.trackway(words));
    typed("entities get count a").refused(4, "TW0350");
    let set = typed("entities set count a -i 41 --if-version 0").expect(0).json();
    assert_eq!((&set["version"], &set["value"]), (&1.into(), &41.into()), "{set}");
    typed("entities set count a -i 7 --if-version 0").refused(7, "TW0351");
    typed("entities set count a -i {").refused(2, "TW0305");
    run(server.trackway("run counts -i").arg(r#"{"key": "a", "times": 1}"#)).expect(0);
    assert_eq!(typed("entities get count a -o text").expect(0).stdout, "42\n");
    let list = typed("entities ls count -o id").expect(0).stdout;
    assert_eq!(list, "count/a\n");
    assert_eq!(typed("entities ls other -o id").expect(0).stdout, "");
    typed("entities rm count a --if-version 1").refused(7, "TW0351");
    typed("entities rm count a").expect(0);
    typed("entities rm count a").refused(4, "TW0350");
    let trace = typed("trace @last -o text").expect(0).stdout;
    assert!(trace.contains("get count/a") && trace.contains("set count/a"), "{trace}");
}
