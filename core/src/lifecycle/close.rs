//! What CONNECTION_CLOSE says, and how often it is said (RFC 9000 10.2, 10.2.1, 10.2.3, 19.19).

use super::phrase::Phrase;
use crate::error::{Code, TransportError};
use crate::session::Level;
use crate::time::Instant;
use crate::wire::frame::{ConnectionClose, Frame};
use crate::wire::{NoSpace, PacketWriter};

/// Who has which reason to close.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Reason {
    /// The transport; `frame` is the type of the frame to blame, or zero.
    Transport {
        /// The error code.
        code: Code,
        /// The type of the frame to blame, or zero.
        frame: u64,
    },
    /// The application, with a code of its own.
    Application {
        /// The application's error code.
        code: u64,
    },
}

/// The content of a CONNECTION_CLOSE frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Close {
    /// The reason as a code.
    pub reason: Reason,
    /// The reason in words.
    pub phrase: Phrase,
}

impl Close {
    /// An error of the transport.
    pub fn transport(error: &TransportError) -> Self {
        Self {
            reason: Reason::Transport { code: error.code(), frame: error.frame() },
            phrase: Phrase::new(error.reason()),
        }
    }

    /// A close by the application. Of `phrase`, what fits is kept.
    pub fn application(code: u64, phrase: &str) -> Self {
        Self { reason: Reason::Application { code }, phrase: Phrase::new(phrase) }
    }

    /// What the peer said. Of its words, what fits and is UTF-8 is kept.
    pub fn from_frame(frame: &ConnectionClose<'_>) -> Self {
        let reason = match frame.frame {
            Some(blamed) => Reason::Transport { code: Code(frame.code), frame: blamed },
            None => Reason::Application { code: frame.code },
        };
        Self { reason, phrase: Phrase::from_peer(frame.reason) }
    }

    /// Writes the frame into a packet of `level`. Packets whose keys others may hold do not tell what the application
    /// said: code and words are replaced there (RFC 9000 10.2.3). The words are left out where they do not fit.
    ///
    /// # Errors
    /// [`NoSpace`] if it does not fit even so.
    pub fn write(&self, level: Level, out: &mut PacketWriter<'_>) -> Result<(), NoSpace> {
        let hidden = matches!(level, Level::Initial | Level::Handshake);
        let phrase = self.phrase.as_bytes();
        let frame = match self.reason {
            Reason::Transport { code, frame } => {
                ConnectionClose { code: code.0, frame: Some(frame), reason: phrase }
            }
            Reason::Application { .. } if hidden => {
                ConnectionClose { code: Code::APPLICATION_ERROR.0, frame: Some(0), reason: &[] }
            }
            Reason::Application { code } => ConnectionClose { code, frame: None, reason: phrase },
        };
        out.push(&Frame::ConnectionClose(frame))
            .or_else(|NoSpace| out.push(&Frame::ConnectionClose(ConnectionClose { reason: &[], ..frame })))
    }
}

/// How often our CONNECTION_CLOSE is said: at once, then to the first packet that still comes, and each further time
/// only after twice as many.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Closing {
    until: Instant,
    answer: Answer,
    /// Packets that the next wait takes.
    patience: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Answer {
    Owed,
    /// After so many packets.
    After(u32),
}

impl Closing {
    pub(super) const fn new(until: Instant) -> Self {
        Self { until, answer: Answer::Owed, patience: 1 }
    }

    pub(super) const fn until(self) -> Instant {
        self.until
    }

    pub(super) const fn is_owed(&self) -> bool {
        matches!(self.answer, Answer::Owed)
    }

    pub(super) const fn on_sent(&mut self) {
        self.answer = Answer::After(self.patience);
        self.patience = self.patience.saturating_mul(2);
    }

    pub(super) const fn on_received(&mut self) {
        if let Answer::After(packets) = self.answer {
            self.answer = match packets.saturating_sub(1) {
                0 => Answer::Owed,
                left => Answer::After(left),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::frame::Frames;

    fn written(close: &Close, level: Level, room: usize) -> Option<Close> {
        let mut buffer = [0; 200];
        let mut out = PacketWriter::new(&mut buffer[..room]);
        close.write(level, &mut out).ok()?;
        let len = out.len();
        match Frames::new(level, &buffer[..len]).next().unwrap().unwrap() {
            Frame::ConnectionClose(frame) => Some(Close::from_frame(&frame)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_application_is_not_heard_before_its_keys() {
        let close = Close::application(1234, "secret");
        for level in [Level::ZeroRtt, Level::OneRtt] {
            assert_eq!(written(&close, level, 200), Some(close));
        }
        let hidden = TransportError::new(Code::APPLICATION_ERROR, "");
        for level in [Level::Initial, Level::Handshake] {
            assert_eq!(written(&close, level, 200), Some(Close::transport(&hidden)));
        }
    }

    #[test]
    fn transport_errors_are_told_everywhere_and_shortened_where_needed() {
        let error = TransportError::new(Code::FLOW_CONTROL_ERROR, "too much").in_frame(8);
        for level in Level::ALL {
            assert_eq!(written(&Close::transport(&error), level, 200), Some(Close::transport(&error)));
        }
        let short = TransportError::new(error.code(), "").in_frame(8);
        assert_eq!(written(&Close::transport(&error), Level::OneRtt, 4), Some(Close::transport(&short)));
        assert_eq!(written(&Close::transport(&error), Level::OneRtt, 3), None);
    }
}
