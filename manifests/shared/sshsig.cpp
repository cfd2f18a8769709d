#include "manifests/shared/sshsig.hpp"

#include <fmt/format.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>

#include <memory>

#include "core/base/digest.hpp"
#include "core/base/error.hpp"
#include "core/base/ssh_wire.hpp"
#include "core/base/text.hpp"

namespace ripcord {
namespace {

constexpr std::string_view kBegin = "-----BEGIN SSH SIGNATURE-----\n", kEnd = "\n-----END SSH SIGNATURE-----";
constexpr std::string_view kMagic = "SSHSIG";
constexpr std::size_t kMaxArmored = 64 << 10;
constexpr std::size_t kMaxRsaBytes = 2048;  // 16384 bits, OpenSSH's own limit
constexpr int kMinRsaBits = 2048;

template <auto free_it>
struct Freed {
  void operator()(auto* p) const { free_it(p); }
};
using Key = std::unique_ptr<EVP_PKEY, Freed<EVP_PKEY_free>>;
using KeyContext = std::unique_ptr<EVP_PKEY_CTX, Freed<EVP_PKEY_CTX_free>>;
using HashContext = std::unique_ptr<EVP_MD_CTX, Freed<EVP_MD_CTX_free>>;
using Number = std::unique_ptr<BIGNUM, Freed<BN_free>>;
using ParamBuilder = std::unique_ptr<OSSL_PARAM_BLD, Freed<OSSL_PARAM_BLD_free>>;
using Params = std::unique_ptr<OSSL_PARAM, Freed<OSSL_PARAM_free>>;
using EcSignature = std::unique_ptr<ECDSA_SIG, Freed<ECDSA_SIG_free>>;

const unsigned char* raw(std::string_view s) { return reinterpret_cast<const unsigned char*>(s.data()); }

struct Curve {
  std::string_view key_type, name, group;
  const EVP_MD* (*hash)();
  std::size_t bytes;
};
constexpr Curve kCurves[] = {
    {"ecdsa-sha2-nistp256", "nistp256", "P-256", EVP_sha256, 32},
    {"ecdsa-sha2-nistp384", "nistp384", "P-384", EVP_sha384, 48},
    {"ecdsa-sha2-nistp521", "nistp521", "P-521", EVP_sha512, 66},
};

Number number(std::string_view bytes) {
  Number n(BN_bin2bn(raw(bytes), static_cast<int>(bytes.size()), nullptr));
  if (!n) throw Error("out of memory for a number");
  return n;
}

Key key_from(const char* kind, OSSL_PARAM_BLD* builder) {
  Params params(OSSL_PARAM_BLD_to_param(builder));
  KeyContext context(EVP_PKEY_CTX_new_from_name(nullptr, kind, nullptr));
  EVP_PKEY* key = nullptr;
  if (!params || !context || EVP_PKEY_fromdata_init(context.get()) != 1 ||
      EVP_PKEY_fromdata(context.get(), &key, EVP_PKEY_PUBLIC_KEY, params.get()) != 1)
    throw Error("the signer's key is not valid");
  return Key(key);
}

bool verify_digest(EVP_PKEY* key, const EVP_MD* hash, std::string_view message, std::string_view signature) {
  HashContext context(EVP_MD_CTX_new());
  if (!context || EVP_DigestVerifyInit(context.get(), nullptr, hash, nullptr, key) != 1) throw Error("OpenSSL cannot use the signer's key");
  return EVP_DigestVerify(context.get(), raw(signature), signature.size(), raw(message), message.size()) == 1;
}

bool verify_ed25519(SshReader key, std::string_view algorithm, std::string_view signature, std::string_view message) {
  auto point = key.string();
  key.end();
  if (algorithm != "ssh-ed25519" || point.size() != 32 || signature.size() != 64) throw Error("the ed25519 signature is malformed");
  Key pkey(EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, raw(point), point.size()));
  if (!pkey) throw Error("the signer's key is not valid");
  return verify_digest(pkey.get(), nullptr, message, signature);
}

bool verify_ecdsa(const Curve& curve, SshReader key, std::string_view algorithm, std::string_view signature, std::string_view message) {
  auto name = key.string();
  auto point = key.string();
  key.end();
  if (algorithm != curve.key_type || name != curve.name || point.size() != 1 + 2 * curve.bytes || point[0] != '\x04')
    throw Error("the ECDSA key is malformed");
  ParamBuilder builder(OSSL_PARAM_BLD_new());
  if (!builder || !OSSL_PARAM_BLD_push_utf8_string(builder.get(), OSSL_PKEY_PARAM_GROUP_NAME, curve.group.data(), curve.group.size()) ||
      !OSSL_PARAM_BLD_push_octet_string(builder.get(), OSSL_PKEY_PARAM_PUB_KEY, point.data(), point.size()))
    throw Error("out of memory for a key");
  Key pkey = key_from("EC", builder.get());

  SshReader pair(signature, "the ECDSA signature");
  auto r = number(pair.number(curve.bytes)), s = number(pair.number(curve.bytes));
  pair.end();
  EcSignature both(ECDSA_SIG_new());
  if (!both || ECDSA_SIG_set0(both.get(), r.get(), s.get()) != 1) throw Error("out of memory for a signature");
  r.release();
  s.release();
  unsigned char* der = nullptr;
  int size = i2d_ECDSA_SIG(both.get(), &der);
  if (size <= 0) throw Error("the ECDSA signature is malformed");
  std::string encoded(reinterpret_cast<char*>(der), static_cast<std::size_t>(size));
  OPENSSL_free(der);
  return verify_digest(pkey.get(), curve.hash(), message, encoded);
}

bool verify_rsa(SshReader key, std::string_view algorithm, std::string_view signature, std::string_view message) {
  auto e = number(key.number(kMaxRsaBytes)), n = number(key.number(kMaxRsaBytes));
  key.end();
  const EVP_MD* hash = algorithm == "rsa-sha2-512" ? EVP_sha512() : algorithm == "rsa-sha2-256" ? EVP_sha256() : nullptr;
  if (!hash) throw Error(fmt::format("RSA with '{}' is not trusted (rsa-sha2-256 and rsa-sha2-512 are)", escape_terminal(algorithm.substr(0, 40))));
  if (int bits = BN_num_bits(n.get()); bits < kMinRsaBits)
    throw Error(fmt::format("an RSA key of {} bits is not trusted (at least {} are needed)", bits, kMinRsaBits));
  ParamBuilder builder(OSSL_PARAM_BLD_new());
  if (!builder || !OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_N, n.get()) ||
      !OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_E, e.get()))
    throw Error("out of memory for a key");
  Key pkey = key_from("RSA", builder.get());
  auto size = static_cast<std::size_t>(BN_num_bytes(n.get()));
  if (signature.size() > size) throw Error("the RSA signature is longer than its key");
  std::string padded(size - signature.size(), '\0');  // leading zeros may be missing (RFC 8332 says they must not; OpenSSH takes it)
  padded += signature;
  return verify_digest(pkey.get(), hash, message, padded);
}

