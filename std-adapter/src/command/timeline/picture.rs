//! The picture of a download: bytes over time, a hue for each route, and what happened, as SVG text.

use std::fmt::{self, Write};

use indicatif::BinaryBytes;

use super::callouts::{self, Callout};
use super::record::{Moment, Record, Silence, Use, Way, Weight, name};
use super::scale::Scale;

const WIDTH: f64 = 1000.0;
const HEIGHT: f64 = 500.0;
/// The edges of the plot. Its top is below the words.
const LEFT: f64 = 84.0;
const RIGHT: f64 = 800.0;
const BOTTOM: f64 = 418.0;
/// Where the lanes of words begin, how high each is, and how many there may be.
const WORDS_TOP: f64 = 72.0;
const LANE: f64 = 16.0;
const LANES: usize = 8;
/// The strip that shows the route in use.
const STRIP: (f64, f64) = (BOTTOM + 5.0, 12.0);
/// What a letter of small text takes at most, on average. Fonts differ.
const LETTER: f64 = 6.6;
/// Room between lines of a label.
const LINE: f64 = 14.0;

/// Silences that are shorter, in seconds, may be due to how often one looks.
const WORTH_TELLING: f64 = 0.005;

/// A dark tone for lines and words, a light one for areas; told apart by those who do not see all colours too.
const HUES: [(&str, &str); 8] = [
    ("#1f5fa8", "#cfe0f3"),
    ("#c4570a", "#fbdcc0"),
    ("#1c7c54", "#c9ead9"),
    ("#7d3c98", "#e6d5ef"),
    ("#a31f3b", "#f6d0d8"),
    ("#0e7490", "#c8e9f1"),
    ("#7a5c1e", "#ecdfc1"),
    ("#b0307a", "#f6d3e7"),
];
const INK: &str = "#1c2430";
const GREY: &str = "#667080";

/// Draws it.
pub(super) fn draw(record: &Record, title: &str) -> String {
    let end = record.samples.last().map_or(0.0, |sample| sample.seconds).max(1e-3);
    let callouts: Vec<Callout> = record.moments.iter().map(|moment| callout(moment, end)).collect();
    let lanes = callouts::lanes(&callouts, LANES);
    let used = lanes.iter().flatten().max().map_or(0, |lane| lane + 1);
    let top = WORDS_TOP + LANE * used as f64 + 8.0;
    let mut picture = Picture { svg: String::new(), record, end, most: record.bytes().max(8) as f64, top };
    // Nothing that is written to a string fails.
    let _ = picture.all(title, &lanes);
    picture.svg
}

fn callout(moment: &Moment, end: f64) -> Callout {
    let weight = moment.weight as u8;
    Callout { x: across(moment.seconds, end), width: text_width(&moment.words) + 12.0, weight }
}

fn across(seconds: f64, end: f64) -> f64 {
    LEFT + (RIGHT - LEFT) * (seconds / end).clamp(0.0, 1.0)
}

fn text_width(text: &str) -> f64 {
    LETTER * text.chars().count() as f64
}

fn hue(way: usize) -> (&'static str, &'static str) {
    HUES.get(way % HUES.len()).copied().unwrap_or((INK, GREY))
}

struct Picture<'r> {
    svg: String,
    record: &'r Record,
    /// What the axes reach to: seconds and bytes.
    end: f64,
    most: f64,
    /// Of the plot.
    top: f64,
}

