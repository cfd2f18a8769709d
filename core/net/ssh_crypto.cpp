#include "core/net/ssh_crypto.hpp"

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>

#include <vector>

#include "core/base/error.hpp"
#include "core/base/ssh_wire.hpp"

namespace ripcord {
namespace {

template <auto Free>
struct Freed {
  template <class T>
  void operator()(T* p) const { Free(p); }
};
using Number = std::unique_ptr<BIGNUM, Freed<BN_clear_free>>;
using Params = std::unique_ptr<OSSL_PARAM, Freed<OSSL_PARAM_free>>;
using Builder = std::unique_ptr<OSSL_PARAM_BLD, Freed<OSSL_PARAM_BLD_free>>;
using PkeyContext = std::unique_ptr<EVP_PKEY_CTX, Freed<EVP_PKEY_CTX_free>>;
using DigestContext = std::unique_ptr<EVP_MD_CTX, Freed<EVP_MD_CTX_free>>;

struct Curve {
  const char *ssh, *group;
  const EVP_MD* (*md)();
};
const Curve kCurves[] = {{"nistp256", "prime256v1", EVP_sha256}, {"nistp384", "secp384r1", EVP_sha384}, {"nistp521", "secp521r1", EVP_sha512}};

[[noreturn]] void fail(const char* what) {
  ERR_clear_error();
  throw Error(what);
}

const unsigned char* raw(std::string_view s) { return reinterpret_cast<const unsigned char*>(s.data()); }

Number number(std::string_view bytes) {
  Number n(BN_bin2bn(raw(bytes), static_cast<int>(bytes.size()), nullptr));
  if (!n) fail("out of memory");
  return n;
}

std::string bytes_of(const BIGNUM* n) {
  std::string out(static_cast<std::size_t>(BN_num_bytes(n)), '\0');
  BN_bn2bin(n, reinterpret_cast<unsigned char*>(out.data()));
  return out;
}

std::string number_of(const EVP_PKEY* key, const char* name) {
  BIGNUM* n = nullptr;
  if (EVP_PKEY_get_bn_param(key, name, &n) != 1) fail("a number of the key is missing");
  Number held(n);
  return bytes_of(n);
}

EVP_PKEY* build(const char* algorithm, OSSL_PARAM_BLD* builder) {
  Params params(OSSL_PARAM_BLD_to_param(builder));
  PkeyContext context(EVP_PKEY_CTX_new_from_name(nullptr, algorithm, nullptr));
  EVP_PKEY* key = nullptr;
  if (!params || !context || EVP_PKEY_fromdata_init(context.get()) != 1 ||
      EVP_PKEY_fromdata(context.get(), &key, EVP_PKEY_KEYPAIR, params.get()) != 1)
    fail("its numbers make no key");
  return key;
}

int no_passphrase(char*, int, int, void* asked) {
  *static_cast<bool*>(asked) = true;
  return -1;
}

}  // namespace

struct CryptoKey::Impl {
  std::unique_ptr<EVP_PKEY, Freed<EVP_PKEY_free>> key;
  const Curve* curve = nullptr;  // ECDSA only
};

CryptoKey::CryptoKey(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
CryptoKey::CryptoKey(CryptoKey&&) noexcept = default;
CryptoKey::~CryptoKey() = default;

CryptoKey CryptoKey::ed25519(std::string_view seed) {
  auto impl = std::make_unique<Impl>();
  if (seed.size() == 32) impl->key.reset(EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, raw(seed), seed.size()));
  if (!impl->key) fail("its numbers make no key");
  return CryptoKey(std::move(impl));
}

CryptoKey CryptoKey::ecdsa(std::string_view curve, std::string_view point, std::string_view secret) {
  auto impl = std::make_unique<Impl>();
  for (const auto& c : kCurves)
    if (curve == c.ssh) impl->curve = &c;
  if (!impl->curve) fail("its curve is none of nistp256, nistp384, nistp521");
  Builder builder(OSSL_PARAM_BLD_new());
  Number d = number(secret);
  OSSL_PARAM_BLD_push_utf8_string(builder.get(), OSSL_PKEY_PARAM_GROUP_NAME, impl->curve->group, 0);
  OSSL_PARAM_BLD_push_octet_string(builder.get(), OSSL_PKEY_PARAM_PUB_KEY, point.data(), point.size());
  OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_PRIV_KEY, d.get());
  impl->key.reset(build("EC", builder.get()));
  return CryptoKey(std::move(impl));
}

