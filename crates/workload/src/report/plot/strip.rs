//! One strip of the picture.

use super::axes::{Scale, moment, power, step};
use super::lanes::Kinds;
use super::{
    Anchor, GREY, INK, LEFT, MEDIAN, Path, RANGE, RIGHT, Rect, SLOW, Svg, WIDTH, failed_style, unknown_style,
};
use crate::report::timeline::{Timeline, Write, quantile, seconds};
use crate::report::words;
use quipu_checker::Time;
use std::collections::BTreeSet;

const LANE: f64 = 17.0;
const GAP: f64 = 8.0;
const RATE: f64 = 42.0;
const AXIS: f64 = 46.0;
/// Pixels of a column: writes that were sent within it are drawn together.
const COLUMN: f64 = 2.0;
const RATE_COLUMN: f64 = 4.0;
/// Half of the mark of a single write.
pub(super) const ONE: f64 = 2.5;
/// So many writes of a column are drawn one by one.
const FEW: usize = 3;
/// Marks of failed writes closer than this are one mark.
const MARK: f64 = 6.0;
/// Of a letter in a lane, about.
const LETTER: f64 = 6.1;

/// What lies where in a strip, from its top.
#[derive(Clone, Copy)]
pub(super) struct Layout {
    lanes: f64,
    plot: f64,
}

impl Layout {
    pub(super) fn new(kinds: &Kinds, one_of_many: bool) -> Self {
        #[allow(clippy::cast_precision_loss)]
        let lanes = kinds.len() as f64 * LANE;
        Self {
            lanes: if kinds.len() > 0 { lanes + GAP } else { 0.0 },
            plot: if one_of_many { 190.0 } else { 300.0 },
        }
    }

    pub(super) fn height(self) -> f64 {
        self.lanes + self.plot + GAP + RATE + AXIS
    }
}

/// What a strip shows, and where it begins.
#[derive(Clone, Copy)]
pub(super) struct Window {
    pub(super) from: f64,
    pub(super) to: f64,
    pub(super) top: f64,
}

pub(super) struct Strip<'a> {
    pub(super) timeline: &'a Timeline,
    pub(super) kinds: &'a Kinds,
    pub(super) scale: Scale,
    pub(super) layout: Layout,
    pub(super) window: Window,
}

