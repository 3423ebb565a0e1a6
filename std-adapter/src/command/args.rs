//! The command line.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::{Args as ClapArgs, CommandFactory, Parser, Subcommand, ValueEnum};
use peregrine_std::identity::{Pin, Psk, PskError};
use zeroize::Zeroizing;

use crate::exit::Exit;
use crate::fleet::Fleet;
use crate::moment::Moment;
use crate::several::{MOST, Several, Terms};
use crate::steer::{Act, Order};
use crate::url::{Url, is_of_a_host};

/// Files over QUIC.
#[derive(Debug, Parser)]
#[command(name = "peregrine", version, after_help = Exit::help(), max_term_width = 110)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a server and a client on loopback, with a verified transfer and a timeline of what happened
    Demo(Demo),
    /// Serve files, and /N as N pseudo-random bytes
    #[command(after_help = Exit::help())]
    Serve(Serve),
    /// Download files
    #[command(after_help = Exit::help())]
    Get(Get),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Demo {
    /// Show several paths at once: data on both, another port for one of them, the end of the other
    #[arg(long)]
    pub(crate) multipath: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Serve {
    #[arg(long, value_name = "ADDR", required = true, num_args = 1.., value_parser = listen_address)]
    #[arg(help = "Listen on these addresses, for example [::]:4433 (which takes IPv4 as well)")]
    pub(crate) listen: Vec<SocketAddr>,
    /// Serve the files below this folder (default: only /N)
    #[arg(long, value_name = "DIR")]
    pub(crate) root: Option<PathBuf>,
    /// Take files that clients send into this folder, from whoever may connect: see --psk and --client-ca
    #[arg(long, value_name = "DIR")]
    pub(crate) uploads: Option<PathBuf>,
    /// Take no larger files, for example 500KiB or 2GB
    #[arg(long, value_name = "BYTES", requires = "uploads", default_value = "64MiB", value_parser = bytes)]
    pub(crate) max_upload: u64,
    /// Take files in place of those that are there
    #[arg(long, requires = "uploads")]
    pub(crate) overwrite: bool,
    /// Show this certificate chain, own certificate first
    #[arg(long, value_name = "PEM", requires = "key", group = "identity")]
    cert: Option<PathBuf>,
    /// The private key of --cert
    #[arg(long, value_name = "PEM", requires = "cert", conflicts_with_all = ["self_signed", "raw_key", "psk_text"])]
    key: Option<PathBuf>,
    /// Make a key and a certificate for this run; the pin for clients is printed (default)
    #[arg(long, group = "identity")]
    self_signed: bool,
    /// Show the public half of this private key, without a certificate (RFC 7250)
    #[arg(long, value_name = "PEM", group = "identity")]
    raw_key: Option<PathBuf>,
    /// Share this key with clients, for example sensor-7:00112233445566778899aabbccddeeff
    #[arg(long = "psk", value_name = "ID:HEX", group = "identity")]
    psk_text: Option<String>,
    #[arg(skip)]
    psk: Option<Psk>,
    /// Demand a certificate from clients, issued by one of these
    #[arg(long, value_name = "PEM")]
    pub(crate) client_ca: Option<PathBuf>,
    /// Validate every client's address with a Retry packet
    #[arg(long)]
    pub(crate) retry: bool,
    /// Ask clients to move to this address after the handshake; once for each address family. The server must be reached there
    /// and listen there: see --listen
    #[arg(long, value_name = "ADDR")]
    pub(crate) preferred: Vec<SocketAddr>,
    /// Ask clients not to move to other addresses of their own will (NATs may still move them)
    #[arg(long)]
    pub(crate) no_active_migration: bool,
    /// Let each client use so many paths at once, if it knows how to; with 1 none is offered that
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=MOST as i64))]
    pub(crate) max_paths: u8,
    #[command(flatten)]
    pub(crate) terms: Terms,
    /// Lead clients that move back to this server of a fleet, as its QUIC-LB load balancers read it, for example
    /// id=1,server=0a0b,nonce=8,key=00112233445566778899aabbccddeeff; without a key everybody can follow who moves: ask them
    /// not to with --no-active-migration
    #[arg(long = "quic-lb", value_name = "id=N,server=HEX,nonce=BYTES[,key=HEX]")]
    fleet_text: Option<String>,
    #[arg(skip)]
    pub(crate) fleet: Option<Fleet>,
    /// Application protocol
    #[arg(long, value_name = "NAME", default_value = "hq-interop", value_parser = alpn)]
    pub(crate) alpn: String,
    /// TLS implementation
    #[arg(long, value_name = "WHICH", default_value = "ours")]
    pub(crate) tls: Tls,
    /// Write a qlog file of each connection into this folder: packets and frames, but no data and no keys
    #[arg(long, value_name = "DIR")]
    pub(crate) qlog: Option<PathBuf>,
    /// Print one JSON object instead of text
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Get {
    /// What to download, for example https://localhost:4433/index.html
    #[arg(value_name = "URL", required = true)]
    pub(crate) urls: Vec<Url>,
    /// Save into this folder; - only counts and hashes
    #[arg(long, value_name = "DIR|-", default_value = ".")]
    out: PathBuf,
    /// Trust servers with a certificate issued by one of these (default: the system's roots)
    #[arg(long, value_name = "PEM", group = "trust")]
    ca: Option<PathBuf>,
    /// Trust the server whose public key has this SHA-256 (hex or base64)
    #[arg(long, value_name = "SHA256", group = "trust")]
    pin: Option<Pin>,
    /// Trust the server that shows this public key, without a certificate (RFC 7250)
    #[arg(long, value_name = "PEM", group = "trust")]
    raw_key: Option<PathBuf>,
    /// Trust the server that has this key, for example sensor-7:00112233445566778899aabbccddeeff
    #[arg(long = "psk", value_name = "ID:HEX", group = "trust")]
    psk_text: Option<String>,
    #[arg(skip)]
    psk: Option<Psk>,
    /// Trust any server: anybody on the way can read and change everything
    #[arg(long, group = "trust")]
    insecure: bool,
    /// Send from this address; port 0 is any free one
    #[arg(long, value_name = "ADDR", value_parser = bind_address)]
    pub(crate) bind: Option<SocketAddr>,
    /// Move to this local address in the middle: try it first, then switch; port 0 is any free one
    #[arg(long, value_name = "ADDR", value_parser = bind_address)]
    migrate_to: Option<SocketAddr>,
    /// When to move, for example 1MiB or 400ms (default: as soon as possible)
    #[arg(long, value_name = "BYTES|MS", requires = "migrate_to")]
    after: Option<Moment>,
    /// Try this local address too and keep it in reserve: it is taken when nothing comes over the other any more
    #[arg(long, value_name = "ADDR", value_parser = bind_address)]
    backup: Option<SocketAddr>,
    #[command(flatten)]
    pub(crate) several: Several,
    /// Watch this host's networks: try the address of each interface as it comes, move when the one in use goes or another is
    /// much better (Linux)
    #[arg(long)]
    pub(crate) watch_interfaces: bool,
    /// Take another local port then, without telling the connection: what a NAT does to it
    #[arg(long, value_name = "BYTES|MS")]
    rebind_after: Option<Moment>,
    /// Tell on standard error what happens to the connection: when, after how many bytes, on which local address
    #[arg(long)]
    pub(crate) timeline: bool,
    /// Draw what happens to the connection: bytes over time by route, as an SVG picture
    #[arg(long, value_name = "FILE")]
    pub(crate) timeline_svg: Option<PathBuf>,
    /// Show this certificate chain to the server
    #[arg(long, value_name = "PEM", requires = "client_key")]
    client_cert: Option<PathBuf>,
    /// The private key of --client-cert
    #[arg(long, value_name = "PEM", requires = "client_cert")]
    client_key: Option<PathBuf>,
    /// Ask for this many files at a time
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) parallel: u16,
    /// Offer only this cipher
    #[arg(long, value_name = "NAME")]
    pub(crate) cipher: Option<Cipher>,
    /// TLS implementation
    #[arg(long, value_name = "WHICH", default_value = "ours")]
    pub(crate) tls: Tls,
    /// Append the TLS secrets to this file: whoever has it can read the traffic
    #[arg(long, value_name = "FILE")]
    pub(crate) keylog: Option<PathBuf>,
    /// Write a qlog file of each connection into this folder: packets and frames, but no data and no keys
    #[arg(long, value_name = "DIR")]
    pub(crate) qlog: Option<PathBuf>,
    /// Print one JSON object instead of text and progress
    #[arg(long)]
    pub(crate) json: bool,
}

