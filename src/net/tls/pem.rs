//! Certificates and keys as PEM (RFC 7468 §2).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::CertificateDer;
use zeroize::Zeroizing;

/// The blocks of `all`, in their order.
pub fn certificates(all: &[CertificateDer<'_>]) -> String {
    let blocks = all.iter().map(|der| block("CERTIFICATE", der));
    blocks.map(|block| block.to_string()).collect()
}

/// A private key in PKCS#8.
pub fn private_key(pkcs8: &[u8]) -> Zeroizing<String> {
    block("PRIVATE KEY", pkcs8)
}

fn block(label: &str, der: &[u8]) -> Zeroizing<String> {
    const WIDTH: usize = 64;
    let base64 = Zeroizing::new(STANDARD.encode(der));
    // All at once, since growing would leave copies behind that nobody zeroes.
    let room = base64.len() + base64.len() / WIDTH + 2 * label.len() + 40;
    let mut text = Zeroizing::new(String::with_capacity(room));
    text.push_str("-----BEGIN ");
    text.push_str(label);
    text.push_str("-----\n");
    let mut rest = base64.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(WIDTH));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text.push_str("-----END ");
    text.push_str(label);
    text.push_str("-----\n");
    text
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::pem::PemObject as _;

    use super::*;

    #[test]
    fn what_is_written_is_read_again_and_never_grew() {
        let all = [vec![7; 48], vec![9; 100]].map(CertificateDer::from);
        let text = certificates(&all);
        assert!(text.lines().all(|line| line.len() <= 64), "{text}");
        let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
        assert_eq!(read.unwrap(), all);
        for length in [1, 47, 48, 49, 1000] {
            let key = private_key(&vec![1; length]);
            let whole = STANDARD.encode(vec![1; length]).len();
            let room = whole + whole / 64 + 2 * "PRIVATE KEY".len() + 40;
            assert!(key.len() <= room, "{length}");
        }
    }
}
