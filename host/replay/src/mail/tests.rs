use super::*;

fn topic(name: &str) -> Topic {
    Topic::Signal(name.into())
}

fn mail(items: &[(u64, &str)]) -> Mail {
    let mut mail = Mail::default();
    for (position, name) in items {
        let (message, body) = (MessageId(u128::from(*position)), Value::inline(position.to_string()));
        let letter = Letter { message, position: Position(*position), time: Timestamp(*position), body };
        mail.arrived(topic(name), letter);
    }
    mail
}

/// Ids and positions in the order in which they are given out.
fn all(mail: &mut Mail) -> Vec<(u32, u64)> {
    let mut taken = Vec::new();
    while let Some(first) = mail.first() {
        let item = mail.take_first().expect("the first one can be taken");
        assert_eq!(item.letter.body, Value::inline(first.0.to_string()));
        taken.push((item.id, first.0));
    }
    assert_eq!(mail.take_first(), None);
    taken
}

#[test]
fn the_lowest_id_takes_the_earliest_item_of_its_name() {
    let mut mail = mail(&[(5, "a"), (6, "b"), (7, "a"), (8, "a")]);
    assert_eq!(mail.first(), None, "nobody wants anything");
    mail.open(3, topic("a"));
    mail.open(4, topic("b"));
    mail.open(2, topic("a"));
    assert_eq!(all(&mut mail), [(2, 5), (4, 6), (3, 7)]);
    mail.open(9, topic("a"));
    assert_eq!(all(&mut mail), [(9, 8)]);
}

#[test]
fn an_id_that_was_closed_takes_nothing_and_loses_nothing() {
    let mut mail = mail(&[(5, "a")]);
    mail.open(1, topic("a"));
    mail.close(1);
    assert_eq!(all(&mut mail), []);
    mail.open(2, topic("a"));
    mail.open(3, topic("a"));
    mail.close(2);
    mail.close(2);
    mail.close(77);
    assert_eq!(all(&mut mail), [(3, 5)]);
    assert!(mail.boxes.is_empty() && mail.wanted.is_empty() && mail.deliverable.is_empty());
}