/// Which TLS.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Tls {
    Ours,
    #[cfg(feature = "rustls")]
    Rustls,
}

/// Which packet protection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Cipher {
    #[value(name = "aes128gcm")]
    Aes128Gcm,
    #[value(name = "aes256gcm")]
    Aes256Gcm,
    #[value(name = "chacha20poly1305")]
    ChaCha20Poly1305,
}

/// What a server shows of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Shown<'a> {
    Certificate { chain: &'a Path, key: &'a Path },
    SelfSigned,
    RawKey(&'a Path),
    Psk(&'a Psk),
}

/// Which server a client trusts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Trust<'a> {
    System,
    Roots(&'a Path),
    Pin(Pin),
    RawKey(&'a Path),
    Psk(&'a Psk),
    Anyone,
}

impl Args {
    /// Reads the command line. Ends the program where it is wrong, or asks for help.
    pub(crate) fn read() -> Self {
        Self::check(Self::try_parse()).unwrap_or_else(|error| error.exit())
    }

    fn check(parsed: Result<Self, clap::Error>) -> Result<Self, clap::Error> {
        let mut args = parsed?;
        let name = args.command.name();
        match args.command.settle() {
            Err((kind, why)) => Err(Self::error(name, kind, why)),
            Ok(()) => Ok(args),
        }
    }

    /// An error of a subcommand, with the usage of that.
    fn error(name: &str, kind: ErrorKind, why: String) -> clap::Error {
        let mut command = Self::command();
        command.build();
        match command.find_subcommand_mut(name) {
            Some(subcommand) => subcommand.error(kind, why),
            None => command.error(kind, why),
        }
    }
}

type Mistake = (ErrorKind, String);

impl Command {
    const fn name(&self) -> &'static str {
        match self {
            Self::Demo(_) => "demo",
            Self::Serve(_) => "serve",
            Self::Get(_) => "get",
        }
    }

    /// Reads what holds keys, and looks for what does not go together.
    fn settle(&mut self) -> Result<(), Mistake> {
        let (tls, text, psk) = match self {
            Self::Demo(_) => return Ok(()),
            Self::Serve(serve) => {
                // Read here, because clap would repeat a malformed value, and with it the key.
                let text = serve.fleet_text.take().map(Zeroizing::new);
                serve.fleet = text.map(|text| text.parse()).transpose().map_err(|why: String| {
                    (ErrorKind::ValueValidation, format!("invalid value for '--quic-lb': {why}"))
                })?;
                (serve.tls, &mut serve.psk_text, &mut serve.psk)
            }
            Self::Get(get) => (get.tls, &mut get.psk_text, &mut get.psk),
        };
        let text = text.take().map(Zeroizing::new);
        *psk = text.map(|text| text.parse()).transpose().map_err(|error: PskError| {
            (ErrorKind::ValueValidation, format!("invalid value for '--psk <ID:HEX>': {error}"))
        })?;
        if psk.is_some() && tls != Tls::Ours {
            let why = "--psk works only with --tls ours: rustls has no external shared keys";
            return Err((ErrorKind::ArgumentConflict, why.into()));
        }
        let mistake = match self {
            Self::Demo(_) => None,
            Self::Serve(serve) => serve.mistake(),
            Self::Get(get) => get.several.mistake(),
        };
        mistake.map_or(Ok(()), |why| Err((ErrorKind::ArgumentConflict, why)))
    }
}

impl Serve {
    /// What does not go together, and how it would.
    fn mistake(&self) -> Option<String> {
        if self.psk.is_some() && self.client_ca.is_some() {
            let why = "'--client-ca' with '--psk': who knows the shared key shows no certificate; use one of the two";
            return Some(why.into());
        }
        let mut families = BTreeSet::new();
        for address in &self.preferred {
            if address.port() == 0 || !is_of_a_host(address.ip()) {
                return Some(format!(
                    "'--preferred {address}': no client can send there; name an address and a port"
                ));
            }
            if !families.insert(address.is_ipv4()) {
                let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
                return Some(format!(
                    "'--preferred' twice for {family}: a server prefers one address of each family"
                ));
            }
        }
        let alone = self.max_paths == 1;
        alone.then(|| self.terms.without("'--max-paths 1' allows one")).flatten()
    }

    pub(crate) fn shown(&self) -> Shown<'_> {
        match (&self.cert, &self.key, &self.raw_key, &self.psk) {
            (Some(chain), Some(key), ..) => Shown::Certificate { chain, key },
            (_, _, Some(key), _) => Shown::RawKey(key),
            (.., Some(psk)) => Shown::Psk(psk),
            _ => Shown::SelfSigned,
        }
    }
}

impl Get {
    pub(crate) fn trust(&self) -> Trust<'_> {
        match (&self.ca, self.pin, &self.raw_key, &self.psk) {
            (Some(roots), ..) => Trust::Roots(roots),
            (_, Some(pin), ..) => Trust::Pin(pin),
            (_, _, Some(key), _) => Trust::RawKey(key),
            (.., Some(psk)) => Trust::Psk(psk),
            _ if self.insecure => Trust::Anyone,
            _ => Trust::System,
        }
    }

    /// What is to be done in the middle.
    pub(crate) fn orders(&self) -> Vec<Order> {
        let migrate = self
            .migrate_to
            .map(|local| Order { when: self.after.unwrap_or(Moment::NOW), what: Act::Migrate(local) });
        let backup = self.backup.map(|local| Order { when: Moment::NOW, what: Act::Keep(local) });
        let rebind = self.rebind_after.map(|when| Order { when, what: Act::Rebind });
        let named: Vec<_> = self.several.named().collect();
        let paths = (!named.is_empty()).then_some(Order { when: Moment::NOW, what: Act::Paths(named) });
        paths.into_iter().chain(backup).chain(migrate).chain(rebind).collect()
    }

    /// The folder to save into; none if the bytes are only counted and hashed.
    pub(crate) fn folder(&self) -> Option<&Path> {
        Some(&*self.out).filter(|out| *out != Path::new("-"))
    }

    /// The chain and the key to show to the server.
    pub(crate) fn client_identity(&self) -> Option<(&Path, &Path)> {
        self.client_cert.as_deref().zip(self.client_key.as_deref())
    }
}

fn listen_address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| "expected an IP address and a port, for example [::]:4433 or 127.0.0.1:4433")
}

pub(crate) fn bind_address(text: &str) -> Result<SocketAddr, &'static str> {
    let alone = text.parse().map(|ip: IpAddr| SocketAddr::new(ip, 0));
    alone
        .or_else(|_| text.parse())
        .map_err(|_| "expected an IP address, perhaps with a port: 192.0.2.1 or [::]:0")
}

fn bytes(text: &str) -> Result<u64, &'static str> {
    match text.parse() {
        Ok(Moment::Bytes(bytes)) => Ok(bytes),
        _ => Err("expected bytes, for example 1000000, 500KiB, 1MiB or 2GB"),
    }
}

fn alpn(text: &str) -> Result<String, &'static str> {
    // RFC 7301 3.1.
    if (1..=255).contains(&text.len()) { Ok(text.into()) } else { Err("expected 1 to 255 bytes") }
}

#[cfg(test)]
mod tests;
