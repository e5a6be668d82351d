//! TLS with clients: what a listener's certificates and policy come to, and a connection that may be encrypted.
//!
//! Invariant: nothing here waits. What the socket does not take stays in the connection's own buffer, of a bounded size,
//! and goes out with the next turn (`flush`); until then nothing more is taken.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;

use mio::net::TcpStream;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, ServerConnection};
use standfast_core::lb::{Certificate, Tls, TlsVersions};

use crate::io::BUFFER_SIZE;

/// What the listener speaks with clients. `Err` says what is wrong with a certificate.
pub fn config(tls: &Tls) -> Result<Arc<ServerConfig>, String> {
    let provider = Arc::new(ring::default_provider());
    let versions: &[_] = match tls.versions {
        TlsVersions::Only12 => &[&TLS12],
        TlsVersions::Only13 => &[&TLS13],
        TlsVersions::Both => &[&TLS12, &TLS13],
    };
    let certificates = tls.certificates.iter().map(certified).collect::<Result<Vec<_>, _>>()?;
    if certificates.is_empty() {
        return Err("there is no certificate".to_owned());
    }
    let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(versions);
    let builder = builder.map_err(|error| error.to_string())?.with_no_client_auth();
    let mut config = builder.with_cert_resolver(Arc::new(Certificates(certificates)));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.ticketer = ring::Ticketer::new().map_err(|error| error.to_string())?;
    Ok(Arc::new(config))
}

type Named = (Vec<String>, Arc<CertifiedKey>);

fn certified(certificate: &Certificate) -> Result<Named, String> {
    let chain = CertificateDer::pem_slice_iter(certificate.chain_pem.as_bytes()).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|error| format!("the certificate: {error}"))?;
    let key = PrivateKeyDer::from_pem_slice(certificate.key_pem.as_bytes());
    let key = key.map_err(|error| format!("the private key: {error}"))?;
    let certified = CertifiedKey::from_der(chain, key, &ring::default_provider());
    Ok((certificate.names.clone(), Arc::new(certified.map_err(|error| error.to_string())?)))
}

/// A listener's certificates, the default first.
#[derive(Debug)]
struct Certificates(Vec<Named>);

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().unwrap_or_default();
        let named = self.0.iter().find(|(names, _)| names.iter().any(|pattern| is_for(pattern, name)));
        named.or(self.0.first()).map(|(_, certified)| certified.clone())
    }
}

/// Whether a certificate's name covers a host: `*` is one whole label, the first.
fn is_for(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix("*.") {
        Some(domain) => {
            host.split_once('.').is_some_and(|(first, rest)| !first.is_empty() && rest.eq_ignore_ascii_case(domain))
        }
        None => pattern.eq_ignore_ascii_case(host),
    }
}

/// A client's connection, encrypted or not.
pub struct Wire {
    pub tcp: TcpStream,
    tls: Option<Box<ServerConnection>>,
    /// Nothing more will be written.
    ending: bool,
}

impl Wire {
    /// Fails when the machine has no randomness.
    pub fn new(tcp: TcpStream, config: Option<&Arc<ServerConfig>>) -> io::Result<Self> {
        let open = |config: &Arc<ServerConfig>| {
            let mut connection = ServerConnection::new(config.clone()).map_err(io::Error::other)?;
            connection.set_buffer_limit(Some(BUFFER_SIZE));
            Ok::<_, io::Error>(Box::new(connection))
        };
        Ok(Self { tcp, tls: config.map(open).transpose()?, ending: false })
    }

    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    pub fn is_handshaking(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_handshaking())
    }

    /// Something that was written waits for the socket.
    pub fn is_pending(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }

    /// Writes what waits, as far as the socket takes it.
    pub fn flush_some(&mut self) -> io::Result<()> {
        let Some(tls) = &mut self.tls else { return Ok(()) };
        while tls.wants_write() {
            match tls.write_tls(&mut self.tcp) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        if self.ending {
            let _ = self.tcp.shutdown(Shutdown::Write);
        }
        Ok(())
    }

    /// Says that nothing more comes, after what waits.
    pub fn end(&mut self) {
        if self.ending {
            return;
        }
        self.ending = true;
        // All of it fails only when the client is gone, which the next read tells.
        match &mut self.tls {
            Some(tls) => {
                tls.send_close_notify();
                let _ = self.flush_some();
            }
            None => drop(self.tcp.shutdown(Shutdown::Write)),
        }
    }

    fn read_tls(tls: &mut ServerConnection, tcp: &mut TcpStream, room: &mut [u8]) -> io::Result<usize> {
        loop {
            match tls.reader().read(room) {
                // The client went without a farewell; the framing of its request tells whether it was whole.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(0),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                other => return other,
            }
            tls.read_tls(tcp)?;
            let state = tls.process_new_packets();
            // The handshake's answer, or the alert that says what was wrong.
            while tls.wants_write() && tls.write_tls(tcp).is_ok() {}
            state.map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
        }
    }

    /// The connection, when it takes more plain bytes now.
    fn writer(&mut self) -> io::Result<Option<&mut ServerConnection>> {
        if self.tls.is_none() {
            return Ok(None);
        }
        self.flush_some()?;
        if self.is_pending() {
            return Err(ErrorKind::WouldBlock.into());
        }
        Ok(self.tls.as_deref_mut())
    }
}

impl Read for Wire {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        match &mut self.tls {
            None => self.tcp.read(room),
            Some(tls) => Self::read_tls(tls, &mut self.tcp, room),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(tls) = self.writer()? else { return self.tcp.write(bytes) };
        let count = tls.writer().write(bytes)?;
        self.flush_some()?;
        Ok(count)
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let Some(tls) = self.writer()? else { return self.tcp.write_vectored(parts) };
        let count = tls.writer().write_vectored(parts)?;
        self.flush_some()?;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.flush_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_stands_for_one_label() {
        let cases = [
            ("shop.example", "SHOP.example", true),
            ("*.example", "shop.example", true),
            ("*.example", "a.shop.example", false),
            ("*.example", "example", false),
            ("*.example", ".example", false),
            ("shop.example", "", false),
        ];
        for (pattern, host, expected) in cases {
            assert_eq!(is_for(pattern, host), expected, "{pattern} {host}");
        }
    }
}
