//! Pages as they are found.

use super::read;

const HTML: &str = "<!doctype html><html><head><title> Fossils </title><style>p { color: footprint }</style></head>\
    <body><h1>Trackways</h1><p>A trackway is a row of <b>footprints</b>. Footprints last.</p>\
    <script>if (1 < 2) { trackway() }</script><ul><li><A href=\"/x\">more</a> <a href=\"/y\">footprints</a></ul>";

#[test]
fn title_words_links_and_terms_are_counted_and_scripts_are_not() {
    let page = read("https://example.com".into(), HTML);
    assert_eq!((page.title.as_str(), page.words, page.links), ("Fossils", 12, 2));
    assert_eq!(page.terms["footprints"], 3);
    assert_eq!(page.terms["trackway"], 1);
    assert!(!page.terms.contains_key("more"));
}

#[test]
fn text_that_is_no_html_is_read_too() {
    for (text, words) in [("", 0), ("just three words", 3), ("1 < 2", 1), ("<script>", 0), ("<p>Zürich über alles", 3)]
    {
        let page = read("url".into(), text);
        assert_eq!((page.title.as_str(), page.words), ("url", words), "{text}");
    }
}
