use super::*;

const ONE: TenantId = TenantId::DEFAULT;
const OTHER: TenantId = TenantId(2);

struct Sent {
    place: Place,
    thrown_out: oneshot::Receiver<()>,
}

impl Sent {
    fn is_thrown_out(&mut self) -> bool {
        self.thrown_out.try_recv().is_ok()
    }
}

fn begin(intake: &Intake, tenant: TenantId, now: Instant) -> crate::Result<Sent> {
    intake.begin(tenant, now).map(|(place, thrown_out)| Sent { place, thrown_out })
}

fn fill(intake: &Intake, tenant: TenantId, now: Instant) -> Vec<Sent> {
    (0..UPLOADS_AT_ONCE_MAX).map(|_| begin(intake, tenant, now).expect("there is room")).collect()
}

#[test]
fn half_sent_uploads_of_one_tenant_give_way_to_another_at_once() {
    let (intake, now) = (Intake::default(), Instant::now());
    let mut filling = fill(&intake, ONE, now);
    let mut honest = begin(&intake, OTHER, now).expect("one of the others gives way");
    assert_eq!(filling.iter_mut().map(Sent::is_thrown_out).filter(|gone| !gone).count(), UPLOADS_AT_ONCE_MAX - 1);
    assert!(!honest.is_thrown_out());
}

#[test]
fn the_slowest_upload_of_a_tenant_gives_way_to_its_next_one_after_a_while() {
    let (intake, now) = (Intake::default(), Instant::now());
    let mut filling = fill(&intake, ONE, now);
    let error = begin(&intake, ONE, now).err().expect("all of them began just now");
    assert_eq!(error.code, Code::Overloaded);
    assert!(error.retry_after.is_some());
    for (nth, sent) in filling.iter().enumerate() {
        intake.grow(&sent.place, if nth == 7 { 1 } else { 1_000 }, now).expect("there is memory");
    }
    begin(&intake, ONE, now + OWN_AGE_MIN).expect("the slowest gives way");
    let gone: Vec<usize> = (0..filling.len()).filter(|nth| filling[*nth].is_thrown_out()).collect();
    assert_eq!(gone, [7]);
}

#[test]
fn memory_is_bounded_and_taken_from_whoever_holds_the_most() {
    const PART: usize = UPLOADS_BYTES_MAX / 4;
    let (intake, now) = (Intake::default(), Instant::now());
    let mut greedy: Vec<Sent> = (0..4).map(|_| begin(&intake, ONE, now).expect("there is room")).collect();
    greedy.iter().for_each(|sent| intake.grow(&sent.place, PART, now).expect("there is memory"));
    let more = begin(&intake, ONE, now).expect("there is a place");
    assert_eq!(intake.grow(&more.place, 1, now).map_err(|error| error.code), Err(Code::Overloaded));
    let honest = begin(&intake, OTHER, now).expect("there is a place");
    intake.grow(&honest.place, PART, now).expect("one of the greedy gives way");
    assert_eq!(greedy.iter_mut().map(Sent::is_thrown_out).filter(|gone| !gone).count(), 3);
    assert!(intake.lock().bytes() <= UPLOADS_BYTES_MAX);
}

#[test]
fn an_upload_that_came_as_a_whole_is_never_thrown_out_and_its_memory_counts_until_it_is_let_go() {
    let (intake, now) = (Intake::default(), Instant::now());
    let parts = [(ONE, WHOLE_BYTES_OF_ONE_MAX), (TenantId(3), UPLOADS_BYTES_MAX - WHOLE_BYTES_OF_ONE_MAX)];
    let whole = parts.map(|(tenant, bytes)| {
        let sent = begin(&intake, tenant, now).expect("there is a place");
        intake.grow(&sent.place, bytes, now).expect("there is memory");
        intake.lock().came(sent.place.number).expect("it may hold so much");
        sent
    });
    let late = begin(&intake, OTHER, now).expect("there is a place");
    assert!(intake.grow(&late.place, 1, now + OWN_AGE_MIN).is_err());
    drop(whole);
    intake.grow(&late.place, 1, now).expect("it was let go");
}

#[test]
fn what_one_tenant_has_sent_as_a_whole_leaves_room_for_others() {
    let (intake, now) = (Intake::default(), Instant::now());
    let sent = fill(&intake, ONE, now);
    let came = sent.iter().map(|sent| intake.lock().came(sent.place.number)).filter(Result::is_ok).count();
    assert_eq!(came, WHOLE_OF_ONE_MAX);
    let other = begin(&intake, OTHER, now).expect("one that was refused gives way");
    intake.lock().came(other.place.number).expect("it is its first");
    drop((sent, other));
    let large = begin(&intake, ONE, now).expect("there is a place");
    intake.grow(&large.place, WHOLE_BYTES_OF_ONE_MAX + 1, now).expect("there is memory");
    assert_eq!(intake.lock().came(large.place.number).map_err(|error| error.code), Err(Code::Overloaded));
}

#[test]
fn uploads_that_end_leave_nothing_behind() {
    let (intake, now) = (Intake::default(), Instant::now());
    drop(fill(&intake, ONE, now));
    assert!(intake.lock().held.is_empty());
}
