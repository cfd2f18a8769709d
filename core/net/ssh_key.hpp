// User keys: what a server is shown, and how to sign for it. Read once per process and used for every host.
//
// Key files: OpenSSH's own container (PROTOCOL.key), unencrypted, and PEM (PKCS#1, SEC1, PKCS#8); Ed25519, ECDSA on the NIST
// curves, RSA. An encrypted file still tells its public half, so that the agent can be asked for it.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "core/base/async.hpp"
#include "core/base/clock.hpp"

namespace ripcord {

class SshKey {
 public:
  virtual ~SshKey() = default;
  SshKey(std::string blob, std::string source);
  const std::string& type() const { return type_; }      // ssh-ed25519, ecdsa-sha2-nistp256, ssh-rsa ...
  const std::string& blob() const { return blob_; }      // the public key as on the wire
  const std::string& source() const { return source_; }  // for messages: a path, or "agent: comment"
  // The public key as it is announced to a server: for RSA the type says rsa-sha2-256, which is what we sign with (servers refuse
  // SHA-1 since OpenSSH 8.8, and libssh2 1.10 takes the algorithm's name from here).
  const std::string& offered_blob() const { return offered_; }
  // The inner signature (RFC 8709, RFC 5656, RFC 8332), without the algorithm's name. LinkError agent_gone, key_unreadable.
  virtual Task<std::string> sign(std::string data, Elapsed deadline) = 0;

 private:
  std::string type_, blob_, source_, offered_;
};

// What a key file gave: a key that signs, or only the public half of an encrypted one.
struct SshKeyFile {
  std::shared_ptr<SshKey> key;    // null when encrypted
  std::string public_blob;        // may be empty when an encrypted PEM file does not tell
};

// Error (what is wrong, and the cure) when the file is missing, readable by others, damaged or of an unsupported kind.
SshKeyFile read_ssh_key_file(const std::string& path);
SshKeyFile parse_ssh_key(std::string_view text, const std::string& source);

// "ssh-ed25519 AAAA... comment": the blob of a public key line, as in id_ed25519.pub; nullopt when it is none.
std::optional<std::string> parse_public_key_line(std::string_view line);

}  // namespace ripcord