std::string hash_of(std::string_view hash, std::string_view message) {
  const EVP_MD* md = hash == "sha512" ? EVP_sha512() : hash == "sha256" ? EVP_sha256() : nullptr;
  if (!md) throw Error(fmt::format("the signature uses the hash '{}' (sha256 and sha512 are known)", escape_terminal(hash.substr(0, 40))));
  std::string out(EVP_MAX_MD_SIZE, '\0');
  unsigned size = 0;
  if (EVP_Digest(message.data(), message.size(), reinterpret_cast<unsigned char*>(out.data()), &size, md, nullptr) != 1)
    throw Error("OpenSSL cannot hash the message");
  out.resize(size);
  return out;
}

}  // namespace

std::string decode_base64(std::string_view text) {
  std::string digits;
  digits.reserve(text.size());
  for (char c : text)
    if (c != ' ' && (c < '\t' || c > '\r')) digits.push_back(c);
  auto bytes = unbase64(digits);
  if (!bytes) throw Error("its base64 is malformed");
  return std::move(*bytes);
}

std::string signing_key_type(std::string_view key_blob) {
  auto type = SshReader(key_blob, "the key").string();
  if (type.empty() || type.size() > 64) throw Error("the key has no type");
  return std::string(type);
}

SshSignature parse_ssh_signature(std::string_view armored) {
  if (armored.size() > kMaxArmored) throw Error(fmt::format("it is larger than {}", format_size(kMaxArmored)));
  if (armored.substr(0, kBegin.size()) != kBegin) throw Error(fmt::format("it does not begin with the line '{}'", kBegin.substr(0, kBegin.size() - 1)));
  auto end = armored.find(kEnd, kBegin.size() - 1);
  if (end == std::string_view::npos) throw Error(fmt::format("it does not end with the line '{}'", kEnd.substr(1)));
  std::string bytes = decode_base64(armored.substr(kBegin.size(), end - kBegin.size()));
  SshReader blob(bytes, "it");
  if (blob.take(kMagic.size()) != kMagic) throw Error("it is not an SSHSIG");
  if (auto version = blob.u32(); version != 1) throw Error(fmt::format("it has SSHSIG version {}, known is 1", version));
  SshSignature s;
  s.key = blob.string();
  s.name_space = blob.string();
  blob.string();  // reserved: "implementations should ignore the reserved field"
  s.hash = blob.string();
  s.signature = blob.string();
  blob.end();
  s.key_type = signing_key_type(s.key);
  return s;
}

bool verify_ssh_signature(const SshSignature& s, std::string_view message) {
  std::string signed_data(kMagic);
  put_string(signed_data, s.name_space);
  put_string(signed_data, {});
  put_string(signed_data, s.hash);
  put_string(signed_data, hash_of(s.hash, message));

  SshReader key(s.key, "the signer's key"), signature(s.signature, "the signature");
  auto type = key.string();
  auto algorithm = signature.string(), bytes = signature.string();
  signature.end();
  if (type == "ssh-ed25519") return verify_ed25519(key, algorithm, bytes, signed_data);
  if (type == "ssh-rsa") return verify_rsa(key, algorithm, bytes, signed_data);
  for (const auto& curve : kCurves)
    if (type == curve.key_type) return verify_ecdsa(curve, key, algorithm, bytes, signed_data);
  throw Error(fmt::format("keys of type '{}' are not trusted (ssh-ed25519, ecdsa-sha2-nistp256, -384, -521 and ssh-rsa are)",
                          escape_terminal(type)));
}

}  // namespace ripcord