impl Picture<'_> {
    fn x(&self, seconds: f64) -> f64 {
        across(seconds, self.end)
    }

    fn y(&self, bytes: f64) -> f64 {
        // A little air above the curve.
        BOTTOM - (BOTTOM - self.top) * (bytes / self.most).min(1.0) * 0.98
    }

    fn silent(&self) -> Option<Silence> {
        self.record.silence.filter(|silence| silence.seconds() >= WORTH_TELLING)
    }

    fn all(&mut self, title: &str, lanes: &[Option<usize>]) -> fmt::Result {
        self.frame(title)?;
        self.silence()?;
        (0..self.record.ways.len()).rev().try_for_each(|way| self.area(way))?;
        self.axes()?;
        self.curve()?;
        self.moments(lanes)?;
        self.strip()?;
        self.labels()?;
        self.svg.write_str("</svg>\n")
    }

    fn frame(&mut self, title: &str) -> fmt::Result {
        let title = escaped(&shortened(title, 100));
        let is_move = |(index, one): (usize, &Use)| {
            one.way.is_some() && self.record.uses.iter().take(index).any(|earlier| earlier.path == one.path)
        };
        let moves = self.record.uses.iter().enumerate().filter(|one| is_move(*one)).count();
        let silence =
            self.silent().map(|silence| format!("; longest silence {}", duration(silence.seconds())));
        let silence = silence.unwrap_or_default();
        let (ways, bytes) = (self.record.ways.len(), BinaryBytes(self.record.bytes()));
        writeln!(
            self.svg,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{HEIGHT}\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             font-family=\"system-ui, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif\" font-size=\"11\">\n\
             <title>{title}</title>\n\
             <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#ffffff\"/>\n\
             <text x=\"24\" y=\"30\" font-size=\"16\" font-weight=\"600\" fill=\"{INK}\">{title}</text>\n\
             <text x=\"24\" y=\"50\" font-size=\"12\" fill=\"{GREY}\">{bytes} in datagrams in {} over {}, {}{silence}</text>",
            duration(self.end),
            counted(ways, "route"),
            counted(moves, "move"),
        )
    }

    /// A shade where nothing came for longest.
    fn silence(&mut self) -> fmt::Result {
        let Some(silence) = self.silent() else { return Ok(()) };
        let (from, until) = (self.x(silence.from), self.x(silence.until));
        let (top, height, width) = (self.top, BOTTOM - self.top, until - from);
        writeln!(
            self.svg,
            "<rect x=\"{from:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"#e4e7ec\"/>"
        )
    }

    /// What came over this way and those before it until each sample.
    fn heights(&self, way: usize) -> Vec<(f64, f64)> {
        let sum = |bytes: &[u64]| bytes.iter().take(way + 1).sum::<u64>() as f64;
        self.record
            .samples
            .iter()
            .map(|sample| (self.x(sample.seconds), self.y(sum(&sample.bytes))))
            .collect()
    }

    /// Each area reaches down to the axis; those of the ways before are painted over it.
    fn area(&mut self, way: usize) -> fmt::Result {
        let heights = self.heights(way);
        let (Some((first, _)), Some((last, _))) = (heights.first(), heights.last()) else { return Ok(()) };
        write!(self.svg, "<path fill=\"{}\" d=\"M{first:.1} {BOTTOM}", hue(way).1)?;
        self.steps(&heights)?;
        writeln!(self.svg, "H{last:.1}V{BOTTOM}Z\"/>")
    }

    /// A path to each height in turn, on the level until there.
    fn steps(&mut self, heights: &[(f64, f64)]) -> fmt::Result {
        let mut written = None;
        for (x, y) in heights {
            // What does not show is not written.
            let tenths = (y * 10.0).round();
            if written.replace(tenths) != Some(tenths) {
                write!(self.svg, "H{x:.1}V{y:.1}")?;
            }
        }
        Ok(())
    }

    fn axes(&mut self) -> fmt::Result {
        for (bytes, words) in Scale::bytes(self.most).marks(self.most) {
            let y = self.y(bytes);
            writeln!(
                self.svg,
                "<path d=\"M{LEFT} {y:.1}H{RIGHT}\" stroke=\"{INK}\" stroke-opacity=\"0.1\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"{GREY}\">{words}</text>",
                LEFT - 8.0,
                y + 4.0,
            )?;
        }
        let below = STRIP.0 + STRIP.1;
        for (seconds, words) in Scale::seconds(self.end).marks(self.end) {
            let x = self.x(seconds);
            writeln!(
                self.svg,
                "<path d=\"M{x:.1} {below}v5\" stroke=\"{GREY}\"/>\
                 <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"{GREY}\">{words}</text>",
                below + 18.0,
            )?;
        }
        writeln!(
            self.svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"{GREY}\">time since the start</text>\n\
             <text transform=\"translate(18 {:.1}) rotate(-90)\" text-anchor=\"middle\" fill=\"{GREY}\">received</text>",
            (LEFT + RIGHT) / 2.0,
            below + 38.0,
            (self.top + BOTTOM) / 2.0,
        )
    }

    /// The sum of all ways, in the hue of that over which most came.
    fn curve(&mut self) -> fmt::Result {
        let Some(all) = self.record.ways.len().checked_sub(1) else { return Ok(()) };
        let heights = self.heights(all);
        let carriers = carriers(self.record);
        let mut from = 0;
        while let Some(way) = carriers.get(from) {
            let until = carriers.iter().skip(from).take_while(|other| *other == way).count() + from;
            let begin = heights.get(from.saturating_sub(1)).copied().unwrap_or((LEFT, BOTTOM));
            write!(
                self.svg,
                "<path fill=\"none\" stroke=\"{}\" stroke-width=\"2.2\" stroke-linejoin=\"round\" d=\"M{:.1} {:.1}",
                hue(*way).0,
                begin.0,
                begin.1
            )?;
            self.steps(heights.get(from..until).unwrap_or_default())?;
            let last = heights.get(until - 1).map_or(RIGHT, |(x, _)| *x);
            writeln!(self.svg, "H{last:.1}\"/>")?;
            from = until;
        }
        Ok(())
    }

    /// A dot on the curve for each moment, and a line from there up to its words.
    fn moments(&mut self, lanes: &[Option<usize>]) -> fmt::Result {
        for (moment, lane) in self.record.moments.iter().zip(lanes) {
            let x = self.x(moment.seconds);
            let y = self.y(self.bytes_at(moment.seconds));
            let colour = moment.way.map_or(INK, |way| hue(way).0);
            let words = escaped(&moment.words);
            writeln!(self.svg, "<g><title>{words}, {}</title>", duration(moment.seconds))?;
            if let Some(lane) = lane {
                let base = self.top - 8.0 - LANE * *lane as f64;
                let bold = if moment.weight == Weight::Turn { " font-weight=\"600\"" } else { "" };
                writeln!(
                    self.svg,
                    "<path d=\"M{x:.1} {:.1}V{y:.1}\" stroke=\"{colour}\" stroke-opacity=\"0.55\"/>\
                     <text x=\"{:.1}\" y=\"{:.1}\" fill=\"{colour}\"{bold}>{words}</text>",
                    base - 10.0,
                    x + 4.0,
                    base - 1.0,
                )?;
            }
            let radius = if moment.weight == Weight::Turn { 4.0 } else { 2.6 };
            writeln!(
                self.svg,
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\" fill=\"{colour}\" stroke=\"#ffffff\"/></g>"
            )?;
        }
        Ok(())
    }

    fn bytes_at(&self, seconds: f64) -> f64 {
        let later = self.record.samples.partition_point(|sample| sample.seconds <= seconds);
        let sample = later.checked_sub(1).and_then(|index| self.record.samples.get(index));
        sample.map_or(0.0, |sample| sample.bytes.iter().sum::<u64>() as f64)
    }

    /// Below the plot, a line for each path: which route it took when.
    fn strip(&mut self) -> fmt::Result {
        let paths = self.record.uses.iter().map(|one| one.path + 1).max().unwrap_or(1);
        let height = STRIP.1 / paths as f64;
        for (index, one) in self.record.uses.iter().enumerate() {
            let later = self.record.uses.iter().skip(index + 1).find(|later| later.path == one.path);
            let (from, until) = (self.x(one.seconds), later.map_or(RIGHT, |later| self.x(later.seconds)));
            let (y, width) = (STRIP.0 + height * one.path as f64, until - from);
            let Some(way) = one.way else { continue };
            write!(
                self.svg,
                "<rect x=\"{from:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{}\"/>",
                hue(way).0
            )?;
            let name = name(Some(way));
            if paths == 1 && width > text_width(&name) + 6.0 {
                write!(
                    self.svg,
                    "<text x=\"{:.1}\" y=\"{:.1}\" font-size=\"10\" font-weight=\"600\" text-anchor=\"middle\" \
                     fill=\"#ffffff\">{name}</text>",
                    from + width / 2.0,
                    y + 9.5
                )?;
            }
            self.svg.write_char('\n')?;
        }
        writeln!(
            self.svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"{GREY}\">in use</text>",
            LEFT - 8.0,
            STRIP.0 + 10.0
        )
    }

    /// To the right of what came over each way, what it is.
    fn labels(&mut self) -> fmt::Result {
        let labels = labels(self.record);
        let lines = labels.first().map_or(0, |(_, lines)| lines.len());
        let (heights, room) = (LINE * lines as f64 + 6.0, BOTTOM + 10.0 - self.top);
        // Where there is no room for all, those with the most bytes.
        let mut shown: Vec<usize> = (0..labels.len()).collect();
        while heights * shown.len() as f64 > room {
            let least =
                shown.iter().copied().min_by_key(|way| self.record.ways.get(*way).map(|way| way.bytes));
            shown.retain(|way| Some(*way) != least);
        }
        let wanted: Vec<f64> = shown.iter().map(|way| self.middle(*way) - heights / 2.0).collect();
        let tops = apart(&wanted, heights, self.top, self.top + room);
        for (way, top) in shown.into_iter().zip(tops) {
            let (middle, (dark, _)) = (self.middle(way), hue(way));
            writeln!(
                self.svg,
                "<path d=\"M{:.1} {middle:.1}L{:.1} {:.1}\" stroke=\"{dark}\" stroke-opacity=\"0.55\" fill=\"none\"/>",
                RIGHT + 2.0,
                RIGHT + 14.0,
                top + heights / 2.0
            )?;
            for (line, words) in labels.get(way).map(|(_, lines)| lines).into_iter().flatten().enumerate() {
                let style = if line == 0 { " font-weight=\"600\"" } else { "" };
                let colour = if line == 0 { dark } else { GREY };
                writeln!(
                    self.svg,
                    "<text x=\"{:.1}\" y=\"{:.1}\" fill=\"{colour}\"{style}>{}</text>",
                    RIGHT + 18.0,
                    top + 3.0 + LINE * (line as f64 + 0.75),
                    escaped(words)
                )?;
            }
        }
        Ok(())
    }

    /// The middle of a way's area at the end.
    fn middle(&self, way: usize) -> f64 {
        let below: u64 = self.record.ways.iter().take(way).map(|way| way.bytes).sum();
        let own = self.record.ways.get(way).map_or(0, |way| way.bytes);
        self.y(below as f64 + own as f64 / 2.0)
    }
}