impl Strip<'_> {
    pub(super) fn draw(&self, svg: &mut Svg) {
        self.draw_faults(svg);
        self.draw_grid(svg);
        self.draw_latencies(svg);
        self.draw_marks(svg, &self.timeline.failed, &failed_style(), Path::cross, 3.0);
        self.draw_marks(svg, &self.timeline.unknown, &unknown_style(), Path::diamond, 3.5);
        self.draw_rate(svg);
        self.draw_time(svg);
    }

    fn plot_top(&self) -> f64 {
        self.window.top + self.layout.lanes
    }

    fn plot_bottom(&self) -> f64 {
        self.plot_top() + self.layout.plot
    }

    fn rate_bottom(&self) -> f64 {
        self.plot_bottom() + GAP + RATE
    }

    fn right() -> f64 {
        WIDTH - RIGHT
    }

    fn x(&self, seconds: f64) -> f64 {
        let Window { from, to, .. } = self.window;
        LEFT + (seconds - from) / (to - from) * (Self::right() - LEFT)
    }

    fn y(&self, power: f64) -> f64 {
        self.plot_bottom() - self.scale.height(power) * self.layout.plot
    }

    fn draw_faults(&self, svg: &mut Svg) {
        for (lane, (kind, color)) in (0_u32..).zip(self.kinds.each()) {
            let y = self.window.top + f64::from(lane) * LANE;
            let style = format!("font-size=\"11\" font-weight=\"600\" fill=\"{color}\"");
            svg.text((LEFT - 10.0, y + 12.0), Anchor::End, &style, kind);
            let line = "stroke=\"#e4e7eb\" stroke-width=\"1\"";
            svg.line((LEFT, y + LANE / 2.0), (Self::right(), y + LANE / 2.0), line);
        }
        // By kind: what a label may fill ends where the next fault of its lane begins.
        for (kind, _) in self.kinds.each() {
            let spans = self.timeline.faults.iter().filter(|span| span.kind == kind);
            let mut spans = spans.peekable();
            while let Some(span) = spans.next() {
                let next = spans.peek().map(|next| seconds(next.begin));
                let end = span.end.unwrap_or(Time(self.timeline.end));
                self.draw_fault(svg, kind, &span.what, (seconds(span.begin), seconds(end)), next);
            }
        }
    }

    fn draw_fault(&self, svg: &mut Svg, kind: &str, what: &str, (begin, end): (f64, f64), next: Option<f64>) {
        let Window { from, to, .. } = self.window;
        if end < from || begin >= to {
            return;
        }
        let (lane, color) = self.kinds.place(kind);
        let (left, right) = (self.x(begin.max(from)), self.x(end.min(to)));
        let width = (right - left).max(2.0);
        let lasted = words::time((end - begin) * 1000.0);
        let told = format!("{kind}: {what}, at {}, for {lasted}", moment(begin, 0.1));
        #[allow(clippy::cast_precision_loss)]
        let y = self.window.top + lane as f64 * LANE;
        let bar = Rect {
            x: left,
            y: y + 1.5,
            width,
            height: LANE - 3.0,
        };
        svg.rect(bar, &format!("fill=\"{color}\" rx=\"2\""), Some(&told));
        let shade = Rect {
            x: left,
            y: self.plot_top(),
            width,
            height: self.rate_bottom() - self.plot_top(),
        };
        svg.rect(
            shade,
            &format!("fill=\"{color}\" fill-opacity=\"0.13\""),
            Some(&told),
        );
        let edge = format!("stroke=\"{color}\" stroke-opacity=\"0.55\" stroke-dasharray=\"2 2\"");
        for x in [left, left + width] {
            svg.line((x, self.plot_top()), (x, self.rate_bottom()), &edge);
        }
        let beside = self.x(next.unwrap_or(to).min(to));
        label(svg, what, (left, left + width, beside), y + 12.0);
    }

    fn draw_grid(&self, svg: &mut Svg) {
        let (left, right) = (LEFT, Self::right());
        for power in self.scale.between() {
            let y = self.y(power);
            svg.line(
                (left, y),
                (right, y),
                "stroke=\"#1f2933\" stroke-opacity=\"0.05\"",
            );
        }
        for (power, name) in self.scale.decades() {
            let y = self.y(power);
            svg.line(
                (left, y),
                (right, y),
                "stroke=\"#1f2933\" stroke-opacity=\"0.16\"",
            );
            svg.text(
                (left - 10.0, y + 4.0),
                Anchor::End,
                &format!("fill=\"{INK}\""),
                &name,
            );
        }
    }

    /// Writes that were sent while a column lasts, each column with its left edge.
    fn columns(&self, width: f64) -> impl Iterator<Item = (f64, &[Write])> {
        let Window { from, to, .. } = self.window;
        let count = (0_u32..).map(f64::from);
        let lefts = count.map(move |number| LEFT + number * width);
        lefts.take_while(|left| *left < Self::right()).map(move |left| {
            let at = |x: f64| {
                let share = (x.min(Self::right()) - LEFT) / (Self::right() - LEFT);
                nanos(from + share * (to - from))
            };
            (left, self.timeline.begun_within(at(left), at(left + width)))
        })
    }

    fn draw_latencies(&self, svg: &mut Svg) {
        let (mut range, mut slow, mut median) = (Path::default(), Path::default(), Path::default());
        let mut single = Path::default();
        for (left, writes) in self.columns(COLUMN) {
            if writes.len() <= FEW {
                for write in writes {
                    single.diamond((self.x(seconds(write.begin)), self.y(power(*write))), ONE);
                }
                continue;
            }
            let mut powers: Vec<f64> = writes.iter().map(|write| power(*write)).collect();
            powers.sort_by(f64::total_cmp);
            let at = |per_mille| quantile(&powers, per_mille).map(|power| self.y(power));
            let (Some(&fastest), Some(&slowest), Some(middle), Some(p99)) =
                (powers.first(), powers.last(), at(500), at(990))
            else {
                continue;
            };
            let x = left + COLUMN / 2.0;
            range.stroke((x, self.y(fastest)), (x, self.y(slowest)));
            slow.stroke((x, middle), (x, p99));
            median.stroke((left, middle), (left + COLUMN, middle));
        }
        let style = |color: &str, width: f64| format!("stroke=\"{color}\" stroke-width=\"{width:.1}\"");
        svg.path(&range, &style(RANGE, COLUMN));
        svg.path(&slow, &style(SLOW, COLUMN));
        svg.path(&median, &style(MEDIAN, 1.8));
        svg.path(&single, &format!("fill=\"{MEDIAN}\""));
    }

    fn draw_marks(
        &self,
        svg: &mut Svg,
        writes: &[Write],
        style: &str,
        mark: impl Fn(&mut Path, (f64, f64), f64),
        half: f64,
    ) {
        let Window { from, to, .. } = self.window;
        let (mut path, mut taken) = (Path::default(), BTreeSet::new());
        for write in writes {
            let begin = seconds(write.begin);
            if begin < from || begin >= to {
                continue;
            }
            let (x, y) = (self.x(begin), self.y(power(*write)));
            if taken.insert((cell(x), cell(y))) {
                mark(&mut path, (x, y), half);
            }
        }
        svg.path(&path, style);
    }

    fn draw_rate(&self, svg: &mut Svg) {
        let bottom = self.rate_bottom();
        let Window { from, to, .. } = self.window;
        let column_seconds = (to - from) * RATE_COLUMN / (Self::right() - LEFT);
        let ends = &self.timeline.acknowledged_at;
        let place = |seconds: f64| ends.partition_point(|end| *end < nanos(seconds));
        let columns = (0_u32..).map(f64::from);
        let columns = columns.take_while(|number| LEFT + number * RATE_COLUMN < Self::right());
        #[allow(clippy::cast_precision_loss)]
        let rates: Vec<f64> = columns
            .map(|number| {
                let begin = from + number * column_seconds;
                let writes = place(begin + column_seconds).saturating_sub(place(begin));
                writes as f64 / column_seconds
            })
            .collect();
        let most = rates.iter().copied().fold(1.0, f64::max);
        let mut area = Path::default();
        area.on_to((LEFT, bottom));
        for (number, rate) in (0_u32..).zip(&rates) {
            let (x, y) = (
                LEFT + f64::from(number) * RATE_COLUMN,
                bottom - rate / most * RATE,
            );
            area.on_to((x, y));
            area.on_to(((x + RATE_COLUMN).min(Self::right()), y));
        }
        area.on_to((Self::right(), bottom));
        svg.path(&area, "fill=\"#9fb3c8\" fill-opacity=\"0.75\"");
        let grey = format!("font-size=\"11\" fill=\"{GREY}\"");
        let most = format!("{}/s", words::count(whole(most)));
        svg.text((LEFT - 10.0, bottom - RATE + 16.0), Anchor::End, &grey, &most);
        svg.text((LEFT - 10.0, bottom - 2.0), Anchor::End, &grey, "acknowledged");
    }

    fn draw_time(&self, svg: &mut Svg) {
        let bottom = self.rate_bottom();
        let axis = format!("stroke=\"{INK}\" stroke-opacity=\"0.5\"");
        svg.line((LEFT, bottom), (Self::right(), bottom), &axis);
        let Window { from, to, .. } = self.window;
        let step = step(to - from);
        let first = (from / step).ceil();
        let marks = (0_u32..).map(|number| (first + f64::from(number)) * step);
        let ink = format!("fill=\"{INK}\"");
        for seconds in marks.take_while(|mark| *mark <= to) {
            let x = self.x(seconds);
            svg.line((x, bottom), (x, bottom + 5.0), &axis);
            svg.text((x, bottom + 19.0), Anchor::Middle, &ink, &moment(seconds, step));
        }
    }
}

/// A fault's words: within its bar, else to the right of it, else nowhere but where it is pointed at.
fn label(svg: &mut Svg, what: &str, (left, right, beside): (f64, f64, f64), y: f64) {
    #[allow(clippy::cast_precision_loss)]
    let wide = what.chars().count() as f64 * LETTER + 8.0;
    let inside = "font-size=\"11\" fill=\"#ffffff\"";
    // The lane's line does not strike it through.
    let halo = "paint-order=\"stroke\" stroke=\"#ffffff\" stroke-width=\"4\"";
    let outside = format!("font-size=\"11\" fill=\"{GREY}\" {halo}");
    if wide <= right - left {
        svg.text((left + 4.0, y), Anchor::Start, inside, what);
    } else if wide <= beside - right {
        svg.text((right + 4.0, y), Anchor::Start, &outside, what);
    }
}

#[allow(clippy::cast_possible_truncation, reason = "of places on a picture")]
fn cell(place: f64) -> i64 {
    (place / MARK) as i64
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "of a rate, for a label"
)]
fn whole(value: f64) -> usize {
    value.round() as usize
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "of times within a run"
)]
fn nanos(seconds: f64) -> Time {
    Time((seconds * 1e9) as u64)
}
