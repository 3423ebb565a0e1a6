//! Where words about moments stand above a plot: in lanes, so that no two touch and no leader, the line from words down
//! to their moment, goes through other words.

/// Words about a moment.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Callout {
    /// Where their moment is.
    pub(super) x: f64,
    /// How much room they take to the right of it.
    pub(super) width: f64,
    /// Those of less weight are left out first.
    pub(super) weight: u8,
}

/// The lane of each, counted from the plot upwards; none for those that are left out, because there are but so many `lanes`.
/// Moments come in order.
///
/// From the last to the first, each goes above the lanes of those whose moments it reaches over: their leaders end below it.
pub(super) fn lanes(callouts: &[Callout], lanes: usize) -> Vec<Option<usize>> {
    let mut left_out = vec![false; callouts.len()];
    loop {
        let placed = place(callouts, &left_out);
        let too_high =
            (0..callouts.len()).rev().find(|&index| placed[index].is_some_and(|lane| lane >= lanes));
        let Some(too_high) = too_high else { return placed };
        left_out[lightest(callouts, &placed, too_high)] = true;
    }
}

fn place(callouts: &[Callout], left_out: &[bool]) -> Vec<Option<usize>> {
    let mut placed = vec![None; callouts.len()];
    for index in (0..callouts.len()).rev().filter(|&index| !left_out[index]) {
        let below = reached(callouts, index).filter_map(|other| placed[other]).max();
        placed[index] = Some(below.map_or(0, |lane| lane + 1));
    }
    placed
}

/// The later ones whose moments the words reach over.
fn reached(callouts: &[Callout], index: usize) -> impl Iterator<Item = usize> {
    let end = callouts[index].x + callouts[index].width;
    (index + 1..callouts.len()).take_while(move |&later| callouts[later].x < end)
}

/// The one to leave out of those that stand on each other's shoulders up to `top`; of equals the latest, for what follows
/// matters less than what began it.
fn lightest(callouts: &[Callout], placed: &[Option<usize>], top: usize) -> usize {
    let (mut lightest, mut above) = (top, top);
    while let Some(below) = reached(callouts, above)
        .filter(|&other| placed[other].zip(placed[above]).is_some_and(|(low, high)| low + 1 == high))
        .last()
    {
        if callouts[below].weight <= callouts[lightest].weight {
            lightest = below;
        }
        above = below;
    }
    lightest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn callout(x: f64, width: f64, weight: u8) -> Callout {
        Callout { x, width, weight }
    }

    /// No words touch others of their lane, and no leader goes through words.
    fn check(callouts: &[Callout], placed: &[Option<usize>]) {
        for (index, one) in callouts.iter().enumerate() {
            for (other, two) in callouts.iter().enumerate().skip(index + 1) {
                let (Some(high), Some(low)) = (placed[index], placed[other]) else { continue };
                let reaches = two.x < one.x + one.width;
                assert!(!reaches || low < high, "{callouts:?} {placed:?}");
            }
        }
    }

    #[test]
    fn words_that_reach_over_later_moments_stand_above_them() {
        let callouts =
            [callout(0.0, 100.0, 1), callout(40.0, 100.0, 1), callout(90.0, 30.0, 1), callout(150.0, 9.0, 1)];
        assert_eq!(lanes(&callouts, 3), [Some(2), Some(1), Some(0), Some(0)]);
    }

    #[test]
    fn the_lightest_are_left_out_where_too_many_stand_together() {
        let callouts =
            [callout(0.0, 50.0, 2), callout(1.0, 50.0, 1), callout(2.0, 50.0, 2), callout(200.0, 50.0, 1)];
        assert_eq!(lanes(&callouts, 2), [Some(1), None, Some(0), Some(0)]);
        assert_eq!(lanes(&callouts, 1), [Some(0), None, None, Some(0)]);
        assert_eq!(lanes(&[], 2), []);
    }

    #[test]
    fn whatever_happens_words_are_apart_and_something_is_said() {
        let mut number = 1_u64;
        let mut random = |below: u64| {
            number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (number >> 33) % below
        };
        for round in 0..500 {
            let mut callouts: Vec<_> = (0..random(40))
                .map(|_| callout(random(700) as f64, 20.0 + random(150) as f64, random(3) as u8))
                .collect();
            callouts.sort_by(|one, two| one.x.total_cmp(&two.x));
            let most = 1 + round % 7;
            let placed = lanes(&callouts, most);
            check(&callouts, &placed);
            assert!(placed.iter().flatten().all(|lane| *lane < most));
            assert_eq!(callouts.is_empty(), placed.iter().flatten().count() == 0);
        }
    }
}
