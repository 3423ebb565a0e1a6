use super::*;
use crate::timeline::record::{Sample, Silence, Use, Way};
use roxmltree::{Document, Node};

const MIB: u64 = 1 << 20;

fn moment(seconds: f64, way: Option<usize>, weight: Weight, words: &str) -> Moment {
    Moment { seconds, way, weight, words: words.into() }
}

/// Ten MiB over one route, a silence, ten over another.
fn record() -> Record {
    let samples = (0..=100_u64).map(|step| {
        let (first, second) = (step.min(50), step.saturating_sub(60));
        Sample { seconds: step as f64 / 100.0, bytes: vec![first * MIB / 5, second * MIB / 4] }
    });
    let way = |local: &str, bytes| Way {
        local: local.parse().unwrap(),
        remote: "192.0.2.1:443".parse().unwrap(),
        bytes,
    };
    Record {
        ways: vec![way("10.0.0.1:4000", 10 * MIB), way("10.0.0.2:5000", 10 * MIB)],
        samples: samples.collect(),
        uses: vec![
            Use { seconds: 0.01, path: 0, way: Some(0) },
            Use { seconds: 0.55, path: 0, way: Some(1) },
        ],
        moments: vec![
            moment(0.01, Some(0), Weight::Step, "connected"),
            moment(0.01, Some(0), Weight::Aside, "confirmed"),
            moment(0.5, Some(0), Weight::Turn, "A is silent"),
            moment(0.55, Some(1), Weight::Turn, "moves to B: A is silent"),
            moment(0.99, Some(0), Weight::Aside, "A is closed"),
        ],
        silence: Some(Silence { from: 0.5, until: 0.61 }),
    }
}

fn number(node: Node<'_, '_>, attribute: &str) -> f64 {
    node.attribute(attribute).unwrap().parse().unwrap()
}

/// The box of a text that stands upright: left, top, right, bottom.
fn bounds(text: Node<'_, '_>) -> Option<(f64, f64, f64, f64)> {
    let (x, y) = (text.attribute("x")?.parse::<f64>().unwrap(), number(text, "y"));
    let size = text.attribute("font-size").map_or(11.0, |size| size.parse().unwrap());
    let width = text_width(text.text().unwrap_or_default()) * size / 11.0;
    let left = match text.attribute("text-anchor") {
        Some("middle") => x - width / 2.0,
        Some("end") => x - width,
        _ => x,
    };
    Some((left, y - size * 0.75, left + width, y + size * 0.25))
}

/// Every text is within the picture and touches no other.
fn check_texts(svg: &str) -> Vec<String> {
    let document = Document::parse(svg).unwrap();
    let texts: Vec<_> = document.descendants().filter(|node| node.has_tag_name("text")).collect();
    let boxes: Vec<_> =
        texts.iter().filter_map(|text| bounds(*text).map(|bounds| (bounds, text.text()))).collect();
    for (index, ((left, top, right, bottom), words)) in boxes.iter().enumerate() {
        assert!(*left >= 0.0 && *top >= 0.0 && *right <= WIDTH && *bottom <= HEIGHT, "{words:?} is outside");
        for ((other_left, other_top, other_right, other_bottom), other) in &boxes[index + 1..] {
            let touch = left < other_right && other_left < right && top < other_bottom && other_top < bottom;
            assert!(!touch, "{words:?} touches {other:?}");
        }
    }
    texts.iter().map(|text| text.text().unwrap_or_default().to_owned()).collect()
}

/// The ends of the steps of a path.
fn corners(path: &str) -> Vec<(f64, f64)> {
    let numbers: Vec<f64> = path
        .split(['M', 'H', 'V', 'Z', ' '])
        .filter(|number| !number.is_empty())
        .map(|number| number.parse().unwrap())
        .collect();
    numbers.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect()
}

#[test]
fn routes_moments_and_axes_are_named() {
    let texts = check_texts(&draw(&record(), "peregrine get hq://a/b?c&d<e"));
    for words in [
        "peregrine get hq://a/b?c&d<e",
        "20.00 MiB in datagrams in 1.00 s over 2 routes, 1 move; longest silence 110.0 ms",
        "connected",
        "confirmed",
        "moves to B: A is silent",
        "A  10.0.0.1:4000",
        "B  10.0.0.2:5000",
        "10.00 MiB, 50 %",
        "0.6 s",
        "15 MiB",
        "in use",
    ] {
        assert!(texts.iter().any(|text| text == words), "{words} {texts:?}");
    }
}

#[test]
fn curves_go_to_the_right_and_up() {
    let svg = draw(&record(), "");
    let document = Document::parse(&svg).unwrap();
    let curves: Vec<_> =
        document.descendants().filter(|node| node.attribute("stroke-width") == Some("2.2")).collect();
    assert_eq!(curves.len(), 2);
    assert_eq!(
        curves.iter().map(|node| node.attribute("stroke").unwrap()).collect::<Vec<_>>(),
        [HUES[0].0, HUES[1].0]
    );
    let areas = document
        .descendants()
        .filter(|node| HUES.iter().any(|(_, light)| node.attribute("fill") == Some(light)));
    for path in curves.iter().copied().chain(areas) {
        let corners = corners(path.attribute("d").unwrap());
        assert!(corners.len() > 40, "{corners:?}");
        // An area ends in a way down.
        let rising = &corners[..corners.len() - 1];
        assert!(
            rising.windows(2).all(|pair| pair[0].0 <= pair[1].0 && pair[0].1 >= pair[1].1),
            "{corners:?}"
        );
    }
    // The end is at the top and at the right.
    let last = *corners(curves[1].attribute("d").unwrap()).last().unwrap();
    assert!(last.1 < 140.0, "{last:?}");
}

#[test]
fn a_burst_of_moments_and_many_routes_leave_it_readable() {
    let mut record = record();
    for step in 0..300_usize {
        let (seconds, weight) =
            (step as f64 / 310.0, if step % 40 == 0 { Weight::Turn } else { Weight::Aside });
        record.moments.push(moment(
            seconds,
            Some(step % 30),
            weight,
            &format!("something like number {step}"),
        ));
        if step < 40 {
            let local = "[2001:db8:1111:2222:3333:4444:5555:6666]:65535".parse().unwrap();
            let remote = format!("192.0.2.{step}:443").parse().unwrap();
            record.ways.push(Way { local, remote, bytes: step as u64 });
        }
    }
    record.moments.sort_by(|one, two| one.seconds.total_cmp(&two.seconds));
    let texts = check_texts(&draw(&record, &"long ".repeat(60)));
    let turns = texts.iter().filter(|text| text.starts_with("something like number")).count();
    assert!((6..80).contains(&turns), "{turns}");
    assert!(texts.iter().any(|text| text.starts_with("A  10.0.0.1")), "{texts:?}");
    assert!(texts.iter().any(|text| text.contains('…')), "{texts:?}");
}

#[test]
fn nothing_makes_a_picture_too() {
    check_texts(&draw(&Record::default(), ""));
    let mut only_end = Record::default();
    only_end.samples.push(Sample { seconds: 3.0, bytes: Vec::new() });
    only_end.moments.push(moment(2.9, None, Weight::Turn, "\u{1b}[2Jsocket"));
    let texts = check_texts(&draw(&only_end, "a"));
    assert!(texts.iter().any(|text| text == "\u{fffd}[2Jsocket"), "{texts:?}");
}
