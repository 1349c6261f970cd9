//! Changes inputs into others: bytes, JSON and its nesting. It knows no target; the same dice make the
//! same change.

use serde_json::{Map, Number, Value};

use crate::simulate::dice::Dice;

/// No mutation makes an input larger; what was larger already may stay as it is.
const INPUT_BYTES_MAX: usize = 64 << 10;
/// One mutation rarely does, many leave nothing of what was there.
const CHANGES_MAX: u64 = 5;
const PIECE_BYTES_MAX: u64 = 64;
const REPEATS_MAX: u64 = 2_000;
/// Deeper than any reader of JSON should follow.
const NESTING_MAX: u64 = 20_000;

/// At the edges of what numbers hold.
const EDGES: [u64; 16] = [
    0,
    1,
    2,
    26,
    127,
    128,
    255,
    256,
    32_767,
    65_535,
    65_536,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    i64::MAX as u64,
    u64::MAX,
];

const NUMBERS: [&str; 14] = [
    "-1",
    "-0",
    "0.1",
    "1e308",
    "-1e308",
    "1e999",
    "1e-999",
    "5e-324",
    "9007199254740993",
    "18446744073709551615",
    "18446744073709551616",
    "-9223372036854775809",
    "340282366920938463463374607431768211456",
    "1E+2",
];

const TEXTS: [&str; 16] = [
    "",
    " ",
    "\0",
    "\u{7f}",
    "\u{feff}",
    "\u{202e}",
    "é",
    "\u{10ffff}",
    "a\r\nb: c",
    "../..",
    "%00",
    "%ff",
    "[::1]",
    "\u{130}",
    "\"",
    "\\",
];

/// A few changes of bytes. `words` are what the reader looks for.
pub fn bytes(dice: &mut Dice, input: &mut Vec<u8>, other: &[u8], words: &[&str]) {
    let bytes_max = INPUT_BYTES_MAX.max(input.len());
    for _ in 0..dice.within(1..=CHANGES_MAX) {
        change(dice, input, other, words);
        input.truncate(bytes_max);
    }
}

fn change(dice: &mut Dice, input: &mut Vec<u8>, other: &[u8], words: &[&str]) {
    let range = piece(dice, input.len());
    match dice.within(0..=11) {
        0 => place(dice, input).into_iter().for_each(|byte| *byte ^= 1 << (dice.next() % 8)),
        1 => place(dice, input).into_iter().for_each(|byte| *byte = dice.next() as u8),
        2 => {
            let new: Vec<u8> = range.clone().map(|_| dice.next() as u8).collect();
            input.splice(range.start..range.start, new);
        }
        3 => drop(input.drain(range)),
        4 => {
            let again = input[range.clone()].to_vec();
            input.splice(range.start..range.start, again);
        }
        5 => {
            let from = piece(dice, other.len());
            input.splice(range, other[from].iter().copied());
        }
        6 => number(dice, &mut input[range.start..]),
        7 => {
            if !words.is_empty() {
                let word = dice.one_of(words).bytes();
                let end = if dice.chance(50) { range.start } else { range.end };
                input.splice(range.start..end, word);
            }
        }
        8 => input.truncate(range.start),
        // Rarely, since what is long takes long.
        9 if dice.chance(20) => {
            let times = dice.within(1..=REPEATS_MAX) as usize;
            let again = input[range.clone()].repeat(times);
            input.splice(range.start..range.start, again);
        }
        9 | 10 => {
            let text = dice.one_of(&TEXTS).bytes();
            input.splice(range, text);
        }
        _ => {
            let (digits, end) = digits(input, range.start);
            let text =
                if dice.chance(50) { (*dice.one_of(&NUMBERS)).to_owned() } else { dice.one_of(&EDGES).to_string() };
            input.splice(digits..end, text.bytes());
        }
    }
}

/// The next number written in digits, or nothing at the end.
fn digits(input: &[u8], from: usize) -> (usize, usize) {
    let start = (from..input.len()).find(|place| input[*place].is_ascii_digit()).unwrap_or(input.len());
    let end = (start..input.len()).find(|place| !input[*place].is_ascii_digit()).unwrap_or(input.len());
    (start, end)
}

fn place<'a>(dice: &mut Dice, input: &'a mut [u8]) -> Option<&'a mut u8> {
    let place = dice.next() as usize % input.len().max(1);
    input.get_mut(place)
}

/// Mostly short, now and then anything up to all of it.
fn piece(dice: &mut Dice, length: usize) -> std::ops::Range<usize> {
    let start = dice.within(0..=length as u64);
    let most = if dice.chance(90) { PIECE_BYTES_MAX } else { u64::MAX };
    let end = start + dice.within(0..=most.min(length as u64 - start));
    start as usize..end as usize
}

