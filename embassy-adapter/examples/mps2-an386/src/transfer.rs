//! Files, fetched as HTTP/0.9 does, `GET /262144`, and uploaded with `PUT /262144`, which is answered with the SHA-256 of what came, as
//! `peregrine serve --uploads` does.

use core::fmt::{Arguments, Write as _};

use defmt::info;
use embassy_time::Instant;
use embedded_io_async::{Read, Write};
use heapless::String;
use peregrine_embassy::tls::EndpointSession;
use peregrine_embassy::{Connection, Error};
use sha2::{Digest, Sha256};

use crate::job::Hex;

/// Fetches a file. After each piece `progress` is told how many bytes there are.
pub async fn download<S: EndpointSession>(
    connection: &Connection<S>,
    path: &str,
    mut progress: impl AsyncFnMut(usize) -> Result<(), Error>,
) -> Result<(), Error> {
    let began = Instant::now();
    let (mut send, mut recv) = connection.open_bi().await?;
    send.write_all(request(format_args!("GET {path}")).as_bytes()).await?;
    send.finish()?;
    let (mut hash, mut len, mut bytes) = (Sha256::new(), 0, [0; 512]);
    loop {
        let read = recv.read(&mut bytes).await?;
        if read == 0 {
            break;
        }
        hash.update(&bytes[..read]);
        len += read;
        progress(len).await?;
    }
    let hash = Hex::of(&hash.finalize().into());
    info!("downloaded {} bytes in {} ms, sha256 {}", len, began.elapsed().as_millis(), hash.as_str());
    Ok(())
}

/// Uploads so many bytes; whether the server has got them as they were. After each piece `progress` is told how many bytes are sent.
pub async fn upload<S: EndpointSession>(
    connection: &Connection<S>,
    len: usize,
    mut progress: impl AsyncFnMut(usize) -> Result<(), Error>,
) -> Result<bool, Error> {
    let began = Instant::now();
    let (mut send, mut recv) = connection.open_bi().await?;
    send.write_all(request(format_args!("PUT /{len}")).as_bytes()).await?;
    let (mut hash, mut sent, mut state) = (Sha256::new(), 0, 1_u32);
    while sent < len {
        // Numbers of no meaning: what a sensor has recorded.
        let mut bytes = [0; 512];
        for byte in &mut bytes {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *byte = (state >> 24) as u8;
        }
        let bytes = &bytes[..bytes.len().min(len - sent)];
        hash.update(bytes);
        send.write_all(bytes).await?;
        sent += bytes.len();
        progress(sent).await?;
    }
    send.finish()?;
    let mut answer = [0; 64];
    let is_answered = recv.read_exact(&mut answer).await.is_ok();
    let hash = Hex::of(&hash.finalize().into());
    let is_same = is_answered && answer == *hash.as_str().as_bytes();
    info!(
        "uploaded {} bytes in {} ms, sha256 {}, which the server {}",
        len,
        began.elapsed().as_millis(),
        hash.as_str(),
        if is_same { "has too" } else { "has not" }
    );
    Ok(is_same)
}

/// The line of a request.
fn request(what: Arguments<'_>) -> String<128> {
    let mut line = String::new();
    write!(line, "{what}\r\n").expect("the path is too long");
    line
}
