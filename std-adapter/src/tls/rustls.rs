//! Sessions over rustls.