/// Overwrites the beginning with a number at an edge, in one of the ways in which they are written.
fn number(dice: &mut Dice, input: &mut [u8]) {
    let edge = dice.one_of(&EDGES).wrapping_sub(u64::from(dice.chance(20)));
    let mut bytes = edge.to_le_bytes();
    let size = *dice.one_of(&[1, 2, 4, 8]);
    if dice.chance(30) {
        bytes[..size].reverse();
    }
    input.iter_mut().zip(&bytes[..size]).for_each(|(to, from)| *to = *from);
}

/// Changes one thing in a JSON text; false where it is none.
pub fn json(dice: &mut Dice, input: &mut Vec<u8>, words: &[&str]) -> bool {
    let Ok(mut value) = serde_json::from_slice::<Value>(input) else { return false };
    for _ in 0..dice.within(1..=3) {
        json_value(dice, &mut value, words);
    }
    *input = serde_json::to_vec(&value).expect("a value is JSON");
    // What the type cannot hold, the text can.
    match dice.within(0..=19) {
        0 => nest(dice, input),
        1 => {
            let (start, end) = digits(input, dice.next() as usize % input.len().max(1));
            input.splice(start..end, dice.one_of(&NUMBERS).bytes());
        }
        2 => {
            let place = input.iter().rposition(|byte| *byte == b'}').unwrap_or(0);
            let word = if words.is_empty() { "a" } else { dice.one_of(words) };
            input.splice(place..place, format!(",\"{word}\":1").bytes());
        }
        _ => {}
    }
    input.truncate(INPUT_BYTES_MAX);
    true
}

fn nest(dice: &mut Dice, input: &mut Vec<u8>) {
    let depth = dice.within(100..=NESTING_MAX) as usize;
    let (open, close) = *dice.one_of(&[("[", "]"), ("{\"a\":", "}"), ("[{\"a\":", "}]")]);
    let place = input.iter().position(|byte| *byte == b':').map_or(0, |place| place + 1);
    let inside =
        if dice.chance(50) { format!("{}1{}", open.repeat(depth), close.repeat(depth)) } else { open.repeat(depth) };
    input.splice(place..place, inside.bytes());
}

/// Changes one thing somewhere in a value.
pub fn json_value(dice: &mut Dice, value: &mut Value, words: &[&str]) {
    if dice.chance(60) {
        let inner = match value {
            Value::Array(list) if !list.is_empty() => {
                let place = dice.next() as usize % list.len();
                list.get_mut(place)
            }
            Value::Object(map) if !map.is_empty() => {
                let place = dice.next() as usize % map.len();
                map.values_mut().nth(place)
            }
            _ => None,
        };
        if let Some(inner) = inner {
            return json_value(dice, inner, words);
        }
    }
    match value {
        Value::Array(list) if dice.chance(60) => {
            let place = dice.next() as usize % list.len().max(1);
            match list.get(place).cloned() {
                Some(_) if dice.chance(30) => drop(list.remove(place)),
                Some(item) if dice.chance(50) => list.insert(place, item),
                Some(item) if dice.chance(10) => list.extend(std::iter::repeat_n(item, 1_200)),
                _ => list.push(scalar(dice, words)),
            }
        }
        Value::Object(map) if dice.chance(60) => object(dice, map, words),
        other => *other = scalar(dice, words),
    }
}

fn object(dice: &mut Dice, map: &mut Map<String, Value>, words: &[&str]) {
    let keys: Vec<String> = map.keys().cloned().collect();
    let key = if keys.is_empty() { String::new() } else { dice.one_of(&keys).clone() };
    if dice.chance(30) {
        map.remove(&key);
    } else {
        let named = if words.is_empty() || dice.chance(20) { dice.one_of(&TEXTS) } else { dice.one_of(words) };
        let value = match map.get(&key) {
            Some(value) if dice.chance(50) => value.clone(),
            _ => scalar(dice, words),
        };
        map.insert((*named).to_owned(), value);
    }
}

fn scalar(dice: &mut Dice, words: &[&str]) -> Value {
    match dice.within(0..=8) {
        0 => Value::Null,
        1 => Value::Bool(dice.chance(50)),
        2 | 3 => Value::Number((*dice.one_of(&EDGES)).into()),
        4 => dice.one_of(&NUMBERS).parse::<Number>().map_or(Value::Null, Value::Number),
        5 if !words.is_empty() => Value::String((*dice.one_of(words)).to_owned()),
        6 => Value::String(dice.one_of(&TEXTS).repeat(dice.within(1..=300) as usize)),
        7 => Value::Array(Vec::new()),
        8 => Value::Object(Map::new()),
        _ => Value::String((*dice.one_of(&TEXTS)).to_owned()),
    }
}
