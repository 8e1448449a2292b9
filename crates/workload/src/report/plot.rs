//! The picture: latency of acknowledged writes over time, with what was done to the brokers.
//!
//! A run is cut into strips of equal length below one another, so that a long one stays readable. Each strip has a lane
//! for each kind of fault, the latencies on a logarithmic scale (for each column of pixels the range, the slowest
//! hundredth and the median, by when a write was sent), and the rate of acknowledgements. A fault shades all of it.

mod axes;
mod lanes;
mod strip;

use super::Report;
use super::svg::{Anchor, Path, Rect, Svg};
use super::words;
use axes::Scale;
use lanes::Kinds;

const WIDTH: f64 = 1200.0;
const LEFT: f64 = 112.0;
const RIGHT: f64 = 26.0;
const HEADER: f64 = 86.0;
/// Seconds of a strip: no more, unless there would be more strips than this.
const STRIP_SECONDS: f64 = 150.0;
const STRIPS_MAX: f64 = 12.0;

const INK: &str = "#1f2933";
const GREY: &str = "#66727f";
const MEDIAN: &str = "#0b3c74";
const SLOW: &str = "#7fb0e0";
const RANGE: &str = "#d3e5f6";
const FAILED: &str = "#c1121f";
const UNKNOWN: &str = "#8a2be2";

impl Report {
    /// The picture, as SVG.
    #[must_use]
    pub fn latency_svg(&self) -> String {
        let seconds = self.timeline.seconds().max(0.001);
        let strips = (seconds / STRIP_SECONDS).ceil().clamp(1.0, STRIPS_MAX);
        let kinds = Kinds::of(&self.timeline);
        let scale = Scale::of(&self.timeline);
        let one = strip::Layout::new(&kinds, strips > 3.0);
        let mut svg = Svg::new(WIDTH, HEADER + strips * one.height());
        self.draw_header(&mut svg);
        let length = seconds / strips;
        for number in (0_u32..).map(f64::from).take_while(|number| *number < strips) {
            let window = strip::Window {
                from: number * length,
                to: (number + 1.0) * length,
                top: HEADER + number * one.height(),
            };
            strip::Strip {
                timeline: &self.timeline,
                kinds: &kinds,
                scale,
                layout: one,
                window,
            }
            .draw(&mut svg);
        }
        svg.finish()
    }

    fn draw_header(&self, svg: &mut Svg) {
        let bold = format!("font-size=\"17\" font-weight=\"600\" fill=\"{INK}\"");
        svg.text((16.0, 28.0), Anchor::Start, &bold, &self.title);
        let seed = self.seed.map_or(String::new(), |seed| format!(", seed {seed}"));
        let commit = self
            .commit
            .as_deref()
            .map_or(String::new(), |commit| format!(" ({commit})"));
        let about = format!(
            "Quipu {}{commit}, {}{seed}: latency of acknowledged writes, by when they were sent",
            self.version,
            words::plural(self.nodes as usize, "broker", "brokers"),
        );
        let grey = format!("fill=\"{GREY}\"");
        svg.text((16.0, 48.0), Anchor::Start, &grey, &about);
        draw_legend(svg, 68.0);
    }
}

fn draw_legend(svg: &mut Svg, y: f64) {
    let mut x = 16.0;
    let mut label = |svg: &mut Svg, mark: &dyn Fn(&mut Svg, f64), text: &str, wide: f64| {
        mark(svg, x);
        let grey = format!("font-size=\"11\" fill=\"{GREY}\"");
        svg.text((x + 22.0, y + 4.0), Anchor::Start, &grey, text);
        x += wide;
    };
    let swatch = |color: &'static str| {
        move |svg: &mut Svg, x: f64| {
            let place = Rect {
                x,
                y: y - 5.0,
                width: 16.0,
                height: 10.0,
            };
            svg.rect(place, &format!("fill=\"{color}\""), None);
        }
    };
    let median = |svg: &mut Svg, x: f64| {
        let style = format!("stroke=\"{MEDIAN}\" stroke-width=\"2\"");
        svg.line((x, y), (x + 16.0, y), &style);
    };
    let one = |svg: &mut Svg, x: f64| {
        let mut path = Path::default();
        path.diamond((x + 8.0, y), strip::ONE);
        svg.path(&path, &format!("fill=\"{MEDIAN}\""));
    };
    let failed = |svg: &mut Svg, x: f64| {
        let mut path = Path::default();
        path.cross((x + 8.0, y), 3.5);
        svg.path(&path, &failed_style());
    };
    let unknown = |svg: &mut Svg, x: f64| {
        let mut path = Path::default();
        path.diamond((x + 8.0, y), 4.0);
        svg.path(&path, &unknown_style());
    };
    label(svg, &median, "median", 80.0);
    label(svg, &swatch(SLOW), "median to p99", 116.0);
    label(svg, &swatch(RANGE), "fastest to slowest", 138.0);
    label(svg, &one, "one write", 96.0);
    label(svg, &failed, "failed", 74.0);
    label(svg, &unknown, "unknown outcome", 142.0);
    label(svg, &swatch("#e4e7eb"), "while a fault lasts", 140.0);
}

fn failed_style() -> String {
    format!("fill=\"none\" stroke=\"{FAILED}\" stroke-width=\"1.4\"")
}

fn unknown_style() -> String {
    format!("fill=\"#ffffff\" fill-opacity=\"0.8\" stroke=\"{UNKNOWN}\" stroke-width=\"1.2\"")
}
