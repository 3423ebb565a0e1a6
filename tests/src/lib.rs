//! Simulator, null session and scenarios of Peregrine.
