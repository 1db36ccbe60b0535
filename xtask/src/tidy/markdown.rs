//! What the checks of pages look at: headings, links, and text by whether it is code. The parsing is
//! pulldown-cmark's.

use pulldown_cmark::{CowStr, Event, HeadingLevel, Options, Parser, Tag, TagEnd};

/// A Markdown page.
#[derive(Debug, Default)]
pub struct Page {
    pub headings: Vec<Heading>,
    pub links: Vec<Link>,
    pub passages: Vec<Passage>,
    /// Names that HTML in the page gives to places.
    pub html_anchors: Vec<String>,
}

#[derive(Debug, Default)]
pub struct Heading {
    pub line: usize,
    pub is_title: bool,
    /// Without its markup.
    pub text: String,
}

/// Of pictures as well.
#[derive(Debug)]
pub struct Link {
    pub line: usize,
    pub destination: String,
}

/// A paragraph's text without its code, a piece of code in it, or a block of code.
#[derive(Debug, Default)]
pub struct Passage {
    pub is_code: bool,
    /// With their numbers in the page.
    pub lines: Vec<(usize, String)>,
}

/// Where the parser stands.
#[derive(Default)]
struct Reading {
    page: Page,
    heading: Option<Heading>,
    block: Option<Passage>,
}

impl Page {
    /// Parses a page as GitHub does.
    pub fn parse(text: &str) -> Self {
        let options = Options::ENABLE_TABLES | Options::ENABLE_FOOTNOTES | Options::ENABLE_STRIKETHROUGH;
        let starts: Vec<_> = text.match_indices('\n').map(|(position, _)| position).collect();
        let mut reading = Reading::default();
        for (event, range) in Parser::new_ext(text, options).into_offset_iter() {
            reading.read(event, starts.partition_point(|end| *end < range.start) + 1);
        }
        reading.page
    }

    /// The names by which a link leads to a place in the page, as GitHub makes them of the headings.
    pub fn anchors(&self) -> Vec<String> {
        let mut anchors = self.html_anchors.clone();
        for heading in &self.headings {
            let slug = slug(&heading.text);
            let numbered = (1..).map(|number| format!("{slug}-{number}"));
            anchors
                .extend(std::iter::once(slug.clone()).chain(numbered).find(|name| !anchors.contains(name)));
        }
        anchors
    }
}

impl Reading {
    fn read(&mut self, event: Event<'_>, line: usize) {
        match event {
            Event::Start(Tag::Heading { level, .. }) => {
                let is_title = level == HeadingLevel::H1;
                self.heading = Some(Heading { line, is_title, text: String::new() });
            }
            Event::End(TagEnd::Heading(_)) => self.page.headings.extend(self.heading.take()),
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                self.page.links.push(Link { line, destination: dest_url.into_string() });
            }
            Event::Start(Tag::CodeBlock(_)) => {
                self.block = Some(Passage { is_code: true, lines: Vec::new() })
            }
            Event::End(TagEnd::CodeBlock) => self.page.passages.extend(self.block.take()),
            Event::Text(text) => self.add_text(&text, line, false),
            Event::Code(text) => self.add_text(&text, line, true),
            Event::Html(html) | Event::InlineHtml(html) => self.add_html(&html, line),
            _ => {}
        }
    }

    fn add_text(&mut self, text: &CowStr<'_>, line: usize, is_code: bool) {
        if let Some(heading) = &mut self.heading {
            heading.text.push_str(text);
        }
        let lines = text.lines().enumerate().map(|(index, text)| (line + index, text.to_owned()));
        match &mut self.block {
            Some(block) => block.lines.extend(lines),
            None => self.page.passages.push(Passage { is_code, lines: lines.collect() }),
        }
    }

    fn add_html(&mut self, html: &CowStr<'_>, line: usize) {
        for attribute in ["id=\"", "name=\""] {
            let values = html.split(attribute).skip(1).filter_map(|rest| rest.split('"').next());
            self.page.html_anchors.extend(values.map(str::to_owned));
        }
        self.add_text(html, line, false);
    }
}

/// `Saving, and loading` -> `saving-and-loading`
fn slug(heading: &str) -> String {
    let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anchors_are_those_of_github() {
        let page = Page::parse(
            "# The `burn-ckpt` page\n\n## Saves, loads\n\n## Saves, loads\n\n<a id=\"here\"></a>\n",
        );
        assert_eq!(page.anchors(), ["here", "the-burn-ckpt-page", "saves-loads", "saves-loads-1"]);
    }

    #[test]
    fn code_is_told_from_text_with_the_lines_of_both() {
        let page = Page::parse("One `two`\nthree\n\n    four\n    five\n\n```sh\nsix\n```\n");
        let passages: Vec<_> = page
            .passages
            .iter()
            .flat_map(|passage| {
                passage.lines.iter().map(|(line, text)| (*line, text.as_str(), passage.is_code))
            })
            .collect();
        let expected = [
            (1, "One ", false),
            (1, "two", true),
            (2, "three", false),
            (4, "four", true),
            (5, "five", true),
            (8, "six", true),
        ];
        assert_eq!(passages, expected);
    }
}
