// OpenSSL's keys behind the three things that SSH needs of them: made from the numbers of a key file, shown as a public blob,
// and signing in SSH's forms.
#pragma once
#include <memory>
#include <string>
#include <string_view>

namespace ripcord {

class CryptoKey {
 public:
  CryptoKey(CryptoKey&&) noexcept;
  ~CryptoKey();

  // Numbers are big-endian and unsigned, as in a key file. Error when they make no key.
  static CryptoKey ed25519(std::string_view seed);                                       // 32 bytes
  static CryptoKey ecdsa(std::string_view curve, std::string_view point, std::string_view secret);  // nistp256 | 384 | 521
  static CryptoKey rsa(std::string_view n, std::string_view e, std::string_view d, std::string_view p, std::string_view q,
                       std::string_view iqmp);
  static CryptoKey pem(std::string_view text);        // PKCS#1, SEC1, PKCS#8; Error("encrypted") when it wants a passphrase

  std::string public_blob() const;
  std::string sign(std::string_view data) const;      // RSA: PKCS#1 v1.5 with SHA-256

 private:
  struct Impl;
  explicit CryptoKey(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

void wipe(std::string& secret);  // overwritten for good, then empty

}  // namespace ripcord
