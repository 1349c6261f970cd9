//! A run that goes on with new inputs, as people see it.

use super::{Server, run};

#[test]
fn a_run_goes_on_under_its_name_with_the_signals_that_nobody_took() {
    let server = Server::with_guest("lasting", "");
    let typed = |words: &str| run(&mut server.trackway(words));
    let start = "run collects -i {\"left\":2,\"told\":[]} --detach --idempotency-key mine -o id";
    let id = typed(start).expect(0).line().to_owned();
    for number in 1..=2 {
        typed(&format!("runs signal {id} number -i {number}")).expect(0);
    }
    super::removed::succeeded(&server, &id);
    let trace = typed(&format!("trace {id} -o text")).expect(0).stdout;
    assert_eq!(trace.matches("continued").count(), 2, "{trace}");
    let output = typed(&format!("runs describe {id}")).expect(0).stdout;
    assert!(output.contains("succeeded"), "{output}");
    let replay = typed(&format!("replay {id}")).expect(0);
    assert!(!replay.stderr.contains("diverge"), "{}", replay.stderr);
    assert_eq!(typed(start).expect(0).line(), id, "its key is known");
}