/// Over which way most came from each sample to the next.
fn carriers(record: &Record) -> Vec<usize> {
    let mut carrier = 0;
    let mut before: &[u64] = &[];
    let mut carriers = Vec::new();
    for sample in &record.samples {
        let gain =
            |way: usize| sample.bytes.get(way).unwrap_or(&0).saturating_sub(*before.get(way).unwrap_or(&0));
        if let Some(most) = (0..sample.bytes.len()).filter(|way| gain(*way) > 0).max_by_key(|way| gain(*way))
        {
            carrier = most;
        }
        carriers.push(carrier);
        before = &sample.bytes;
    }
    carriers
}

/// What is written about each way: its name, its ends as far as they differ, its share.
fn labels(record: &Record) -> Vec<(usize, Vec<String>)> {
    let one_server = record.ways.windows(2).all(|pair| pair[0].remote == pair[1].remote);
    let all = record.bytes().max(1) as f64;
    let label = |(index, way): (usize, &Way)| {
        let mut lines = vec![shortened(&format!("{}  {}", name(Some(index)), way.local), 27)];
        if !one_server {
            lines.push(shortened(&format!("to {}", way.remote), 27));
        }
        lines.push(format!("{}, {:.0} %", BinaryBytes(way.bytes), 100.0 * way.bytes as f64 / all));
        (index, lines)
    };
    record.ways.iter().enumerate().map(label).collect()
}