CryptoKey CryptoKey::rsa(std::string_view n, std::string_view e, std::string_view d, std::string_view p, std::string_view q,
                         std::string_view iqmp) {
  // The file holds no d mod (p-1) and d mod (q-1); without them signing takes four times as long.
  Number bn_n = number(n), bn_e = number(e), bn_d = number(d), bn_p = number(p), bn_q = number(q), bn_i = number(iqmp);
  Number one = number(std::string_view("\x01", 1)), p1 = number({}), q1 = number({}), dp = number({}), dq = number({});
  std::unique_ptr<BN_CTX, Freed<BN_CTX_free>> scratch(BN_CTX_new());
  if (!scratch || BN_is_zero(bn_p.get()) || BN_is_zero(bn_q.get()) || BN_is_one(bn_p.get()) || BN_is_one(bn_q.get()) ||
      BN_sub(p1.get(), bn_p.get(), one.get()) != 1 || BN_sub(q1.get(), bn_q.get(), one.get()) != 1 ||
      BN_mod(dp.get(), bn_d.get(), p1.get(), scratch.get()) != 1 || BN_mod(dq.get(), bn_d.get(), q1.get(), scratch.get()) != 1)
    fail("its numbers make no key");
  Builder builder(OSSL_PARAM_BLD_new());
  OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_N, bn_n.get());
  OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_E, bn_e.get());
  OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_D, bn_d.get());
  OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_FACTOR1, bn_p.get());
  OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_FACTOR2, bn_q.get());
  OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_EXPONENT1, dp.get());
  OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_EXPONENT2, dq.get());
  OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_COEFFICIENT1, bn_i.get());
  auto impl = std::make_unique<Impl>();
  impl->key.reset(build("RSA", builder.get()));
  return CryptoKey(std::move(impl));
}

CryptoKey CryptoKey::pem(std::string_view text) {
  std::unique_ptr<BIO, Freed<BIO_free_all>> bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
  bool encrypted = false;
  auto impl = std::make_unique<Impl>();
  impl->key.reset(PEM_read_bio_PrivateKey(bio.get(), nullptr, no_passphrase, &encrypted));
  if (!impl->key) fail(encrypted ? "encrypted" : "it is not a private key in PEM form");
  int id = EVP_PKEY_get_base_id(impl->key.get());
  if (id == EVP_PKEY_EC) {
    char group[64] = {};
    EVP_PKEY_get_utf8_string_param(impl->key.get(), OSSL_PKEY_PARAM_GROUP_NAME, group, sizeof group, nullptr);
    for (const auto& c : kCurves)
      if (std::string_view(group) == c.group) impl->curve = &c;
    if (!impl->curve) fail("its curve is none of nistp256, nistp384, nistp521");
  } else if (id != EVP_PKEY_RSA && id != EVP_PKEY_ED25519) {
    fail("it is neither Ed25519, ECDSA nor RSA");
  }
  return CryptoKey(std::move(impl));
}

std::string CryptoKey::public_blob() const {
  EVP_PKEY* key = impl_->key.get();
  std::string blob;
  if (impl_->curve) {
    std::vector<unsigned char> point(256);
    std::size_t n = 0;
    if (EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY, point.data(), point.size(), &n) != 1)
      fail("its public half is missing");
    put_string(blob, std::string("ecdsa-sha2-") + impl_->curve->ssh);
    put_string(blob, impl_->curve->ssh);
    put_string(blob, {reinterpret_cast<char*>(point.data()), n});
  } else if (EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA) {
    put_string(blob, "ssh-rsa");
    put_mpint(blob, number_of(key, OSSL_PKEY_PARAM_RSA_E));
    put_mpint(blob, number_of(key, OSSL_PKEY_PARAM_RSA_N));
  } else {
    unsigned char point[32];
    std::size_t n = sizeof point;
    if (EVP_PKEY_get_raw_public_key(key, point, &n) != 1) fail("its public half is missing");
    put_string(blob, "ssh-ed25519");
    put_string(blob, {reinterpret_cast<char*>(point), n});
  }
  return blob;
}

std::string CryptoKey::sign(std::string_view data) const {
  EVP_PKEY* key = impl_->key.get();
  const EVP_MD* md = impl_->curve ? impl_->curve->md() : EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA ? EVP_sha256() : nullptr;
  DigestContext context(EVP_MD_CTX_new());
  std::size_t size = 0;
  if (!context || EVP_DigestSignInit(context.get(), nullptr, md, nullptr, key) != 1 ||
      EVP_DigestSign(context.get(), nullptr, &size, raw(data), data.size()) != 1)
    fail("it cannot sign");
  std::string signature(size, '\0');
  if (EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(signature.data()), &size, raw(data), data.size()) != 1)
    fail("it cannot sign");
  signature.resize(size);
  if (!impl_->curve) return signature;
  const unsigned char* at = raw(signature);  // OpenSSL gives DER, SSH wants two mpints (RFC 5656 section 3.1.2)
  std::unique_ptr<ECDSA_SIG, Freed<ECDSA_SIG_free>> pair(d2i_ECDSA_SIG(nullptr, &at, static_cast<long>(signature.size())));
  if (!pair) fail("it cannot sign");
  std::string out;
  put_mpint(out, bytes_of(ECDSA_SIG_get0_r(pair.get())));
  put_mpint(out, bytes_of(ECDSA_SIG_get0_s(pair.get())));
  return out;
}

void wipe(std::string& secret) {
  OPENSSL_cleanse(secret.data(), secret.size());
  secret.clear();
}

}  // namespace ripcord
