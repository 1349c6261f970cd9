use super::*;

const MODULE: &[u8] = b"\0asm\x01\0\0\0";
const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";
const COMPONENT_SECTION: u8 = 4;

/// How many of a kind are written down.
#[derive(Debug)]
enum Many {
    /// All in one section, each like this.
    Items(&'static [u8]),
    /// Each in a section of its own.
    Sections(&'static [u8]),
}

/// A kind of section that is counted.
#[derive(Debug)]
struct Counted {
    /// As its limit is called.
    what: &'static str,
    stands_in: Encoding,
    section: u8,
    many: Many,
}

impl Counted {
    /// With so many of them, and nothing else.
    fn times(&self, times: u64) -> Vec<u8> {
        let times = usize::try_from(times).expect("no limit is that large");
        let header = match self.stands_in {
            Encoding::Module => MODULE,
            Encoding::Component => COMPONENT,
        };
        let sections = match &self.many {
            Many::Items(item) => section(self.section, &[number(times), item.repeat(times)].concat()),
            Many::Sections(content) => section(self.section, content).repeat(times),
        };
        [header, &sections].concat()
    }
}

const fn in_module(what: &'static str, section: u8, item: &'static [u8]) -> Counted {
    Counted { what, stands_in: Encoding::Module, section, many: Many::Items(item) }
}

const fn in_component(what: &'static str, section: u8, item: &'static [u8]) -> Counted {
    Counted { what, stands_in: Encoding::Component, section, many: Many::Items(item) }
}

const fn nested(what: &'static str, section: u8, content: &'static [u8]) -> Counted {
    Counted { what, stands_in: Encoding::Component, section, many: Many::Sections(content) }
}

/// Every section that adds to a count, with its number in the format and the shortest item of it.
const CASES: &[Counted] = &[
    nested("core modules", 1, MODULE),
    nested("nested components", COMPONENT_SECTION, COMPONENT),
    // Of the first module, or component, with nothing handed to it.
    in_component("instances", 2, b"\0\0\0"),
    in_component("instances", 5, b"\0\0\0"),
    in_module("functions", 3, b"\0"),
    in_component("functions", 8, b"\0\0\0\0\0"),
    in_module("memories", 5, b"\0\0"),
    in_module("tables", 4, b"\x70\0\0"),
    in_module("globals", 6, b"\x7f\0\x41\0\x0b"),
    in_module("types", 1, b"\x60\0\0"),
    in_component("types", 3, b"\x60\0\0"),
    in_component("types", 7, b"\x40\0\x01\0"),
    in_module("imports", 2, b"\0\0\0\0"),
    in_component("imports", 10, b"\0\x01a\x01\0"),
    in_module("exports", 7, b"\0\0\0"),
    in_component("exports", 11, b"\0\x01a\x01\0\0"),
    in_component("exports", 6, b"\x01\0\0\x01a"),
    in_module("data and element segments", 9, b"\0\x41\0\x0b\0"),
    in_module("data and element segments", 11, b"\0\x41\0\x0b\0"),
];

fn number(mut left: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while left >= 0x80 {
        bytes.push((left & 0x7f) as u8 | 0x80);
        left >>= 7;
    }
    bytes.push(left as u8);
    bytes
}

fn section(id: u8, content: &[u8]) -> Vec<u8> {
    [&[id][..], &number(content.len()), content].concat()
}

#[track_caller]
fn is_taken_so_far(bytes: &[u8], what: &str) {
    // Whatever else is wrong with it.
    if let Err(error) = pass(bytes) {
        assert_ne!(error.code, Code::TooComplex, "{what}: {error}");
    }
}

#[test]
fn each_limit_of_structure_is_held_to_the_one_by_every_section_that_is_counted() {
    for (what, max) in LIMITS.named() {
        let mut cases = CASES.iter().filter(|case| case.what == what).peekable();
        assert!(cases.peek().is_some(), "nothing goes over the limit of {what}");
        for case in cases {
            let error = pass(&case.times(max + 1)).expect_err(what);
            assert_eq!(error.code, Code::TooComplex, "{case:?}: {error}");
            assert_eq!(error.message, format!("it has {} {what}; at most {max} are taken", max + 1), "{case:?}");
            is_taken_so_far(&case.times(max), what);
        }
    }
}

#[test]
fn every_count_has_a_limit_that_is_named() {
    let named = LIMITS.named();
    assert_eq!(size_of::<Counts>(), named.len() * size_of::<u64>(), "a count that has no name is never compared");
    for case in CASES {
        assert!(named.iter().any(|(what, _)| *what == case.what), "{case:?} is counted as nothing");
    }
}

#[test]
fn what_stands_in_two_sections_is_counted_together() {
    // A module that announces functions and has no code is malformed before its neighbour is looked at.
    let is_cut_short = |case: &Counted| (case.what, case.stands_in) == ("functions", Encoding::Module);
    for case in CASES.iter().filter(|case| matches!(case.many, Many::Items(_)) && !is_cut_short(case)) {
        let (_, max) = LIMITS.named().into_iter().find(|(what, _)| *what == case.what).expect("it is named");
        let half = case.times(max / 2 + 1);
        // A module has each section once, a component has modules.
        let module = section(1, &half);
        let whole = match case.stands_in {
            Encoding::Module => [COMPONENT, &module, &module].concat(),
            Encoding::Component => [&half[..], &half[COMPONENT.len()..]].concat(),
        };
        let error = check_structure(&whole).expect_err(case.what);
        assert_eq!(error.code, Code::TooComplex, "{case:?}: {error}");
    }
}

#[test]
fn components_are_nested_as_deep_as_they_may_be_and_no_deeper() {
    let deep = |levels: usize| {
        (0..levels).fold(COMPONENT.to_vec(), |inner, _| [COMPONENT, &section(COMPONENT_SECTION, &inner)].concat())
    };
    let error = pass(&deep(DEPTH_MAX + 1)).expect_err("it is too deep");
    assert_eq!(error.code, Code::TooComplex, "{error}");
    assert!(error.message.contains("nested more than 20 deep"), "{error}");
    is_taken_so_far(&deep(DEPTH_MAX), "depth");
}