/// Places boxes of one `height`, the lowest first, as near as can be to where they are `wanted` and not over each other.
fn apart(wanted: &[f64], height: f64, top: f64, bottom: f64) -> Vec<f64> {
    let mut placed = wanted.to_vec();
    let mut limit = bottom;
    for y in &mut placed {
        *y = y.min(limit - height);
        limit = *y;
    }
    let mut limit = top;
    for y in placed.iter_mut().rev() {
        *y = y.max(limit);
        limit = *y + height;
    }
    placed
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn duration(seconds: f64) -> String {
    if seconds < 1.0 { format!("{:.1} ms", seconds * 1e3) } else { format!("{seconds:.2} s") }
}

/// At most so many letters.
fn shortened(text: &str, letters: usize) -> String {
    if text.chars().count() <= letters {
        return text.into();
    }
    let (head, tail) = (letters / 2, letters - letters / 2 - 1);
    let all: Vec<char> = text.chars().collect();
    let end = all.get(all.len() - tail..).unwrap_or_default();
    all.iter().take(head).chain(&['…']).chain(end).collect()
}

/// Text as XML has it.
fn escaped(text: &str) -> String {
    let mut safe = String::new();
    for c in text.chars() {
        match c {
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '&' => safe.push_str("&amp;"),
            // XML has no way to write most of them.
            c if c.is_control() => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests;
