//! Bad weather: each ends in a clear error, and nothing hangs.
