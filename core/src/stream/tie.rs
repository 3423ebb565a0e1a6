//! Which of several paths carry a stream's bytes (draft-ietf-quic-multipath-21 5.5 leaves that to the sender).

use crate::ids::PathId;
use crate::limits::MAX_PATHS;
use crate::wire::Dialect;

/// Which paths carry the bytes of a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Tie {
    /// Whichever the scheduler chooses.
    #[default]
    None,
    /// This one as long as it works; else whichever the scheduler chooses.
    Prefers(PathId),
    /// This one as long as it is open: while it is silent and others are not, the stream waits; once it is abandoned, whichever the
    /// scheduler chooses.
    Needs(PathId),
    /// Whichever the scheduler chooses, and a copy over each other one that works: for what must not wait for a path to be found
    /// silent.
    Every,
}

/// Some of a connection's paths.
#[derive(Clone, Copy, Debug)]
pub struct Paths {
    ids: [PathId; MAX_PATHS],
    len: u8,
}

impl Paths {
    /// None.
    pub const NONE: Self = Self { ids: [PathId::ZERO; MAX_PATHS], len: 0 };

    /// Adds one; of more than eight the last do not count.
    pub fn add(&mut self, path: PathId) {
        if let Some(place) = self.ids.get_mut(usize::from(self.len)) {
            *place = path;
            self.len = self.len.saturating_add(1);
        }
    }

    const fn is_none(&self) -> bool {
        self.len == 0
    }

    fn has(&self, path: PathId) -> bool {
        self.ids.get(..usize::from(self.len)).unwrap_or_default().contains(&path)
    }
}

/// Over which path a packet goes that streams may fill, and how the others are.
#[derive(Clone, Copy, Debug)]
pub enum Over {
    /// The only path, or one of several of which no stream knows: what is tied to none.
    Any,
    /// Nothing that is tied to none, and no stream is tied.
    Nothing,
    /// One of several.
    Path {
        /// In which there are several: without any, nobody comes here.
        dialect: Dialect,
        /// Its ID.
        path: PathId,
        /// Whether the scheduler has chosen it for what is tied to none.
        chosen: bool,
        /// The paths that are open.
        open: Paths,
        /// Those of them that work.
        working: Paths,
    },
}

impl Over {
    /// Whether the packet may carry what is tied like this.
    pub fn may(&self, tie: Tie) -> bool {
        match (self, tie) {
            (Self::Any, _) => true,
            (Self::Nothing, _) => false,
            (Self::Path { chosen, .. }, Tie::None | Tie::Every) => *chosen,
            (Self::Path { path, chosen, working, .. }, Tie::Prefers(to)) => {
                if working.has(to) {
                    to == *path
                } else {
                    *chosen
                }
            }
            // What is sent into silence would only take rows of sent packets from the others.
            (Self::Path { path, chosen, open, working, .. }, Tie::Needs(to)) => {
                to == *path && (working.has(to) || working.is_none()) || *chosen && !open.has(to)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(feature = "multipath")]
    fn a_tie_holds_while_its_path_works_or_while_it_is_open() {
        let (one, two, gone) = (PathId(1), PathId(2), PathId(3));
        let paths = |ids: &[PathId]| {
            let mut paths = Paths::NONE;
            ids.iter().for_each(|id| paths.add(*id));
            paths
        };
        let (open, working, dialect) = (paths(&[one, two]), paths(&[two]), Dialect::Draft21);
        let over = |path, chosen| Over::Path { dialect, path, chosen, open, working };
        for (tie, on_one, on_one_if_chosen, on_two, on_two_if_chosen) in [
            (Tie::None, false, true, false, true),
            (Tie::Prefers(two), false, false, true, true),
            (Tie::Prefers(one), false, true, false, true),
            (Tie::Needs(one), false, false, false, false),
            (Tie::Needs(two), false, false, true, true),
            (Tie::Needs(gone), false, true, false, true),
        ] {
            let may =
                [over(one, false), over(one, true), over(two, false), over(two, true)].map(|it| it.may(tie));
            assert_eq!(may, [on_one, on_one_if_chosen, on_two, on_two_if_chosen], "{tie:?}");
            assert!(Over::Any.may(tie) && !Over::Nothing.may(tie));
        }
        let silent = Over::Path { dialect, path: one, chosen: false, open, working: Paths::NONE };
        assert!(silent.may(Tie::Needs(one)), "where none works it may as well be tried");
    }

    #[test]
    fn more_paths_than_there_can_be_are_left_out() {
        let mut paths = Paths::NONE;
        (0..10).for_each(|id| paths.add(PathId(id)));
        assert!(paths.has(PathId(7)) && !paths.has(PathId(8)));
    }
}
