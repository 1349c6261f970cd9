use super::*;

fn line(time: u64, what: &str) -> AuditLine {
    let (who, what) = ("operator".to_owned(), what.to_owned());
    AuditLine { time: Timestamp(time), who, name: None, from: None, what, status: 200, code: None }
}

fn read(records: &[Lines]) -> Vec<AuditLine> {
    records.iter().flat_map(|it| serde_json::from_slice::<Vec<AuditLine>>(&it.body).expect("lines")).collect()
}

#[test]
fn lines_are_written_together_in_records_of_a_bounded_size_in_their_order() {
    assert!(records_of(Vec::new()).expect("none").is_empty());
    let lines: Vec<AuditLine> = (0..1_000).map(|time| line(time, &"x".repeat(WHAT_MAX_BYTES))).collect();
    let records = records_of(lines.clone()).expect("they can be written");
    assert!(records.len() > 10);
    for record in &records {
        assert!(record.body.len() <= LINES_MAX_BYTES + 1_000, "{}", record.body.len());
        assert_eq!(Some(record.first), read(std::slice::from_ref(record)).first().map(|line| line.time));
    }
    assert_eq!(read(&records), lines);
}
