// SSHSIG signatures (OpenSSH PROTOCOL.sshsig) and the public keys in them (RFC 4253 6.6, RFC 5656, RFC 8332, RFC 8709),
// verified with OpenSSL. All input is hostile: lengths are checked, sizes bounded, everything wrong is an Error.
#pragma once
#include <string>
#include <string_view>

namespace ripcord {

struct SshSignature {
  std::string key;        // public key blob of the signer
  std::string key_type;   // "ssh-ed25519"
  std::string name_space;
  std::string hash;       // "sha256" | "sha512": of the message
  std::string signature;  // algorithm and bytes, as SSH writes them
};

// "-----BEGIN SSH SIGNATURE-----" ... "-----END SSH SIGNATURE-----"; what follows the end is ignored, as ssh-keygen does.
SshSignature parse_ssh_signature(std::string_view armored);

// False: the signature is well formed and made by another key or over another message. The namespace in it is part of what is
// signed; whether it is the wanted one is the caller's to compare. Error: key or algorithm of a kind we do not trust, or
// malformed.
bool verify_ssh_signature(const SshSignature& signature, std::string_view message);

std::string signing_key_type(std::string_view key_blob);  // its first string; Error when there is none
std::string decode_base64(std::string_view text);         // white space is skipped; Error when malformed

}  // namespace ripcord
