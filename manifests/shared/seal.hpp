// SSHSIG signatures (OpenSSH PROTOCOL.sshsig) and allowed_signers files (ssh-keygen(1), ALLOWED SIGNERS), verified with
// OpenSSL. Gives the same answer as `ssh-keygen -Y verify -n ripcord-release -I <principal>`; the tests compare the two.
#pragma once
#include <string>
#include <string_view>

#include "core/base/clock.hpp"

namespace ripcord {

struct SealVerdict {
  bool trusted = false;
  std::string principal;    // who, when trusted
  std::string fingerprint;  // SHA256:... of the signing key, when the signature could be read
  std::string why;          // when not trusted: one sentence
};

// Is `message` signed by anybody in `allowed_signers` for `name_space` at `now`? Malformed input is a verdict, never a crash.
// ed25519, ecdsa-sha2-nistp256/384/521, rsa (sha2-256/512, at least 2048 bits); sk- keys and certificates are not trusted
// and the verdict says so. Options honoured: namespaces=, valid-after=, valid-before=; cert-authority lines are skipped.
SealVerdict verify_seal(std::string_view message, std::string_view armored_signature, std::string_view allowed_signers,
                        std::string_view name_space, WallTime now);

}  // namespace ripcord
