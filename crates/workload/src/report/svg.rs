//! Just as much of SVG as the plot needs. Everything that comes from outside is escaped here.

use std::fmt::Write;

/// A picture being written.
pub(super) struct Svg {
    out: String,
}

/// Where a text's point lies.
#[derive(Clone, Copy)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

impl Svg {
    /// A white picture of this size in pixels.
    pub(super) fn new(width: f64, height: f64) -> Self {
        let mut svg = Self { out: String::new() };
        svg.put(format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
             viewBox=\"0 0 {width:.0} {height:.0}\" \
             font-family=\"-apple-system, 'Segoe UI', 'Helvetica Neue', 'DejaVu Sans', Arial, sans-serif\" \
             font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
        ));
        svg
    }

    fn put(&mut self, text: std::fmt::Arguments<'_>) {
        // A string takes everything.
        let _ = self.out.write_fmt(text);
    }

    /// A filled rectangle; `told`: what it says when pointed at.
    pub(super) fn rect(&mut self, place: Rect, style: &str, told: Option<&str>) {
        let Rect { x, y, width, height } = place;
        self.put(format_args!(
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" {style}"
        ));
        match told {
            None => self.out.push_str("/>\n"),
            Some(told) => self.put(format_args!("><title>{}</title></rect>\n", escape(told))),
        }
    }

    pub(super) fn line(&mut self, from: (f64, f64), to: (f64, f64), style: &str) {
        self.put(format_args!(
            "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" {style}/>\n",
            from.0, from.1, to.0, to.1
        ));
    }

    pub(super) fn text(&mut self, at: (f64, f64), anchor: Anchor, style: &str, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        self.put(format_args!(
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\" {style}>{}</text>\n",
            at.0,
            at.1,
            escape(text)
        ));
    }

    /// A path; nothing if it is empty.
    pub(super) fn path(&mut self, path: &Path, style: &str) {
        if !path.0.is_empty() {
            self.put(format_args!("<path d=\"{}\" {style}/>\n", path.0));
        }
    }

    pub(super) fn finish(mut self) -> String {
        self.out.push_str("</svg>\n");
        self.out
    }
}

/// A place on the picture.
#[derive(Clone, Copy)]
pub(super) struct Rect {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) width: f64,
    pub(super) height: f64,
}

/// Many strokes in one element: a picture of a million writes stays small.
#[derive(Default)]
pub(super) struct Path(String);

impl Path {
    /// From one point to another.
    pub(super) fn stroke(&mut self, from: (f64, f64), to: (f64, f64)) {
        // A string takes everything.
        let _ = write!(self.0, "M{:.1} {:.1}L{:.1} {:.1}", from.0, from.1, to.0, to.1);
    }

    /// On to another point; begins there if nothing was drawn yet.
    pub(super) fn on_to(&mut self, to: (f64, f64)) {
        let how = if self.0.is_empty() { 'M' } else { 'L' };
        // A string takes everything.
        let _ = write!(self.0, "{how}{:.1} {:.1}", to.0, to.1);
    }

    /// A cross around a point.
    pub(super) fn cross(&mut self, (x, y): (f64, f64), half: f64) {
        self.stroke((x - half, y - half), (x + half, y + half));
        self.stroke((x - half, y + half), (x + half, y - half));
    }

    /// A diamond around a point.
    pub(super) fn diamond(&mut self, (x, y): (f64, f64), half: f64) {
        // A string takes everything.
        let _ = write!(
            self.0,
            "M{:.1} {y:.1}L{x:.1} {:.1}L{:.1} {y:.1}L{x:.1} {:.1}Z",
            x - half,
            y - half,
            x + half,
            y + half
        );
    }
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // XML has no way to say the other control characters.
            control if control.is_control() => out.push(' '),
            other => out.push(other),
        }
    }
    out
}
