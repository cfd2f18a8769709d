// The algorithms we use, and what to say to a server that has none of them. libssh2 tells only that it failed; its KEXINIT
// packet (RFC 4253 section 7.1) tells why.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ripcord {

// Cheapest first, for both sides: a P-256 exchange takes half the time of curve25519 in OpenSSL, AES-CTR and SHA-2 run on the
// CPU's own instructions. libssh2 1.10 has no GCM and no encrypt-then-mac.
inline constexpr const char* kSshKex = "ecdh-sha2-nistp256,curve25519-sha256,curve25519-sha256@libssh.org";
inline constexpr const char* kSshCiphers = "aes128-ctr,aes192-ctr,aes256-ctr";
inline constexpr const char* kSshMacs = "hmac-sha2-256,hmac-sha2-512";

// Host key algorithms to ask for: the types that known_hosts holds for this host first, then the others we can check.
std::vector<std::string> host_key_preference(const std::vector<std::string>& known_types);

struct SshMismatch {
  std::string what;       // "key exchange", "host key", "cipher", "MAC"
  std::string directive;  // of sshd_config
  std::string offered;    // by the server
  std::string needed;
};

// From the first bytes a server sent: in what it has nothing in common with us. nullopt: in nothing, or it cannot be told.
std::optional<SshMismatch> find_mismatch(std::string_view greeting);
// Its identification line, without what came before; "" when none came.
std::string server_identification(std::string_view greeting);

}  // namespace ripcord
