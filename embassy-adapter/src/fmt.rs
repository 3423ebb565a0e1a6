//! Log lines: to `defmt` where that feature is on, else to `log`, else nowhere.

macro_rules! note {
    ($level:ident, $text:literal $(, $value:expr)*) => {{
        #[cfg(feature = "defmt")]
        defmt::$level!($text $(, $value)*);
        #[cfg(all(feature = "log", not(feature = "defmt")))]
        log::$level!($text $(, $value)*);
        #[cfg(not(any(feature = "defmt", feature = "log")))]
        let _ = ($(&$value,)*);
    }};
}
